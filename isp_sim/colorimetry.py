"""RGB spaces, white points and chromatic adaptation: the published constants, and the matrices that follow.

All matrices are (3, 3) NumPy arrays in float64 and act on columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
XY = tuple[float, float]

WhiteName = Literal["A", "B", "C", "D50", "D55", "D60", "D65", "D75", "E", "FL2", "FL7", "FL11"]
RGBSpaceName = Literal["srgb", "display_p3", "adobe_rgb", "rec2020", "prophoto", "aces_ap0", "aces_ap1"]
AdaptationMethod = Literal["bradford", "cat02", "cat16", "xyz_scaling"]

WHITES: Final[Mapping[str, XY]] = MappingProxyType(
    {
        "A": (0.44758, 0.40745),
        "B": (0.34842, 0.35161),
        "C": (0.31006, 0.31616),
        "D50": (0.3457, 0.3585),
        "D55": (0.33243, 0.34744),
        "D60": (0.32168, 0.33767),
        "D65": (0.3127, 0.3290),
        "D75": (0.29903, 0.31488),
        "E": (1 / 3, 1 / 3),
        "FL2": (0.3721, 0.3751),
        "FL7": (0.3129, 0.3292),
        "FL11": (0.3805, 0.3769),
    }
)
"""Chromaticity of illuminants, CIE 1931, from CIE 15 [CIE15]; D50 and D65 with the digits that the standards of RGB
spaces give, D60 the white of ACES."""

ADAPTATIONS: Final[Mapping[str, tuple[tuple[float, float, float], ...]]] = MappingProxyType(
    {
        "bradford": ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)),
        "cat02": ((0.7328, 0.4296, -0.1624), (-0.7036, 1.6975, 0.0061), (0.0030, 0.0136, 0.9834)),
        "cat16": ((0.401288, 0.650173, -0.051461), (-0.250268, 1.204414, 0.045854), (-0.002079, 0.048952, 0.953127)),
        "xyz_scaling": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    }
)
"""From CIE XYZ to the responses that are scaled: Lam 1985 [Lam1985], CIECAM02 [CIE159], CAM16 [Li2017]."""


@dataclass(frozen=True)
class RGBSpace:
    """An RGB space by the chromaticity of its primaries and of its white."""

    red: XY
    green: XY
    blue: XY
    white: str

    @property
    def to_xyz(self) -> Matrix:
        """Linear RGB to CIE XYZ; the white (1, 1, 1) becomes the XYZ of the space's white, with Y = 1."""
        primaries = np.stack([xyz(self.red), xyz(self.green), xyz(self.blue)], axis=1)
        return np.asarray(primaries * np.linalg.solve(primaries, xyz(WHITES[self.white])))


SPACES: Final[Mapping[str, RGBSpace]] = MappingProxyType(
    {
        "srgb": RGBSpace((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), "D65"),
        "display_p3": RGBSpace((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), "D65"),
        "adobe_rgb": RGBSpace((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), "D65"),
        "rec2020": RGBSpace((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), "D65"),
        "prophoto": RGBSpace((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), "D50"),
        "aces_ap0": RGBSpace((0.7347, 0.2653), (0.0, 1.0), (0.0001, -0.0770), "D60"),
        "aces_ap1": RGBSpace((0.713, 0.293), (0.165, 0.830), (0.128, 0.044), "D60"),
    }
)
"""The names that `Signal.colour` may hold beside ``camera`` and ``xyz``: IEC 61966-2-1 [IEC61966] and, with the same
primaries, BT.709 [BT709]; SMPTE EG 432-1 [SMPTE432]; Adobe RGB (1998) [AdobeRGB]; BT.2020 [BT2020]; ISO 22028-2
[ISO22028]; SMPTE ST 2065-1 [SMPTE2065]; S-2014-004 [ACEScg]."""

RGB_NAMES: Final = tuple(SPACES)


def xyz(xy: Sequence[float]) -> Matrix:
    """CIE XYZ (3,) of a chromaticity, with Y = 1."""
    x, y = xy
    return np.array([x / y, 1.0, (1 - x - y) / y])


def chromaticity(xyz: Matrix) -> XY:
    """Chromaticity (x, y) of CIE XYZ (3,)."""
    total = float(xyz[0] + xyz[1] + xyz[2])
    return float(xyz[0]) / total, float(xyz[1]) / total


def adaptation(source: Sequence[float], target: Sequence[float], method: str = "bradford") -> Matrix:
    """The von Kries adaptation of CIE XYZ from one white to another.

    Parameters
    ----------
    source, target
        Chromaticity of the whites.
    method
        Which responses are scaled (see `ADAPTATIONS`).

    Examples
    --------
    >>> (adaptation(WHITES["D65"], WHITES["D50"]) @ xyz(WHITES["D65"])).round(4).tolist()
    [0.9643, 1.0, 0.8251]
    """
    if tuple(source) == tuple(target):
        return np.eye(3)
    responses = np.asarray(ADAPTATIONS[method])
    gains = (responses @ xyz(target)) / (responses @ xyz(source))
    return np.asarray(np.linalg.solve(responses, gains[:, None] * responses))


def to_xyz(name: str) -> tuple[Matrix, XY]:
    """The matrix from linear RGB of a space to CIE XYZ, and the space's white. ``xyz`` is CIE XYZ itself, under D65."""
    return (np.eye(3), WHITES["D65"]) if name == "xyz" else (SPACES[name].to_xyz, WHITES[SPACES[name].white])


def conversion(source: str, target: str) -> Matrix:
    """From linear RGB of one space to that of another; Bradford adaptation where their whites differ.

    ``xyz`` is CIE XYZ, adapted to D65, with Y of the white 1.

    Examples
    --------
    >>> conversion("srgb", "rec2020").round(4).tolist()
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.088, 0.8956]]
    """
    if source == target:
        return np.eye(3)
    first, first_white = to_xyz(source)
    second, second_white = to_xyz(target)
    return np.asarray(np.linalg.solve(second, adaptation(first_white, second_white) @ first))


def adaptation_in(space: str, source: Sequence[float], target: Sequence[float], method: str = "bradford") -> Matrix:
    """`adaptation` as it acts on linear RGB of a space."""
    if tuple(source) == tuple(target):
        return np.eye(3)
    matrix, _ = to_xyz(space)
    return np.asarray(np.linalg.solve(matrix, adaptation(source, target, method) @ matrix))
