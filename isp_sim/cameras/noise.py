"""How a camera's noise depends on its ISO speed: the noise block of a profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from isp_sim.parameters import Path, StageParams

ISO = Annotated[float, Field(ge=1, le=1e7)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
NotNegative = Annotated[float, Field(ge=0, le=1e6)]
Shape = Annotated[float, Field(ge=-0.4, le=2)]
"""Shape of the Tukey lambda law; its variance is infinite from -0.5 down."""
Offset = Annotated[float, Field(ge=-1e4, le=1e4)]
Offsets = tuple[Offset, Offset, Offset, Offset]
Planes = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=3)]
PlanesOrZero = Annotated[tuple[NotNegative, ...], Field(min_length=1, max_length=3)]

ROUNDING: Final = 1 / 12
"""Variance of rounding to whole DN [DN^2]."""

NEAR_ZERO: Final = 1e-5
"""Below this |lambda|, the Tukey lambda law is computed by its first terms."""


@dataclass(frozen=True)
class SensorState:
    """A sensor's noise at one ISO speed.

    Attributes
    ----------
    gain
        System gain K [DN/e-], for all colours or for R, G and B.
    read
        Scale of the read noise [DN], likewise: of the Tukey lambda law, or, without a shape, the standard deviation.
    shape
        lambda of the Tukey lambda law; None for normal noise.
    row
        Standard deviation of the rows' offsets [DN].
    offsets
        Colour bias of R, G in R's rows, G in B's rows, and B [DN].
    """

    gain: tuple[float, ...]
    read: tuple[float, ...]
    shape: float | None = None
    row: float = 0.0
    offsets: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


class NoiseLaw(StageParams):
    """What the noise laws share."""

    @property
    def speeds(self) -> tuple[float, float]:
        """The least and the greatest ISO speed that it holds for."""
        raise NotImplementedError

    @property
    def scatters(self) -> bool:
        """Whether it says how cameras scatter about it."""
        return False

    @property
    def dn(self) -> float | None:
        """White level less black level that its DN refer to; None where it holds for the range [0, 1] alone."""
        raise NotImplementedError

    def at(self, iso: float, read_deviation: float = 0.0, row_deviation: float = 0.0) -> SensorState:
        """The noise at an ISO speed; deviations from the law are in its own standard deviations.

        Raises
        ------
        ValueError
            If the law does not hold for the speed.
        """
        low, high = self.speeds
        # a speed that float32 has rounded is still that speed
        if not low * (1 - 1e-6) <= iso <= high * (1 + 1e-6):
            raise ValueError(f"its noise is known from ISO {low:g} to {high:g}; found ISO {iso:g}")
        return self._at(iso, read_deviation, row_deviation)

    def _at(self, iso: float, read_deviation: float, row_deviation: float) -> SensorState:
        raise NotImplementedError


class Line(StageParams):
    """log y = intercept + slope log K + sd n, in natural logarithms, K in DN/e- and y in DN."""

    slope: float = Field(ge=-5, le=5, description="power of the gain [1]")
    intercept: float = Field(ge=-20, le=20, description="logarithm at 1 DN/e- [log DN]")
    sd: float = Field(0.0, ge=0, le=5, description="scatter about the line [log DN]")

    def at(self, gain: float, deviation: float) -> float:
        return math.exp(self.intercept + self.slope * math.log(gain) + self.sd * deviation)


class ShapeTable(StageParams):
    """The shape of the read noise at some ISO speeds."""

    iso: tuple[ISO, ...] = Field(min_length=1, description="speeds; one that stands twice has been measured twice")
    value: tuple[Shape, ...] = Field(min_length=1, description="lambda [1]")

    @model_validator(mode="after")
    def _paired(self) -> Self:
        _check_table(self)
        return self


class OffsetTable(StageParams):
    """The colour bias at some ISO speeds."""

    iso: tuple[ISO, ...] = Field(min_length=1, description="speeds; one that stands twice has been measured twice")
    value: tuple[Offsets, ...] = Field(min_length=1, description="R, G in R's rows, G in B's rows, B [DN]")

    @model_validator(mode="after")
    def _paired(self) -> Self:
        _check_table(self)
        return self


def _check_table(table: ShapeTable | OffsetTable) -> None:
    if len(table.iso) != len(table.value):
        raise ValueError(f"{len(table.iso)} speeds need as many values; found {len(table.value)}")
    if list(table.iso) != sorted(table.iso):
        raise ValueError("the speeds must rise")


class LogLinear(NoiseLaw):
    """Wei et al. 2021: read and row noise follow the gain, on lines between the logarithms, with scatter."""

    law: Literal["log_linear"]
    log_base: Literal["e"] = Field(description="base of all logarithms here")
    span: Positive = Field(description="white level less black level [DN]")
    iso: tuple[ISO, ISO] = Field(description="least and greatest ISO speed")
    gain_at_iso_100: Positive = Field(description="system gain K, proportional to the ISO speed [DN/e-]")
    read: Line = Field(description="scale of the Tukey lambda law [DN]")
    gaussian_read: Line | None = Field(None, description="standard deviation of a normal law in its place [DN]")
    row: Line = Field(description="standard deviation of the rows' offsets [DN]")
    shape: ShapeTable
    colour_bias: OffsetTable | None = None

    @property
    def speeds(self) -> tuple[float, float]:
        return self.iso

    @property
    def scatters(self) -> bool:
        return True

    @property
    def dn(self) -> float | None:
        return self.span

    def _at(self, iso: float, read_deviation: float, row_deviation: float) -> SensorState:
        gain = self.gain_at_iso_100 * iso / 100
        bias = self.colour_bias
        return SensorState(
            (gain,),
            (self.read.at(gain, read_deviation),),
            interpolated(self.shape.iso, [(value,) for value in self.shape.value], iso)[0],
            self.row.at(gain, row_deviation),
            _four(interpolated(bias.iso, bias.value, iso)) if bias else (0.0, 0.0, 0.0, 0.0),
        )


class MeasuredPoint(StageParams):
    """A sensor's noise at one ISO speed."""

    iso: ISO = Field(description="ISO speed")
    gain: Planes = Field(description="system gain K, of all colours or of R, G and B [DN/e-]")
    read: PlanesOrZero = Field(description="scale of the Tukey lambda law, or standard deviation without a shape [DN]")
    shape: Shape | None = Field(None, description="lambda of the Tukey lambda law; a normal law if none [1]")
    row: NotNegative = Field(0.0, description="standard deviation of the rows' offsets [DN]")
    colour_bias: Offsets = Field((0.0, 0.0, 0.0, 0.0), description="R, G in R's rows, G in B's rows, B [DN]")


