"""Luma and colour differences: R'G'B' to Y'CbCr and back."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

WEIGHTS: Final = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Weights of R and B in luma; that of G is what is left to 1."""

SCALES: Final = {"full": (0.0, 255.0, 255.0), "limited": (16.0, 219.0, 224.0)}
"""Of luma: the code of black, the codes from black to white; of colour differences: the codes from -1/2 to 1/2."""


def luma(rgb: Tensor, standard: str = "bt601") -> Tensor:
    """Luma Y' of code values (B, 3, H, W), (B, 1, H, W). A neutral colour keeps its value to the last bit.

    Examples
    --------
    >>> round(luma(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)).item(), 3)
    0.299
    """
    kr, kb = WEIGHTS[standard]
    r, g, b = rgb[:, :1], rgb[:, 1:2], rgb[:, 2:]
    return g + ((r - g) * kr + (b - g) * kb)


def rgb_to_ycbcr(rgb: Tensor, standard: str = "bt601", range: str = "full") -> Tensor:
    """R'G'B' to Y'CbCr, in 8-bit codes over 255.

    Parameters
    ----------
    rgb
        (B, 3, H, W), code values, black 0 and white 1. Not clipped.
    standard
        ``bt601`` (JPEG), ``bt709`` or ``bt2020`` (non-constant luminance).
    range
        ``full``: luma from code 0 to 255. ``limited``: from 16 to 235, colour differences from 16 to 240. Neutral
        colours have colour differences of exactly 128/255 in both.

    Returns
    -------
    Tensor
        (B, 3, H, W): Y', Cb, Cr. Not clipped.

    Examples
    --------
    >>> (rgb_to_ycbcr(torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)) * 255).flatten().round().tolist()
    [150.0, 44.0, 21.0]
    """
    kr, kb = WEIGHTS[standard]
    black, white, chroma = SCALES[range]
    r, _, b = rgb.unbind(1)
    y = luma(rgb, standard)[:, 0]
    cb, cr = (b - y) * (0.5 / (1 - kb)), (r - y) * (0.5 / (1 - kr))
    return torch.stack(
        [(y * white + black) / 255, (cb * chroma + 128) / 255, (cr * chroma + 128) / 255],
        dim=1,
    )


def ycbcr_to_rgb(ycbcr: Tensor, standard: str = "bt601", range: str = "full") -> Tensor:
    """The inverse of `rgb_to_ycbcr`; shapes and conventions as there. Not clipped."""
    kr, kb = WEIGHTS[standard]
    black, white, chroma = SCALES[range]
    y, cb, cr = ycbcr.unbind(1)
    y = (y * 255 - black) / white
    r_y, b_y = (cr * 255 - 128) / chroma * (2 * (1 - kr)), (cb * 255 - 128) / chroma * (2 * (1 - kb))
    g_y = (r_y * kr + b_y * kb) * (-1 / (1 - kr - kb))
    return torch.stack([y + r_y, y + g_y, y + b_y], dim=1)


class _Params(StageParams):
    standard: Annotated[Literal["bt601", "bt709", "bt2020"], Static] = Field(
        "bt601", description="whose luma weights; bt601 is that of JPEG"
    )
    range: Annotated[Literal["full", "limited"], Static] = Field("full", description="codes 0 to 255, or 16 to 235")


class RGBToYCbCr(Stage):
    """R'G'B' code values to luma and colour differences, as 8-bit codes over 255. Does not clip."""

    needs = Signal.where(layout="rgb", levels="unit", transfer=("srgb", "bt709", "gamma"))
    gives = Signal.change(layout="ycbcr")
    halo = 0
    source = "ITU-R BT.601-7 [BT601]; ITU-R BT.709-6 [BT709]; ITU-R BT.2020-2 [BT2020]"

    class Params(_Params):
        """Which weights, which codes."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return rgb_to_ycbcr(frame.pixels, p.standard, p.range)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return ycbcr_to_rgb(frame.pixels, p.standard, p.range)


class YCbCrToRGB(Stage):
    """Luma and colour differences back to R'G'B' code values. Does not clip."""

    needs = Signal.where(layout="ycbcr", levels="unit")
    gives = Signal.change(layout="rgb")
    halo = 0
    source = "ITU-R BT.601-7 [BT601]; ITU-R BT.709-6 [BT709]; ITU-R BT.2020-2 [BT2020]"

    class Params(_Params):
        """Which weights, which codes."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return ycbcr_to_rgb(frame.pixels, p.standard, p.range)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return rgb_to_ycbcr(frame.pixels, p.standard, p.range)
