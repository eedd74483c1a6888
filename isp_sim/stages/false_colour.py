"""False colour suppression: medians of the colour differences."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim import filters
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

ITERATIONS: Final = 5


class FalseColour(Stage):
    """Removes the coloured fringes that demosaicing leaves at edges. Any RGB picture; does not clip.

    R - G and B - G are replaced by their medians, again and again; green stays to the bit, and so do grey pictures.
    With `edges`, colour changes only where green has an edge: not below the first contrast, fully from the second
    on, and in part in between. The contrast is the greatest less the least green of 3x3 pixels. Beyond its edge the
    picture is mirrored.
    """

    needs = Signal.where(layout="rgb", levels="unit")
    halo = 2 * ITERATIONS
    source = "Freeman 1988 [Freeman1988]"

    class Params(StageParams):
        size: Annotated[Literal[3, 5], Structural] = Field(3, description="side of the square of each median [px]")
        iterations: Annotated[int, Structural] = Field(
            1, ge=1, le=ITERATIONS, description="how often the median is taken [1]"
        )
        strength: float = Field(1.0, ge=0, le=1, description="share of the medians in the result [fraction]")
        edges: (
            tuple[
                Annotated[float, Field(ge=0, le=1)],
                Annotated[float, Field(gt=0, le=1)],
            ]
            | None
        ) = Field(
            None,
            examples=[[0.05, 0.2], [0.0, 0.1]],
            description="contrasts of green between which colour begins to change [1]; everywhere if not given",
        )

        @model_validator(mode="after")
        def _rising(self) -> FalseColour.Params:
            if self.edges is not None and self.edges[0] >= self.edges[1]:
                raise ValueError(f"edges must rise; found {list(self.edges)}")
            return self

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        green = frame.pixels[:, 1:2]
        differences = frame.pixels[:, ::2] - green
        medians = differences
        for _ in range(p.iterations):
            medians = filters.median(medians, p.size)
        change = (medians - differences) * p.strength
        if p.edges is not None:
            low, high = p.edges[:, :1], p.edges[:, 1:]
            change = change * ((_contrast(green) - low) / (high - low)).clamp(0, 1)
        red, blue = change[:, :1], change[:, 1:]
        return torch.cat([frame.pixels[:, :1] + red, green, frame.pixels[:, 2:] + blue], dim=1)


def _contrast(x: Tensor) -> Tensor:
    low, high = filters.extremes(x, 1)
    return high - low
