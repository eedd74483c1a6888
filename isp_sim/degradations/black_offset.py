"""A black level that is a little off."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation


class BlackOffset(Degradation):
    """Adds a constant to linear light, which a black level too low (positive) or too high (negative) leaves. White
    moves along; does not clip.

    White balance multiplies the offset with the light, so on RAW data shadows turn magenta or green. A RAW file's own
    level, in DN, goes wrong by ``normalise: {deviate: {black_level: {add: -8}}}``.
    """

    needs = Signal.where(levels="unit", transfer="linear")
    halo = 0
    source = "DNG 1.7.1, BlackLevel [DNG2023]"
    severities: ClassVar = {"offset": (0.005, 0.01, 0.02, 0.04, 0.08)}

    class Params(StageParams):
        offset: float = Field(0.0, ge=-0.5, le=0.5, description="what is left in the dark, white 1 [1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        pixels: Tensor = frame.pixels + p.offset
        return pixels
