"""Exposure: more or less light, in stops."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation


class Exposure(Degradation):
    """Multiplies linear light by 2**ev. Does not clip: follow it by `clip`."""

    needs = Signal.where(levels="unit", transfer="linear")
    halo = 0
    source = "ISO 12232:2019"

    class Params(StageParams):
        ev: float = Field(0.0, ge=-20, le=20, description="exposure on top of the picture's own [EV]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * torch.exp2(p.ev)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels * torch.exp2(-p.ev)
