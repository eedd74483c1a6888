"""Undoing gains without dimming what is white."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import Static
from isp_sim.stage import LOST, Recovery, Result

INFLECTION: Final = 0.9

Highlights = Annotated[
    Literal["plain", "safe"],
    Static,
    Field(
        description="how gains are undone near white: plain divides, safe keeps white white and is lossy",
        json_schema_extra={"undone": False},
    ),
]
"""The parameter of a stage that multiplies by gains."""

Inflection = Annotated[
    float,
    Field(
        ge=0,
        le=0.99,
        description="of safe highlights: mean of the channels above which gains are undone less [1]",
    ),
]


def undo_gains(frame: Frame, gains: Tensor, highlights: str, inflection: Tensor) -> Tensor | Result:
    """Divide by gains, or safely: as far as the mean of the channels lies above the inflection, not at all.

    With the mean g of R, G and B, the weight is m = ((g - inflection) / (1 - inflection))^2, 0 below the inflection
    and at most 1, and the factor of each channel max(m + (1 - m) / gain, 1 / gain): never below that of plain
    division, and 1 at white. It rises with the picture.

    Parameters
    ----------
    gains
        (B, 3, 1, 1), or what `Frame.spread` makes of it for a mosaic.
    highlights
        ``plain`` or ``safe``; safe needs an RGB picture.
    inflection
        (B, 1, 1, 1).

    Returns
    -------
    Tensor or Result
        Where safe, with the map ``lost``: the pixels of which a factor is not the plain one.
    """
    x = frame.pixels
    if highlights == "plain":
        return x / gains
    grey = ((x[:, 0] + x[:, 1] + x[:, 2]) / 3).unsqueeze(1)
    above = ((grey - inflection) / (1 - inflection)).clamp(0, 1)
    weight = above * above
    less = (weight > 0) & (gains > 1)
    pixels = torch.where(less, x * (weight + (1 - weight) / gains), x / gains)
    return Result(pixels, maps={LOST: less.any(dim=1, keepdim=True)})


def safely(recovery: Recovery, highlights: str) -> Recovery:
    """What to say of an inverse that is safe."""
    if highlights == "plain":
        return recovery
    return Recovery(recovery.undo, "its inverse, by safe gains", "what was dimmer than white in front of the gains")
