"""DNG opcode lists: the gain maps and the radial vignette correction in them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GAIN_MAP: Final = 9
FIX_VIGNETTE_RADIAL: Final = 3

MOST_OPCODES: Final = 1024
MOST_POINTS: Final = 1 << 22
"""Of one gain map: more than a sensor has pixels to spare for."""
LARGEST: Final = 1 << 24
"""Greatest row or column: the capture's numbers are of single precision."""

OPTIONAL: Final = 1
"""The flag that lets a reader which does not know an opcode go on without it."""

VERSION: Final = 0x01030000
"""DNG 1.3, which introduced both."""

_HEAD = struct.Struct(">4I")
_GEOMETRY = struct.Struct(">10I4dI")
_VIGNETTE = struct.Struct(">7d")


class OpcodeFault(ValueError):
    """An opcode list that is none."""


@dataclass(frozen=True)
class GainMap:
    """Gains on a grid, between which they are interpolated, for some sites of some planes [DNG2023].

    Attributes
    ----------
    area
        Top, left, bottom and right of the pixels that it is for.
    planes
        The first plane, and how many.
    pitch
        Every how many rows and columns, from top and left.
    origin, spacing
        Place of the first grid point and distance of two, down and across, as fractions of the picture's height and
        width.
    gains
        (rows, columns, n), n at most the number of planes; further planes take the last.
    """

    area: tuple[int, int, int, int]
    planes: tuple[int, int]
    pitch: tuple[int, int]
    origin: tuple[float, float]
    spacing: tuple[float, float]
    gains: NDArray[np.float32]

    def __post_init__(self) -> None:
        top, left, bottom, right = self.area
        rows, columns, n = self.gains.shape
        first, planes = self.planes
        if not (top < bottom <= LARGEST and left < right <= LARGEST):
            raise OpcodeFault(f"a gain map's area {self.area} is empty, or larger than any sensor")
        if min(self.pitch) < 1 or max(self.pitch) > LARGEST:
            raise OpcodeFault(f"a gain map's pitch is {self.pitch}; it must be at least 1")
        if planes < 1 or n > planes or first + planes > LARGEST:
            raise OpcodeFault(f"a gain map has gains of {n} planes for {planes} planes from {first} on")
        if not np.isfinite([*self.origin, *self.spacing]).all() or max(map(abs, (*self.origin, *self.spacing))) > 1e6:
            raise OpcodeFault(f"a gain map's grid lies at {self.origin}, {self.spacing} apart")
        if any(step <= 0 and points > 1 for step, points in zip(self.spacing, (rows, columns), strict=True)):
            raise OpcodeFault(f"a gain map's grid points lie {self.spacing} apart; they must be apart")
        if not (np.isfinite(self.gains).all() and (self.gains > 0).all()):
            raise OpcodeFault("a gain map holds gains that are not positive")


@dataclass(frozen=True)
class FixVignetteRadial:
    """The gain 1 + k0 r^2 + k1 r^4 + ... + k4 r^10 about a centre, r being 1 at the farthest corner [DNG2023].

    Attributes
    ----------
    k
        The five coefficients.
    centre
        Across and down, as fractions of the way from the first pixel to the last.
    """

    k: tuple[float, float, float, float, float]
    centre: tuple[float, float]

    def __post_init__(self) -> None:
        if not np.isfinite(self.k).all() or max(map(abs, self.k)) > 1e6:
            raise OpcodeFault(f"a radial correction has the coefficients {self.k}")
        if not all(0 <= c <= 1 for c in self.centre):
            raise OpcodeFault(f"a radial correction's centre {self.centre} lies outside the picture")


Opcode = GainMap | FixVignetteRadial


def parse(data: bytes) -> list[Opcode]:
    """The gain maps and radial corrections of an OpcodeList tag, in order; other opcodes are passed over.

    Parameters
    ----------
    data
        The value of OpcodeList1, 2 or 3: big-endian whatever the file's own byte order is.

    Raises
    ------
    OpcodeFault
        If the list is truncated, contradicts itself, or is larger than any sensor needs.
    """
    if len(data) < 4:
        raise OpcodeFault(f"an opcode list of {len(data)} bytes holds no count")
    (count,) = struct.unpack_from(">I", data)
    if count > MOST_OPCODES:
        raise OpcodeFault(f"an opcode list says that it holds {count} opcodes; {MOST_OPCODES} at most are read")
    found: list[Opcode] = []
    at = 4
    for index in range(count):
        if at + _HEAD.size > len(data):
            raise OpcodeFault(f"an opcode list ends within opcode {index + 1} of {count}")
        number, _, _, size = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if at + size > len(data):
            raise OpcodeFault(f"opcode {index + 1} of {count} needs {size} bytes, and {len(data) - at} are left")
        value = data[at : at + size]
        at += size
        if number == GAIN_MAP:
            found.append(_gain_map(value))
        elif number == FIX_VIGNETTE_RADIAL:
            found.append(_vignette(value))
    return found


