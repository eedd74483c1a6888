"""A picture encoded for one exponent and shown by another."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.elementary import blockwise, power
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation


class GammaError(Degradation):
    """Raises code values to a power, odd below 0: gamma correction by a wrong exponent. Code values in and out; 0 and 1
    stay; does not clip.

    Above 1 the midtones darken, below 1 they lighten, and shadows lose their gradation.
    """

    needs = Signal.where(layout="rgb", levels="unit", transfer=("srgb", "bt709", "gamma"))
    halo = 0
    source = "Poynton 2012 [Poynton2012]"
    severities: ClassVar = {"exponent": (1.1, 1.25, 1.5, 2.0, 3.0)}

    class Params(StageParams):
        exponent: float = Field(
            1.0, ge=0.2, le=5, description="the exponent that is applied over the one that is right [factor]"
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return blockwise(_odd_power, frame.pixels, p.exponent.reshape(-1, 1))


def _odd_power(x: Tensor, exponent: Tensor) -> Tensor:
    # an exponent of 1 leaves x as it is to the last bit, which exp(log x) does not
    y = power(x.abs(), exponent)
    y = torch.where(exponent == 1, x.abs().detach() + (y - y.detach()), y)
    return torch.where(x < 0, -y, y)
