"""Full well: how many electrons a pixel can hold."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.degradations.sensor import GAIN, TEN_BITS, Gain, SensorTerm, dn_scale
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import LOST, Recovery, Result


class FullWell(SensorTerm):
    """Limits the signal to `capacity` electrons, so `capacity` * K DN above black. Leaves the map ``clipped``,
    (B, 1, H, W): the pixels that it, or an earlier clip, has changed in any channel.

    The gradient is 1 below and 0 where it clips. What the ADC can't write is cut off by `clip` or `quantise`.
    """

    source = "Janesick 2007 [Janesick2007]"

    severities: ClassVar = {"capacity": (800.0, 600.0, 400.0, 250.0, 120.0), "span": (TEN_BITS,) * 5}

    class Params(SensorTerm.Params):
        gain: Gain = Field(1.0, description=GAIN)
        capacity: float = Field(15000.0, ge=1, le=1e7, description="full-well capacity [e-]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        limit = _limit(frame, p)
        over = frame.pixels > limit
        clipped = over.any(dim=1, keepdim=True)
        if "clipped" in frame.maps:
            clipped = clipped | frame.maps["clipped"]
        return Result(torch.where(over, limit, frame.pixels), maps={"clipped": clipped})

    def recovery(self, p: Any) -> Recovery:
        def below(frame: Frame, p: Any, before: Signal) -> Result:
            return Result(frame.pixels, maps={LOST: (frame.pixels >= _limit(frame, p)).any(dim=1, keepdim=True)})

        return Recovery(below, "the picture as it is", "what the full well did not hold")


def _limit(frame: Frame, p: Any) -> Tensor:
    limit: Tensor = p.capacity * p.gain / dn_scale(frame, p.span)
    return limit + frame.tiled(frame.capture["black_level"]) if frame.signal.levels == "dn" else limit
