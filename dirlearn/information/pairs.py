"""What every estimator is made of: scores of joint pairs, scores of product pairs, and means over them.

Positives are (N,) or (N, L), one score a joint pair, at L places if there are any. Negatives are (N, M) or (N, M, L):
row i holds the scores of element i with what was drawn independently of it; one list for all, (M,) or (M, L), will do
too. A mask (N, M) says which of the negatives are there. What it hides has no influence: neither on the value nor, as
a score of -10 has, on a softmax; not even as NaN, and no gradient reaches it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def split(
    scores: Tensor, negatives: Tensor | None = None, positives: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix of scores as positives, negatives and mask.

    Parameters
    ----------
    scores
        (N, M) or (N, M, L) with M >= N: the score of r_i with x_j, at L places. Half precision is raised to single.
    negatives
        Boolean (N, M), true where (r_i, x_j) may count as drawn from the product of marginals; all pairs but the
        positives if not given. A positive is never its own negative, whatever the mask says.
    positives
        (N,), the column of each row's own x; 0, 1, 2, ... if not given. With scores of a batch that was gathered from
        several processes, this is where one's own part begins, plus 0, 1, 2, ...

    Returns
    -------
    tuple
        Positives (N,) or (N, L); negatives (N, M) or (N, M, L); mask (N, M).

    Raises
    ------
    ValueError
        If the shapes do not fit, or if no pair is left to count as negative.

    Examples
    --------
    >>> positives, negatives, mask = split(torch.arange(6.0).reshape(2, 3), positives=torch.tensor([1, 2]))
    >>> positives.tolist()
    [1.0, 5.0]
    >>> mask.tolist()
    [[True, False, True], [True, True, False]]
    """
    if scores.ndim not in (2, 3) or scores.shape[0] > scores.shape[1]:
        raise ValueError(
            f"scores are of shape {tuple(scores.shape)}: needed is (N, M) or (N, M, L), one row for each r and in it "
            "one column for each x, M >= N"
        )
    rows = torch.arange(scores.shape[0], device=scores.device)
    columns = rows if positives is None else positives.to(scores.device)
    if columns.shape != rows.shape:
        raise ValueError(f"positives are of shape {tuple(columns.shape)}: needed is one column for each of {len(rows)}")
    mask = torch.ones(scores.shape[:2], dtype=torch.bool, device=scores.device)
    if negatives is not None:
        if negatives.shape != scores.shape[:2] or negatives.dtype != torch.bool:
            raise ValueError(
                f"negatives are {negatives.dtype} of shape {tuple(negatives.shape)}: needed is torch.bool of shape "
                f"{tuple(scores.shape[:2])}, true where a pair may count as independent"
            )
        mask &= negatives.to(scores.device)
    mask[rows, columns] = False
    if (scores.shape[1] < 2) if negatives is None else not bool(mask.any()):
        raise ValueError(
            "no pair of the batch is left to count as negative: a batch needs two images at least, "
            "and both views of one image are no negatives of each other"
        )
    if scores.dtype in HALF:
        scores = scores.float()
    return scores[rows, columns], scores, mask


def aligned(positives: Tensor, negatives: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Negatives as rows (R, M) or (R, M, L), R = N or 1, and a mask (R, M) or (R, M, 1) that broadcasts over places.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    if negatives.ndim == positives.ndim:
        negatives = negatives.unsqueeze(0)
        mask = mask.unsqueeze(0) if mask is not None and mask.ndim == 1 else mask
    places_fit = negatives.ndim == positives.ndim + 1 and negatives.shape[2:] == positives.shape[1:]
    if positives.ndim not in (1, 2) or not places_fit or negatives.shape[0] not in (1, positives.shape[0]):
        raise ValueError(
            f"positives {tuple(positives.shape)} and negatives {tuple(negatives.shape)} do not fit: needed are "
            "(N,) with (N, M) or (M,), or at L places (N, L) with (N, M, L) or (M, L)"
        )
    if mask is None:
        mask = torch.ones(negatives.shape[:2], dtype=torch.bool, device=negatives.device)
    if mask.shape != negatives.shape[:2]:
        raise ValueError(f"the mask is of shape {tuple(mask.shape)}, the negatives of {tuple(negatives.shape[:2])}")
    return negatives, mask.reshape(mask.shape + (1,) * (negatives.ndim - 2))


def product_mean(function: Callable[[Tensor], Tensor], negatives: Tensor, mask: Tensor) -> Tensor:
    """The mean of a function over the product pairs and places. It must be finite at 0."""
    values = function(torch.where(mask, negatives, 0.0))
    places = negatives[0, 0].numel()
    return torch.where(mask, values, 0.0).sum() / (mask.sum() * places)


def log_mean_exp(negatives: Tensor, mask: Tensor, places_apart: bool = True) -> Tensor:
    """The logarithm of E_M[e^T]: at each place, or over all of them.

    Examples
    --------
    >>> log_mean_exp(torch.tensor([[90.0, 1e9]]), torch.tensor([[True, False]])).item()
    90.0
    """
    hidden = torch.where(mask, negatives, -math.inf)
    count = mask.sum().to(negatives.dtype)
    if places_apart:
        return torch.logsumexp(hidden, dim=(0, 1)) - count.log()
    return torch.logsumexp(hidden.flatten(), dim=0) - (count * negatives[0, 0].numel()).log()
