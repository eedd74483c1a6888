"""A Bayer mosaic as four quarter-size planes, one a phase: interpolation becomes sums of whole planes.

Each plane is continued beyond its edge by mirroring the mosaic about its outermost samples. That keeps the CFA's phase,
and because it commutes with every symmetric filter, planes computed on the way may be mirrored again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from isp_sim.signal import cfa_rows

Phase = tuple[int, int]
"""Row and column, 0 or 1, of a site within the period."""

Interpolate = Callable[["Neighbours"], Tensor]


class Site(NamedTuple):
    """One of the four phases: its place, its letter, and the other colour of its row and of its column."""

    y: int
    x: int
    letter: str
    row: str
    column: str

    @property
    def phase(self) -> Phase:
        return self.y, self.x

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


def opposite(letter: str) -> str:
    """Blue for red, and red for blue."""
    return "B" if letter == "R" else "R"


def check_size(mosaic: Tensor) -> tuple[int, int]:
    """Height and width of a mosaic; ValueError if it holds no full period."""
    height, width = mosaic.shape[-2:]
    if min(height, width) < 2:
        raise ValueError(f"a Bayer mosaic of {height}x{width} holds no full period; it must be at least 2x2")
    return height, width


def split(plane: Tensor) -> dict[Phase, Tensor]:
    """The four phases of a plane (B, H, W), each of its own: neighbours in a row lie side by side in memory."""
    return {(y, x): plane[:, y::2, x::2].contiguous() for y in (0, 1) for x in (0, 1)}


def merge(colours: Mapping[str, Mapping[Phase, Tensor]], size: tuple[int, int]) -> Tensor:
    """The picture (B, 3, H, W) of the planes of R, G and B at each phase."""
    like = colours["G"][0, 0]
    out = like.new_empty(like.shape[0], 3, *size)
    for i, colour in enumerate("RGB"):
        for (y, x), plane in colours[colour].items():
            out[:, i, y::2, x::2] = plane
    return out


class Neighbours:
    """The samples around one phase of the mosaic.

    ``n(dy, dx)`` is the plane (B, h, w) of the samples `dy` below and `dx` to the right of each site of the
    phase. Beyond the edge the mosaic is mirrored about its outermost samples, which keeps the CFA's phase.
    """

    def __init__(self, extended: Mapping[Phase, Tensor], margin: int, phase: Phase, size: tuple[int, int]) -> None:
        self._extended, self._margin, (self._y, self._x) = extended, margin, phase
        self._h, self._w = -(-(size[0] - self._y) // 2), -(-(size[1] - self._x) // 2)

    def __call__(self, dy: int, dx: int) -> Tensor:
        y, x = self._y + dy, self._x + dx
        top, left = self._margin + y // 2, self._margin + x // 2
        return self._extended[y % 2, x % 2][:, top : top + self._h, left : left + self._w]

    def cross(self, step: int = 1) -> Tensor:
        """Sum of the four samples above, below, left and right, paired so that equal samples add exactly."""
        return self.column(step).add_(self.row(step))

    def corners(self) -> Tensor:
        """Sum of the four diagonal neighbours."""
        return (self(-1, -1) + self(1, 1)).add_(self(-1, 1) + self(1, -1))

    def row(self, step: int = 1) -> Tensor:
        """Sum of the samples left and right."""
        return self(0, -step) + self(0, step)

    def column(self, step: int = 1) -> Tensor:
        """Sum of the samples above and below."""
        return self(-step, 0) + self(step, 0)


class Extended:
    """The phases of a full-size plane, each extended once, that give the `Neighbours` of any phase.

    Parameters
    ----------
    planes
        The phases that neighbours will be asked for, as from `split`.
    reach
        The largest offset that will be asked for.
    size
        (H, W) of the full-size plane.
    """

    def __init__(self, planes: Mapping[Phase, Tensor], reach: int, size: tuple[int, int]) -> None:
        self._margin, self._size = -(-reach // 2), size
        self._planes = {phase: self._extend(plane, phase) for phase, plane in planes.items()}

    def _extend(self, plane: Tensor, phase: Phase) -> Tensor:
        margin, (height, width) = self._margin, plane.shape[-2:]
        # one more below and on the right, because phases of an odd size differ by one
        out = plane.new_empty(plane.shape[0], height + 2 * margin + 1, width + 2 * margin + 1)
        inner = slice(margin, margin + width)
        out[:, margin : margin + height, inner] = plane
        above, below = _beyond(height, margin, phase[0], self._size[0])
        left, right = _beyond(width, margin, phase[1], self._size[1])
        for k, row in enumerate(above):
            out[:, k, inner] = plane[:, row]
        for k, row in enumerate(below, margin + height):
            out[:, k, inner] = plane[:, row]
        for k, column in enumerate(left):
            out[:, :, k] = out[:, :, margin + column]
        for k, column in enumerate(right, margin + width):
            out[:, :, k] = out[:, :, margin + column]
        return out

    def around(self, site: Site) -> Neighbours:
        return Neighbours(self._planes, self._margin, site.phase, self._size)


def _beyond(length: int, margin: int, offset: int, full: int) -> tuple[list[int], list[int]]:
    """Which samples of a phase stand in the margins before and after it, along one axis."""
    period = 2 * (full - 1)

    def mirror(index: int) -> int:
        place = (2 * index + offset) % period
        return (min(place, period - place) - offset) // 2

    return [mirror(k) for k in range(-margin, 0)], [mirror(k) for k in range(length, length + margin + 1)]


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
    size = check_size(mosaic)
    samples = split(mosaic[:, 0])
    extended = Extended(samples, reach, size)
    colours: dict[str, dict[Phase, Tensor]] = {"R": {}, "G": {}, "B": {}}
    for site in sites(cfa):
        near, here = extended.around(site), samples[site.phase]
        if site.letter == "G":
            planes = {"G": here, site.row: colour_along_row(near), site.column: colour_along_column(near)}
        else:
            planes = {site.letter: here, "G": green_at_colour(near), opposite(site.letter): colour_at_opposite(near)}
        for colour, plane in planes.items():
            colours[colour][site.phase] = plane
    return merge(colours, size)
