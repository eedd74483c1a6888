"""A tone curve by four sliders: shadows, darks, lights, highlights."""

from __future__ import annotations

from typing import Annotated, Any, Final

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage
from isp_sim.stages.tone_curve import spline, spline_inverse

SHARE: Final = 0.8
"""Of the room that a knot has, what a slider at its end takes: the slope between two knots stays above 1 - SHARE."""

Slider = Annotated[float, Field(ge=-1, le=1)]


def knots(sliders: Tensor, splits: Tensor) -> Tensor:
    """The knots (B, 6, 2) of the curve, which rise strictly whatever the sliders.

    Each slider moves the middle of its region up or down. It may take up to `SHARE` of its room: half of the distance
    to the next middle, or the whole distance to black or white, which stay. So two neighbours that move towards each
    other never meet.

    Parameters
    ----------
    sliders
        (B, 4) of shadows, darks, lights and highlights, each in [-1, 1].
    splits
        (B, 3), where the regions meet, rising, in (0, 1).

    Examples
    --------
    >>> splits = torch.tensor([[0.25, 0.5, 0.75]])
    >>> [[round(c, 3) for c in knot] for knot in knots(torch.tensor([[1.0, 0, 0, 0]]), splits)[0].tolist()]
    [[0.0, 0.0], [0.125, 0.225], [0.375, 0.375], [0.625, 0.625], [0.875, 0.875], [1.0, 1.0]]
    """
    black = torch.zeros_like(splits[:, :1])
    edges = torch.cat([black, splits, black + 1], dim=1)
    middles = (edges[:, 1:] + edges[:, :-1]) / 2
    x = torch.cat([black, middles, black + 1], dim=1)
    gaps = x[:, 1:] - x[:, :-1]
    rooms = torch.cat([gaps[:, :1], gaps[:, 1:-1] / 2, gaps[:, -1:]], dim=1)
    moved = middles + sliders * (torch.minimum(rooms[:, :-1], rooms[:, 1:]) * SHARE)
    return torch.stack([x, torch.cat([black, moved, black + 1], dim=1)], dim=2)


class ParametricTone(Stage):
    """Brightens or darkens shadows, darks, lights and highlights by a smooth curve. Display-referred code values in
    and out, each channel by itself; [0, 1] onto itself, beyond that a straight line; does not clip.

    The curve is the spline of `tone_curve` through the middles of the four regions, which the sliders move. It rises
    strictly for every setting, and its inverse is in closed form. With all sliders at 0 it is the identity, up to
    rounding.
    """

    needs = Signal.where(layout="rgb", levels="unit", reference="display", transfer=("srgb", "bt709", "gamma"))
    halo = 0
    source = "Gregory and Delbourgo 1982 [Gregory1982]"

    class Params(StageParams):
        shadows: Slider = Field(0.0, description="darkest region [1, of the room it has]")
        darks: Slider = Field(0.0, description="region below the middle [1, of the room it has]")
        lights: Slider = Field(0.0, description="region above the middle [1, of the room it has]")
        highlights: Slider = Field(0.0, description="brightest region [1, of the room it has]")
        shadow_split: float = Field(0.25, ge=0.1, le=0.4, description="where shadows and darks meet [code value]")
        midtone_split: float = Field(0.5, ge=0.42, le=0.58, description="where darks and lights meet [code value]")
        highlight_split: float = Field(
            0.75, ge=0.6, le=0.9, description="where lights and highlights meet [code value]"
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return spline(frame.pixels, self._knots(p))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return spline_inverse(frame.pixels, self._knots(p))

    @staticmethod
    def _knots(p: Any) -> Tensor:
        sliders, splits = (
            torch.cat([number.reshape(-1, 1) for number in numbers], dim=1)
            for numbers in (
                (p.shadows, p.darks, p.lights, p.highlights),
                (p.shadow_split, p.midtone_split, p.highlight_split),
            )
        )
        return knots(sliders, splits)
