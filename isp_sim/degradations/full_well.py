"""Full well: how many electrons a pixel can hold."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.degradations.sensor import GAIN, TEN_BITS, Gain, SensorTerm, dn_scale
from isp_sim.elementary import soft_ceiling
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import LOST, Recovery, Result


class FullWell(SensorTerm):
    """Limits the signal to `capacity` electrons, so `capacity` * K DN above black. Leaves the map ``clipped``,
    (B, 1, H, W): the pixels that it, or an earlier clip, has changed in any channel.

    In mode ``exact`` the gradient is 1 below and 0 where it clips. In mode ``soft`` the well fills smoothly, as those
    of real sensors do before they are full: the gradient is positive everywhere, and a signal that just fills the well
    falls short of it by `softness` * log 2 of the capacity. What the ADC can't write is cut off by `clip` or
    `quantise`.
    """

    soft_gap = 0.0  # the default well holds more than a picture in [0, 1] of a 12-bit sensor has
    source = "Janesick 2007 [Janesick2007]"

    severities: ClassVar = {"capacity": (800.0, 600.0, 400.0, 250.0, 120.0), "span": (TEN_BITS,) * 5}

    class Params(SensorTerm.Params):
        gain: Gain = Field(1.0, description=GAIN)
        capacity: float = Field(15000.0, ge=1, le=1e7, description="full-well capacity [e-]")
        mode: Literal["exact", "soft"] = Field("exact", description="soft: a smooth saturation")
        softness: float = Field(
            0.02, ge=0.001, le=1, description="of mode soft: how wide the knee is [fraction of the capacity]"
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        capacity = _capacity(frame, p)
        limit = capacity + _black(frame)
        over = frame.pixels > limit
        clipped = over.any(dim=1, keepdim=True)
        if "clipped" in frame.maps:
            clipped = clipped | frame.maps["clipped"]
        if p.mode == "soft":
            pixels = soft_ceiling(frame.pixels, limit, capacity * p.softness)
        else:
            pixels = torch.where(over, limit, frame.pixels)
        return Result(pixels, maps={"clipped": clipped})

    def recovery(self, p: Any) -> Recovery:
        def below(frame: Frame, p: Any, before: Signal) -> Result:
            full = _capacity(frame, p) + _black(frame)
            return Result(frame.pixels, maps={LOST: (frame.pixels >= full).any(dim=1, keepdim=True)})

        return Recovery(below, "the picture as it is", "what the full well did not hold")


def _capacity(frame: Frame, p: Any) -> Tensor:
    """The full-well capacity, in units of the pixels above black."""
    capacity: Tensor = p.capacity * p.gain / dn_scale(frame, p.span)
    return capacity


def _black(frame: Frame) -> Tensor | float:
    return frame.tiled(frame.capture["black_level"]) if frame.signal.levels == "dn" else 0.0
