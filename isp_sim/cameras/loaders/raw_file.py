"""What a DNG or another RAW file says of its camera: CFA, levels, colour matrices, and a DNG's noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from isp_sim.cameras.loaders.table import LoaderFault
from isp_sim.signal import cfa_name

EXIF_TEMPERATURES: Final = {
    **{1: 5503, 2: 4150, 3: 2856, 4: 5500, 9: 5500, 10: 6504, 11: 7500, 12: 6430, 13: 5000, 14: 4150, 15: 3450},
    **{17: 2856, 18: 4874, 19: 6774, 20: 5503, 21: 6504, 22: 7504, 23: 5003, 24: 3200},
}
"""Correlated colour temperature [K] of EXIF's light sources, by their number."""

D65: Final = 21
"""EXIF's number of CIE illuminant D65."""

CFA_PHOTOMETRIC: Final = 32803


def read(path: Path, camera: str | None = None) -> dict[str, Any]:
    """The profile of a file's camera: of a DNG by its own tags, of another RAW file through LibRaw.

    The noise of a DNG, its NoiseProfile, holds at the file's ISO speed alone.

    Raises
    ------
    LoaderFault
        If the file can't be read as RAW.
    """
    if not path.is_file():
        raise LoaderFault(f"can't read {path}: there is no such file")
    found = _dng(path) or _libraw(path)
    if camera:
        found["name"] = camera
    if "xyz_to_camera" not in found and "noise" not in found:
        raise LoaderFault(f"{path} says nothing of colour and nothing of noise")
    return found


def _dng(path: Path) -> dict[str, Any] | None:
    """By the tags; None if the file is no DNG."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            first = file.pages.first
            if "DNGVersion" not in first.tags:
                return None
            pages = [first, *(first.pages or ())]
            samples = next((page for page in pages if page.photometric == CFA_PHOTOMETRIC), first)
            return _from_tags(path, first.tags, samples)
    except LoaderFault:
        raise
    except Exception:  # noqa: BLE001  no TIFF, or a strange one: LibRaw may read it all the same
        return None


def _from_tags(path: Path, tags: Any, samples: Any) -> dict[str, Any]:
    def values(name: str, owner: Any = tags) -> list[float] | None:
        tag = owner.get(name)
        if tag is None:
            return None
        found = np.atleast_1d(np.asarray(tag.value, dtype=np.float64)).ravel()
        if tag.dtype in (5, 10):  # rationals
            found = found[::2] / found[1::2]
        return [float(value) for value in found] if np.all(np.isfinite(found)) else None

    name = str(tags.valueof("UniqueCameraModel") or tags.valueof("Model") or path.stem).strip("\x00 ")
    document: dict[str, Any] = {
        "name": name,
        "description": f"{name}, by the tags of one DNG.",
        "source": f"DNG tags of {path.name}",
        "licence": "Facts about the camera of one file.",
    }
    pattern, dim = samples.tags.valueof("CFAPattern"), samples.tags.valueof("CFARepeatPatternDim")
    if pattern is not None and dim is not None and set(bytes(pattern)) <= {0, 1, 2}:
        letters = "".join("RGB"[code] for code in bytes(pattern))
        width = int(dim[1])
        document["cfa"] = cfa_name(tuple(letters[i : i + width] for i in range(0, len(letters), width)))
    if (black := values("BlackLevel", samples.tags)) is not None:
        document["black_level"] = black
    if (white := values("WhiteLevel", samples.tags)) is not None:
        document["white_level"] = max(white)
    found = []
    for i in (1, 2):
        matrix, light = values(f"ColorMatrix{i}"), int(tags.valueof(f"CalibrationIlluminant{i}") or 0)
        if matrix is not None and len(matrix) == 9 and (i == 1 or light in EXIF_TEMPERATURES):
            # a converter that names no light has the one matrix that is usual, that for daylight
            temperature = float(EXIF_TEMPERATURES.get(light, EXIF_TEMPERATURES[D65]))
            found.append((temperature, [matrix[0:3], matrix[3:6], matrix[6:9]]))
    if found:
        found.sort(key=lambda entry: entry[0])
        temperatures = [temperature for temperature, _ in found]
        several = len(found) > 1
        document |= {
            "illuminants": temperatures,
            "temperature": {"uniform": [temperatures[0], temperatures[-1]]} if several else temperatures[0],
            "xyz_to_camera": [matrix for _, matrix in found],
        }
    profile = values("NoiseProfile") or values("NoiseProfile", samples.tags)
    iso = _iso(tags)
    if profile is not None and len(profile) in (2, 6) and iso is not None and min(profile[::2]) > 0:
        point = {"iso": iso, "shot": profile[::2], "read": [max(value, 0.0) for value in profile[1::2]]}
        document["noise"] = {"law": "noise_profile", "points": [point]}
    return document


def _iso(tags: Any) -> float | None:
    exif = tags.valueof("ExifTag")
    found = exif.get("ISOSpeedRatings") or exif.get("PhotographicSensitivity") if isinstance(exif, dict) else None
    found = tags.valueof(34855) if found is None else found
    if isinstance(found, tuple | list):
        found = found[0] if found else None
    return float(found) if isinstance(found, int | float) and found >= 1 else None


def _libraw(path: Path) -> dict[str, Any]:
    import rawpy

    try:
        with rawpy.imread(str(path)) as raw:
            letters = raw.color_desc.decode("ascii", "replace")
            if letters[:3] != "RGB":
                raise LoaderFault(f"{path}: a sensor of other colours than red, green and blue, {letters}")
            document: dict[str, Any] = {
                "name": path.stem,
                "description": f"The camera of {path.name}.",
                "source": f"{path.name} through LibRaw; the colour matrix is LibRaw's table's",
                "licence": "Facts about the camera of one file.",
                "white_level": float(raw.white_level),
                "black_level": [float(max(raw.black_level_per_channel))],
            }
            top, left = raw.sizes.top_margin, raw.sizes.left_margin
            period = 6 if raw.raw_pattern is not None and raw.raw_pattern.shape == (6, 6) else 2
            colours = [[letters[raw.raw_color(top + y, left + x)] for x in range(period)] for y in range(period)]
            document["cfa"] = cfa_name(tuple("".join(row) for row in colours))
            matrix = np.asarray(raw.rgb_xyz_matrix, dtype=np.float64)[:3]
            if np.any(matrix):
                document |= {
                    "illuminants": [6504.0],
                    "temperature": 6504.0,
                    "xyz_to_camera": [[[float(value) for value in row] for row in matrix]],
                }
            return document
    except rawpy.LibRawError as error:
        raise LoaderFault(f"{path}: LibRaw can't read it as a RAW file: {error}") from None
