"""Colour fringes: red and blue pictures that are a little larger or smaller than the green one."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from isp_sim import Degradation, Frame, Signal
from isp_sim.parameters import StageParams
from isp_sim_lens.field import offsets


class LateralChromaticAberration(Degradation):
    """Magnifies red and blue about the optical centre, relative to green. Linear RGB; may overshoot, does not clip.

    Resampled by cubic convolution; beyond the edge the outermost pixels are repeated. Green is not touched.
    """

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit")
    source = "Keys 1981 (resampling)"
    severities: ClassVar = {
        "red": (1e-3, 2e-3, 5e-3, 0.01, 0.02),
        "blue": (-1e-3, -2e-3, -5e-3, -0.01, -0.02),
    }

    class Params(StageParams):
        red: float = Field(1.0e-3, ge=-0.02, le=0.02, description="magnification of red, less 1 [1]")
        blue: float = Field(-1.0e-3, ge=-0.02, le=0.02, description="magnification of blue, less 1 [1]")
        centre_y: float = Field(0.0, ge=-0.5, le=0.5, description="optical centre below the middle [half diagonals]")
        centre_x: float = Field(0.0, ge=-0.5, le=0.5, description="optical centre right of the middle [half diagonals]")

    def apply(self, frame: Frame, p: Any, rng: Any) -> Tensor:
        red, green, blue = frame.pixels.split(1, dim=1)
        y, x = offsets(frame.pixels, p.centre_y, p.centre_x)
        half_diagonal = (frame.size[0] ** 2 + frame.size[1] ** 2) ** 0.5 / 2
        planes = []
        for plane, magnification in ((red, p.red), (blue, p.blue)):
            # a magnified picture shows at each place what lay nearer to the centre: r / (1 + m) - r
            shift = -half_diagonal * magnification / (1 + magnification)
            planes.append(_resampled(_resampled(plane, y * shift, 2), x * shift, 3))
        return torch.cat([planes[0], green, planes[1]], dim=1)


def _resampled(plane: Tensor, shift: Tensor, axis: int) -> Tensor:
    """A plane (B, 1, H, W) read at each place plus `shift` pixels along an axis, by cubic convolution."""
    length = plane.shape[axis]
    shape = [plane.shape[0], 1, 1, 1]
    shape[axis] = length
    shift = shift.expand(shape)
    whole = torch.floor(shift)
    t = shift - whole
    first = torch.arange(length, device=plane.device).reshape([-1 if a == axis else 1 for a in range(4)])
    first = first + whole.to(torch.int64)
    u = 1 - t
    weights = (  # of Keys 1981, a = -1/2; at t = 0 they are exactly 0, 1, 0, 0
        t * u * u * -0.5,
        1 - t * t * (2.5 - t * 1.5),
        t * (1 + t * (4 - t * 3)) * 0.5,
        t * t * u * -0.5,
    )
    total: Tensor | None = None
    for tap, weight in zip((-1, 0, 1, 2), weights, strict=True):
        index = (first + tap).clamp(0, length - 1).expand(plane.shape)
        term = plane.gather(axis, index) * weight
        total = term if total is None else total + term
    assert total is not None
    return total
