"""Directional filtering with a decision afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import Extended, Neighbours, Phase, check_size, merge, opposite, sites, split
from isp_sim.demosaicing.demosaicer import Demosaicer

Along = Callable[[Neighbours], Tensor]
Size = tuple[int, int]
Colours = dict[str, dict[Phase, Tensor]]
"""The planes of R, G and B, as far as they are known."""


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
        size = check_size(mosaic)
        samples = split(mosaic[:, 0])
        colours: Colours = {"R": {}, "G": {}, "B": {}}
        for site in sites(cfa):
            colours[site.letter][site.phase] = samples[site.phase]
        share = _green(samples, colours, cfa, size)
        _colours_at_green(colours, cfa, size)
        _opposite_colours(colours, cfa, share, size)
        if self.refining:
            _refine_green(colours, cfa, share, size)
            _colours_at_green(colours, cfa, size)
            _refine_opposite_colours(colours, cfa, share, size)
        return merge(colours, size)


class Menon2007Unrefined(Menon2007):
    """`Menon2007` without its refining step. Any range; does not clip."""

    refining = False
    halo = 6


def _choose(share: Tensor, along_row: Tensor, along_column: Tensor) -> Tensor:
    """The one along the row where `share` is 1, along the column where it is 0, the mean where it is 1/2: exactly."""
    return along_row.mul_(share).add_(along_column.mul_(1 - share))


def _green(samples: dict[Phase, Tensor], colours: Colours, cfa: str, size: Size) -> dict[Phase, Tensor]:
    """Set green at red and blue sites. Returns for those the share of the row: 1 where the chrominance changes less
    along it, 0 where it changes less along the column, 1/2 where it changes equally."""
    extended = Extended(samples, 2, size)
    candidates: dict[Phase, tuple[Tensor, Tensor]] = {}
    across: dict[Phase, Tensor] = {}
    down: dict[Phase, Tensor] = {}
    coloured = [site for site in sites(cfa) if site.letter != "G"]
    for site in coloured:
        n, here = extended.around(site), samples[site.phase]
        twice = here * 2
        along_row = n.row().mul_(0.5).add_((twice - n.row(2)).mul_(0.25))
        along_column = n.column().mul_(0.5).add_((twice - n.column(2)).mul_(0.25))
        candidates[site.phase] = along_row, along_column
        across[site.phase], down[site.phase] = here - along_row, here - along_column

    across_, down_ = Extended(across, 2, size), Extended(down, 2, size)
    share = {}
    for site in coloured:
        less = _change(down_.around(site), transposed=True).sub_(_change(across_.around(site)))
        share[site.phase] = torch.sign(less.detach()).mul_(0.5).add_(0.5)
        colours["G"][site.phase] = _choose(share[site.phase], *candidates[site.phase])
    return share


def _change(c: Neighbours, transposed: bool = False) -> Tensor:
    """Change of the chrominance along rows, or columns, in a 5x5 window; the middle line counts three times."""

    def change(a: tuple[int, int], b: tuple[int, int]) -> Tensor:
        (ay, ax), (by, bx) = (a[::-1], b[::-1]) if transposed else (a, b)
        return (c(ay, ax) - c(by, bx)).abs_()

    def line(dy: int) -> Tensor:
        return change((dy, -2), (dy, 0)).add_(change((dy, 0), (dy, 2)))

    beside = change((-1, -1), (-1, 1)).add_(change((1, -1), (1, 1)))
    return line(0).mul_(3).add_(beside).add_(line(-2).add_(line(2)))


def _colours_at_green(colours: Colours, cfa: str, size: Size) -> None:
    """Red and blue at green sites: the mean of the two samples, plus how far green lies above its mean there."""
    extended = _extended(colours, size)
    for site in sites(cfa):
        if site.letter == "G":
            g = extended["G"].around(site)
            twice = g(0, 0) * 2
            for colour, along in ((site.row, Neighbours.row), (site.column, Neighbours.column)):
                samples = along(extended[colour].around(site))
                colours[colour][site.phase] = samples.add_(twice - along(g)).mul_(0.5)


def _opposite_colours(colours: Colours, cfa: str, share: dict[Phase, Tensor], size: Size) -> None:
    """Red at blue sites and blue at red ones, along the direction decided for green."""
    extended = _extended(colours, size)
    for site in sites(cfa):
        if site.letter == "G":
            continue
        c, o = extended[site.letter].around(site), extended[opposite(site.letter)].around(site)
        twice = c(0, 0) * 2
        row, column = (along(o).add_(twice - along(c)).mul_(0.5) for along in (Neighbours.row, Neighbours.column))
        colours[opposite(site.letter)][site.phase] = _choose(share[site.phase], row, column)


def _bend(n: Neighbours, along: Along) -> Tensor:
    """How far the mean of three neighbours in line lies above the middle one; 0 exactly where they are equal."""
    return along(n).sub_(n(0, 0) * 2).div_(3)


def _refine_green(colours: Colours, cfa: str, share: dict[Phase, Tensor], size: Size) -> None:
    extended = _extended(colours, size)
    for site in sites(cfa):
        if site.letter != "G":
            c, g = extended[site.letter].around(site), extended["G"].around(site)
            colours["G"][site.phase] = _refined(g, c, share[site.phase])


def _refine_opposite_colours(colours: Colours, cfa: str, share: dict[Phase, Tensor], size: Size) -> None:
    extended = _extended(colours, size)
    for site in sites(cfa):
        if site.letter != "G":
            c, o = extended[site.letter].around(site), extended[opposite(site.letter)].around(site)
            colours[opposite(site.letter)][site.phase] = _refined(o, c, share[site.phase])


def _refined(n: Neighbours, sampled: Neighbours, share: Tensor) -> Tensor:
    """`n` with its high frequencies replaced by those of the colour that was sampled."""
    row, column = (
        _bend(n, along).sub_(_bend(sampled, along)).add_(n(0, 0)) for along in (Neighbours.row, Neighbours.column)
    )
    return _choose(share, row, column)


def _extended(colours: Colours, size: Size) -> dict[str, Extended]:
    return {colour: Extended(planes, 1, size) for colour, planes in colours.items()}