def _gain_map(value: bytes) -> GainMap:
    if len(value) < _GEOMETRY.size:
        raise OpcodeFault(f"a gain map of {len(value)} bytes; its geometry alone takes {_GEOMETRY.size}")
    (top, left, bottom, right, plane, planes, down, across, rows, columns, *placed, n) = _GEOMETRY.unpack_from(value)
    points = rows * columns * n
    if not 0 < points <= MOST_POINTS:
        raise OpcodeFault(f"a gain map of {rows}x{columns}x{n} points; from 1 to {MOST_POINTS} are read")
    if len(value) != _GEOMETRY.size + 4 * points:
        raise OpcodeFault(
            f"a gain map of {rows}x{columns}x{n} points takes {_GEOMETRY.size + 4 * points} bytes, not {len(value)}"
        )
    gains = np.frombuffer(value, ">f4", offset=_GEOMETRY.size).reshape(rows, columns, n).astype(np.float32)
    spacing, origin = (placed[0], placed[1]), (placed[2], placed[3])
    return GainMap((top, left, bottom, right), (plane, planes), (down, across), origin, spacing, gains)


def _vignette(value: bytes) -> FixVignetteRadial:
    if len(value) != _VIGNETTE.size:
        raise OpcodeFault(f"a radial correction takes {_VIGNETTE.size} bytes, not {len(value)}")
    k0, k1, k2, k3, k4, x, y = _VIGNETTE.unpack(value)
    return FixVignetteRadial((k0, k1, k2, k3, k4), (x, y))


def build(opcodes: Sequence[Opcode]) -> bytes:
    """The value of an OpcodeList tag: the inverse of `parse`."""
    parts = [struct.pack(">I", len(opcodes))]
    for opcode in opcodes:
        if isinstance(opcode, GainMap):
            number, value = GAIN_MAP, _GEOMETRY.pack(
                *opcode.area, *opcode.planes, *opcode.pitch, *opcode.gains.shape[:2], *opcode.spacing, *opcode.origin,
                opcode.gains.shape[2],
            ) + opcode.gains.astype(">f4").tobytes()  # fmt: skip
        else:
            number, value = FIX_VIGNETTE_RADIAL, _VIGNETTE.pack(*opcode.k, *opcode.centre)
        parts += [_HEAD.pack(number, VERSION, OPTIONAL, len(value)), value]
    return b"".join(parts)


# -- as facts of the capture -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shading:
    """What the opcodes of a picture say of its lens shading; neutral by default.

    Attributes
    ----------
    maps
        Gain maps, in the order in which they apply.
    vignette
        The radial correction.
    """

    maps: Sequence[GainMap] = ()
    vignette: FixVignetteRadial = field(default_factory=lambda: FixVignetteRadial((0, 0, 0, 0, 0), (0.5, 0.5)))

    def facts(self) -> dict[str, Tensor]:
        """``gain_map``, ``gain_map_geometry`` and ``vignette`` (see `isp_sim.frame.FACTS`), for one picture."""
        single = [part for whole in self.maps for part in _by_plane(whole)] or [_UNITY]
        height, width = (max(part.gains.shape[axis] for part in single) for axis in (0, 1))
        gains = np.ones((1, len(single), height, width), dtype=np.float32)
        geometry = np.empty((1, len(single), 14), dtype=np.float32)
        for i, part in enumerate(single):
            rows, columns = part.gains.shape[:2]
            gains[0, i, :rows, :columns] = part.gains[..., 0]
            geometry[0, i] = (*part.area, *part.pitch, *part.planes, rows, columns, *part.origin, *part.spacing)
        vignette = np.array([[*self.vignette.k, *self.vignette.centre]], dtype=np.float32)
        return {
            "gain_map": torch.from_numpy(gains),
            "gain_map_geometry": torch.from_numpy(geometry),
            "vignette": torch.from_numpy(vignette),
        }


_UNITY: Final = GainMap(
    (0, 0, LARGEST, LARGEST), (0, LARGEST), (1, 1), (0.0, 0.0), (1.0, 1.0), np.ones((1, 1, 1), np.float32)
)


def _by_plane(whole: GainMap) -> list[GainMap]:
    """A map for each plane of gains; the last is for all further planes."""
    first, planes = whole.planes
    n = whole.gains.shape[2]
    return [
        GainMap(
            whole.area,
            (first + i, 1 if i < n - 1 else planes - i),
            whole.pitch,
            whole.origin,
            whole.spacing,
            whole.gains[..., i : i + 1],
        )
        for i in range(n)
    ]


