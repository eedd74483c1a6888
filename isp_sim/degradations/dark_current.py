"""Dark current: electrons that heat sets free, without any light."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.degradations.sensor import GAIN, TEN_BITS, Gain, SensorTerm, counting_noise, dn_scale, joined_sigma
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.stage import Result


class DarkCurrent(SensorTerm):
    """Adds Poisson counts of mean rate * time * 2^((temperature - reference) / doubling) electrons; does not clip.

    With the `mean` ``removed``, as a camera does by its masked pixels, the noise has zero mean; ``kept``, the picture
    grows brighter. Adds to the map ``sigma``.
    """

    source = "Janesick 2007 [Janesick2007]; EMVA 1288 release 4.0 [EMVA1288]"

    severities: ClassVar = {
        "rate": (20.0, 100.0, 500.0, 2000.0, 8000.0),
        "exposure_time": (1.0,) * 5,
        "span": (TEN_BITS,) * 5,
    }

    class Params(SensorTerm.Params):
        gain: Gain = Field(1.0, description=GAIN)
        rate: float = Field(0.1, ge=0, le=1e5, description="dark current at the reference temperature [e-/s]")
        exposure_time: float | None = Field(None, ge=0, le=1e5, description="exposure [s]; the capture's if none")
        temperature: float = Field(25.0, ge=-200, le=120, description="of the sensor [degrees C]")
        reference: float = Field(25.0, ge=-200, le=120, description="temperature that the rate holds for [degrees C]")
        doubling: float = Field(6.0, ge=1, le=100, description="warming that doubles the rate [K]")
        mean: Literal["removed", "kept"] = Field("removed", description="whether the mean count is taken off again")

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return (*super().facts_read(p), *(("exposure_time",) if p.exposure_time is None else ()))

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        time = frame.capture["exposure_time"] if p.exposure_time is None else p.exposure_time
        electrons = dark_electrons(p.rate, time, p.temperature, p.reference, p.doubling)
        unit = p.gain / dn_scale(frame, p.span)
        noise = counting_noise(electrons, rng, "dark", tuple(frame.pixels.shape[1:]))
        counted = (noise if p.mean == "removed" else noise + electrons).to(frame.pixels)
        return Result(frame.pixels + counted * unit, maps=joined_sigma(frame, electrons.to(unit) * unit * unit))


def dark_electrons(rate: Tensor, time: Tensor, temperature: Tensor, reference: Tensor, doubling: Tensor) -> Tensor:
    """Mean count [e-], float64; at most 1e9, which no pixel holds."""
    rate, time, temperature, reference, doubling = (x.double() for x in (rate, time, temperature, reference, doubling))
    return (rate * time * torch.exp((temperature - reference) / doubling * math.log(2))).clamp(0, 1e9)
