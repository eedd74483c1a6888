"""From one colour filter array to another."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from isp_sim import registry
from isp_sim.demosaicing.demosaicer import GROUP, Demosaicer
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import OPEN, Signal, cfa_rows, mixed_sites
from isp_sim.stage import Stage
from isp_sim.stages.mosaic import mosaic


class Remosaic(Stage):
    """Makes one mosaic into another, such as Quad Bayer into Bayer, as sensors do to feed an ordinary ISP.

    Sites that have the wanted colour already keep their sample to the bit; the others get what a demosaicing algorithm
    finds for them. Linear in, linear out; does not clip.
    """

    needs = Signal.where(layout="mosaic", transfer="linear", levels="unit")
    gives = Signal.change(cfa=OPEN)

    class Params(StageParams):
        cfa: Annotated[str, Static] = Field(
            "RGGB",
            description="one period of the wanted array at the top-left pixel: R, G and B",
            examples=["xtrans"],
        )
        method: str = Field(
            "directional_kriging",
            description="name of the algorithm that finds the other colours; `isp-sim list demosaicers` shows all",
            examples=["normalised_convolution"],
        )

        @field_validator("cfa")
        @classmethod
        def _plain(cls, cfa: str) -> str:
            if mixed := mixed_sites(cfa):
                raise ValueError(f"CFA {cfa!r} has {', '.join(mixed)}; remosaic gives R, G and B sites")
            return cfa

        @field_validator("method")
        @classmethod
        def _installed(cls, method: str) -> str:
            if method not in registry.names(GROUP):
                raise ValueError(str(registry.UnknownPlugin(method, (GROUP,))))
            return method

    def refuses(self, signal: Signal, p: Any) -> str | None:
        algorithm: type[Demosaicer] = registry.load(p.method, GROUP)
        if signal.cfa == OPEN:
            return None
        cfa = str(signal.cfa)
        if not algorithm.accepts(cfa):
            return f"by {p.method} does not know the CFA {cfa}; `isp-sim list demosaicers` shows the others"
        if algorithm.scale(cfa) != 1:
            return f"by {p.method} would make a picture {algorithm.scale(cfa)} times smaller; take another method"
        return None

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return replace(super().output_signal(signal, p), cfa=p.cfa)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        if reason := self.refuses(frame.signal, p):
            raise ValueError(f"remosaic {reason}")
        algorithm: Demosaicer = registry.load(p.method, GROUP)()
        cfa = str(frame.signal.cfa)
        if min(frame.size) < algorithm.smallest:
            least = f"{algorithm.smallest}x{algorithm.smallest}"
            raise ValueError(f"a mosaic of {frame.size[0]}x{frame.size[1]} is too small: it must be at least {least}")
        found = mosaic(algorithm.demosaic(frame.pixels, cfa), p.cfa)
        return torch.where(_same(cfa, p.cfa, frame), frame.pixels, found)


def _same(before: str, after: str, frame: Frame) -> Tensor:
    """Where both patterns have the same letter, (H, W)."""
    letters = []
    for cfa in (before, after):
        rows = cfa_rows(cfa)
        tile = torch.tensor([[ord(letter) for letter in row] for row in rows], device=frame.pixels.device)
        letters.append(frame.tiled(tile[None, None]))
    return letters[0] == letters[1]
