"""Two residual interpolations, blended by how far the colours move together."""

from __future__ import annotations

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import check_size
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.demosaicing.residual import (
    TINY,
    Line,
    bend,
    interpolate_colour,
    interpolate_green,
    masks,
    refine_green,
    window,
)


class ResidualBlend(Demosaicer):
    """Two adaptive residual interpolations, blended by how far the colours move together.

    One expects the fine detail of all colours to be the same, as in most photographs of little saturation; the other
    lets every neighbourhood find its own slope. The share of each follows from how much of the detail the colours of
    the first one have in common. Any range; may leave the range of the samples; does not clip.
    """

    border = "mirrored about the outermost samples"
    halo = None
    smallest = 2
    source = "after Monno, Kiku, Tanaka and Okutomi 2017 [Monno2017]; the prior and the blend are our own"

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        check_size(mosaic)
        plane = mosaic[:, 0]
        mask = masks(plane, cfa)
        alike, free = _alike(plane, mask), _free(plane, mask)
        return free + (alike - free) * _in_common(alike)[:, None]


def _alike(plane: Tensor, mask: dict[str, Tensor]) -> Tensor:
    def rgb(green: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        red, blue = (interpolate_colour(plane, green, mask[a], mask[b], 10, 0.5, "laplacian") for a, b in ("RB", "BR"))
        return red, green, blue

    first = rgb(interpolate_green(plane, mask, Line(rounds=6, prior=0.05, fits=("variance",))))
    return torch.stack(rgb(refine_green(plane, first, mask, 6, 0.05)), dim=1)


def _free(plane: Tensor, mask: dict[str, Tensor]) -> Tensor:
    green = interpolate_green(plane, mask, Line(rounds=4, prior=0.0005, corrected=False))
    red, blue = (interpolate_colour(plane, green, mask[a], mask[b], 6, 0.005, "variance") for a, b in ("RB", "BR"))
    return torch.stack([red, green, blue], dim=1)


def _in_common(rgb: Tensor, half: float = 0.005) -> Tensor:
    """1 where the colours' detail is the same, 1/2 where the part that differs has `half` of the energy."""
    differs = total = torch.zeros_like(rgb[:, 0])
    for colour in (0, 2):
        for dim in (1, 2):
            a, b = bend(rgb[:, colour], dim, 1), bend(rgb[:, 1], dim, 1)
            differs, total = differs + (a - b) * (a - b), total + (a * a + b * b)
    for step in (1, 2, 4, 8, 16):
        differs, total = window(differs, 2, 2, (step, step)), window(total, 2, 2, (step, step))
    ratio = (differs / half + TINY) / (total + TINY)
    return 1 / (1 + ratio * ratio)
