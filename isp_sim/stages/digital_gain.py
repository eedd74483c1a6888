"""One gain for all channels."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from isp_sim.cameras.profile import Gain
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal
from isp_sim.stage import Recovery, Result, Stage
from isp_sim.stages.safe_highlights import INFLECTION, Highlights, Inflection, safely, undo_gains


class DigitalGain(Stage):
    """Multiplies all channels by the camera's digital gain, on a mosaic or an RGB picture. Linear in, linear out; does
    not clip.

    `exposure` is more or less light than the photo had; this gain is part of the camera that made it, and `unprocess`
    undoes it. With safe highlights, which need RGB, the inverse leaves white white and marks the pixels that it
    dims less in the map ``lost``.
    """

    needs = Signal.where(levels="unit", transfer="linear")
    halo = 0
    source = "Brooks et al. 2019 [Brooks2019]"

    class Params(StageParams):
        gain: Gain | None = Field(None, description="gain [factor]; the camera's if not given")
        highlights: Highlights = "plain"
        inflection: Inflection = INFLECTION

    def requirement(self, p: Any) -> Requirement:
        return self.needs if p.highlights == "plain" else Requirement({**self.needs.accepted, "layout": ("rgb",)})

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("digital_gain",) if p.gain is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * self._gain(frame, p)

    def inverse(self, frame: Frame, p: Any) -> Tensor | Result:
        return undo_gains(frame, self._gain(frame, p), p.highlights, p.inflection)

    def recovery(self, p: Any) -> Recovery:
        return safely(super().recovery(p), p.highlights)

    @staticmethod
    def _gain(frame: Frame, p: Any) -> Tensor:
        gain: Tensor = frame.capture["digital_gain"] if p.gain is None else p.gain
        return gain
