"""The leave-one-out upper bound."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dirlearn.information.estimator import Estimator
from dirlearn.information.pairs import aligned, split


def l1out(positives: Tensor, negatives: Tensor, mask: Tensor | None = None) -> Tensor:
    """E_i[log q(y_i|x_i) - log mean_j q(y_i|x_j)], nats, j over the others; row i of the negatives is log q(y_i|x_j).

    A row without negatives does not count.

    Examples
    --------
    >>> round(l1out(torch.tensor([-1.0]), torch.tensor([[-1.0, -math.inf]])).item(), 6)  # log 2
    0.693147
    """
    negatives, mask = aligned(positives, negatives, mask)
    count = mask.sum(dim=1)
    counts = count > 0
    # where there are none, 0 stands in for -inf, whose gradient would be NaN
    hidden = torch.where(mask, negatives, torch.where(counts.unsqueeze(1), -math.inf, 0.0))
    marginal = torch.logsumexp(hidden, dim=1) - count.clamp_min(1).to(negatives.dtype).log()
    ratios = torch.where(counts, positives - marginal, 0.0)
    return ratios.sum() / (counts.expand_as(ratios).sum())


class L1Out(Estimator):
    """E_i[log q(y_i|x_i) - log mean_{j != i} q(y_i|x_j)]: an upper bound of mutual information in nats, if q = p(y|x).

    Tighter than `club`, the more so the larger the batch. Its objective is the likelihood of q; what shall know less is
    trained to lower the estimate itself.
    """

    bound = "upper"
    unit = "nats"
    takes: ClassVar[Literal["scores", "log_density"]] = "log_density"
    source = "Poole et al. 2019 [Poole2019]"

    def forward(self, scores: Tensor, negatives: Tensor | None = None, positives: Tensor | None = None) -> Tensor:
        joint, others, mask = split(scores, negatives, positives)
        # the sum runs over what y_i is conditioned on: down a column, where the others run along a row
        columns = torch.arange(scores.shape[0], device=scores.device) if positives is None else positives
        columns = columns.to(scores.device)
        mask = mask[:, columns].T
        if (len(mask) < 2) if negatives is None else not bool(mask.any()):
            raise ValueError("no row is left to compare a positive with: l1out needs two rows of different images")
        return self.estimate(joint, others[:, columns].transpose(0, 1), mask)

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return l1out(positives, negatives, mask)

    def surrogate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return positives.mean()
