"""White lights by their colour temperature, and matrices measured under two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

BRADFORD: Final[Matrix] = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""CIE XYZ to the cone space of the Bradford adaptation."""

D65: Final[Matrix] = np.array([0.95047, 1.0, 1.08883])
"""White of sRGB, XYZ."""

TEMPERATURES: Final = (1667.0, 25000.0)
"""Range of `white` [K]."""


def white(temperature: float) -> Matrix:
    """XYZ, with Y = 1, of a light of this correlated colour temperature [K].

    A black body up to 4000 K, CIE daylight from 5000 K on, and a mixture in between, as the reference light of
    ANSI/IES TM-30 [TM30]. The black body's chromaticity is Kang's polynomial [Kang2002], within 1e-3 of the locus.

    Raises
    ------
    ValueError
        Outside 1667 to 25000 K.
    """
    low, high = TEMPERATURES
    if not low <= temperature <= high:
        raise ValueError(f"colour temperatures are known from {low:g} to {high:g} K; found {temperature:g}")
    weight = min(max((5000 - temperature) / 1000, 0.0), 1.0)
    parts = []
    if weight > 0:
        parts.append(weight * _xyz(*_black_body(temperature)))
    if weight < 1:
        parts.append((1 - weight) * _xyz(*_daylight(temperature)))
    return np.asarray(np.sum(parts, axis=0))


def _xyz(x: float, y: float) -> Matrix:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _black_body(t: float) -> tuple[float, float]:
    k = 1000 / t
    if t <= 4000:
        x = ((-0.2661239 * k - 0.2343589) * k + 0.8776956) * k + 0.179910
    else:
        x = ((-3.0258469 * k + 2.1070379) * k + 0.2226347) * k + 0.240390
    if t <= 2222:
        y = ((-1.1063814 * x - 1.34811020) * x + 2.18555832) * x - 0.20219683
    elif t <= 4000:
        y = ((-0.9549476 * x - 1.37418593) * x + 2.09137015) * x - 0.16748867
    else:
        y = ((3.0817580 * x - 5.87338670) * x + 3.75112997) * x - 0.37001483
    return x, y


def _daylight(t: float) -> tuple[float, float]:
    k = 1000 / t
    if t <= 7000:
        x = ((-4.6070 * k + 2.9678) * k + 0.09911) * k + 0.244063
    else:
        x = ((-2.0064 * k + 1.9018) * k + 0.24748) * k + 0.237040
    return x, (-3.0 * x + 2.870) * x - 0.275


def adaptation(source: Matrix, target: Matrix) -> Matrix:
    """Bradford's matrix from colours under one white, XYZ, to those under another [LindbloomCAT]."""
    scale = (BRADFORD @ target) / (BRADFORD @ source)
    return np.asarray(np.linalg.solve(BRADFORD, scale[:, None] * BRADFORD))


def mixture(illuminants: Sequence[float], temperature: float) -> Matrix:
    """The weight of each matrix at a colour temperature: linear in mired between its neighbours, as DNG interpolates.

    Beyond the outermost illuminants [K] theirs alone counts.

    Examples
    --------
    >>> mixture([2856, 6504], 2856).tolist()
    [1.0, 0.0]
    """
    mired = np.array([1e6 / t for t in illuminants])
    order = np.argsort(mired)
    return np.array(
        [np.interp(1e6 / temperature, mired[order], np.eye(len(mired))[i][order]) for i in range(len(mired))]
    )
