"""What the terms of a sensor's noise share: how many DN and electrons a pixel's number is."""

from __future__ import annotations

from typing import Annotated, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from isp_sim.degradations.shot_read_noise import poisson_quantile
from isp_sim.elementary import root
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal, cfa_rows
from isp_sim.stage import Degradation, Recovery, as_it_is

Gain = Annotated[float, Field(ge=1e-3, le=1e3)]
"""System gain K [DN/e-]."""

GAIN: Final = "system gain K [DN/e-]"
TEN_BITS: Final = 959.0
"""From a black level of 64 DN to the white level of ten bits [DN]: the span of severities."""
SENSOR: Final = "name of the sensor; what is fixed to it is the same in all its pictures of one size"

SensorName = Annotated[str, Structural, Field(min_length=1, max_length=200)]


class SensorTerm(Degradation):
    """A term of a sensor's noise, in DN or, by the system gain, in electrons.

    Pixels are digital numbers, or in [0, 1] with `span` DN between black and white.
    """

    needs = Signal.where(layout=("mosaic", "rgb"), transfer="linear")
    halo = 0

    class Params(StageParams):
        span: float | None = Field(
            None,
            ge=1,
            le=1e6,
            description="white level less black level, for pixels in [0, 1] [DN]; the capture's if not given",
        )

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("black_level", "white_level") if p.span is None else ()

    def refuses(self, signal: Signal, p: Any) -> str | None:
        if signal.levels == "dn" and p.span is not None:
            return "has a span, which is for pixels in [0, 1]: digital numbers have their levels in the capture"
        return None

    def recovery(self, p: Any) -> Recovery:
        return Recovery(as_it_is, "the picture as it is", "the picture under the noise")


def dn_scale(frame: Frame, span: Tensor | None) -> Tensor:
    """How many DN one unit of the pixels is, ready to broadcast: 1 if they are digital numbers.

    Raises
    ------
    ValueError
        If a white level of the capture does not lie above its black level.
    """
    if frame.signal.levels == "dn":
        return torch.ones_like(frame.pixels[:, :1, :1, :1])
    return capture_span(frame) if span is None else span


def capture_span(frame: Frame) -> Tensor:
    """White level less black level [DN], ready to broadcast."""
    span = frame.capture["white_level"] - frame.capture["black_level"]
    if not bool((span > 0).all()):
        raise ValueError(f"the white level must lie above the black level; found a span of {span.min():g} DN")
    return frame.tiled(span)


def light(frame: Frame, scale: Tensor) -> Tensor:
    """The signal above black [DN]."""
    if frame.signal.levels == "dn":
        return frame.pixels - frame.tiled(frame.capture["black_level"])
    return frame.pixels * scale


def counting_noise(mean: Tensor, rng: Randomness, purpose: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """A Poisson count less its mean, for a mean count [e-] that broadcasts to (B, *shape); none where it is negative.

    Drawn by the quantile function, on the CPU in float64: a mean that differs in its last bit moves one count.
    """
    size = tuple(mean.shape[1:] if shape is None else shape)
    if not bool((mean > 0).any()):
        return mean.new_zeros((mean.shape[0], *size))
    uniform = rng.quantiles(mean, size, purpose).numpy()
    expected: NDArray[np.float64] = mean.detach().clamp_min(0).to("cpu", torch.float64).numpy()
    return torch.from_numpy(poisson_quantile(uniform, expected) - expected).to(mean)


def joined_sigma(frame: Frame, variance: Tensor) -> dict[str, Tensor]:
    """The map ``sigma``: the root of this variance [pixel units squared] and that of the noise before it."""
    total = variance.detach().expand_as(frame.pixels)
    if "sigma" in frame.maps and frame.maps["sigma"].shape == total.shape:
        total = total + frame.maps["sigma"].square()
    return {"sigma": root(total)}


def site_values(frame: Frame, values: Tensor) -> Tensor:
    """One value for each site of a Bayer CFA, (B, 4, 1, 1), brought to where it belongs: ready to broadcast.

    The CFA must hold R, G and B alone. The sites are R, G beside R, G beside B, and B, wherever its phase puts them.
    In an RGB picture, and in a CFA other than Bayer's, green takes the mean of both.
    """
    r, beside_r, beside_b, b = values.unbind(1)
    green = (beside_r + beside_b) / 2
    if frame.signal.layout != "mosaic":
        return torch.stack([r, green, b], dim=1)
    rows = cfa_rows(str(frame.signal.cfa))
    bayer = len(rows) == len(rows[0]) == 2
    sites = {"R": r, "G": green, "B": b}

    def site(row: str, letter: str) -> Tensor:
        if letter == "G" and bayer:
            return beside_r if "R" in row else beside_b
        return sites[letter]

    tile = torch.stack([torch.cat([site(row, letter) for letter in row], dim=-1) for row in rows], dim=-2)
    return frame.tiled(tile.reshape(-1, 1, len(rows), len(rows[0])))
