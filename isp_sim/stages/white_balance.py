"""White balance by one gain a channel."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from isp_sim.cameras.profile import Gain
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage


class WhiteBalance(Stage):
    """Multiplies R, G and B by their gains, on a mosaic or an RGB picture. Linear in, linear out; does not clip."""

    needs = Signal.where(white_balanced=False, colour="camera", levels="unit", transfer="linear")
    gives = Signal.change(white_balanced=True)
    halo = 0
    source = "DNG 1.7.1, AsShotNeutral [DNG2023]"

    class Params(StageParams):
        gains: tuple[Gain, Gain, Gain] | None = Field(
            None,
            description="gains of R, G and B [factor]; as shot if not given",
            json_schema_extra={"fact": "wb_gains"},
        )

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("wb_gains",) if p.gains is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * frame.spread(self._gains(frame, p))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels / frame.spread(self._gains(frame, p))

    @staticmethod
    def _gains(frame: Frame, p: Any) -> Tensor:
        gains: Tensor = frame.capture["wb_gains"] if p.gains is None else p.gains
        return gains
