"""Defective pixels: hot, dead and stuck ones."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

from isp_sim.degradations.sensor import SENSOR, SensorName
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Result


class Defects(Degradation):
    """Pixels fixed to a sensor that do not do their work: hot ones add light, dead ones show black, stuck ones always
    the same. Linear light; a hot pixel may pass 1, and nothing is clipped.

    Where they are and how bad each is depends on the `sensor` and the picture's size alone. Leaves the map
    ``defects``, (B, 1, H, W): pixels that are defective in any channel.
    """

    needs = Signal.where(layout=("mosaic", "rgb"), levels="unit", transfer="linear")
    halo = 0
    source = "EMVA 1288 release 4.0 [EMVA1288]"

    severities: ClassVar = {
        "hot": (1e-4, 5e-4, 2e-3, 8e-3, 3e-2),
        "dead": (2e-5, 1e-4, 4e-4, 2e-3, 6e-3),
        "stuck": (2e-5, 1e-4, 4e-4, 2e-3, 6e-3),
    }

    class Params(StageParams):
        sensor: SensorName = Field("sensor", examples=["another sensor"], description=SENSOR)
        hot: float = Field(1e-4, ge=0, le=0.3, description="share of hot pixels [fraction]")
        dead: float = Field(2e-5, ge=0, le=0.3, description="share of dead pixels [fraction]")
        stuck: float = Field(2e-5, ge=0, le=0.3, description="share of stuck pixels [fraction]")
        hot_level: float = Field(0.5, ge=0, le=10, description="light that the hottest pixel adds; others less [1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        own = rng.fixed(p.sensor)
        # in float64 as drawn: a share of 1e-5 is finer than what float32 resolves near 1
        which, level = (own.quantiles(frame.pixels, purpose=purpose) for purpose in ("defect", "level"))
        which, level = which.to(frame.pixels.device), level.to(frame.pixels)
        hot = which < p.hot
        dead = ~hot & (which < p.hot + p.dead)
        stuck = ~hot & ~dead & (which < p.hot + p.dead + p.stuck)
        pixels = torch.where(hot, frame.pixels + level * p.hot_level, frame.pixels)
        pixels = torch.where(dead, 0.0, pixels)
        pixels = torch.where(stuck, level, pixels)
        return Result(pixels, maps={"defects": (hot | dead | stuck).any(dim=1, keepdim=True)})
