"""A Bayer mosaic as shifted quarter-size planes: interpolation becomes sums of whole planes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from isp_sim.signal import cfa_rows

Interpolate = Callable[["Neighbours"], Tensor]


class Neighbours:
    """The samples around one phase of the mosaic.

    ``n(dy, dx)`` is the plane (B, h, w) of the samples `dy` below and `dx` to the right of each site of the
    phase. Beyond the edge the mosaic is mirrored about its outermost samples, which keeps the CFA's phase.
    """

    def __init__(self, extended: Tensor, reach: int, y: int, x: int, size: tuple[int, int]) -> None:
        self._extended, self._y, self._x = extended, y + reach, x + reach
        self._h, self._w = -(-(size[0] - y) // 2), -(-(size[1] - x) // 2)

    def __call__(self, dy: int, dx: int) -> Tensor:
        y, x = self._y + dy, self._x + dx
        return self._extended[:, y : y + 2 * self._h : 2, x : x + 2 * self._w : 2]

    def cross(self, step: int = 1) -> Tensor:
        """Sum of the four samples above, below, left and right, paired so that equal samples add exactly."""
        return (self(-step, 0) + self(step, 0)) + (self(0, -step) + self(0, step))

    def corners(self) -> Tensor:
        """Sum of the four diagonal neighbours."""
        return (self(-1, -1) + self(1, 1)) + (self(-1, 1) + self(1, -1))

    def row(self, step: int = 1) -> Tensor:
        """Sum of the samples left and right."""
        return self(0, -step) + self(0, step)

    def column(self, step: int = 1) -> Tensor:
        """Sum of the samples above and below."""
        return self(-step, 0) + self(step, 0)


def _mirrored(length: int, reach: int, device: torch.device) -> Tensor:
    """Indices of -reach ... length + reach - 1, mirrored about the first and the last."""
    period = 2 * (length - 1)
    index = torch.arange(-reach, length + reach, device=device).remainder(period)
    return torch.minimum(index, period - index)


def interpolate(
    mosaic: Tensor,
    cfa: str,
    reach: int,
    green_at_colour: Interpolate,
    colour_along_row: Interpolate,
    colour_along_column: Interpolate,
    colour_at_opposite: Interpolate,
) -> Tensor:
    """Fill in a Bayer mosaic by four rules.

    Parameters
    ----------
    mosaic
        (B, 1, H, W), H and W at least 2.
    cfa
        RGGB, BGGR, GRBG or GBRG.
    reach
        The largest offset that a rule asks for.
    green_at_colour
        Green at a red or blue site.
    colour_along_row, colour_along_column
        At a green site, the colour whose samples lie left and right, and the one whose samples lie above and
        below.
    colour_at_opposite
        Red at a blue site, and blue at a red one.
    """
    height, width = mosaic.shape[-2:]
    if min(height, width) < 2:
        raise ValueError(f"a Bayer mosaic of {height}x{width} holds no full period; it must be at least 2x2")
    extended = mosaic[:, 0]
    extended = extended[:, _mirrored(height, reach, mosaic.device)][:, :, _mirrored(width, reach, mosaic.device)]
    out = mosaic.new_empty(mosaic.shape[0], 3, height, width)
    rows = cfa_rows(cfa)
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            near = Neighbours(extended, reach, y, x, (height, width))
            if letter == "G":
                planes = {
                    "G": near(0, 0),
                    row[1 - x]: colour_along_row(near),
                    rows[1 - y][x]: colour_along_column(near),
                }
            else:
                opposite = "B" if letter == "R" else "R"
                planes = {letter: near(0, 0), "G": green_at_colour(near), opposite: colour_at_opposite(near)}
            for colour, plane in planes.items():
                out[:, "RGB".index(colour), y::2, x::2] = plane
    return out