class Points(NoiseLaw):
    """Measured at some ISO speeds; in between, the logarithms of gain, read and row noise are interpolated linearly in
    the logarithm of the speed, shape and colour bias themselves."""

    law: Literal["points"]
    span: Positive = Field(description="white level less black level [DN]")
    points: tuple[MeasuredPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ordered(self) -> Points:
        _check_speeds([point.iso for point in self.points])
        for name in ("gain", "read"):
            if len({len(getattr(point, name)) for point in self.points}) > 1:
                raise ValueError(f"{name} must be for as many colours at every speed")
        if len({point.shape is None for point in self.points}) > 1:
            raise ValueError("a shape must be given at every speed or at none")
        return self

    @property
    def speeds(self) -> tuple[float, float]:
        return self.points[0].iso, self.points[-1].iso

    @property
    def dn(self) -> float | None:
        return self.span

    def _at(self, iso: float, read_deviation: float, row_deviation: float) -> SensorState:
        speeds = [point.iso for point in self.points]
        return SensorState(
            interpolated(speeds, [point.gain for point in self.points], iso, log=True),
            interpolated(speeds, [point.read for point in self.points], iso, log=True),
            None
            if self.points[0].shape is None
            else interpolated(speeds, [(point.shape or 0.0,) for point in self.points], iso)[0],
            interpolated(speeds, [(point.row,) for point in self.points], iso, log=True)[0],
            _four(interpolated(speeds, [point.colour_bias for point in self.points], iso)),
        )


class ProfilePoint(StageParams):
    """DNG's NoiseProfile at one ISO speed."""

    iso: ISO = Field(description="ISO speed")
    shot: Planes = Field(description="S, of all colours or of R, G and B: variance a unit of signal [1]")
    read: PlanesOrZero = Field(description="O, likewise: variance in the dark [1]")


class NoiseProfiles(NoiseLaw):
    """Variance S x + O of light x in [0, 1] at some ISO speeds, as DNG's NoiseProfile, darktable's (a, b) and SIDD's
    (beta1, beta2); in between, logarithms are interpolated linearly in the logarithm of the speed."""

    law: Literal["noise_profile"]
    points: tuple[ProfilePoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ordered(self) -> NoiseProfiles:
        _check_speeds([point.iso for point in self.points])
        for name in ("shot", "read"):
            if len({len(getattr(point, name)) for point in self.points}) > 1:
                raise ValueError(f"{name} must be for as many colours at every speed")
        return self

    @property
    def speeds(self) -> tuple[float, float]:
        return self.points[0].iso, self.points[-1].iso

    @property
    def dn(self) -> float | None:
        return None

    def _at(self, iso: float, read_deviation: float, row_deviation: float) -> SensorState:
        speeds = [point.iso for point in self.points]
        read = interpolated(speeds, [point.read for point in self.points], iso, log=True)
        return SensorState(
            interpolated(speeds, [point.shot for point in self.points], iso, log=True),
            tuple(math.sqrt(variance) for variance in read),
        )


Noise = Annotated[LogLinear | Points | NoiseProfiles, Field(discriminator="law")]
_NOISE: TypeAdapter[LogLinear | Points | NoiseProfiles] = TypeAdapter(Noise)


def _check_speeds(speeds: Sequence[float]) -> None:
    if any(b <= a for a, b in pairwise(speeds)):
        raise ValueError("the points' ISO speeds must rise")


def _four(values: tuple[float, ...]) -> tuple[float, float, float, float]:
    a, b, c, d = values
    return a, b, c, d


def interpolated(
    speeds: Sequence[float], values: Sequence[Sequence[float]], iso: float, log: bool = False
) -> tuple[float, ...]:
    """Values at an ISO speed, linear in its logarithm; beyond the ends, those of the end.

    Values of a speed that stands there several times are averaged. With `log`, their logarithms are interpolated
    where both are positive.

    Examples
    --------
    >>> interpolated([100, 400], [(1.0,), (9.0,)], 200)
    (5.0,)
    >>> interpolated([100, 400], [(1.0,), (9.0,)], 200, log=True)
    (3.0000000000000004,)
    """
    knots: list[tuple[float, list[float]]] = []
    for speed in sorted(set(speeds)):
        own = [value for s, value in zip(speeds, values, strict=True) if s == speed]
        knots.append((speed, [sum(column) / len(own) for column in zip(*own, strict=True)]))
    if iso <= knots[0][0]:
        return tuple(knots[0][1])
    for (low, below), (high, above) in pairwise(knots):
        if iso < high:
            t = math.log(iso / low) / math.log(high / low)
            return tuple(_between(a, b, t, log) for a, b in zip(below, above, strict=True))
    return tuple(knots[-1][1])


def _between(a: float, b: float, t: float, log: bool) -> float:
    if log and a > 0 and b > 0:
        return math.exp((1 - t) * math.log(a) + t * math.log(b))
    return (1 - t) * a + t * b


def noise_profile_of(state: SensorState, dn: float | None) -> list[list[float]]:
    """DNG's NoiseProfile, (S, O) for all colours or for each, of a sensor's noise with `dn` DN between black and white;
    None if it refers to the range [0, 1]. Rounding to whole DN counts in."""
    span, rounding = (1.0, 0.0) if dn is None else (dn, ROUNDING)
    variance = 1.0 if state.shape is None else tukey_lambda_variance(state.shape)
    planes = max(len(state.gain), len(state.read))
    gains, reads = (list(v) if len(v) == planes else list(v) * planes for v in (state.gain, state.read))
    return [
        [gain / span, (read * read * variance + state.row * state.row + rounding) / span / span]
        for gain, read in zip(gains, reads, strict=True)
    ]


def tukey_lambda_variance(shape: float) -> float:
    """The variance of the Tukey lambda law of scale 1, for shape > -1/2.

    Notes
    -----
    It is 2 / shape^2 (1 / (1 + 2 shape) - B(1 + shape, 1 + shape)), written here without the difference of nearly
    equal numbers: the beta function is exp(d) / (1 + 2 shape) with a small d.

    Examples
    --------
    >>> tukey_lambda_variance(0.0)  # the logistic law, pi^2 / 3
    3.289868133696453
    """
    if abs(shape) < NEAR_ZERO:
        zeta2, zeta3 = math.pi**2 / 6, 1.2020569031595942
        return 2 * (zeta2 - 2 * (zeta3 + zeta2) * shape)
    small = 2 * math.lgamma(1 + shape) - math.lgamma(1 + 2 * shape)
    return -2 * math.expm1(small) / (shape * shape * (1 + 2 * shape))


def read_noise_law(data: Any) -> tuple[LogLinear | Points | NoiseProfiles | None, list[tuple[Path, str]]]:
    """A profile's noise block, checked; or what is wrong with it, by path."""
    try:
        return _NOISE.validate_python(_tuples(data)), []
    except ValidationError as error:
        faults: list[tuple[Path, str]] = []
        for item in error.errors():
            path = item["loc"][1:]  # the first step is the law's own name
            text = item["msg"].removeprefix("Value error, ")
            faults.append((path, f"{'.'.join(map(str, ('noise', *path)))}: {text}"))
        return None, faults


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
