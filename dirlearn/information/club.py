"""The contrastive log-ratio upper bound."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from dirlearn.information.estimator import Estimator
from dirlearn.information.pairs import aligned, product_mean


def club(positives: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """E_J[log q(y|x)] - E_M[log q(y|x)], nats.

    Examples
    --------
    >>> import torch
    >>> club(torch.tensor([-1.0, -2.0]), torch.tensor([[-3.0], [-5.0]])).item()
    2.5
    """
    negatives, mask = aligned(positives, negatives, mask)
    return positives.mean() - product_mean(lambda t: t, negatives, mask)


class CLUB(Estimator):
    """E_J[log q(y|x)] - E_M[log q(y|x)]: an upper bound of mutual information in nats, if q is near p(y|x).

    With the true conditional it is KL(J || M) + KL(M || J), so very loose: d rho^2 / (1 - rho^2) where mutual
    information is -d / 2 log(1 - rho^2). Its objective is the likelihood of q; what shall know less is trained to
    lower the estimate itself.
    """

    bound = "upper"
    unit = "nats"
    takes: ClassVar[Literal["scores", "log_density"]] = "log_density"
    source = "Cheng et al. 2020 [Cheng2020]"

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return club(positives, negatives, mask)

    def surrogate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return positives.mean()
