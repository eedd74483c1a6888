"""The shape and the scale of read noise: the probability plot correlation coefficient over the Tukey lambda laws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isp_sim.cameras.noise import NEAR_ZERO, tukey_lambda_variance

Floats = NDArray[np.float64]

SHAPES: Final = (-0.4, 0.6)
"""Shapes that are searched."""

TRIM: Final = 5e-4
"""Share of the samples left out at either end: defective pixels lie there, and with long tails a few samples would
decide."""

BLOCKS: Final = 2000
"""Groups of neighbouring order statistics that stand for all of them."""

GRID: Final = 4001


@dataclass(frozen=True)
class Fit:
    """A Tukey lambda law, and how straight the probability plot is."""

    shape: float
    scale: float
    correlation: float


def fit(samples: Floats, rounding: float = 1.0) -> Fit:
    """The Tukey lambda law whose quantiles the ordered samples follow best, by PPCC [Filliben1975] [Joiner1971].

    Parameters
    ----------
    samples
        Noise [DN] of zero mean, any shape. At least 1000.
    rounding
        Width of the uniform law that rounding has added [DN]; 0 if nothing was rounded. With a read noise of about one
        DN it would else be taken for part of the shape.

    Raises
    ------
    ValueError
        If there are too few samples, or if they do not vary.
    """
    from scipy.optimize import minimize_scalar

    ordered = np.sort(np.asarray(samples, dtype=np.float64).ravel())
    if ordered.size < 1000:
        raise ValueError(f"a shape needs at least 1000 samples; found {ordered.size}")
    low, high = int(np.ceil(TRIM * ordered.size)), int(np.floor((1 - TRIM) * ordered.size))
    kept = ordered[low:high]
    if kept[-1] <= kept[0]:
        raise ValueError("the samples do not vary: the frames hold one value only, or nearly so")
    edges = np.linspace(0, kept.size, min(BLOCKS, kept.size) + 1).astype(int)
    counts = np.diff(edges)
    means = np.add.reduceat(kept, edges[:-1]) / counts
    positions = (low + (edges[:-1] + edges[1:]) / 2) / ordered.size
    weights = counts / counts.sum()
    found: dict[float, Fit] = {}

    def correlation(shape: float) -> float:
        found[shape] = _straightness(means, positions, weights, float(shape), rounding)
        return -found[shape].correlation

    best = minimize_scalar(correlation, bounds=SHAPES, method="bounded", options={"xatol": 1e-4})
    return found[best.x] if best.x in found else _straightness(means, positions, weights, float(best.x), rounding)


def _straightness(means: Floats, positions: Floats, weights: Floats, shape: float, rounding: float) -> Fit:
    """How well the means follow the quantiles of a shape, with the scale at which the plot has slope 1."""
    uniform = rounding**2 / 12
    x = means - weights @ means
    xx = float(weights @ (x * x))
    scale = math.sqrt(max(xx - uniform, 0.01 * xx) / tukey_lambda_variance(shape))
    correlation = 0.0
    for _ in range(12):
        theory = rounded_quantile(positions, shape, scale, rounding)
        y = theory - weights @ theory
        yy, xy = float(weights @ (y * y)), float(weights @ (x * y))
        correlation = xy / math.sqrt(xx * yy)
        slope = xy / yy
        # what the slope says of the sum of both laws, for the law without the rounding
        scale *= math.sqrt(max((slope * slope * yy - uniform) / max(yy - uniform, 1e-12), 1e-4))
        if abs(slope - 1) < 1e-6:
            break
    return Fit(shape, scale, correlation)


def quantile(p: Floats, shape: float) -> Floats:
    """The quantile function of the Tukey lambda law of scale 1, p in (0, 1)."""
    if abs(shape) < NEAR_ZERO:
        return np.asarray(np.log(p) - np.log1p(-p))
    return np.asarray((np.exp(shape * np.log(p)) - np.exp(shape * np.log1p(-p))) / shape)


def rounded_quantile(p: Floats, shape: float, scale: float, rounding: float) -> Floats:
    """The quantile function of a Tukey lambda law plus a uniform one of width `rounding`."""
    if rounding == 0:
        return scale * quantile(p, shape)
    logit = np.linspace(-25, 25, GRID)
    u = 1 / (1 + np.exp(-logit))
    y = scale * quantile(u, shape)
    # the integral of the distribution function, whose difference over the width is that of the sum
    integral = np.concatenate([[0.0], np.cumsum((u[1:] + u[:-1]) / 2 * np.diff(y))])

    def integrated(at: Floats) -> Floats:
        return np.asarray(np.interp(at, y, integral) + np.maximum(at - y[-1], 0))

    points = np.concatenate(
        [y[0] - rounding * np.linspace(1, 0, 20), y[1:-1], y[-1] + rounding * np.linspace(0, 1, 20)]
    )
    summed = (integrated(points + rounding / 2) - integrated(points - rounding / 2)) / rounding
    return np.asarray(np.interp(p, np.maximum.accumulate(summed), points))
