"""Correlated colour temperature and distance from the Planckian locus, to chromaticity and back.

Robertson's table of isotherms [Robertson1968], the one that the DNG specification's readers use. Between two of its
lines, point and direction of the isotherm are interpolated linearly in mired (a million over the temperature), in both
directions: so each function is the exact inverse of the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isp_sim.colorimetry import chromaticity, xyz

ISOTHERMS: Final[tuple[tuple[float, float, float, float], ...]] = (
    (0.0, 0.18006, 0.26352, -0.24341),
    (10.0, 0.18066, 0.26589, -0.25479),
    (20.0, 0.18133, 0.26846, -0.26876),
    (30.0, 0.18208, 0.27119, -0.28539),
    (40.0, 0.18293, 0.27407, -0.30470),
    (50.0, 0.18388, 0.27709, -0.32675),
    (60.0, 0.18494, 0.28021, -0.35156),
    (70.0, 0.18611, 0.28342, -0.37915),
    (80.0, 0.18740, 0.28668, -0.40955),
    (90.0, 0.18880, 0.28997, -0.44278),
    (100.0, 0.19032, 0.29326, -0.47888),
    (125.0, 0.19462, 0.30141, -0.58204),
    (150.0, 0.19962, 0.30921, -0.70471),
    (175.0, 0.20525, 0.31647, -0.84901),
    (200.0, 0.21142, 0.32312, -1.0182),
    (225.0, 0.21807, 0.32909, -1.2168),
    (250.0, 0.22511, 0.33439, -1.4512),
    (275.0, 0.23247, 0.33904, -1.7298),
    (300.0, 0.24010, 0.34308, -2.0637),
    (325.0, 0.24792, 0.34655, -2.4681),
    (350.0, 0.25591, 0.34951, -2.9641),
    (375.0, 0.26400, 0.35200, -3.5814),
    (400.0, 0.27218, 0.35407, -4.3633),
    (425.0, 0.28039, 0.35577, -5.3762),
    (450.0, 0.28863, 0.35714, -6.7262),
    (475.0, 0.29685, 0.35823, -8.5955),
    (500.0, 0.30505, 0.35907, -11.324),
    (525.0, 0.31320, 0.35968, -15.628),
    (550.0, 0.32129, 0.36011, -23.325),
    (575.0, 0.32931, 0.36038, -40.770),
    (600.0, 0.33724, 0.36051, -116.45),
)
"""Mired, u and v (CIE 1960) of the black body, slope of the isotherm."""

COLDEST: Final = 1e6 / 600
"""[K] The end of the table on the warm side of light."""

_MIRED, _U, _V, _SLOPE = (np.array(column) for column in zip(*ISOTHERMS, strict=True))
_LOCUS: Final[NDArray[np.float64]] = np.stack([_U, _V], axis=1)
_NORMALS: Final[NDArray[np.float64]] = -np.stack([np.ones_like(_SLOPE), _SLOPE], axis=1) / np.hypot(1, _SLOPE)[:, None]
"""Unit vectors along the isotherms, towards green: the slopes are negative, so u falls where v rises."""


def xy_to_uv(x: float, y: float) -> tuple[float, float]:
    """CIE 1931 chromaticity to that of CIE 1960."""
    scale = -2 * x + 12 * y + 3
    return 4 * x / scale, 6 * y / scale


def uv_to_xy(u: float, v: float) -> tuple[float, float]:
    """The inverse of `xy_to_uv`."""
    scale = 2 * u - 8 * v + 4
    return 3 * u / scale, 2 * v / scale


def cct_to_xy(cct: float, duv: float = 0.0) -> tuple[float, float]:
    """Chromaticity of a light of correlated colour temperature `cct` [K], at the distance `duv` from the locus.

    Parameters
    ----------
    cct
        From 1667 K upwards; held at the end of the table below that.
    duv
        Distance in CIE 1960 (u, v), positive above the locus, towards green. RAW developers' tint is 3000 times it.

    Examples
    --------
    >>> tuple(round(c, 4) for c in cct_to_xy(6504, 0.0032))
    (0.3127, 0.3289)
    """
    mired = min(1e6 / cct, float(_MIRED[-1]))
    k = min(int(np.searchsorted(_MIRED, mired, side="right")) - 1, len(_MIRED) - 2)
    s = (mired - _MIRED[k]) / (_MIRED[k + 1] - _MIRED[k])
    normal = (1 - s) * _NORMALS[k] + s * _NORMALS[k + 1]
    u, v = (1 - s) * _LOCUS[k] + s * _LOCUS[k + 1] + duv * normal / np.hypot(*normal)
    return uv_to_xy(float(u), float(v))


def xy_to_cct(x: float, y: float) -> tuple[float, float]:
    """Correlated colour temperature [K] and distance from the locus of a chromaticity; the inverse of `cct_to_xy`.

    Chromaticities beyond either end of the table get the temperature of that end: 1667 K, or infinity.

    Examples
    --------
    >>> cct, duv = xy_to_cct(0.3127, 0.3290)
    >>> round(cct), round(duv, 4)
    (6504, 0.0033)
    """
    uv = np.array(xy_to_uv(x, y))
    sides = _side(uv - _LOCUS, _NORMALS)
    if sides[0] <= 0:
        k, s = 0, 0.0
    elif sides[-1] >= 0:
        k, s = len(_MIRED) - 2, 1.0
    else:
        k = int(np.argmax(sides < 0)) - 1
        s = _share(uv - _LOCUS[k : k + 2], _NORMALS[k : k + 2], float(sides[k]), float(sides[k + 1]))
    mired = (1 - s) * _MIRED[k] + s * _MIRED[k + 1]
    normal = (1 - s) * _NORMALS[k] + s * _NORMALS[k + 1]
    duv = float((uv - (1 - s) * _LOCUS[k] - s * _LOCUS[k + 1]) @ normal / np.hypot(*normal))
    return (1e6 / float(mired) if mired > 0 else float("inf")), duv


def daylight_xy(cct: float) -> tuple[float, float]:
    """Chromaticity of CIE daylight of a correlated colour temperature, 4000 to 25000 K [CIE15].

    Examples
    --------
    >>> tuple(round(c, 4) for c in daylight_xy(6504))
    (0.3127, 0.3291)
    """
    k = 1000 / cct
    if cct <= 7000:
        x = ((-4.6070 * k + 2.9678) * k + 0.09911) * k + 0.244063
    else:
        x = ((-2.0064 * k + 1.9018) * k + 0.24748) * k + 0.237040
    return x, (-3.0 * x + 2.870) * x - 0.275


def reference_xy(cct: float) -> tuple[float, float]:
    """Chromaticity of a white light of a correlated colour temperature, up to 25000 K: a black body up to 4000 K, CIE
    daylight from 5000 K on, and in between a mixture of equal luminance, as the reference light of [TM30].

    Examples
    --------
    >>> reference_xy(3000) == cct_to_xy(3000), reference_xy(6504) == daylight_xy(6504)
    (True, True)
    """
    if cct <= 4000:
        return cct_to_xy(cct)
    if cct >= 5000:
        return daylight_xy(cct)
    share = (5000 - cct) / 1000
    return chromaticity(share * xyz(cct_to_xy(cct)) + (1 - share) * xyz(daylight_xy(cct)))


def mired_weights(ccts: Sequence[float] | NDArray[np.float64], cct: float) -> NDArray[np.float64]:
    """How much of each of several lights [K] makes that of a temperature: linear in mired between its neighbours, as
    DNG interpolates, and held beyond the outermost.

    Examples
    --------
    >>> mired_weights([2856, 6504], 2856).tolist()
    [1.0, 0.0]
    """
    mired = 1e6 / np.asarray(ccts)
    order = np.argsort(mired)
    return np.array([np.interp(1e6 / cct, mired[order], unit[order]) for unit in np.eye(len(mired))])


def _side(offset: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positive where a point, at `offset` from the locus, lies on the warm side of the isotherm."""
    return np.asarray(offset[..., 0] * normal[..., 1] - offset[..., 1] * normal[..., 0])


def _share(offsets: NDArray[np.float64], normals: NDArray[np.float64], first: float, last: float) -> float:
    """Where between two isotherms the interpolated one passes through the point: the root in [0, 1] of a quadratic,
    which is `first` >= 0 at 0 and `last` < 0 at 1."""
    bend = float(_side(offsets[1] - offsets[0], normals[1] - normals[0]))
    fall = first + bend - last
    return 2 * first / (fall + math.sqrt(fall * fall - 4 * bend * first))
