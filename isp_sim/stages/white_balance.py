"""White balance by one gain a channel."""

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


class WhiteBalance(Stage):
    """Multiplies R, G and B by their gains, on a mosaic or an RGB picture. Linear in, linear out; does not clip.

    The inverse divides by the same gains. With safe highlights, which need RGB, it leaves white white and marks the
    pixels that it dims less in the map ``lost``.
    """

    needs = Signal.where(white_balanced=False, colour="camera", levels="unit", transfer="linear")
    gives = Signal.change(white_balanced=True)
    halo = 0
    source = "DNG 1.7.1, AsShotNeutral [DNG2023]; safe highlights: Brooks et al. 2019 [Brooks2019]"

    class Params(StageParams):
        gains: tuple[Gain, Gain, Gain] | None = Field(
            None,
            description="gains of R, G and B [factor]; as shot if not given",
            json_schema_extra={"fact": "wb_gains"},
        )
        highlights: Highlights = "plain"
        inflection: Inflection = INFLECTION

    def requirement(self, p: Any) -> Requirement:
        return self.needs if p.highlights == "plain" else Requirement({**self.needs.accepted, "layout": ("rgb",)})

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("wb_gains",) if p.gains is None else ()

    def refuses(self, signal: Signal, p: Any) -> str | None:
        return signal.no_spread

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * frame.spread(self._gains(frame, p))

    def inverse(self, frame: Frame, p: Any) -> Tensor | Result:
        return undo_gains(frame, frame.spread(self._gains(frame, p)), p.highlights, p.inflection)

    def recovery(self, p: Any) -> Recovery:
        return safely(super().recovery(p), p.highlights)

    @staticmethod
    def _gains(frame: Frame, p: Any) -> Tensor:
        gains: Tensor = frame.capture["wb_gains"] if p.gains is None else p.gains
        return gains
