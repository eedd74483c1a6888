"""From digital numbers to [0, 1]: black level and white level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isp_sim.frame import Frame
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
    """(DN - black) / (white - black): black becomes 0 and white 1, for each CFA site. Does not clip.

    Raises
    ------
    ValueError
        If a white level does not lie above its black level.
    """

    needs = Signal.where(levels="dn", transfer="linear")
    gives = Signal.change(levels="unit")
    reads = ("black_level", "white_level")
    halo = 0
    source = "DNG 1.7.1, BlackLevel and WhiteLevel [DNG2023]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        black, span = self._levels(frame)
        return (frame.pixels - black) / span

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        black, span = self._levels(frame)
        return frame.pixels * span + black

    @staticmethod
    def _levels(frame: Frame) -> tuple[Tensor, Tensor]:
        black, white = frame.capture["black_level"], frame.capture["white_level"]
        if not bool((white > black).all()):
            raise ValueError(
                f"the white level must lie above the black level; found {white.min():g} and {black.max():g} DN"
            )
        return frame.tiled(black), frame.tiled(white - black)
