"""Adaptive colour plan interpolation."""

from __future__ import annotations

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import Extended, Neighbours, check_size, opposite, sites
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
        height, width = check_size(mosaic)
        raw = mosaic[:, 0]
        samples = Extended(raw, 2)
        out = mosaic.new_empty(mosaic.shape[0], 3, height, width)

        green = raw.clone()
        for site in sites(cfa):
            if site.letter != "G":
                green[site.slices] = _green(samples.around(site))
        out[:, 1] = green

        greens = Extended(green, 1)
        for site in sites(cfa):
            c, g = samples.around(site), greens.around(site)
            if site.letter == "G":
                planes = {
                    site.row: (c.row() + (g(0, 0) * 2 - g.row())) * 0.5,
                    site.column: (c.column() + (g(0, 0) * 2 - g.column())) * 0.5,
                }
            else:
                planes = {site.letter: c(0, 0), opposite(site.letter): _along_diagonal(c, g)}
            for colour, plane in planes.items():
                out[:, "RGB".index(colour)][site.slices] = plane
        return out


def choose(change_a: Tensor, a: Tensor, change_b: Tensor, b: Tensor) -> Tensor:
    """The one that changes less; the mean of both where they change equally."""
    return torch.where(change_a < change_b, a, torch.where(change_b < change_a, b, (a + b) * 0.5))


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
