"""Colour bias: a black level that is not where the camera says it is."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from isp_sim.cameras.noise import Offsets
from isp_sim.degradations.sensor import TEN_BITS, SensorTerm, dn_scale, site_values
from isp_sim.frame import Frame
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Recovery


class ColourBias(SensorTerm):
    """Adds a constant to each site of the CFA, as a black level that is off does; the dark turns coloured.

    Does not clip. In RGB pictures, and in a CFA other than Bayer's, green takes the mean of its two offsets.
    """

    source = "Wei et al. 2021 [Wei2021]"

    severities: ClassVar = {
        "offsets": tuple((3.0 * k, -1.0 * k, -1.0 * k, 3.0 * k) for k in (1, 2, 4, 8, 16)),
        "span": (TEN_BITS,) * 5,
    }

    class Params(SensorTerm.Params):
        offsets: Offsets = Field(
            (0.0, 0.0, 0.0, 0.0), description="offsets of R, G in R's rows, G in B's rows, and B [DN]"
        )

    def refuses(self, signal: Signal, p: Any) -> str | None:
        return super().refuses(signal, p) or signal.no_spread

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels + site_values(frame, p.offsets) / dn_scale(frame, p.span)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels - site_values(frame, p.offsets) / dn_scale(frame, p.span)

    def recovery(self, p: Any) -> Recovery:
        return Recovery(lambda frame, values, before: self.inverse(frame, values))
