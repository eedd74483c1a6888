"""Mosaics of any periodic CFA: planes of one letter each, weighted means of what samples there are, and the border.

Mirroring a mosaic about its outermost samples keeps its phase for periods of 2 alone. For others the border is made of
weighted means in which what lies beyond the edge has no weight; where samples beyond it are wanted all the same, the
means of all letters are mirrored, and the pattern goes on over them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isp_sim.signal import FILTERS, cfa_rows, mixed_sites

REACH: Final = 3
"""How far a weighted mean looks. Every square of REACH + 1 sites must hold every letter: a corner sees no more."""

SPREAD: Final = 0.8
"""Standard deviation of the weights."""

TILE: Final = 384
"""Side of the tiles that a large picture is worked on in: a plane of one lies in a processor's cache."""

WEIGHTS: Final = tuple(float(np.exp(-0.5 * (k / SPREAD) ** 2)) for k in range(REACH + 1))


@lru_cache
def letters(cfa: str) -> str:
    """The letters of a pattern, in a fixed order."""
    return "".join(letter for letter in FILTERS if letter in "".join(cfa_rows(cfa)))


@lru_cache
def filters(cfa: str) -> NDArray[np.float64]:
    """How much of R, G and B each letter of `letters` lets through, (n, 3)."""
    shares = [[(colour in FILTERS[letter]) / len(FILTERS[letter]) for colour in "RGB"] for letter in letters(cfa)]
    return np.asarray(shares, dtype=np.float64).reshape(-1, 3)


@lru_cache
def is_dense(cfa: str) -> bool:
    """Whether a pattern tells three colours, all of them in every square of REACH + 1 sites."""
    rows = cfa_rows(cfa)
    if set("".join(rows)) - set(FILTERS) or np.linalg.matrix_rank(filters(cfa)) < 3:
        return False
    height, width, side = len(rows), len(rows[0]), range(REACH + 1)
    return all(
        {rows[(y + dy) % height][(x + dx) % width] for dy in side for dx in side} == set(letters(cfa))
        for y in range(height)
        for x in range(width)
    )


def check_size(mosaic: Tensor) -> tuple[int, int]:
    """Height and width of a mosaic; ValueError if a corner does not see every letter."""
    height, width = mosaic.shape[-2:]
    if min(height, width) <= REACH:
        least = f"{REACH + 1}x{REACH + 1}"
        raise ValueError(f"a mosaic of {height}x{width} need not hold every colour; it must be at least {least}")
    return height, width


def in_tiles(demosaic: Callable[[Tensor, str], Tensor], mosaic: Tensor, cfa: str, halo: int) -> Tensor:
    """``demosaic(mosaic, cfa)``, where nothing is seen from further than `halo`, in tiles that fit a processor's cache.

    The same to the last bit, since tiles begin on full periods of the pattern. On other devices, and where gradients
    are wanted, it is called once.
    """
    height, width = mosaic.shape[-2:]
    if mosaic.device.type != "cpu" or (torch.is_grad_enabled() and mosaic.requires_grad) or max(height, width) <= TILE:
        return demosaic(mosaic, cfa)
    rows = cfa_rows(cfa)
    out = mosaic.new_empty(mosaic.shape[0], 3, height, width)
    for y in range(0, height, TILE):
        top, bottom = max(0, y - halo) // len(rows) * len(rows), min(height, y + TILE + halo)
        for x in range(0, width, TILE):
            left, right = max(0, x - halo) // len(rows[0]) * len(rows[0]), min(width, x + TILE + halo)
            part = demosaic(mosaic[..., top:bottom, left:right], cfa)
            out[..., y : y + TILE, x : x + TILE] = part[..., y - top : y - top + TILE, x - left : x - left + TILE]
    return out


def masks(cfa: str, size: tuple[int, int], device: torch.device, origin: tuple[int, int] = (0, 0)) -> dict[str, Tensor]:
    """Where each letter stands, (H, W), from a top-left pixel that lies at `origin` of the pattern."""
    rows = cfa_rows(cfa)
    index = torch.tensor([[letters(cfa).index(letter) for letter in row] for row in rows], device=device)
    y, x = (
        (torch.arange(length, device=device) + start).remainder(period)
        for length, start, period in zip(size, origin, index.shape, strict=True)
    )
    at = index[y][:, x]
    return {letter: at == i for i, letter in enumerate(letters(cfa))}


