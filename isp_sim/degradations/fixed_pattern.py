"""Fixed-pattern noise: what is different from pixel to pixel and the same from picture to picture."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from isp_sim.degradations.read_noise import Scale
from isp_sim.degradations.sensor import SENSOR, TEN_BITS, SensorName, SensorTerm, dn_scale, light
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness


class FixedPattern(SensorTerm):
    """Each pixel's own offset (DSNU) and gain (PRNU), normal, fixed to a sensor; does not clip.

    The pattern depends on the `sensor`, the picture's size and nothing else: not on the sample, the view or the
    recipe's seed. Light is multiplied by 1 + prnu * n, then dsnu * m is added.
    """

    source = "EMVA 1288 release 4.0 [EMVA1288]"

    severities: ClassVar = {
        "dsnu": (1.0, 3.0, 8.0, 16.0, 32.0),
        "prnu": (0.005, 0.01, 0.02, 0.04, 0.08),
        "span": (TEN_BITS,) * 5,
    }

    class Params(SensorTerm.Params):
        sensor: SensorName = Field("sensor", examples=["another sensor"], description=SENSOR)
        dsnu: Scale = Field(1.0, description="standard deviation of the offsets [DN]")
        prnu: float = Field(0.005, ge=0, le=0.3, description="standard deviation of the gains [fraction]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        scale, fixed = dn_scale(frame, p.span), rng.fixed(p.sensor)
        added = light(frame, scale) * own_gains(frame, p.prnu, fixed) + own_offsets(frame, p.dsnu, fixed)
        return frame.pixels + added / scale


def own_gains(frame: Frame, prnu: Tensor, rng: Randomness) -> Tensor:
    """How much each pixel of a sensor gains more than 1; `rng` is the sensor's. No pixel gains less than 0."""
    return (rng.normal(frame.pixels, purpose="prnu") * prnu).clamp_min(-1)


def own_offsets(frame: Frame, dsnu: Tensor, rng: Randomness) -> Tensor:
    """Each pixel's own offset [DN]; `rng` is the sensor's."""
    return rng.normal(frame.pixels, purpose="dsnu") * dsnu
