"""Donsker and Varadhan's estimate with clipped density ratios."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from dirlearn.information.estimator import Estimator
from dirlearn.information.jsd import jsd
from dirlearn.information.pairs import aligned, log_mean_exp
from isp_sim.parameters import StageParams


def smile(positives: Tensor, negatives: Tensor, tau: float, mask: Tensor | None = None) -> Tensor:
    """E_J[T] - log E_M[clip(e^T, e^-tau, e^tau)], nats.

    Examples
    --------
    >>> import torch
    >>> smile(torch.full((3,), 2.0), torch.full((3, 2), 2.0), tau=1.0).item()
    1.0
    """
    negatives, mask = aligned(positives, negatives, mask)
    return positives.mean() - log_mean_exp(negatives.clamp(-tau, tau), mask).mean()


class SMILE(Estimator):
    """E_J[T] - log E_M[clip(e^T, e^-tau, e^tau)] of a critic trained by `jsd`: nats, but no bound.

    Clipping trades variance for bias: a small tau over-estimates, a large one is `dv`. The report carries no
    gradient: train by `objective`.
    """

    bound = "neither"
    unit = "nats"
    source = "Song and Ermon 2020 [Song2020]"

    class Params(StageParams):
        tau: float = Field(5.0, gt=0, le=100, description="greatest log density ratio of a product pair [nats]")

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return smile(positives.detach(), negatives.detach(), self.params.tau, mask)

    def surrogate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return jsd(positives, negatives, mask)
