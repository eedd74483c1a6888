"""Moves of whole pixels."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from isp_sim.frame import Frame, Move
from isp_sim.parameters import StageParams, Static, Structural
from isp_sim.signal import cfa_rows
from isp_sim.stage import GeometricStage, Recovery


class Crop(GeometricStage):
    """Cuts out a window. On a mosaic the window starts on a full period of the CFA, so the pattern stays.

    Raises
    ------
    ValueError
        If the picture is smaller than the window.
    """

    class Params(StageParams):
        height: Annotated[int, Static] = Field(
            256, ge=1, description="height of the window [px]", json_schema_extra={"unbounded": "the picture's height"}
        )
        width: Annotated[int, Static] = Field(
            256, ge=1, description="width of the window [px]", json_schema_extra={"unbounded": "the picture's width"}
        )
        y: Annotated[float, Structural] = Field(0.5, ge=0, le=1, description="place: 0 top, 1 bottom [1]")
        x: Annotated[float, Structural] = Field(0.5, ge=0, le=1, description="place: 0 left, 1 right [1]")

    def move(self, frame: Frame, p: Any) -> Move:
        height, width = frame.size
        if height < p.height or width < p.width:
            raise ValueError(f"a picture of {height}x{width} is smaller than the window of {p.height}x{p.width}")
        rows = cfa_rows(str(frame.signal.cfa)) if frame.signal.layout == "mosaic" else ("-",)
        top = round((height - p.height) * p.y) // len(rows) * len(rows)
        left = round((width - p.width) * p.x) // len(rows[0]) * len(rows[0])
        return Move(frame.size, window=(top, left, p.height, p.width))

    def recovery(self, p: Any) -> Recovery:
        return Recovery(lost=f"what lay outside the window of {p.height}x{p.width}")
