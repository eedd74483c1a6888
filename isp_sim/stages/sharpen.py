"""Sharpening by an unsharp mask."""

from __future__ import annotations

from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim import filters
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage
from isp_sim.stages.ycbcr import luma

SIGMA: Final = 5.0
"""The widest Gaussian [px]."""
TINY: Final = 1e-30
"""Keeps 0 / 0 from being NaN."""


class Sharpen(Stage):
    """Adds the detail that a Gaussian blur takes away, times an amount. Any RGB picture; does not clip.

    Detail up to `threshold` is left out, as noise. `overshoot` limits the halos at edges: no pixel goes further than
    that beyond the least and the greatest of the 3x3 around it. On ``luma`` (BT.601), R, G and B change alike. Beyond
    its edge the picture is mirrored.

    In mode ``exact``, detail d above the threshold t counts in full; in mode ``soft``, all of it counts, by
    d^2 / (d^2 + t^2), so its gradient tells of the threshold.
    """

    needs = Signal.where(layout="rgb", levels="unit")
    halo = filters.gaussian_reach(SIGMA)
    soft_gap = 0.0012
    source = "Gonzalez and Woods 2018, section 3.6 [Gonzalez2018]"

    class Params(StageParams):
        amount: float = Field(0.8, ge=0, le=10, description="of the detail that is added [factor]")
        sigma: float = Field(1.2, ge=0.1, le=SIGMA, description="standard deviation of the blur [px]")
        threshold: float = Field(0.01, ge=0, le=1, description="detail that is left out [1]")
        overshoot: float | None = Field(
            None, ge=0, le=1, description="how far pixels may leave the range of their neighbours [1]; any if not given"
        )
        on: Literal["luma", "rgb"] = Field("luma", description="what is sharpened")
        mode: Literal["exact", "soft"] = Field("exact", description="soft: a smooth threshold")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = luma(frame.pixels) if p.on == "luma" else frame.pixels
        detail = x - filters.gaussian(x, p.sigma)
        if p.mode == "soft":
            energy = detail * detail
            detail = detail * (energy / (energy + (p.threshold * p.threshold + TINY)))
        else:
            detail = torch.where(detail.abs() > p.threshold, detail, 0.0)
        change = detail * p.amount
        if p.overshoot is not None:
            low, high = filters.extremes(x, 1)
            change = torch.minimum(torch.maximum(change, low - p.overshoot - x), high + p.overshoot - x)
        sharpened: Tensor = frame.pixels + change
        return sharpened
