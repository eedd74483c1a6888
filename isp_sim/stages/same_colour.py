"""Neighbours of one colour on a mosaic of any periodic CFA.

The sites of a phase, one in each period, form a plane of their own; the same holds for those at a fixed offset from
them, so that whatever looks at neighbours becomes sums over whole planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from torch import Tensor
from torch.nn import functional

from isp_sim.signal import OPEN, Signal, cfa_rows

REACH: Final = 6
"""How far a neighbour may lie off, in rows or columns."""

DIRECTIONS: Final = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Steps along the row, the column and both diagonals; there is one the other way for each."""

Offset = tuple[int, int]


class Phase(NamedTuple):
    """A site of the CFA's period: its row, its column and its letter."""

    y: int
    x: int
    letter: str


class Sites:
    """The same-colour neighbours on a CFA.

    Examples
    --------
    >>> [phase.letter for phase in Sites("RGGB").phases()]
    ['R', 'G', 'G', 'B']
    >>> Sites("RGGB").towards(Phase(0, 1, "G"), 1, 1), Sites("RGGB").towards(Phase(0, 0, "R"), 1, 1)
    ((1, 1), (2, 2))
    """

    def __init__(self, cfa: str) -> None:
        self._rows = cfa_rows(cfa)
        self.period = len(self._rows), len(self._rows[0])

    def letter(self, y: int, x: int) -> str:
        """The letter at a row and column, any whole numbers."""
        return self._rows[y % self.period[0]][x % self.period[1]]

    def phases(self) -> Iterator[Phase]:
        """The sites of one period, row by row."""
        for y in range(self.period[0]):
            for x in range(self.period[1]):
                yield Phase(y, x, self.letter(y, x))

    def towards(self, phase: Phase, down: int, right: int) -> Offset:
        """The offset of the nearest site of the same colour in a direction; ValueError if it lies beyond `REACH`."""
        for step in range(1, REACH + 1):
            if self.letter(phase.y + step * down, phase.x + step * right) == phase.letter:
                return step * down, step * right
        raise ValueError(f"a site {phase.letter} of the CFA has no neighbour of its colour within {REACH} px")

    def within(self, phase: Phase, radius: int) -> list[Offset]:
        """The offsets of all sites of the same colour that lie no further off than `radius`, itself left out."""
        span = range(-radius, radius + 1)
        near = [(dy, dx) for dy in span for dx in span if 0 < dy * dy + dx * dx <= radius * radius]
        return [(dy, dx) for dy, dx in near if self.letter(phase.y + dy, phase.x + dx) == phase.letter]


def too_wide(signal: Signal) -> str | None:
    """Why a CFA has sites without a neighbour of their colour in some direction; None if it has none."""
    if signal.cfa in (None, OPEN):
        return None
    sites = Sites(str(signal.cfa))
    try:
        for phase in sites.phases():
            for down, right in DIRECTIONS:
                sites.towards(phase, down, right)
                sites.towards(phase, -down, -right)
    except ValueError as error:
        return f"{error}; found {signal.cfa}"
    return None


class Surroundings:
    """A plane (B, 1, H, W), with zeros beyond its edge, as the sites of each phase see it."""

    def __init__(self, plane: Tensor, period: tuple[int, int]) -> None:
        self._padded = functional.pad(plane, (REACH, REACH, REACH, REACH))
        self._size, self._period = (plane.shape[-2], plane.shape[-1]), period

    def seen(self, phase: Phase, offset: Offset) -> Tensor:
        """The values (B, 1, h, w) at an offset from each site of a phase, a view."""
        rows, columns = (
            slice(first, first + max(0, size - start), step)
            for first, size, start, step in zip(
                (phase.y + REACH + offset[0], phase.x + REACH + offset[1]),
                self._size,
                phase[:2],
                self._period,
                strict=True,
            )
        )
        return self._padded[..., rows, columns]


def of_phase(plane: Tensor, phase: Phase, period: tuple[int, int]) -> Tensor:
    """The values (..., h, w) at the sites of a phase, a view."""
    return plane[..., phase.y :: period[0], phase.x :: period[1]]
