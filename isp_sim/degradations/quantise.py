"""Quantisation to the codes of so many bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from isp_sim.degradations.jpeg_transform import smooth_rounding, straight_through
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Recovery, as_it_is


def quantise(x: Tensor, bits: int) -> Tensor:
    """The nearest of the codes k / (2**bits - 1), halves upwards. Clips to [0, 1].

    Examples
    --------
    >>> import torch
    >>> quantise(torch.tensor([0.2, 0.5, 1.7]), 1).tolist()
    [0.0, 1.0, 1.0]
    """
    top = float(2**bits - 1)
    return x.clamp(0, 1).mul_(top).add_(0.5).floor_().div_(top)


class Quantise(Degradation):
    """Rounds to the nearest code of an ADC or a file. Clips to [0, 1].

    In mode ``exact`` the gradient is zero almost everywhere. Mode ``soft`` is differentiable: it rounds by
    `isp_sim.degradations.jpeg_transform.smooth_rounding`, so its pixels lie near the codes and not on them. Mode
    ``straight_through`` has the pixels of ``exact`` and the gradient of clipping alone.
    """

    needs = Signal.where(levels="unit")
    differentiable = False
    halo = 0
    soft_gap = 3e-4
    source = "Widrow and Kollár 2008 [Widrow2008]; Bengio et al. 2013 [Bengio2013]"
    severities: ClassVar = {"bits": (6, 5, 4, 3, 2)}

    class Params(StageParams):
        # the kit's differences would not see the slopes of finer codes, or of sharper rounding
        bits: Annotated[int, Static] = Field(
            8, ge=1, le=16, examples=[1, 10], description="codes from 0 to 2**bits - 1 [bit]"
        )
        mode: Annotated[Literal["exact", "soft", "straight_through"], Static] = Field(
            "exact", description="soft: smooth rounding; straight_through: exact, with a gradient"
        )
        sharpness: Annotated[int, Structural] = Field(
            4, ge=0, le=20, examples=[0, 1], description="of mode soft: order of the smooth rounding, 0 for none [1]"
        )

    def is_differentiable(self, p: Any) -> bool:
        return bool(p.mode != "exact")

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return replace(signal, bit_depth=None if p.mode == "soft" else p.bits)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        if p.mode == "exact":
            return quantise(frame.pixels, p.bits)
        top = float(2**p.bits - 1)
        codes = frame.pixels.clamp(0, 1) * top
        return (smooth_rounding(codes, p.sharpness) if p.mode == "soft" else straight_through(codes)) / top

    def recovery(self, p: Any) -> Recovery:
        return Recovery(as_it_is, "the picture as it is", f"the place between two of {2**p.bits} codes")
