"""The estimate of Donsker and Varadhan."""

from __future__ import annotations

from torch import Tensor

from dirlearn.information.estimator import Estimator
from dirlearn.information.pairs import aligned, log_mean_exp


def dv(positives: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """E_J[T] - log E_M[e^T], nats; T + c gives the same.

    Examples
    --------
    >>> import torch
    >>> dv(torch.full((3,), 5.0), torch.full((3, 2), 5.0)).item()
    0.0
    """
    negatives, mask = aligned(positives, negatives, mask)
    return positives.mean() - log_mean_exp(negatives, mask).mean()


class DV(Estimator):
    """E_J[T] - log E_M[e^T]: in the limit of large batches a lower bound of mutual information in nats.

    In a finite batch the logarithm of a mean lies below the mean's own on average, so the estimate is biased upwards
    (by 0.06 of 4 nats and 1.3 of 10, in batches of 64), and the gradient is biased too: see `mine`.
    """

    bound = "lower"
    unit = "nats"
    source = "Donsker and Varadhan 1983 [Donsker1983]; Belghazi et al. 2018 [Belghazi2018]"

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return dv(positives, negatives, mask)
