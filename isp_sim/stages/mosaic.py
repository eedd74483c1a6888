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
from isp_sim.signal import FILTERS, Signal, cfa_rows, mixed_sites
from isp_sim.stage import Recovery, Stage

INTERPOLATED_BY: Final = "malvar2004"
"""The algorithm that undoes a mosaic, where it knows the CFA: good, and fast enough for any picture."""


def mosaic(rgb: Tensor, cfa: str) -> Tensor:
    """Keep of each pixel what its filter lets through: one colour, or the mean of two or three.

    Parameters
    ----------
    rgb
        (B, 3, H, W); any range, not clipped.
    cfa
        One period of the array at the top-left pixel, or its name, in the letters of `isp_sim.signal.FILTERS`.

    Returns
    -------
    Tensor
        (B, 1, H, W): at R, G and B sites every sample is one of the input's samples, unchanged.

    Examples
    --------
    >>> import torch
    >>> mosaic(torch.arange(12.0).reshape(1, 3, 2, 2), "RGGB")[0, 0].tolist()
    [[0.0, 5.0], [6.0, 11.0]]
    >>> mosaic(torch.tensor([1.0, 5.0, 9.0]).reshape(1, 3, 1, 1).repeat(1, 1, 2, 2), "CYGM")[0, 0].tolist()
    [[7.0, 3.0], [5.0, 5.0]]
    """
    rows = cfa_rows(cfa)
    out = torch.empty_like(rgb[:, :1])
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            site = (..., slice(y, None, len(rows)), slice(x, None, len(row)))
            first, *others = (rgb[:, "RGB".index(colour)][site] for colour in FILTERS[letter])
            if not others:
                out[:, 0][site] = first
                continue
            # the mean by what the others lie above the first, so that grey is grey to the last bit
            above = others[0] - first
            for other in others[1:]:
                above = above + (other - first)
            out[:, 0][site] = first + above / (1 + len(others))
    return out


class Mosaic(Stage):
    """Samples an RGB picture through a colour filter array. Any range in, the same range out; does not clip.

    A site that lets several colours through (C, M, Y, or W for clear) gets their mean, so a neutral surface has the
    same value at every site.
    """

    needs = Signal.where(layout="rgb", transfer="linear")
    gives = Signal.change(layout="mosaic", cfa="?")
    keeps_codes = True
    halo = 0
    source = "Bayer 1976, US patent 3971065 [Bayer1976]"

    class Params(StageParams):
        cfa: Annotated[str, Static] = Field(
            "RGGB",
            description="one period of the array at the top-left pixel, rows joined by '/' unless they make a square, "
            "of R, G, B, C (cyan), M, Y and W (clear); or xtrans, quad_bayer, RCCB",
            examples=["xtrans", "RCCB", "CYGM"],
        )

        @field_validator("cfa")
        @classmethod
        def _letters(cls, cfa: str) -> str:
            if strange := sorted({letter for row in cfa_rows(cfa) for letter in row} - set(FILTERS)):
                raise ValueError(f"CFA {cfa!r} has {', '.join(strange)}; known filters are {', '.join(FILTERS)}")
            return cfa

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        after = replace(super().output_signal(signal, p), cfa=p.cfa)
        return replace(after, bit_depth=None) if mixed_sites(p.cfa) else after  # a mean of codes lies between them

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
