"""The tractable unnormalised bound with a baseline that is learnt along."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from dirlearn.information.estimator import Estimator
from dirlearn.information.pairs import aligned, log_mean_exp
from isp_sim.parameters import StageParams


def tuba(positives: Tensor, negatives: Tensor, log_baseline: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 + E_J[T] - log a - E_M[e^T] / a, nats.

    Examples
    --------
    >>> tuba(torch.zeros(3), torch.zeros(3, 2), torch.tensor(0.0)).item()
    0.0
    """
    negatives, mask = aligned(positives, negatives, mask)
    return 1 + positives.mean() - log_baseline - torch.exp(log_mean_exp(negatives, mask) - log_baseline).mean()


class TUBA(Estimator):
    """1 + E_J[T] - log a - E_M[e^T] / a: a lower bound of mutual information in nats, for any baseline a > 0.

    The baseline is one number here, learnt with the critic: at its best, E_M[e^T], the bound is Donsker and
    Varadhan's, without the bias of a logarithm of a batch's mean. At a = e it is `nwj`.
    """

    bound = "lower"
    unit = "nats"
    source = "Poole et al. 2019 [Poole2019]"

    class Params(StageParams):
        start: float = Field(0.0, ge=-20, le=20, description="logarithm of the baseline before training [nats]")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.log_baseline = nn.Parameter(torch.tensor(float(params.start)))

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return tuba(positives, negatives, self.log_baseline.to(positives.dtype), mask)
