"""Detail lost to a smaller size."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation
from isp_sim.stages.scale import Kernel, resize


class Rescale(Degradation):
    """Scales the picture down and up again to its own size. Any transfer; not for a mosaic, whose sites would mix. Does
    not clip; bicubic and Lanczos kernels overshoot at edges.

    The smaller side lengths are rounded to whole pixels, at least 1. Kernels are those of `scale`. 1 leaves the picture
    as it is.
    """

    needs = Signal.where(layout=("rgb", "ycbcr"), levels="unit")
    source = "Keys 1981 [Keys1981]; Pillow [Pillow]"
    severities: ClassVar = {"factor": (0.75, 0.5, 0.35, 0.25, 0.125)}

    class Params(StageParams):
        factor: Annotated[float, Structural] = Field(
            0.5, gt=0, le=1, examples=[0.3, 0.75], description="smaller side over old [factor]"
        )
        down: Annotated[Kernel, Static] = Field("bicubic", description="kernel on the way down")
        up: Annotated[Kernel, Static] = Field("bicubic", description="kernel on the way up")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        height, width = frame.size
        small = max(1, round(height * p.factor)), max(1, round(width * p.factor))
        if small == frame.size:
            return frame.pixels
        return resize(resize(frame.pixels, small, p.down), frame.size, p.up)
