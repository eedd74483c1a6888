"""The Jensen-Shannon estimate, shifted so that knowing nothing is 0."""

from __future__ import annotations

import math

from torch import Tensor

from dirlearn.information.estimator import Estimator
from dirlearn.information.jsd import jsd


def dim_jsd(positives: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """E_J[log 2 - sp(-T)] - E_M[sp(T) - log 2]: at most 2 JSD(J || M), never above 2 log 2.

    Examples
    --------
    >>> import torch
    >>> round(dim_jsd(torch.zeros(3), torch.zeros(3, 2)).item(), 6)
    0.0
    """
    return jsd(positives, negatives, mask) + 2 * math.log(2)


class DIMJSD(Estimator):
    """E_J[log 2 - sp(-T)] - E_M[sp(T) - log 2]: `jsd` plus 2 log 2. Not in nats; a lower bound of 2 JSD(J || M).

    The same gradients, in the form in which Deep InfoMax reports it: 0 where nothing is known, at most 1.386294.
    """

    bound = "lower"
    unit = "jsd"
    source = "Hjelm et al. 2019 [Hjelm2019]"

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return dim_jsd(positives, negatives, mask)
