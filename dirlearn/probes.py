"""What a representation tells of the degradation, of the scene, and whether it tells anything at all.

Functions of arrays: rows are pictures, columns are numbers of their representations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PENALTIES: Final = tuple(float(p) for p in np.logspace(-6, 2, 9))
"""Of the ridge regression, relative to the number of rows; the best is found within the training folds."""
ACTIVE: Final = 0.01
"""A channel is active if the variance of its mean is more than this share of the variance of its posterior."""
FEWEST_ACTIVE: Final = 0.1
LOWEST_RANK: Final = 1.5


def folds_by_group(groups: Sequence[Any], count: int = 5) -> NDArray[np.int64]:
    """The fold of each row, so that all rows of a group are in one fold, and folds have nearly as many groups.

    Raises
    ------
    ValueError
        If there are fewer than two groups, so that nothing can be held back.

    Examples
    --------
    >>> folds_by_group(["a", "a", "b", "c"], 2)
    array([0, 0, 1, 0])
    """
    found = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if len(found) < 2:
        raise ValueError(f"nothing can be held back of {len(found)} group; take at least two")
    return np.array([found[group] % count for group in groups], dtype=np.int64)


def r_squared(x: NDArray[Any], y: NDArray[Any], groups: Sequence[Any], folds: int = 5) -> Array:
    """Share of the variance of each target that a ridge regression reads from features of groups it has not seen.

    Features are standardised by the training rows, and the penalty of each target is chosen by a cross-validation
    within them, by groups as well. 1: the target stands in the features; 0 and less: what was read is worth no more
    than the mean.

    Parameters
    ----------
    x
        (N, D) features.
    y
        (N, T) targets. One that does not vary has no share: NaN.
    groups
        (N,): rows of one group are never on both sides.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    fold = folds_by_group(groups, folds)
    read = np.empty_like(y)
    for held in np.unique(fold):
        rows, test = fold != held, fold == held
        inner = [group for group, kept in zip(groups, rows, strict=True) if kept]
        chosen = _chosen(x[rows], y[rows], inner, folds - 1)
        read[test] = np.take_along_axis(_ridge(x[rows], y[rows], x[test]), chosen[None, None], axis=0)[0]
    spread = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    spread[np.ptp(y, axis=0) == 0] = np.nan
    share: Array = 1 - ((y - read) ** 2).sum(axis=0) / spread
    return share


