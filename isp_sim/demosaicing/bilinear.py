"""Bilinear demosaicing."""

from __future__ import annotations

from torch import Tensor

from isp_sim.demosaicing.bayer import interpolate
from isp_sim.demosaicing.demosaicer import Demosaicer


class Bilinear(Demosaicer):
    """Each missing colour is the mean of its two or four nearest samples. Stays within their range."""

    linear = True
    border = "mirrored about the outermost samples"
    halo = 1
    smallest = 2
    source = "Losson, Macaire and Yang 2010 [Losson2010]"

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        return interpolate(
            mosaic,
            cfa,
            reach=1,
            green_at_colour=lambda n: n.cross().mul_(0.25),
            colour_along_row=lambda n: n.row().mul_(0.5),
            colour_along_column=lambda n: n.column().mul_(0.5),
            colour_at_opposite=lambda n: n.corners().mul_(0.25),
        )