def _smooth(x: Tensor) -> Tensor:
    """Weighted sum over (2 REACH + 1)^2 pixels; those beyond the edge count as 0."""
    for dim in (-1, -2):
        length = x.shape[dim]
        padding = (REACH, REACH) if dim == -1 else (0, 0, REACH, REACH)
        wide = torch.nn.functional.pad(x, padding)
        x = x * WEIGHTS[0]
        for k in range(1, REACH + 1):
            x = x + (wide.narrow(dim, REACH - k, length) + wide.narrow(dim, REACH + k, length)) * WEIGHTS[k]
    return x


def greatest(x: Tensor, reach: int) -> Tensor:
    """The greatest of (2 reach + 1)^2 pixels; those beyond the edge do not count."""
    for dim in (-1, -2):
        padding = (reach, reach) if dim == -1 else (0, 0, reach, reach)
        x = torch.nn.functional.pad(x, padding, value=-torch.inf)
        span = 1
        while span < 2 * reach + 1:
            step = min(span, 2 * reach + 1 - span)
            span += step
            x = torch.maximum(x.narrow(dim, 0, x.shape[dim] - step), x.narrow(dim, step, x.shape[dim] - step))
    return x


def mean_of(mosaic: Tensor, mask: Tensor) -> Tensor:
    """The weighted mean of the samples of one letter around each pixel, (B, 1, H, W).

    A mean lies among what it is the mean of: what rounding has carried beyond is brought back, so that equal samples
    have their own value as mean, to the last bit. That has no part in the gradient.
    """
    mean = _smooth(mosaic * mask) / _smooth(mask.to(mosaic.dtype))
    with torch.no_grad():
        high = greatest(torch.where(mask, mosaic, -torch.inf), REACH)
        low = -greatest(torch.where(mask, -mosaic, -torch.inf), REACH)
        rounding = mean.clamp(low, high) - mean
    return mean + rounding


def means(mosaic: Tensor, cfa: str) -> dict[str, Tensor]:
    """`mean_of` every letter."""
    at = masks(cfa, (mosaic.shape[-2], mosaic.shape[-1]), mosaic.device)
    return {letter: mean_of(mosaic, mask) for letter, mask in at.items()}


def keep(mosaic: Tensor, cfa: str, planes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Planes of letters with the samples where they were taken."""
    at = masks(cfa, (mosaic.shape[-2], mosaic.shape[-1]), mosaic.device)
    return {letter: torch.where(at[letter], mosaic, plane) for letter, plane in planes.items()}


def rgb_of(planes: dict[str, Tensor], cfa: str) -> Tensor:
    """R, G and B (B, 3, H, W) from the planes of all letters, by least squares where letters mix colours."""
    if not mixed_sites(cfa):
        return torch.cat([planes[colour] for colour in "RGB"], dim=1)
    solve = np.linalg.pinv(filters(cfa))
    found = []
    for row in solve:
        terms = [planes[letter] * float(weight) for letter, weight in zip(letters(cfa), row, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        found.append(total)
    return torch.cat(found, dim=1)


def fit(rgb: Tensor, mosaic: Tensor, cfa: str) -> Tensor:
    """RGB that has the samples at their sites: as they are at R, G and B; where a site mixes colours, the smallest
    change by which their mean becomes the sample, up to rounding."""
    out = [rgb[:, i : i + 1] for i in range(3)]
    for letter, mask in masks(cfa, (mosaic.shape[-2], mosaic.shape[-1]), mosaic.device).items():
        channels = ["RGB".index(colour) for colour in FILTERS[letter]]
        if len(channels) == 1:
            out[channels[0]] = torch.where(mask, mosaic, out[channels[0]])
            continue
        total = out[channels[0]]
        for channel in channels[1:]:
            total = total + out[channel]
        change = torch.where(mask, mosaic - total / len(channels), 0.0)
        for channel in channels:
            out[channel] = out[channel] + change
    return torch.cat(out, dim=1)
