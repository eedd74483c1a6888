"""Adaptive residual interpolation."""

from __future__ import annotations

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import check_size
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.demosaicing.residual import Line, interpolate_colour, interpolate_green, masks


class Monno2017(Demosaicer):
    """Interpolates what a local regression of one colour on another leaves, not the colour itself.

    Green comes from lines along rows and along columns, each by regressions that minimise the residual or its second
    derivative, in several rounds of which each site keeps the best; all are weighted by how well they agree with
    themselves. Red and blue follow from green. Departs from the paper in that windows are binomial, which keeps
    constant fields exact, that slopes are drawn a little towards 1, which keeps them stable where the guide is flat,
    and that red and blue are not iterated. Any range; may leave the range of the samples; does
    not clip.
    """

    border = "mirrored about the outermost samples"
    halo = None
    smallest = 2
    source = "Monno, Kiku, Tanaka and Okutomi 2017 [Monno2017]"

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        check_size(mosaic)
        plane = mosaic[:, 0]
        mask = masks(plane, cfa)
        green = interpolate_green(plane, mask, Line(rounds=4, prior=0.001))
        red, blue = (interpolate_colour(plane, green, mask[a], mask[b], 6, 0.01, "laplacian") for a, b in ("RB", "BR"))
        return torch.stack([red, green, blue], dim=1)
