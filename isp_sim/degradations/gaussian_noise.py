"""Noise that does not depend on the signal."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Recovery, as_it_is


class GaussianNoise(Degradation):
    """Adds independent normal noise of standard deviation sigma to every sample. Any transfer; does not clip."""

    needs = Signal.where(levels="unit")
    halo = 0
    severities: ClassVar = {"sigma": (0.02, 0.05, 0.1, 0.2, 0.35)}

    class Params(StageParams):
        sigma: float = Field(0.05, ge=0, le=1, description="standard deviation, in units of the white level [1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        noise: Tensor = rng.normal(frame.pixels) * p.sigma
        return frame.pixels + noise

    def recovery(self, p: Any) -> Recovery:
        return Recovery(as_it_is, "the picture as it is", "the picture under the noise")
