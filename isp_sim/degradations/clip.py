"""Clipping: what saturates at full well or leaves the gamut."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, model_validator

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import LOST, Degradation, Recovery, Result


class Clip(Degradation):
    """Limits values to [low, high]; quantised pixels leave their codes. Leaves the map ``clipped``,
    (B, 1, H, W): the pixels that it, or an earlier clip, has changed in any channel.

    The gradient is 1 inside and 0 where it clips.
    """

    needs = Signal.where(levels="unit")
    halo = 0

    class Params(StageParams):
        low: float = Field(0.0, ge=-10, le=10, description="least value [1]")
        high: float = Field(1.0, ge=-10, le=10, description="greatest value [1]")

        @model_validator(mode="after")
        def _ordered(self) -> Clip.Params:
            if self.low >= self.high:
                raise ValueError(f"low {self.low} must lie below high {self.high}")
            return self

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        clipped = ((frame.pixels < p.low) | (frame.pixels > p.high)).any(dim=1, keepdim=True)
        if "clipped" in frame.maps:
            clipped = clipped | frame.maps["clipped"]
        # not by minimum and maximum, which halve the gradient of a value that lies on a limit
        raised = torch.where(frame.pixels < p.low, p.low, frame.pixels)
        return Result(torch.where(raised > p.high, p.high, raised), maps={"clipped": clipped})

    def recovery(self, p: Any) -> Recovery:
        def unclipped(frame: Frame, p: Any, before: Signal) -> Result:
            at_limit = ((frame.pixels <= p.low) | (frame.pixels >= p.high)).any(dim=1, keepdim=True)
            return Result(frame.pixels, maps={LOST: at_limit})

        return Recovery(unclipped, "the picture as it is", f"what lay beyond [{p.low:g}, {p.high:g}]")
