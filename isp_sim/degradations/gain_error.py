"""Digital gain: numbers multiplied after the sensor, noise and all."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation


class GainError(Degradation):
    """Multiplies linear numbers, as an ISP does after the sensor. Clips what the gain takes above 1; what was there
    before stays, and so does what lies below 0.

    `exposure` before the noise and the gain that makes up for it after the noise are a wrong ISO speed: the picture is
    as bright as it was, with more noise or with lost highlights.
    """

    needs = Signal.where(levels="unit", transfer="linear")
    halo = 0
    source = "ISO 12232:2019 [ISO12232]"
    severities: ClassVar = {"gain": (1.25, 1.6, 2.0, 3.0, 5.0)}

    class Params(StageParams):
        gain: float = Field(1.0, ge=0.01, le=100, description="what numbers are multiplied by [factor]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return torch.minimum(frame.pixels * p.gain, frame.pixels.clamp_min(1))
