"""Directional filtering with a decision afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import Extended, Neighbours, Site, check_size, opposite, sites
from isp_sim.demosaicing.demosaicer import Demosaicer

Along = Callable[[Neighbours], Tensor]


class Menon2007(Demosaicer):
    """Green is interpolated along rows and along columns; the smoother chrominance decides; then all is refined.

    The refining step replaces the high frequencies of each interpolated colour by those of the colour that was
    sampled there. Where both directions are equally smooth, the mean of both is taken, so that the result does not
    depend on which way the picture lies. Any range; may leave the range of the samples at edges; does not clip.
    """

    refining: ClassVar[bool] = True
    border = "mirrored about the outermost samples"
    halo = 8
    smallest = 2
    source = "Menon, Andriani and Calvagno 2007 [Menon2007]"

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        height, width = check_size(mosaic)
        raw = mosaic[:, 0]
        green, direction = _green(raw, cfa)
        out = mosaic.new_empty(mosaic.shape[0], 3, height, width)
        for site in sites(cfa):
            if site.letter != "G":
                out[:, "RGB".index(site.letter)][site.slices] = raw[site.slices]
        out[:, 1] = green
        _colours_at_green(out, cfa)
        _opposite_colours(out, cfa, direction)
        if self.refining:
            _refine_green(out, cfa, direction)
            _colours_at_green(out, cfa)
            _refine_opposite_colours(out, cfa, direction)
        return out


class Menon2007Unrefined(Menon2007):
    """`Menon2007` without its refining step. Any range; does not clip."""

    refining = False
    halo = 6


def _choose(direction: Tensor, along_row: Tensor, along_column: Tensor) -> Tensor:
    """By the sign of `direction`: along the row where it is positive, the column where negative, the mean where 0."""
    return torch.where(
        direction > 0, along_row, torch.where(direction < 0, along_column, (along_row + along_column) * 0.5)
    )


def _green(raw: Tensor, cfa: str) -> tuple[Tensor, dict[Site, Tensor]]:
    """Green everywhere, and by how much the chrominance changes less along the row, at red and blue sites."""
    samples = Extended(raw, 2)
    candidates: dict[Site, tuple[Tensor, Tensor]] = {}
    across, down = torch.zeros_like(raw), torch.zeros_like(raw)
    for site in sites(cfa):
        if site.letter != "G":
            n = samples.around(site)
            along_row = n.row() * 0.5 + (n(0, 0) * 2 - n.row(2)) * 0.25
            along_column = n.column() * 0.5 + (n(0, 0) * 2 - n.column(2)) * 0.25
            candidates[site] = along_row, along_column
            across[site.slices], down[site.slices] = n(0, 0) - along_row, n(0, 0) - along_column

    across_, down_ = Extended(across, 2), Extended(down, 2)
    green = raw.clone()
    direction = {}
    for site, (along_row, along_column) in candidates.items():
        direction[site] = _change(down_.around(site), transposed=True) - _change(across_.around(site))
        green[site.slices] = _choose(direction[site], along_row, along_column)
    return green, direction


def _change(c: Neighbours, transposed: bool = False) -> Tensor:
    """Change of the chrominance along rows, or columns, in a 5x5 window; the middle line counts three times."""

    def at(dy: int, dx: int) -> Tensor:
        return c(dx, dy) if transposed else c(dy, dx)

    def line(dy: int) -> Tensor:
        return (at(dy, -2) - at(dy, 0)).abs() + (at(dy, 0) - at(dy, 2)).abs()

    beside = (at(-1, -1) - at(-1, 1)).abs() + (at(1, -1) - at(1, 1)).abs()
    return (line(0) * 3 + beside) + (line(-2) + line(2))


def _colours_at_green(out: Tensor, cfa: str) -> None:
    """Red and blue at green sites: the mean of the two samples, plus how far green lies above its mean there."""
    red, green, blue = (Extended(out[:, i], 1) for i in range(3))
    for site in sites(cfa):
        if site.letter == "G":
            g = green.around(site)
            for colour, along in ((site.row, Neighbours.row), (site.column, Neighbours.column)):
                c = (red if colour == "R" else blue).around(site)
                plane = (along(c) + (g(0, 0) * 2 - along(g))) * 0.5
                out[:, "RGB".index(colour)][site.slices] = plane


def _opposite_colours(out: Tensor, cfa: str, direction: dict[Site, Tensor]) -> None:
    """Red at blue sites and blue at red ones, along the direction decided for green."""
    red, blue = Extended(out[:, 0], 1), Extended(out[:, 2], 1)
    for site, way in direction.items():
        here, other = (red, blue) if site.letter == "R" else (blue, red)
        c, o = here.around(site), other.around(site)
        along_row, along_column = (
            (along(o) + (c(0, 0) * 2 - along(c))) * 0.5 for along in (Neighbours.row, Neighbours.column)
        )
        out[:, "RGB".index(opposite(site.letter))][site.slices] = _choose(way, along_row, along_column)


def _bend(n: Neighbours, along: Along) -> Tensor:
    """How far the mean of three neighbours in line lies above the middle one; 0 exactly where they are equal."""
    return (along(n) - n(0, 0) * 2) / 3


def _refine_green(out: Tensor, cfa: str, direction: dict[Site, Tensor]) -> None:
    red, green, blue = (Extended(out[:, i], 1) for i in range(3))
    for site, way in direction.items():
        c, g = (red if site.letter == "R" else blue).around(site), green.around(site)
        along_row, along_column = (
            g(0, 0) + (_bend(g, along) - _bend(c, along)) for along in (Neighbours.row, Neighbours.column)
        )
        out[:, 1][site.slices] = _choose(way, along_row, along_column)


def _refine_opposite_colours(out: Tensor, cfa: str, direction: dict[Site, Tensor]) -> None:
    red, blue = Extended(out[:, 0], 1), Extended(out[:, 2], 1)
    for site, way in direction.items():
        here, other = (red, blue) if site.letter == "R" else (blue, red)
        c, o = here.around(site), other.around(site)
        along_row, along_column = (
            o(0, 0) + (_bend(o, along) - _bend(c, along)) for along in (Neighbours.row, Neighbours.column)
        )
        out[:, "RGB".index(opposite(site.letter))][site.slices] = _choose(way, along_row, along_column)
