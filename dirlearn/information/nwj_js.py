"""Train by the Jensen-Shannon estimate, report the estimate of Nguyen, Wainwright and Jordan."""

from __future__ import annotations

from torch import Tensor

from dirlearn.information.estimator import Estimator
from dirlearn.information.jsd import jsd
from dirlearn.information.nwj import nwj


def nwj_js(positives: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 + E_J[T] - E_M[e^T], nats: `nwj` of T + 1, for a critic that is the log density ratio itself.

    Examples
    --------
    >>> import torch
    >>> nwj_js(torch.zeros(3), torch.zeros(3, 2)).item()
    0.0
    """
    return nwj(positives + 1, negatives + 1, mask)


class NWJJS(Estimator):
    """1 + E_J[T] - E_M[e^T] of a critic trained by `jsd`: a lower bound of mutual information in nats.

    Stable training, and a report in nats with the variance of `nwj`. The report carries no gradient: train by
    `objective`.
    """

    bound = "lower"
    unit = "nats"
    source = "Poole et al. 2019 [Poole2019]; Federici et al. 2020 [Federici2020]"

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return nwj_js(positives.detach(), negatives.detach(), mask)

    def surrogate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return jsd(positives, negatives, mask)
