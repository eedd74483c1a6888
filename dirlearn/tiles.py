"""Large pictures in tiles, without seams."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GRID = 32
"""Tiles start at multiples of this, so that every network of a stride up to it sees them as it saw the whole [px]."""


def tiled(network: Callable[[Tensor], Tensor], x: Tensor, tile: int = 512, halo: int = 64, blend: int = 32) -> Tensor:
    """A network from pictures to pictures of the same size, applied in tiles.

    Neighbouring tiles overlap by ``2 * halo + blend``. The outer `halo` of each is thrown away; over the `blend` in
    between one passes linearly into the other. So where the network sees no farther than `halo`, the result is that of
    the whole picture; where it sees everything (averages over the picture), there is still no seam.

    Parameters
    ----------
    x
        (B, 3, H, W). Pictures with no side over `tile` are passed whole.
    tile
        Side of the tiles, with all their edges [px].
    """
    height, width = x.shape[-2:]
    if max(height, width) <= tile:
        return network(x)
    step = (tile - 2 * halo - blend) // GRID * GRID
    if step < GRID:
        raise ValueError(
            f"tiles of {tile} px leave no room for a halo of {halo} and a blend of {blend}; take larger ones"
        )
    out, total = torch.zeros_like(x), x.new_zeros(1, 1, height, width)
    for top, bottom in _spans(height, tile, step):
        for left, right in _spans(width, tile, step):
            made = network(x[..., top:bottom, left:right])
            rows = _weights(top, bottom, height, halo, blend, x)
            columns = _weights(left, right, width, halo, blend, x)
            weight = rows[:, None] * columns[None]
            out[..., top:bottom, left:right] += made * weight
            total[..., top:bottom, left:right] += weight
    return out / total


def _spans(size: int, tile: int, step: int) -> list[tuple[int, int]]:
    """Begin and end of the tiles along one side; the last ends with the picture."""
    spans, begin = [], 0
    while begin + tile < size:
        spans.append((begin, begin + tile))
        begin += step
    return [*spans, (begin, size)]


def _weights(begin: int, end: int, size: int, halo: int, blend: int, like: Tensor) -> Tensor:
    """0 in the halo, rising to 1 over the blend; 1 to the edge where the picture itself ends."""
    place = torch.arange(begin, end, dtype=like.dtype, device=like.device) + 0.5
    weight = torch.ones_like(place)
    if begin > 0:
        weight = weight * ((place - begin - halo) / max(blend, 1)).clamp(0, 1)
    if end < size:
        weight = weight * ((end - halo - place) / max(blend, 1)).clamp(0, 1)
    return weight
