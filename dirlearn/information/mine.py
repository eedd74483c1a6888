"""Donsker and Varadhan's estimate, trained with a moving average under the logarithm."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from dirlearn.information.dv import dv
from dirlearn.information.estimator import Estimator
from dirlearn.information.pairs import aligned, log_mean_exp
from isp_sim.parameters import StageParams


def mine(positives: Tensor, negatives: Tensor, log_average: Tensor, mask: Tensor | None = None) -> Tensor:
    """E_J[T] - (log a + E_M[e^T] / a - 1), nats: `dv` with the tangent of the logarithm at a = e^log_average.

    The tangent lies above the logarithm, so for any a that does not depend on the batch this is a lower bound, and its
    gradient is without bias.

    Examples
    --------
    >>> mine(torch.zeros(3), torch.zeros(3, 2), torch.tensor(0.0)).item()
    0.0
    """
    negatives, mask = aligned(positives, negatives, mask)
    ratio = torch.exp(log_mean_exp(negatives, mask, places_apart=False) - log_average)
    return positives.mean() - (log_average + ratio - 1)


class MINE(Estimator):
    """E_J[T] - log E_M[e^T], trained with a moving average of E_M[e^T]: a lower bound of mutual information in nats.

    Reports what `dv` reports, biased upwards in a finite batch; the average, kept as a buffer, takes most of the bias
    out of the gradient. It moves in training mode only.
    """

    bound = "lower"
    unit = "nats"
    source = "Belghazi et al. 2018 [Belghazi2018]"

    class Params(StageParams):
        decay: float = Field(0.99, ge=0, lt=1, description="weight of the past in the moving average [1]")

    log_average: Tensor
    updates: Tensor

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.register_buffer("log_average", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return dv(positives, negatives, mask)

    def surrogate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        rows, shown = aligned(positives, negatives, mask)
        average = self._averaged(log_mean_exp(rows, shown, places_apart=False).detach())
        if self.training:
            self.log_average.copy_(average)
            self.updates += 1
        return mine(positives, negatives, average, mask)

    def _averaged(self, log_mean: Tensor) -> Tensor:
        """The logarithm of the average, this batch included; of this batch alone, if it is the first."""
        if self.params.decay == 0:
            return log_mean
        past = self.log_average.to(log_mean) + math.log(self.params.decay)
        return torch.where(
            self.updates == 0, log_mean, torch.logaddexp(past, log_mean + math.log1p(-self.params.decay))
        )
