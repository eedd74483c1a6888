"""Row and column noise: one offset for all pixels that are read out together."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from isp_sim.degradations.read_noise import Scale
from isp_sim.degradations.sensor import TEN_BITS, SensorTerm, dn_scale, joined_sigma
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.stage import Result


class LineNoise(SensorTerm):
    """What row and column noise share."""

    severities: ClassVar = {"sigma": (1.0, 3.0, 6.0, 12.0, 25.0), "span": (TEN_BITS,) * 5}

    class Params(SensorTerm.Params):
        sigma: Scale = Field(1.0, description="standard deviation between lines [DN]")


class RowNoise(LineNoise):
    """Adds one normal offset to each row, all channels alike: banding. Zero mean; does not clip.

    Adds to the map ``sigma``.
    """

    source = "Wei et al. 2021 [Wei2021]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        sigma = p.sigma / dn_scale(frame, p.span)
        noise = rng.normal(frame.pixels, (1, frame.size[0], 1), "rows") * sigma
        return Result(frame.pixels + noise, maps=joined_sigma(frame, sigma.square()))


class ColumnNoise(LineNoise):
    """Adds one normal offset to each column, all channels alike, anew in every picture. Zero mean; does not clip.

    A column's offset that stays is a fixed pattern. Adds to the map ``sigma``.
    """

    source = "EMVA 1288 release 4.0 [EMVA1288]"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        sigma = p.sigma / dn_scale(frame, p.span)
        noise = rng.normal(frame.pixels, (1, 1, frame.size[1]), "columns") * sigma
        return Result(frame.pixels + noise, maps=joined_sigma(frame, sigma.square()))
