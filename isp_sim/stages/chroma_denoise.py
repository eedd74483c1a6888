"""Chroma noise reduction: colour is smoothed, luma is kept."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim import filters
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage
from isp_sim.stages.bilateral import RADIUS, bilateral
from isp_sim.stages.ycbcr import WEIGHTS, luma

SIGMA: Final = 8.0
"""The widest Gaussian [px]."""
RED, BLUE = WEIGHTS["bt601"]


class ChromaDenoise(Stage):
    """Smooths the colour differences of Y'CbCr (BT.601) and keeps luma. Display values; does not clip.

    Of a ``ycbcr`` picture, luma is kept to the bit; of an ``rgb`` one, to rounding, and grey stays as it is to the
    bit. Method ``gaussian`` blurs colour everywhere; ``bilateral`` keeps edges of colour where luma has one, too.
    Beyond its edge the picture is mirrored.
    """

    needs = Signal.where(layout=("rgb", "ycbcr"), levels="unit", transfer=("srgb", "bt709", "gamma"))
    halo = max(RADIUS, filters.gaussian_reach(SIGMA))
    source = "Tomasi and Manduchi 1998 [Tomasi1998]; Petschnigg et al. 2004 [Petschnigg2004]; ITU-R BT.601-7 [BT601]"

    class Params(StageParams):
        method: Literal["bilateral", "gaussian"] = Field("bilateral", description="guided by luma, or everywhere alike")
        strength: float = Field(1.0, ge=0, le=1, description="share of the smoothed colour in the result [fraction]")
        sigma: float = Field(2.0, ge=0.1, le=SIGMA, description="standard deviation of the distance [px]")
        sigma_luma: float = Field(
            0.1, ge=0.001, le=10, description="of bilateral: standard deviation of the difference in luma [1]"
        )
        radius: Annotated[int, Structural] = Field(
            5, ge=1, le=RADIUS, examples=[1], description="of bilateral: of the disc around each pixel [px]"
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        if frame.signal.layout == "ycbcr":
            y, chroma = frame.pixels[:, :1], frame.pixels[:, 1:]
            return torch.cat([y, chroma + self._change(y, chroma, p)], dim=1)
        y = luma(frame.pixels)
        change = self._change(y, frame.pixels[:, ::2] - y, p)
        red, blue = change[:, :1], change[:, 1:]
        green = (red * RED + blue * BLUE) * (-1 / (1 - RED - BLUE))
        return frame.pixels + torch.cat([red, green, blue], dim=1)

    @staticmethod
    def _change(y: Tensor, chroma: Tensor, p: Any) -> Tensor:
        """What smoothing adds to the colour differences."""
        if p.method == "gaussian":
            smooth = filters.gaussian(chroma, p.sigma)
        else:
            smooth = bilateral(chroma, y, p.radius, p.sigma, p.sigma_luma)
        change: Tensor = (smooth - chroma) * p.strength
        return change
