"""The Jensen-Shannon estimate in the form of an f-GAN's discriminator."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from dirlearn.information.estimator import Estimator
from dirlearn.information.pairs import aligned, product_mean


def jsd(positives: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """E_J[-sp(-T)] - E_M[sp(T)], sp(t) = log(1 + e^t): at most 2 JSD(J || M) - 2 log 2, never above 0.

    Examples
    --------
    >>> import torch
    >>> round(jsd(torch.zeros(3), torch.zeros(3, 2)).item(), 6)
    -1.386294
    """
    negatives, mask = aligned(positives, negatives, mask)
    # log sigmoid(t) = -sp(-t), without the threshold beyond which torch's softplus is linear
    return logsigmoid(positives).mean() + product_mean(lambda t: logsigmoid(-t), negatives, mask)


class JSD(Estimator):
    """E_J[-sp(-T)] - E_M[sp(T)]: the paper's Eq. 1. Not in nats; a lower bound of 2 JSD(J || M) - 2 log 2.

    Values lie in [-2 log 2, 0]: -1.386294 where nothing is known, 0 where joint and product pairs never mix. It grows
    with mutual information, but its slope dies away: above about 6 nats there is hardly any gradient left.
    """

    bound = "lower"
    unit = "jsd"
    source = "Guo et al. 2024, Eq. 1 [Guo2024]; Nowozin et al. 2016 [Nowozin2016]"

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return jsd(positives, negatives, mask)