def shading(capture: Mapping[str, Tensor], size: tuple[int, int], place: NDArray[np.float64]) -> Shading:
    """What is left to be corrected of one picture's shading, in coordinates of its own.

    Parameters
    ----------
    capture
        One picture's facts, with a leading batch of 1.
    size
        (H, W) of the picture.
    place
        (2, 4), where it lies on the picture that the facts are about (see `isp_sim.frame.FACTS`).

    Raises
    ------
    ValueError
        If the picture has been turned, or cut so that the optical centre lies outside it: opcodes can't say that.
    """
    corrected = capture["shading_corrected"].flatten().tolist() if "shading_corrected" in capture else [0, 0]
    maps: list[GainMap] = []
    vignette = Shading().vignette
    if "gain_map" in capture and not corrected[1]:
        gains = capture["gain_map"][0].to("cpu", torch.float64).numpy()
        geometry = capture["gain_map_geometry"][0].to("cpu", torch.float64).numpy()
        maps = [_single(*pair) for pair in zip(gains, geometry, strict=True) if (pair[0] != 1).any()]
    if "vignette" in capture and not corrected[0]:
        *k, x, y = capture["vignette"][0].to("cpu", torch.float64).tolist()
        vignette = FixVignetteRadial((k[0], k[1], k[2], k[3], k[4]), (x, y))
    if not maps and not any(vignette.k):
        return Shading()
    if not np.array_equal(place[:, :2], np.eye(2)):
        raise ValueError("a picture that was turned can't say how its lens shades: correct it by lens_shading first")
    (left, whole_width), (top, whole_height) = place[:, 2:].astype(int).tolist()
    whole = whole_height, whole_width
    moved = [part for part in (_cut(m, (top, left), size, whole) for m in maps) if part is not None]
    return Shading(moved, _cut_vignette(vignette, (top, left), size, whole) if any(vignette.k) else vignette)


def _single(gains: NDArray[np.float64], geometry: NDArray[np.float64]) -> GainMap:
    top, left, bottom, right, down, across, plane, planes, rows, columns = geometry[:10].astype(int).tolist()
    return GainMap(
        (top, left, bottom, right),
        (plane, planes),
        (down, across),
        (float(geometry[10]), float(geometry[11])),
        (float(geometry[12]), float(geometry[13])),
        gains[:rows, :columns, None].astype(np.float32),
    )


def _cut(part: GainMap, corner: tuple[int, int], size: tuple[int, int], whole: tuple[int, int]) -> GainMap | None:
    """The map for a window of the picture; None if it is for none of its pixels."""
    starts, ends = [], []
    for axis in (0, 1):
        start = part.area[axis] - corner[axis]
        starts.append(start if start >= 0 else start % part.pitch[axis])
        ends.append(min(part.area[axis + 2] - corner[axis], size[axis]))
        if starts[axis] >= ends[axis]:
            return None
    origin, spacing = (
        tuple((value[axis] * whole[axis] - shift[axis]) / size[axis] for axis in (0, 1))
        for value, shift in ((part.origin, corner), (part.spacing, (0, 0)))
    )
    return GainMap(
        (starts[0], starts[1], ends[0], ends[1]),
        part.planes,
        part.pitch,
        (origin[0], origin[1]),
        (spacing[0], spacing[1]),
        part.gains,
    )


def _cut_vignette(
    vignette: FixVignetteRadial, corner: tuple[int, int], size: tuple[int, int], whole: tuple[int, int]
) -> FixVignetteRadial:
    if corner == (0, 0) and size == whole:
        return vignette
    centre = [vignette.centre[i] * (whole[1 - i] - 1) - corner[1 - i] for i in (0, 1)]
    inside = [c / max(size[1 - i] - 1, 1) for i, c in enumerate(centre)]
    if not all(0 <= c <= 1 for c in inside):
        raise ValueError(
            "the optical centre lies outside a picture that was cut, which a DNG can't say: correct it by "
            "lens_shading first"
        )
    before = _farthest((vignette.centre[0] * (whole[1] - 1), vignette.centre[1] * (whole[0] - 1)), whole)
    ratio = _farthest((centre[0], centre[1]), size) / before if before else 0.0
    k0, k1, k2, k3, k4 = (k * ratio ** (i + 1) for i, k in enumerate(vignette.k))
    return FixVignetteRadial((k0, k1, k2, k3, k4), (inside[0], inside[1]))


def _farthest(centre: tuple[float, float], size: tuple[int, int]) -> float:
    """The squared distance from a centre (x, y) to the farthest corner pixel."""
    return sum(max(c, n - 1 - c) ** 2 for c, n in zip(centre, size[::-1], strict=True))
