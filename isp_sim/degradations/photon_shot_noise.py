"""Photon shot noise: light comes in whole photons."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from isp_sim.degradations.sensor import GAIN, TEN_BITS, Gain, SensorTerm, counting_noise, dn_scale, joined_sigma, light
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.stage import Result


class PhotonShotNoise(SensorTerm):
    """Counts electrons: Poisson(light / K) * K, for light in DN. Zero mean; does not clip.

    Light below black has none. The gradient is that of the mean, 1. Adds to the map ``sigma``.
    """

    source = "Janesick 2007 [Janesick2007]"

    severities: ClassVar = {"gain": (0.3, 1.0, 3.0, 8.0, 20.0), "span": (TEN_BITS,) * 5}

    class Params(SensorTerm.Params):
        gain: Gain = Field(1.0, description=GAIN)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        scale = dn_scale(frame, p.span)
        # in float64: where there are many electrons, float32 does not tell one from the next
        electrons = light(frame, scale).double() / p.gain.double()
        noise, electrons = (x.to(frame.pixels) for x in (counting_noise(electrons, rng, "photons"), electrons))
        unit = p.gain / scale
        return Result(frame.pixels + noise * unit, maps=joined_sigma(frame, electrons.clamp_min(0) * unit * unit))
