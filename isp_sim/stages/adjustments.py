"""What the sliders of a photo editor do to code values: saturation, hue, contrast, brightness."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage
from isp_sim.stages.ycbcr import WEIGHTS

Standard = Annotated[Literal["bt601", "bt709", "bt2020"], Static, Field(description="whose weights luma has")]


def luma(rgb: Tensor, standard: str = "bt709") -> Tensor:
    """Luma (B, 1, H, W) of code values (B, 3, H, W); of a neutral colour its value, to the last bit."""
    kr, kb = WEIGHTS[standard]
    r, g, b = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    return g + ((r - g) * kr + (b - g) * kb)


def saturated(rgb: Tensor, factor: Tensor, standard: str = "bt709") -> Tensor:
    """Scale the distance of code values (B, 3, H, W) from their luma by `factor` (B, 1, 1, 1). Luma stays; not clipped.

    Examples
    --------
    >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    >>> [round(v, 4) for v in saturated(red, torch.zeros(1, 1, 1, 1)).flatten().tolist()]
    [0.2126, 0.2126, 0.2126]
    """
    return rgb + (rgb - luma(rgb, standard)) * (factor - 1)


def turned(rgb: Tensor, degrees: Tensor, standard: str = "bt709") -> Tensor:
    """Turn the colour differences Cb and Cr of code values (B, 3, H, W) by an angle (B, 1, 1, 1).

    Luma and grey stay. Positive angles turn as in HSV: red towards orange, green towards cyan, blue towards violet. Not
    clipped.
    """
    kr, kb = WEIGHTS[standard]
    y = luma(rgb, standard)
    cb, cr = (rgb[:, 2:3] - y) / (2 * (1 - kb)), (rgb[:, 0:1] - y) / (2 * (1 - kr))
    half = torch.deg2rad(degrees) / 2
    sine, versine = torch.sin(half * 2), 2 * torch.sin(half) * torch.sin(half)
    # the change alone, which is nothing at 0 degrees: then the picture stays as it is to the last bit
    db = (-cb * versine - cr * sine) * (2 * (1 - kb))
    dr = (cb * sine - cr * versine) * (2 * (1 - kr))
    dg = (dr * kr + db * kb) / (kr + kb - 1)
    return rgb + torch.cat([dr, dg, db], dim=1)


class _Adjustment(Stage):
    """On code values of a picture that is rendered for a screen."""

    needs = Signal.where(layout="rgb", levels="unit", reference="display", transfer=("srgb", "bt709", "gamma"))
    halo = 0
    source = "Poynton 2012 [Poynton2012]"


class Saturation(_Adjustment):
    """Scales the distance from luma. Display-referred code values in and out, luma as it was; does not clip.

    1 leaves the picture as it is, 0 leaves luma alone, which the inverse leaves grey.
    """

    class Params(StageParams):
        factor: float = Field(1.0, ge=0, le=10, description="distance from grey [factor]")
        standard: Standard = "bt709"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return saturated(frame.pixels, p.factor, p.standard)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        grey = p.factor == 0
        undone = torch.where(grey, 1.0, 1 / torch.where(grey, 1.0, p.factor))
        return saturated(frame.pixels, undone.to(p.factor), p.standard)


class Hue(_Adjustment):
    """Turns the plane of the colour differences Cb and Cr. Display-referred code values in and out, luma and grey as
    they were; does not clip.

    Positive angles turn as in HSV: red towards orange, green towards cyan, blue towards violet. 0 leaves the picture as
    it is.
    """

    class Params(StageParams):
        angle: float = Field(0.0, ge=-180, le=180, description="turn [degree]")
        standard: Standard = "bt709"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return turned(frame.pixels, p.angle, p.standard)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return turned(frame.pixels, -p.angle, p.standard)


class Contrast(_Adjustment):
    """Scales the distance from a pivot. Display-referred code values in and out; does not clip.

    1 leaves the picture as it is.
    """

    class Params(StageParams):
        factor: float = Field(1.0, ge=0.01, le=10, description="distance from the pivot [factor]")
        pivot: float = Field(0.5, ge=0, le=1, description="code value that stays [1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return torch.add(frame.pixels, (frame.pixels - p.pivot) * (p.factor - 1))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return torch.add((frame.pixels - p.pivot) / p.factor, p.pivot)


class Brightness(_Adjustment):
    """Adds an offset. Display-referred code values in and out; does not clip. A gain of light is `exposure`.

    0 leaves the picture as it is.
    """

    class Params(StageParams):
        offset: float = Field(0.0, ge=-1, le=1, description="what is added [code value, white 1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return torch.add(frame.pixels, p.offset)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return torch.sub(frame.pixels, p.offset)