def _chosen(x: Array, y: Array, groups: Sequence[Any], folds: int) -> NDArray[np.int64]:
    """The place of the best penalty for each target."""
    if len(set(groups)) < 2:
        return np.full(y.shape[1], len(PENALTIES) // 2)
    fold = folds_by_group(groups, max(folds, 2))
    error = np.zeros((len(PENALTIES), y.shape[1]))
    for held in np.unique(fold):
        rows, test = fold != held, fold == held
        error += ((_ridge(x[rows], y[rows], x[test]) - y[test]) ** 2).sum(axis=1)
    return np.asarray(error.argmin(axis=0))


def _ridge(x: Array, y: Array, test: Array) -> Array:
    """What ridge regressions read, (penalties, rows, targets)."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    # a channel that stands still says nothing; what rounding leaves of it must not be blown up
    scale = np.where(deviation > 1e-6 * (np.abs(mean) + deviation.max(initial=0)), deviation, np.inf)
    u, s, v = np.linalg.svd((x - mean) / scale, full_matrices=False)
    centre = y.mean(axis=0)
    shrunk = np.stack([s / (s**2 + penalty * len(x)) for penalty in PENALTIES])
    weights = np.einsum("dk,pk,kt->pdt", v.T, shrunk, u.T @ (y - centre), optimize=True)
    read: Array = ((test - mean) / scale) @ weights + centre
    return read


def centred(x: NDArray[Any], scenes: Sequence[Any]) -> Array:
    """Numbers (N, D) less the mean over all rows of the same scene: what is left moves with the degradation alone."""
    names = list(dict.fromkeys(scenes))
    place = np.array([names.index(scene) for scene in scenes])
    left = np.array(x, np.float64)
    for number in range(len(names)):
        left[place == number] -= left[place == number].mean(axis=0)
    # what rounding leaves of a number that stands still is no movement
    left[:, np.abs(left).max(axis=0) <= 1e-6 * np.abs(x).max(axis=0)] = 0
    return left


def retrieval(queries: NDArray[Any], gallery: NDArray[Any], truth: NDArray[np.int64]) -> float:
    """Share of the queries (N, D) whose most similar row of the gallery (S, D) is the true one.

    Similar by the cosine, after the mean of the gallery was taken off: an offset that all share says nothing. Where
    several rows are equally similar, the share of one chosen blindly among them counts; chance is 1 / S.
    """
    mean = np.asarray(gallery, np.float64).mean(axis=0)
    scores = _unit(queries - mean) @ _unit(gallery - mean).T
    best = scores >= scores.max(axis=1, keepdims=True) - 1e-9
    found = best[np.arange(len(truth)), truth] / best.sum(axis=1)
    return float(found.mean())


def _unit(x: NDArray[Any]) -> Array:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(x / np.where(length > 1e-9, length, np.inf), np.float64)


def effective_rank(covariance: NDArray[Any]) -> float:
    """How many directions a representation uses: exp of the entropy of its covariance's eigenvalues [Roy2007].

    Examples
    --------
    >>> round(effective_rank(np.eye(3)), 6), effective_rank(np.diag([1.0, 0.0, 0.0])), effective_rank(np.zeros((2, 2)))
    (3.0, 1.0, 0.0)
    """
    values = np.linalg.eigvalsh(covariance).clip(min=0)
    if values.sum() <= 0:
        return 0.0
    shares = values / values.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


@dataclass(frozen=True)
class Activity:
    """Whether a representation's channels are in use.

    Attributes
    ----------
    active
        Share of the channels whose variance over scenes and places is more than `ACTIVE` of the reference.
    rank
        Effective rank, of as many as there are channels.
    channels
        Number of channels.
    """

    active: float
    rank: float
    channels: int

    @property
    def collapsed(self) -> bool:
        """Whether hardly anything of it is in use."""
        return self.active < FEWEST_ACTIVE or self.rank < min(LOWEST_RANK, 0.75 * self.channels)


def activity(covariance: NDArray[Any], posterior: NDArray[Any] | None) -> Activity:
    """How much of a representation is in use, as [Burda2016] counts active units.

    Parameters
    ----------
    covariance
        (C, C), of the posterior's mean over scenes and places.
    posterior
        (C,) mean variance of the posterior. None where there is none, as in an auto-encoder: then the mean variance of
        all channels is the reference.
    """
    variance = np.diag(covariance)
    reference = np.full_like(variance, variance.mean()) if posterior is None else posterior
    floor = np.finfo(np.float32).eps ** 2  # below it, variance is what rounding leaves
    return Activity(
        float(((variance > ACTIVE * reference) & (variance > floor)).mean()),
        effective_rank(covariance) if variance.max() > floor else 0.0,
        len(variance),
    )


def targets(drawn: Sequence[Mapping[str, float | str]]) -> dict[str, Array]:
    """What was drawn for each row, as numbers (N,); NaN where nothing was. What does not vary is left out.

    A choice becomes one target for each value, 1 where it was drawn; of two values the second alone says all.
    """
    found: dict[str, Array] = {}
    for name in dict.fromkeys(name for row in drawn for name in row):
        values = [row.get(name) for row in drawn]
        kinds = sorted({value for value in values if isinstance(value, str)})
        if not kinds:
            found[name] = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        for kind in kinds[1:] if len(kinds) == 2 else kinds:
            found[f"{name} = {kind}"] = np.array([np.nan if v is None else float(v == kind) for v in values])
    return {name: y for name, y in found.items() if np.unique(y[~np.isnan(y)]).size > 1}


def read_targets(
    x: NDArray[Any], asked: Mapping[str, Array], groups: Sequence[Any], scenes: Sequence[Any] | None = None
) -> dict[str, float | None]:
    """`r_squared` of each target from features (N, D); None where too little was drawn to say.

    With `scenes`, features and targets are `centred` first: what is read is how far a copy differs from the others of
    its scene.
    """
    found: dict[str, float | None] = dict.fromkeys(asked)
    masks: dict[bytes, list[str]] = {}
    for name, y in asked.items():
        masks.setdefault((~np.isnan(y)).tobytes(), []).append(name)
    for mask, names in masks.items():
        rows = np.frombuffer(mask, dtype=bool)
        kept = [group for group, here in zip(groups, rows, strict=True) if here]
        if len(set(kept)) < 2:
            continue
        seen, y = x[rows], np.stack([asked[name][rows] for name in names], axis=1)
        if scenes is not None:
            within = [scene for scene, here in zip(scenes, rows, strict=True) if here]
            seen, y = centred(seen, within), centred(y, within)
        shares = r_squared(seen, y, kept)
        found |= {n: round(float(s), 4) if np.isfinite(s) else None for n, s in zip(names, shares, strict=True)}
    return found
