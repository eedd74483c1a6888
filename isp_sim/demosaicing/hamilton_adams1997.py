"""Adaptive colour plan interpolation."""

from __future__ import annotations

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import Extended, Neighbours, Phase, check_size, merge, opposite, sites, split
from isp_sim.demosaicing.demosaicer import Demosaicer


class HamiltonAdams1997(Demosaicer):
    """Interpolates along the direction of least change, corrected by the second derivative of the other colour.

    Green first, along the row or the column; then red and blue from their samples and the green, at red and blue
    sites along one of the diagonals. Where two directions change equally, the mean of both is taken. Any range; may
    leave the range of the samples at edges; does not clip.
    """

    border = "mirrored about the outermost samples"
    halo = 3
    smallest = 2
    source = "Hamilton and Adams 1997, US patent 5629734 [HamiltonAdams1997]"

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        size = check_size(mosaic)
        samples = split(mosaic[:, 0])
        extended = Extended(samples, 2, size)
        green = {
            site.phase: samples[site.phase] if site.letter == "G" else _green(extended.around(site))
            for site in sites(cfa)
        }
        greens = Extended(green, 1, size)
        colours: dict[str, dict[Phase, Tensor]] = {"R": {}, "G": green, "B": {}}
        for site in sites(cfa):
            c, g = extended.around(site), greens.around(site)
            if site.letter == "G":
                twice = g(0, 0) * 2
                colours[site.row][site.phase] = c.row().add_(twice - g.row()).mul_(0.5)
                colours[site.column][site.phase] = c.column().add_(twice - g.column()).mul_(0.5)
            else:
                colours[site.letter][site.phase] = samples[site.phase]
                colours[opposite(site.letter)][site.phase] = _along_diagonal(c, g)
        return merge(colours, size)


def choose(change_a: Tensor, a: Tensor, change_b: Tensor, b: Tensor) -> Tensor:
    """The one that changes less; the mean of both where they change equally."""
    share = torch.sign((change_b - change_a).detach()).mul_(0.5).add_(0.5)
    return a * share + b * (1 - share)


def _green(n: Neighbours) -> Tensor:
    across, down = n(0, 0) * 2 - n.row(2), n(0, 0) * 2 - n.column(2)
    return choose(
        (n(0, -1) - n(0, 1)).abs() + across.abs(),
        n.row() * 0.5 + across * 0.25,
        (n(-1, 0) - n(1, 0)).abs() + down.abs(),
        n.column() * 0.5 + down * 0.25,
    )


def _along_diagonal(c: Neighbours, g: Neighbours) -> Tensor:
    falling, rising = (g(0, 0) * 2 - (g(-1, -s) + g(1, s)) for s in (1, -1))
    return choose(
        (c(-1, -1) - c(1, 1)).abs() + falling.abs(),
        ((c(-1, -1) + c(1, 1)) + falling) * 0.5,
        (c(-1, 1) - c(1, -1)).abs() + rising.abs(),
        ((c(-1, 1) + c(1, -1)) + rising) * 0.5,
    )
