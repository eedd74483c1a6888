"""The transfer curve of BT.709, both ways."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from isp_sim.elementary import at_most, between, blockwise, positive_power
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

ALPHA, BETA = 1.09929682680944, 0.018053968510807
"""The solution of the standard's two equations, value and slope continuous at BETA; it prints 1.099 and 0.018."""


def bt709_oetf(x: Tensor) -> Tensor:
    """Linear light to BT.709 code values; 0 to 0 and 1 to 1. Domain: any finite number; not clipped.

    Examples
    --------
    >>> import torch
    >>> round(bt709_oetf(torch.tensor(0.18)).item(), 4)
    0.4088
    """
    return blockwise(_encode, x)


def _encode(x: Tensor) -> Tensor:
    curved = positive_power(x.clamp_min(BETA), 0.45) * ALPHA - (ALPHA - 1)
    return between(at_most(x, BETA), x * 4.5, curved)


def bt709_oetf_inverse(x: Tensor) -> Tensor:
    """BT.709 code values to the light of the scene; the inverse of `bt709_oetf`. It is no display's EOTF."""
    return blockwise(_decode, x)


def _decode(x: Tensor) -> Tensor:
    knee = 4.5 * BETA
    curved = positive_power((x.clamp_min(knee) + (ALPHA - 1)) / ALPHA, 1 / 0.45)
    return between(at_most(x, knee), x / 4.5, curved)


class BT709OETF(Stage):
    """Encodes linear light by the OETF of BT.709. Linear in, code values out; does not clip."""

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit")
    gives = Signal.change(transfer="bt709", reference="display")
    halo = 0
    source = "ITU-R BT.709-6 [BT709]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return bt709_oetf(frame.pixels)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return bt709_oetf_inverse(frame.pixels)


class BT709OETFInverse(Stage):
    """Decodes BT.709 code values to linear light by the inverse OETF. Does not clip."""

    needs = Signal.where(layout="rgb", transfer="bt709", levels="unit")
    gives = Signal.change(transfer="linear")
    halo = 0
    source = "ITU-R BT.709-6 [BT709]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return bt709_oetf_inverse(frame.pixels)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return bt709_oetf(frame.pixels)
