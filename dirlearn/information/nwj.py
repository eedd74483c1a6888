"""The estimate of Nguyen, Wainwright and Jordan, also called f-GAN KL or MINE-f."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from dirlearn.information.estimator import Estimator
from dirlearn.information.pairs import aligned, log_mean_exp


def nwj(positives: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """E_J[T] - E_M[e^(T - 1)], nats.

    Examples
    --------
    >>> import torch
    >>> nwj(torch.ones(3), torch.ones(3, 2)).item()  # the best critic of independent variables is 1
    0.0
    """
    negatives, mask = aligned(positives, negatives, mask)
    return positives.mean() - torch.exp(log_mean_exp(negatives, mask) - 1).mean()


class NWJ(Estimator):
    """E_J[T] - E_M[e^(T - 1)]: a lower bound of mutual information in nats, without bias for any fixed critic.

    The best critic is the log density ratio plus 1. The variance over batches of n pairs is at least (e^I - 1) / n, so
    above 5 nats a few pairs decide a batch.
    """

    bound = "lower"
    unit = "nats"
    offset: ClassVar[float] = 1.0
    source = "Nguyen et al. 2010 [Nguyen2010]"

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return nwj(positives, negatives, mask)
