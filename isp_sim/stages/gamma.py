"""A power law as transfer curve, both ways."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.elementary import blockwise, power
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage


def gamma_oetf(x: Tensor, gamma: Tensor) -> Tensor:
    """Linear light to code values, ``x ** (1 / gamma)``; 0 to 0 and 1 to 1.

    Parameters
    ----------
    x
        (B, C, H, W), any range: below 0 the curve is odd, ``-(-x) ** (1 / gamma)``. Not clipped.
    gamma
        (B, 1, 1, 1), positive.

    Notes
    -----
    The slope of a power law at 0 is infinite; the gradient there is 0.

    Examples
    --------
    >>> round(gamma_oetf(torch.full((1, 1, 1, 1), 0.18), torch.full((1, 1, 1, 1), 2.2)).item(), 4)
    0.4587
    """
    return blockwise(_odd_power, x, 1 / gamma.reshape(-1, 1))


def gamma_eotf(x: Tensor, gamma: Tensor) -> Tensor:
    """Code values to linear light, ``x ** gamma``; the inverse of `gamma_oetf`, with shapes and range as there.

    Examples
    --------
    >>> round(gamma_eotf(torch.full((1, 1, 1, 1), 0.5), torch.full((1, 1, 1, 1), 2.2)).item(), 4)
    0.2176
    """
    return blockwise(_odd_power, x, gamma.reshape(-1, 1))


def _odd_power(x: Tensor, exponent: Tensor) -> Tensor:
    y = power(x.abs(), exponent)
    return torch.where(x < 0, -y, y)


class _Params(StageParams):
    gamma: float = Field(2.2, ge=1, le=5, description="exponent from code values to light [1]")


class GammaOETF(Stage):
    """Encodes linear light by a power law, ``x ** (1 / gamma)``, odd below 0. Linear in, code values out; does not
    clip."""

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit")
    gives = Signal.change(transfer="gamma", reference="display")
    halo = 0
    source = "Poynton 2012 [Poynton2012]"

    class Params(_Params):
        """The exponent."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return gamma_oetf(frame.pixels, p.gamma)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return gamma_eotf(frame.pixels, p.gamma)


class GammaEOTF(Stage):
    """Decodes code values of a power law to linear light, ``x ** gamma``, odd below 0. Does not clip.

    The exponent does not stand in the signal: give the one that the picture was encoded with.
    """

    needs = Signal.where(layout="rgb", transfer="gamma", levels="unit")
    gives = Signal.change(transfer="linear")
    halo = 0
    source = "Poynton 2012 [Poynton2012]"

    class Params(_Params):
        """The exponent."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return gamma_eotf(frame.pixels, p.gamma)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return gamma_oetf(frame.pixels, p.gamma)
