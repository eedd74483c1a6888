"""Fixed-pattern noise: what is different from pixel to pixel and the same from picture to picture."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor

from isp_sim.degradations.read_noise import Scale
from isp_sim.degradations.sensor import SENSOR, SensorName, SensorParams, SensorTerm, dn_scale, light
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness


class FixedPattern(SensorTerm):
    """Each pixel's own offset (DSNU) and gain (PRNU), normal, fixed to a sensor; does not clip.

    The pattern depends on the `sensor`, the picture's size and nothing else: not on the sample, the view or the
    recipe's seed. Light is multiplied by 1 + prnu * n, then dsnu * m is added.
    """

    source = "EMVA 1288 release 4.0 [EMVA1288]"

    class Params(SensorParams):
        sensor: SensorName = Field("sensor", examples=["another sensor"], description=SENSOR)
        dsnu: Scale = Field(1.0, description="standard deviation of the offsets [DN]")
        prnu: float = Field(0.005, ge=0, le=0.3, description="standard deviation of the gains [fraction]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        scale = dn_scale(frame, p.span)
        return frame.pixels + fixed_pattern(frame, light(frame, scale), p.dsnu, p.prnu, rng.fixed(p.sensor)) / scale


def fixed_pattern(frame: Frame, level: Tensor, dsnu: Tensor, prnu: Tensor, rng: Randomness) -> Tensor:
    """What the pattern adds [DN] to a signal above black [DN]. `rng` is that of the sensor."""
    gains, offsets = (rng.normal(frame.pixels, purpose=purpose) for purpose in ("prnu", "dsnu"))
    return level * (prnu * gains).clamp_min(-1) + dsnu * offsets
