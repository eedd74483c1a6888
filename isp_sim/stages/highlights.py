"""What becomes of highlights in which some channels are saturated."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.cameras.profile import Gain
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal
from isp_sim.stage import Result, Stage


class Highlights(Stage):
    """Makes saturated highlights plausible, after the white balance. Linear in, linear out.

    White balance moves the channels' saturation apart, so a white that saturates them all turns magenta. With
    ``clip`` all channels are limited to the lowest of their saturation levels, which makes it white again; that is
    LibRaw's highlight mode 0. ``blend``, for RGB alone, is its mode 2: a pixel with a channel above that level
    keeps its lightness, the mean of R, G and B, and its hue, and its chroma falls to that of the clipped pixel. So its
    values may exceed the level, up to the mean of the channels' own saturation levels, where all are saturated, and
    chroma may push them somewhat further.

    Both are continuous, and change no pixel that lies below the level in all channels. The map ``highlights``,
    (B, 1, H, W), holds the pixels that do not.
    """

    needs = Signal.where(
        layout=("mosaic", "rgb"), white_balanced=True, colour="camera", levels="unit", transfer="linear"
    )
    halo = 0
    source = "LibRaw, highlight modes 0 and 2 [LibRaw]"

    class Params(StageParams):
        method: Literal["clip", "blend"] = Field("clip", description="what is done above the lowest saturation level")
        saturation: float = Field(
            1.0, gt=0, le=100, description="level at which channels saturate before the white balance [1]"
        )
        gains: tuple[Gain, Gain, Gain] | None = Field(
            None, description="gains of R, G and B that the white balance made [factor]; as shot if not given"
        )

    def requirement(self, p: Any) -> Requirement:
        if p.method == "blend":
            return Requirement({**self.needs.accepted, "layout": ("rgb",)})
        return self.needs

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("wb_gains",) if p.gains is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        gains = frame.capture["wb_gains"] if p.gains is None else p.gains
        level = p.saturation * gains.amin(dim=1, keepdim=True)
        above = frame.pixels > level
        clipped = torch.where(above, level, frame.pixels)
        above = above.any(dim=1, keepdim=True)
        pixels = clipped if p.method == "clip" else torch.where(above, _blended(frame.pixels, clipped), frame.pixels)
        return Result(pixels, maps={"highlights": above})


def _blended(x: Tensor, clipped: Tensor) -> Tensor:
    """Lightness and hue of x, chroma of `clipped`; (B, 3, H, W) each.

    Chroma is the distance from the grey axis: the length of what is left of a colour without its mean.
    """
    lightness = (x[:, :1] + x[:, 1:2] + x[:, 2:]) / 3
    colour = x - lightness
    grey = (clipped[:, :1] + clipped[:, 1:2] + clipped[:, 2:]) / 3
    before, after = _squares(colour), _squares(clipped - grey)
    # sqrt at 0 has no slope, and a colourless pixel no hue
    coloured = (before > 0) & (after > 0)
    ratio = torch.where(coloured, after, 1.0) / torch.where(coloured, before, 1.0)
    return lightness + colour * torch.where(coloured, torch.sqrt(ratio), 0.0)


def _squares(x: Tensor) -> Tensor:
    return x[:, :1] * x[:, :1] + x[:, 1:2] * x[:, 1:2] + x[:, 2:] * x[:, 2:]
