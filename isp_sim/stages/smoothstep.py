"""The S-shaped tone curve 3x^2 - 2x^3, both ways in closed form."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from isp_sim.elementary import blockwise
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage


def smoothstep(x: Tensor) -> Tensor:
    """3x^2 - 2x^3 on [0, 1]. Beyond, the curve goes on as it began, f(x + 1) = f(x) + 1: it rises everywhere, and
    nothing is clipped.

    Examples
    --------
    >>> smoothstep(torch.tensor([0.0, 0.25, 0.5, 1.0, 1.25])).tolist()
    [0.0, 0.15625, 0.5, 1.0, 1.15625]
    """
    return blockwise(_forward, x)


def _forward(x: Tensor) -> Tensor:
    whole = torch.floor(x)
    t = x - whole
    return whole + t * t * (3 - 2 * t)


def smoothstep_inverse(y: Tensor) -> Tensor:
    """The inverse of `smoothstep`, 1/2 - sin(asin(1 - 2y) / 3) on [0, 1]. Any range.

    At whole numbers, where its slope is infinite, the gradient is 0.

    Examples
    --------
    >>> smoothstep_inverse(torch.tensor([0.15625, 0.5, 1.0])).tolist()
    [0.25, 0.5, 1.0]
    """
    return blockwise(_backward, y)


def _backward(y: Tensor) -> Tensor:
    whole = torch.floor(y)
    t = y - whole
    # the same by sums of angles, which next to 0 and 1 does not subtract numbers that are nearly equal
    lower = torch.where(t < 0.5, t, 1 - t)
    inside = lower > 0
    angle = torch.asin(torch.sqrt(torch.where(inside, lower, 0.25))) / 3
    u = torch.where(inside, 2 * torch.sin(angle) * torch.cos(math.pi / 6 - angle), 0.0)
    return whole + torch.where(t < 0.5, u, 1 - u)


class Smoothstep(Stage):
    """Applies the tone curve 3x^2 - 2x^3 to code values. sRGB code values in and out; rises everywhere; does not clip.

    Its slope is 0 at black and white, so what is undone there is known less well than elsewhere.
    """

    needs = Signal.where(layout="rgb", transfer="srgb", levels="unit")
    halo = 0
    source = "Brooks et al. 2019 [Brooks2019]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return smoothstep(frame.pixels)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return smoothstep_inverse(frame.pixels)
