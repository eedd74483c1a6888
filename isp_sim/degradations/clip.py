"""Clipping: what saturates at full well or leaves the gamut."""

from __future__ import annotations

from functools import reduce
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from isp_sim.elementary import soft_clamp
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import LOST, Degradation, Recovery, Result


class Clip(Degradation):
    """Limits values to [low, high]; quantised pixels leave their codes. Leaves the map ``clipped``,
    (B, 1, H, W): the pixels that it, or an earlier clip, has changed in any channel.

    In mode ``exact`` the gradient is 1 inside and 0 where it clips. In mode ``soft`` values saturate smoothly, so it
    is positive everywhere: by `softness` * log 2 at a limit, and ever less further away, they stay inside.
    """

    needs = Signal.where(levels="unit")
    halo = 0
    soft_gap = 0.0035
    severities: ClassVar = {"high": (0.9, 0.8, 0.65, 0.5, 0.35)}

    class Params(StageParams):
        low: float = Field(0.0, ge=-10, le=10, description="least value [1]")
        high: float = Field(1.0, ge=-10, le=10, description="greatest value [1]")
        mode: Literal["exact", "soft"] = Field("exact", description="soft: a smooth saturation")
        softness: float = Field(0.02, ge=0.001, le=1, description="of mode soft: how wide the knee at a limit is [1]")

        @model_validator(mode="after")
        def _ordered(self) -> Clip.Params:
            if self.low >= self.high:
                raise ValueError(f"low {self.low} must lie below high {self.high}")
            return self

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        # not by minimum and maximum, which halve the gradient of a value that lies on a limit
        limited = frame.pixels.clamp(p.low, p.high)
        clipped = (limited != frame.pixels).unbind(1)
        if "clipped" in frame.maps:
            clipped = (*clipped, frame.maps["clipped"][:, 0])
        maps = {"clipped": reduce(torch.logical_or, clipped).unsqueeze(1)}
        if p.mode == "soft":
            return Result(soft_clamp(frame.pixels, p.low, p.high, p.softness), maps=maps)
        return Result(limited, maps=maps)

    def recovery(self, p: Any) -> Recovery:
        def unclipped(frame: Frame, p: Any, before: Signal) -> Result:
            at_limit = ((frame.pixels <= p.low) | (frame.pixels >= p.high)).any(dim=1, keepdim=True)
            return Result(frame.pixels, maps={LOST: at_limit})

        return Recovery(unclipped, "the picture as it is", f"what lay beyond [{p.low:g}, {p.high:g}]")
