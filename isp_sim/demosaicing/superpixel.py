"""Demosaicing without interpolation: several sites make one pixel."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.signal import cfa_rows

LARGEST: Final = 4


class Superpixel(Demosaicer):
    """Each pixel is made of the sites of one square: the mean of its samples of each colour.

    The square is the smallest that divides the pattern's period into squares with all three colours: 2x2 of a Bayer
    pattern (R, the mean of two G, B), 4x4 of Quad Bayer, 3x3 of X-Trans. The picture is smaller by that much; rows and
    columns at the end that do not fill a square are dropped. Stays within the range of the samples.
    """

    preserves_samples = False
    linear = True
    border = "none is needed"
    halo = 0
    smallest = LARGEST

    @classmethod
    def accepts(cls, cfa: str) -> bool:
        return _side(cfa) is not None

    @classmethod
    def scale(cls, cfa: str) -> int:
        if (side := _side(cfa)) is None:
            raise ValueError(f"no square of up to {LARGEST}x{LARGEST} sites of the CFA {cfa} always holds R, G and B")
        return side

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        side = self.scale(cfa)
        rows = cfa_rows(cfa)
        height, width = (length // side for length in mosaic.shape[-2:])
        if min(height, width) < 1:
            found = "x".join(map(str, mosaic.shape[-2:]))
            raise ValueError(f"a mosaic of {found} holds no {side}x{side} sites; it must be at least {side}x{side}")
        out = mosaic.new_empty(mosaic.shape[0], 3, height, width)
        down, across = len(rows) // side, len(rows[0]) // side
        for y in range(down):
            for x in range(across):
                for i, colour in enumerate("RGB"):
                    places = [
                        (y * side + dy, x * side + dx)
                        for dy in range(side)
                        for dx in range(side)
                        if rows[y * side + dy][x * side + dx] == colour
                    ]
                    seen = [
                        mosaic[:, 0, a : height * side : len(rows), b : width * side : len(rows[0])] for a, b in places
                    ]
                    out[:, i, y::down, x::across] = _mean(seen)
        return out


@lru_cache
def _side(cfa: str) -> int | None:
    """The side of the smallest squares that all hold R, G and B; None if they are none."""
    rows = cfa_rows(cfa)
    height, width = len(rows), len(rows[0])
    if set("".join(rows)) != set("RGB"):
        return None
    for side in range(2, LARGEST + 1):
        squares = [
            {rows[y + dy][x + dx] for dy in range(side) for dx in range(side)}
            for y in range(0, height - side + 1, side)
            for x in range(0, width - side + 1, side)
        ]
        if height % side == 0 == width % side and all(square == set("RGB") for square in squares):
            return side
    return None


def _mean(planes: list[Tensor]) -> Tensor:
    """The mean, as the first plane and what the others lie above it: equal planes give themselves to the last bit."""
    first, *others = planes
    if not others:
        return first
    above = torch.zeros_like(first)
    for other in others:
        above = above + (other - first)
    return first + above / len(planes)
