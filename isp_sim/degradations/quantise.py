"""Quantisation to the codes of so many bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Recovery, as_it_is


def quantise(x: Tensor, bits: int) -> Tensor:
    """The nearest of the codes k / (2**bits - 1), halves upwards. Clips to [0, 1].

    Examples
    --------
    >>> quantise(torch.tensor([0.2, 0.5, 1.7]), 1).tolist()
    [0.0, 1.0, 1.0]
    """
    top = float(2**bits - 1)
    return torch.floor(x.clamp(0, 1) * top + 0.5) / top


class Quantise(Degradation):
    """Rounds to the nearest code of an ADC or a file. Clips to [0, 1]; the gradient is zero almost everywhere."""

    needs = Signal.where(levels="unit")
    differentiable = False
    halo = 0
    source = "Widrow and Kollár 2008 [Widrow2008]"

    class Params(StageParams):
        bits: Annotated[int, Static] = Field(8, ge=1, le=16, description="codes from 0 to 2**bits - 1 [bit]")

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return replace(signal, bit_depth=p.bits)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return quantise(frame.pixels, p.bits)

    def recovery(self, p: Any) -> Recovery:
        return Recovery(as_it_is, "the picture as it is", f"the place between two of {2**p.bits} codes")
