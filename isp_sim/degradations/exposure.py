"""Exposure: more or less light, in stops."""

from __future__ import annotations

import math
from typing import Any, ClassVar

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
    source = "ISO 12232:2019 [ISO12232]"
    severities: ClassVar = {"ev": (-0.5, -1.0, -1.5, -2.5, -4.0)}

    class Params(StageParams):
        ev: float = Field(0.0, ge=-20, le=20, description="exposure on top of the picture's own [EV]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * _gain(p.ev)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels * _gain(-p.ev)


def _gain(ev: Tensor) -> Tensor:
    """2**ev, exact for whole stops. torch.exp2 alone rounds the rest differently in a large batch than in a small."""
    whole = torch.round(ev)
    return torch.exp2(whole) * torch.exp((ev - whole) * math.log(2))
