"""Sampling a picture through a colour filter array."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final

import torch
from pydantic import Field, field_validator
from torch import Tensor

from isp_sim import registry
from isp_sim.demosaicing.demosaicer import GROUP, Demosaicer
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal, cfa_rows
from isp_sim.stage import Recovery, Stage

INTERPOLATED_BY: Final = "malvar2004"
"""The algorithm that undoes a mosaic, where it knows the CFA: good, and fast enough for any picture."""


def mosaic(rgb: Tensor, cfa: str) -> Tensor:
    """Keep of each pixel the one colour that its filter lets through.

    Parameters
    ----------
    rgb
        (B, 3, H, W); any range, not clipped.
    cfa
        One period of the array at the top-left pixel, of the letters R, G and B (see `isp_sim.signal.cfa_rows`).

    Returns
    -------
    Tensor
        (B, 1, H, W): every sample is one of the input's samples, unchanged.

    Examples
    --------
    >>> import torch
    >>> mosaic(torch.arange(12.0).reshape(1, 3, 2, 2), "RGGB")[0, 0].tolist()
    [[0.0, 5.0], [6.0, 11.0]]
    """
    rows = cfa_rows(cfa)
    out = torch.empty_like(rgb[:, :1])
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            site = (..., slice(y, None, len(rows)), slice(x, None, len(row)))
            out[:, 0][site] = rgb[:, "RGB".index(letter)][site]
    return out


class Mosaic(Stage):
    """Samples an RGB picture through a colour filter array. Any range in, the same range out; does not clip."""

    needs = Signal.where(layout="rgb", transfer="linear")
    gives = Signal.change(layout="mosaic", cfa="?")
    keeps_codes = True
    halo = 0
    source = "Bayer 1976, US patent 3971065 [Bayer1976]"

    class Params(StageParams):
        cfa: Annotated[str, Static] = Field(
            "RGGB",
            description="one period of the array at the top-left pixel; rows of any other shape are joined by '/'",
        )

        @field_validator("cfa")
        @classmethod
        def _letters(cls, cfa: str) -> str:
            if strange := sorted({letter for row in cfa_rows(cfa) for letter in row} - set("RGB")):
                raise ValueError(f"CFA {cfa!r} has {', '.join(strange)}; a picture has only R, G and B to sample")
            return cfa

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return replace(super().output_signal(signal, p), cfa=p.cfa)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return mosaic(frame.pixels, p.cfa)

    def recovery(self, p: Any) -> Recovery:
        lost = f"all but one colour of each pixel ({p.cfa})"
        for method in dict.fromkeys([INTERPOLATED_BY, *registry.names(GROUP)]):
            algorithm: type[Demosaicer] = registry.load(method, GROUP)
            if algorithm.accepts(p.cfa):
                return Recovery(partial(_interpolated, algorithm), f"demosaic by {method}", lost)
        return Recovery(lost=f"{lost}, and no demosaicer knows this CFA")


def _interpolated(algorithm: type[Demosaicer], frame: Frame, p: Any, before: Signal) -> Tensor:
    return algorithm().demosaic(frame.pixels, p.cfa)
