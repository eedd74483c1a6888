"""A Bayer mosaic as shifted quarter-size planes: interpolation becomes sums of whole planes.

Each plane is continued beyond its edge by mirroring it about its outermost samples. That keeps the CFA's phase, and
because it commutes with every symmetric filter, planes computed on the way may be mirrored again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from isp_sim.filters import extend
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


def check_size(mosaic: Tensor) -> tuple[int, int]:
    """Height and width of a mosaic; ValueError if it holds no full period."""
    height, width = mosaic.shape[-2:]
    if min(height, width) < 2:
        raise ValueError(f"a Bayer mosaic of {height}x{width} holds no full period; it must be at least 2x2")
    return height, width


class Site(NamedTuple):
    """One of the four phases: its place, its letter, and the other colour of its row and of its column."""

    y: int
    x: int
    letter: str
    row: str
    column: str

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the phase's samples in a plane (B, H, W)."""
        return slice(None), slice(self.y, None, 2), slice(self.x, None, 2)


def sites(cfa: str) -> Iterator[Site]:
    """The four phases of a Bayer pattern."""
    rows = cfa_rows(cfa)
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            yield Site(y, x, letter, row[1 - x], rows[1 - y][x])


class Extended:
    """A full-size plane, extended once, that gives the `Neighbours` of any phase."""

    def __init__(self, plane: Tensor, reach: int) -> None:
        self._extended, self._reach, self._size = extend(plane, reach, reach), reach, (plane.shape[-2], plane.shape[-1])

    def around(self, site: Site) -> Neighbours:
        return Neighbours(self._extended, self._reach, site.y, site.x, self._size)


def opposite(letter: str) -> str:
    """Blue for red, and red for blue."""
    return "B" if letter == "R" else "R"


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
    height, width = check_size(mosaic)
    extended = Extended(mosaic[:, 0], reach)
    out = mosaic.new_empty(mosaic.shape[0], 3, height, width)
    for site in sites(cfa):
        near = extended.around(site)
        if site.letter == "G":
            planes = {"G": near(0, 0), site.row: colour_along_row(near), site.column: colour_along_column(near)}
        else:
            planes = {
                site.letter: near(0, 0),
                "G": green_at_colour(near),
                opposite(site.letter): colour_at_opposite(near),
            }
        for colour, plane in planes.items():
            out[:, "RGB".index(colour)][site.slices] = plane
    return out
