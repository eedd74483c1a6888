"""Chroma subsampling without a codec."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation
from isp_sim.stages.scale import resize
from isp_sim.stages.ycbcr import rgb_to_ycbcr, ycbcr_to_rgb

Standard = Annotated[Literal["bt601", "bt709", "bt2020"], Static]


class ChromaSubsampling(Degradation):
    """Keeps luma, and of the colour differences one mean for so many pixels. Code values in and out; does not clip.

    ``horizontal: 2, vertical: 1`` is 4:2:2; 2 and 2 is 4:2:0; 4 and 1 is 4:1:1; 4 and 2 is 4:1:0. Means lie in the
    middle of their pixels, as in JPEG; beyond the edge the last pixel goes on. On the way back
    they are interpolated, or repeated. 1 and 1 leaves the picture as it is.
    """

    needs = Signal.where(layout="rgb", levels="unit", transfer=("srgb", "bt709", "gamma"))
    source = "ITU-R BT.601-7 [BT601]; ITU-T T.81 [T81]"
    severities: ClassVar = {"horizontal": (2, 3, 4, 8, 16), "vertical": (1, 2, 4, 8, 16)}

    class Params(StageParams):
        horizontal: Annotated[int, Structural] = Field(2, ge=1, le=32, description="columns that share chroma [px]")
        vertical: Annotated[int, Structural] = Field(2, ge=1, le=32, description="rows that share chroma [px]")
        upsampling: Literal["bilinear", "nearest"] = Field("bilinear", description="how chroma is spread again")
        standard: Standard = Field("bt601", description="whose luma weights; bt601 is that of JPEG")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        if p.horizontal == 1 and p.vertical == 1:
            return frame.pixels
        ycbcr = rgb_to_ycbcr(frame.pixels, p.standard)
        chroma = subsampled(ycbcr[:, 1:], p.vertical, p.horizontal, p.upsampling)
        return ycbcr_to_rgb(torch.cat([ycbcr[:, :1], chroma], dim=1), p.standard)


def subsampled(x: Tensor, rows: int, columns: int, upsampling: str = "nearest") -> Tensor:
    """A picture (B, C, H, W) of means over blocks, spread again to its size.

    Examples
    --------
    >>> subsampled(torch.tensor([0.0, 2.0, 3.0, 5.0, 9.0]).reshape(1, 1, 1, 5), 1, 2).flatten().tolist()
    [1.0, 1.0, 4.0, 4.0, 9.0]
    """
    height, width = x.shape[-2:]
    down = torch.arange(-(-height // rows) * rows, device=x.device).clamp_max(height - 1)
    across = torch.arange(-(-width // columns) * columns, device=x.device).clamp_max(width - 1)
    whole = x.index_select(-2, down).index_select(-1, across)
    # the last row and column stand for those that are missing, as a JPEG encoder pads
    few = resize(whole, (len(down) // rows, len(across) // columns), "box")
    spread = resize(few, (len(down), len(across)), upsampling)
    return spread[..., :height, :width]
