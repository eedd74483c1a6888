"""The transfer curve of sRGB, both ways."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from isp_sim.elementary import at_most, between, blockwise, positive_power
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage


def srgb_oetf(x: Tensor) -> Tensor:
    """Linear light to sRGB code values; 0 to 0 and 1 to 1.

    Domain: any finite number; below 0 the linear segment goes on, above 1 the power law. Not clipped. The derivative
    is finite everywhere.

    Examples
    --------
    >>> import torch
    >>> round(srgb_oetf(torch.tensor(0.18)).item(), 4)
    0.4614
    """
    return blockwise(_encode, x)


def _encode(x: Tensor) -> Tensor:
    curved = positive_power(x.clamp_min(0.0031308), 1 / 2.4) * 1.055 - 0.055
    return between(at_most(x, 0.0031308), x * 12.92, curved)


def srgb_eotf(x: Tensor) -> Tensor:
    """sRGB code values to linear light; the inverse of `srgb_oetf`. Domain: any finite number. Not clipped.

    Examples
    --------
    >>> import torch
    >>> round(srgb_eotf(torch.tensor(0.5)).item(), 4)
    0.214
    """
    return blockwise(_decode, x)


def _decode(x: Tensor) -> Tensor:
    curved = positive_power((x.clamp_min(0.04045) + 0.055) / 1.055, 2.4)
    return between(at_most(x, 0.04045), x / 12.92, curved)


class SRGBOETF(Stage):
    """Encodes linear light for an sRGB display. Linear in, code values out; does not clip."""

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit", colour="srgb")
    gives = Signal.change(transfer="srgb", reference="display")
    halo = 0
    source = "IEC 61966-2-1:1999 [IEC61966]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return srgb_oetf(frame.pixels)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return srgb_eotf(frame.pixels)


class SRGBEOTF(Stage):
    """Decodes sRGB code values to linear light. Does not clip."""

    needs = Signal.where(layout="rgb", transfer="srgb", levels="unit", colour="srgb")
    gives = Signal.change(transfer="linear")
    halo = 0
    source = "IEC 61966-2-1:1999 [IEC61966]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return srgb_eotf(frame.pixels)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return srgb_oetf(frame.pixels)
