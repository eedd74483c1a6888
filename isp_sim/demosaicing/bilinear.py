"""Bilinear demosaicing."""

from __future__ import annotations

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import check_size
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.elementary import between
from isp_sim.signal import cfa_rows


class Bilinear(Demosaicer):
    """Each missing colour is the mean of its two or four nearest samples. Stays within their range."""

    linear = True
    border = "mirrored about the outermost samples"
    halo = 1
    smallest = 2
    source = "Losson, Macaire and Yang 2010 [Losson2010]"

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        height, width = check_size(mosaic)
        extended = torch.nn.functional.pad(mosaic, (1, 1, 1, 1), mode="reflect")[:, 0]
        out = mosaic.new_empty(mosaic.shape[0], 3, height, width)
        # whole rows at once, for the sites of both letters: cheaper than to step over every other sample
        for y, letters in enumerate(cfa_rows(cfa)):
            above, here, below = (extended[:, y + dy : height + dy : 2] for dy in (0, 1, 2))
            samples = here[..., 1:-1]
            row, column = here[..., :-2] + here[..., 2:], above[..., 1:-1] + below[..., 1:-1]
            cross = (column + row).mul_(0.25)
            corners = (above[..., :-2] + below[..., 2:]).add_(above[..., 2:] + below[..., :-2]).mul_(0.25)
            colour = "R" if "R" in letters else "B"
            is_colour = mosaic.new_tensor([letter == colour for letter in letters]).repeat(-(-width // 2))[:width]
            its_own, others = (0, 2) if colour == "R" else (2, 0)
            between(is_colour, samples, row.mul_(0.5), out=out[:, its_own, y::2])
            between(is_colour, cross, samples, out=out[:, 1, y::2])
            between(is_colour, corners, column.mul_(0.5), out=out[:, others, y::2])
        return out
