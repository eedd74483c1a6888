"""Chromatic adaptation: from the look under one white to the look under another."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.colorimetry import RGB_NAMES, WHITES, XY, AdaptationMethod, WhiteName, adaptation_in
from isp_sim.colour_temperature import cct_to_xy
from isp_sim.elementary import apply_matrix
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

Temperature = Annotated[float, Field(ge=1700, le=25000)]
X = Annotated[float, Field(ge=0.2, le=0.565)]
Y = Annotated[float, Field(ge=0.2, le=0.42)]
"""A chromaticity: of lights down to 1700 K, and with some blue in any of them."""


class ChromaticAdaptation(Stage):
    """Scales the responses of the eye, or what stands for them, so that one white becomes another. Linear RGB in and
    out, in the primaries of the picture; bright or saturated colours may leave [0, 1]; does not clip.

    A white is a named illuminant; the black body of a temperature, if that is given; or a chromaticity, if that is.
    Equal whites leave the picture as it is, to the last bit.
    """

    needs = Signal.where(layout="rgb", levels="unit", transfer="linear", colour=(*RGB_NAMES, "xyz"))
    halo = 0
    source = "Lam 1985 [Lam1985]; CIE 159:2004 [CIE159]; Li et al. 2017 [Li2017]; CIE 15:2018 [CIE15]"

    class Params(StageParams):
        method: AdaptationMethod = Field("bradford", description="which responses are scaled")
        source: WhiteName = Field("A", description="the white that the picture has")
        source_cct: Temperature | None = Field(
            None, description="a black body in its place [K]", json_schema_extra={"differentiable": False}
        )
        source_xy: tuple[X, Y] | None = Field(
            None, description="a chromaticity x, y in its place [1]", json_schema_extra={"differentiable": False}
        )
        to: WhiteName = Field("D65", description="the white that it gets")
        to_cct: Temperature | None = Field(
            None, description="a black body in its place [K]", json_schema_extra={"differentiable": False}
        )
        to_xy: tuple[X, Y] | None = Field(
            None,
            description="a chromaticity x, y in its place [1]",
            json_schema_extra={"differentiable": False},
        )

        @model_validator(mode="after")
        def _one_of_both(self) -> ChromaticAdaptation.Params:
            for side in ("source", "to"):
                if getattr(self, f"{side}_cct") is not None and getattr(self, f"{side}_xy") is not None:
                    raise ValueError(f"{side}_cct and {side}_xy both say what the white is; give one of them")
            return self

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return apply_matrix(frame.pixels, _matrices(frame, p.method, _source(frame, p), _target(frame, p)))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return apply_matrix(frame.pixels, _matrices(frame, p.method, _target(frame, p), _source(frame, p)))


def _source(frame: Frame, p: Any) -> list[XY]:
    return _whites(frame.batch, p.source, p.source_cct, p.source_xy)


def _target(frame: Frame, p: Any) -> list[XY]:
    return _whites(frame.batch, p.to, p.to_cct, p.to_xy)


def _whites(batch: int, name: str, cct: Tensor | None, xy: Tensor | None) -> list[XY]:
    """Each sample's white."""
    if xy is not None:
        return [(float(x), float(y)) for x, y in xy.flatten(1).tolist()]
    if cct is not None:
        return [cct_to_xy(float(kelvin)) for kelvin in cct.flatten().tolist()]
    return [WHITES[name]] * batch


def _matrices(frame: Frame, method: str, source: list[XY], target: list[XY]) -> Tensor:
    colour = frame.signal.colour
    matrices = [adaptation_in(colour, a, b, method) for a, b in zip(source, target, strict=True)]
    return torch.from_numpy(np.stack(matrices)).to(frame.pixels)
