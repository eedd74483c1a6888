"""From digital numbers to [0, 1]: black level and white level."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Recovery, Result, Stage


class BlackLevel(Stage):
    """Subtracts the black level of each CFA site. DN in, DN out; values below black stay negative; does not clip.

    The capture's white level falls by as much, so `normalise` may follow.
    """

    needs = Signal.where(levels="dn", transfer="linear")
    reads = ("black_level", "white_level")
    writes = ("black_level", "white_level")
    halo = 0
    source = "DNG 1.7.1, BlackLevel [DNG2023]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        black, white = frame.capture["black_level"], frame.capture["white_level"]
        facts = {"black_level": torch.zeros_like(black), "white_level": white - black}
        return Result(frame.pixels - frame.tiled(black), facts)

    def recovery(self, p: Any) -> Recovery:
        return Recovery(lost="the black level, which it takes out of the capture; `normalise` keeps it")


class Normalise(Stage):
    """(DN - black) / span: the black of each CFA site becomes 0. Does not clip.

    The span is white - black. Where sites have different black levels, a plane is scaled by one span, because its
    sites answer to light with one gain. By the DNG specification, and by default, it is that of the site with the
    highest black level: this site saturates at 1, the others just above it, so no saturated site falls short of 1,
    and a `clip` makes all of them 1. LibRaw takes the site with the lowest one. With ``span: site`` each site has its
    own, so that all saturate at 1 exactly, but differ in gain.

    Raises
    ------
    ValueError
        If a white level does not lie above its black level.
    """

    needs = Signal.where(levels="dn", transfer="linear")
    gives = Signal.change(levels="unit")
    reads = ("black_level", "white_level")
    halo = 0
    source = "DNG 1.7.1, Mapping Raw Values to Linear Reference Values [DNG2023]"

    class Params(StageParams):
        span: Literal["least", "site", "greatest"] = Field(
            "least",
            description="white - black by which a plane is divided: the least of its sites, as in DNG; the greatest, "
            "as in LibRaw; or each site's own",
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        black, span = self._levels(frame, p)
        return (frame.pixels - black) / span

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        black, span = self._levels(frame, p)
        return frame.pixels * span + black

    @staticmethod
    def _levels(frame: Frame, p: Any) -> tuple[Tensor, Tensor]:
        black, white = frame.capture["black_level"], frame.capture["white_level"]
        if not bool((white > black).all()):
            raise ValueError(
                f"the white level must lie above the black level; found {white.min():g} and {black.max():g} DN"
            )
        span = white - black
        if p.span == "least":
            span = span.amin(dim=(-2, -1), keepdim=True)
        elif p.span == "greatest":
            span = span.amax(dim=(-2, -1), keepdim=True)
        return frame.tiled(black), frame.tiled(span)
