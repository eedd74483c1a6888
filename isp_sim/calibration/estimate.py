"""A sensor's parameters from flats and darks: photon transfer, row noise, read noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isp_sim.calibration import tukey

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]

SITES: Final = ((0, 0), (0, 1), (1, 0), (1, 1))
"""The sites of a Bayer CFA, row by row."""

CONFIDENCE: Final = 1.96
"""Standard errors on either side of a 95 % confidence interval."""

HUBER: Final = 1.345
"""Standard deviations beyond which a point counts less."""

PARTS: Final = 10
"""Parts of the darks that are estimated on their own; how they differ tells the standard error."""

FULLEST: Final = 0.9
"""Of the range between black and white, what is used of the flats."""

MANY: Final = 100
"""Darks from which on their mean, the fixed pattern, is taken off before the shape is sought. The mean of fewer holds
so much of each dark's own noise that its shape would come out nearer to the normal law's."""


class CalibrationFault(ValueError):
    """Frames from which nothing can be estimated."""


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error."""

    value: float
    error: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence."""
        return self.value - CONFIDENCE * self.error, self.value + CONFIDENCE * self.error

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.4g} ({low:.4g} to {high:.4g})"


@dataclass(frozen=True)
class Transfer:
    """The photon transfer of one site of the CFA: variance = K * mean + variance in the dark, both in DN.

    `means` and `variances` are the points that the line was fitted to; `used` tells which of them are not saturated.
    """

    gain: Estimate
    dark_variance: Estimate
    means: Floats
    variances: Floats
    used: NDArray[np.bool_]


@dataclass(frozen=True)
class Darks:
    """What darks tell.

    Attributes
    ----------
    black
        Mean of each site [DN].
    row
        Standard deviation of the rows' offsets [DN].
    read_sd
        Standard deviation within rows, rounding taken off [DN].
    shape, scale
        Of the Tukey lambda law [1, DN].
    correlation
        How straight the probability plot is.
    pattern
        Standard deviation of what stays the same from dark to dark (DSNU) [DN]; None of fewer than 2 darks.
    samples
        Some thousand sorted samples of the noise within rows, for a plot.
    """

    black: tuple[Estimate, Estimate, Estimate, Estimate]
    row: Estimate
    read_sd: Estimate
    shape: Estimate
    scale: Estimate
    correlation: float
    pattern: float | None
    samples: Floats


def photon_transfer(pairs: Sequence[Pair], black: Sequence[float], white: float) -> list[Transfer]:
    """K of each site of the CFA, by robust weighted regression of variance on mean [Janesick2007].

    The variance is half that of the difference of two equal flats, in which the fixed pattern cancels.

    Parameters
    ----------
    pairs
        Flats of equal exposure [DN], at two levels at the least.
    black
        Black level of each of the `SITES` [DN].
    white
        White level [DN]. What comes near it is not used.

    Raises
    ------
    CalibrationFault
        If fewer than two levels can be used.
    """
    found = []
    for (y, x), level in zip(SITES, black, strict=True):
        points = [_pair_point(a[y::2, x::2], b[y::2, x::2], level, white) for a, b in pairs]
        means, variances, sizes, used = (np.array(column) for column in zip(*points, strict=True))
        used = used.astype(bool)
        if used.sum() < 2 or np.ptp(means[used]) <= 0:
            raise CalibrationFault(
                f"photon transfer needs flats at two levels at the least, below {FULLEST:.0%} of the range; "
                f"found means of {', '.join(f'{m:.0f}' for m in means)} DN above black, white at {white - level:.0f}"
            )
        gain, dark = robust_line(means[used], variances[used], sizes[used])
        if gain.value <= 0:
            raise CalibrationFault("the variance of the flats does not grow with their mean: are they flats?")
        found.append(Transfer(gain, dark, means, variances, used))
    return found


def _pair_point(a: Floats, b: Floats, black: float, white: float) -> tuple[float, float, float, bool]:
    difference = a - b
    mean = float((a.mean() + b.mean()) / 2)
    # a pixel that clips takes variance away long before the mean is at white
    near = float(np.maximum(np.quantile(a, 0.999), np.quantile(b, 0.999)))
    used = mean - black < FULLEST * (white - black) and near < white
    return mean - black, float(difference.var(ddof=1) / 2), float(difference.size), used


def robust_line(x: Floats, variances: Floats, sizes: Floats) -> tuple[Estimate, Estimate]:
    """Slope and intercept of variances over x, each measured on so many samples, by Huber's weights.

    The variance of a measured variance v of n samples is 2 v^2 / (n - 1), with the v of the line.
    """
    design = np.stack([x, np.ones_like(x)], axis=1)
    expected = variances.copy()
    down = np.ones_like(x)
    for _ in range(50):
        spread = expected * np.sqrt(2 / (sizes - 1))
        weights = down / spread**2
        covariance = np.linalg.inv((design * weights[:, None]).T @ design)
        line = covariance @ (design.T @ (weights * variances))
        new = np.maximum(design @ line, 0.01 * variances)
        away = np.abs(variances - design @ line) / spread
        # the scatter that is really there, if it is more than counting tells
        scatter = max(1.0, float(1.4826 * np.median(away))) if len(x) > 3 else 1.0
        down_new = np.minimum(1, HUBER * scatter / np.maximum(away, 1e-12))
        settled = np.allclose(new, expected, rtol=1e-10) and np.allclose(down_new, down, rtol=1e-6)
        expected, down = new, down_new
        if settled:
            break
    excess = float((weights * (variances - design @ line) ** 2).sum() / max(len(x) - 2, 1))
    errors = np.sqrt(np.diag(covariance) * max(1.0, excess))
    return Estimate(float(line[0]), float(errors[0])), Estimate(float(line[1]), float(errors[1]))


def read_out(darks: Sequence[Floats], rounding: float = 1.0) -> Darks:
    """Black level, row noise and read noise from darks [DN], (H, W) each [Wei2021].

    Row noise is the variance between the means of rows, less what read noise leaves in them. Read noise is what is left
    once black level and rows are taken off; `rounding` DN are taken off its variance and its shape.

    Raises
    ------
    CalibrationFault
        If there is no dark, if they differ in size, or if they are too small.
    """
    stack = np.stack(darks) if len({dark.shape for dark in darks}) == 1 else np.empty((0, 0, 0))
    number, height, width = stack.shape
    if not number or height < 2 * PARTS or width < 16:
        raise CalibrationFault(
            f"needs darks of one size, at least {2 * PARTS} rows by 16 columns; found "
            + (", ".join(sorted({"x".join(map(str, dark.shape)) for dark in darks})) or "none")
        )
    residual, pattern = stack.copy(), None
    for y, x in SITES:
        residual[:, y::2, x::2] -= residual[:, y::2, x::2].mean(axis=(1, 2), keepdims=True)
    single = residual
    if number > 1:
        mean = residual.mean(axis=0)
        residual = (residual - mean) * np.sqrt(number / (number - 1))
        pattern = float(np.sqrt(max(mean.var() - residual.var() / number, 0.0)))
    within = residual - residual.mean(axis=2, keepdims=True)
    within *= np.sqrt(width / (width - 1))
    shaped = within
    if 1 < number < MANY:
        shaped = (single - single.mean(axis=2, keepdims=True)) * np.sqrt(width / (width - 1))
    rows = _parts(residual.mean(axis=2).ravel())
    cells = _parts(within.reshape(number * height, width))
    variance = np.array([part.var() for part in cells])
    between = np.array([part.var(ddof=1) for part in rows]) - variance / width
    try:
        whole = tukey.fit(shaped, rounding)
        fits = [tukey.fit(part, rounding) for part in _parts(shaped.reshape(number * height, width))]
    except ValueError as error:
        raise CalibrationFault(str(error)) from None
    shape = Estimate(whole.shape, _error([fit.shape for fit in fits]))
    unrounded = max(float(variance.mean()) - rounding**2 / 12, 0.0)
    scale = Estimate(whole.scale, _error([fit.scale for fit in fits]))
    return Darks(
        _black(stack),
        _root(float(between.mean()), _error(between)),
        _root(unrounded, _error(variance)),
        shape,
        scale,
        whole.correlation,
        pattern,
        np.quantile(shaped, (np.arange(4000) + 0.5) / 4000),
    )


def _black(stack: Floats) -> Any:
    """The mean of each site; rows differ as a whole, so their means are what is counted."""
    found = []
    for y, x in SITES:
        rows = stack[:, y::2, x::2].mean(axis=2).ravel()
        found.append(Estimate(float(rows.mean()), float(rows.std(ddof=1) / np.sqrt(rows.size))))
    return tuple(found)


def _parts(values: Floats) -> list[Floats]:
    return [np.asarray(part) for part in np.array_split(values, PARTS)]


def _error(values: Sequence[float] | Floats) -> float:
    """The standard error of the mean of estimates from equal parts."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _root(variance: float, error: float) -> Estimate:
    """A standard deviation from a variance; where that is not above its error, 0 with the error's root."""
    if variance <= 0:
        return Estimate(0.0, float(np.sqrt(error)))
    return Estimate(float(np.sqrt(variance)), error / (2 * float(np.sqrt(variance))))
