"""Which pairs of a batch count as drawn independently: those of different images, never two views of one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor


def product_pairs(
    identities: Sequence[Hashable] | Tensor,
    others: Sequence[Hashable] | Tensor | None = None,
    *,
    extra: int = 0,
) -> Tensor:
    """The pairs that an estimator may take as negatives.

    Parameters
    ----------
    identities
        What tells images apart, one for each row: the sample keys, the same for both views of an image.
    others
        The same for each column, where a batch is compared with one gathered from several processes.
    extra
        Columns that a critic appends for other places of the same image (`Critic.extra_columns`): always true.

    Returns
    -------
    Tensor
        Boolean (N, M + extra), true where the identities differ.

    Raises
    ------
    ValueError
        If no pair is left.

    Examples
    --------
    >>> product_pairs(["cat", "dog", "cat"]).tolist()
    [[False, True, False], [True, False, True], [False, True, False]]
    """
    rows = _hashable(identities)
    columns = rows if others is None else _hashable(others)
    index = {name: i for i, name in enumerate(dict.fromkeys([*rows, *columns]))}
    first, second = (torch.tensor([index[name] for name in names], dtype=torch.int64) for names in (rows, columns))
    mask = torch.cat([first[:, None] != second, torch.ones(len(rows), extra, dtype=torch.bool)], dim=1)
    if not bool(mask.any()):
        raise ValueError(
            f"all {len(columns)} samples show one image, {rows[0]!r}: an estimator needs two images at least in a batch"
            if rows
            else "an empty batch has no pairs"
        )
    return mask


def derangement(
    n: int, generator: np.random.Generator, identities: Sequence[Hashable] | Tensor | None = None
) -> Tensor:
    """A random permutation that leads each sample to another image: one negative for each positive.

    Where every image is there equally often, each pair of different images is equally likely.

    Parameters
    ----------
    n
        How many samples.
    generator
        From `isp_sim.randomness.generator`.
    identities
        What tells images apart; all are different, if not given.

    Returns
    -------
    Tensor
        (n,), int64.

    Raises
    ------
    ValueError
        If there is none, because one image makes up more than half of the batch.

    Examples
    --------
    >>> from isp_sim.randomness import generator
    >>> sorted(derangement(4, generator(0, "batch 3", 0, "mi", "negatives")).tolist())
    [0, 1, 2, 3]
    """
    names = list(range(n)) if identities is None else _hashable(identities)
    if len(names) != n:
        raise ValueError(f"{len(names)} identities for {n} samples")
    groups: dict[Hashable, list[int]] = {}
    for i, name in enumerate(names):
        groups.setdefault(name, []).append(i)
    most = max(map(len, groups.values()), default=0)
    if n == 0 or 2 * most > n:
        which = max(groups, key=lambda name: len(groups[name]), default=None)
        raise ValueError(
            f"{most} of {n} samples show the image {which!r}: no permutation leads each sample to another image; "
            "needed is a batch in which no image makes up more than half"
        )
    # the samples of an image lie side by side on a circle, so that a turn by the size of the largest group, or by as
    # much less than the whole, leads out of each of them
    members = list(groups.values())
    order = [i for g in generator.permutation(len(members)) for i in generator.permutation(members[g])]
    turn = int(generator.integers(most, n - most, endpoint=True))
    permutation = np.empty(n, dtype=np.int64)
    permutation[order] = np.roll(order, -turn)
    return torch.from_numpy(permutation)


def _hashable(identities: Sequence[Hashable] | Tensor) -> list[Hashable]:
    return identities.tolist() if isinstance(identities, Tensor) else list(identities)
