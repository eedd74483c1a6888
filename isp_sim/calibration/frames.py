"""Flats and darks as files: which belong together, and what they say of the sensor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isp_sim.calibration.estimate import CalibrationFault, Pair
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import Item
from isp_sim.signal import is_bayer

Floats = NDArray[np.float64]

SPEED: Final = re.compile(r"(?:iso[ _-]?)?(\d{2,7})", re.IGNORECASE)
"""How a folder that holds the frames of one ISO speed is named."""

ALIKE: Final = 0.05
"""How far the means of two flats of a pair may be apart, as a fraction."""


@dataclass(frozen=True)
class Frames:
    """RAW frames of one ISO speed, as digital numbers with the site of red at the top left."""

    names: tuple[str, ...]
    pixels: tuple[Floats, ...]
    black: tuple[float, float, float, float]
    white: float
    cfa: str


def by_speed(folder: Path, iso: float | None) -> dict[float, list[Path]]:
    """RAW files by ISO speed: those in the folders named by it (``800``, ``iso800``), or all of `folder` at `iso`.

    Raises
    ------
    CalibrationFault
        If there are none, or if nothing says at which speed they were taken.
    """
    if not folder.is_dir():
        raise CalibrationFault(f"{folder} is no folder")
    found: dict[float, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and (match := SPEED.fullmatch(entry.name)) and (files := _raw_files(entry)):
            found.setdefault(float(match[1]), []).extend(files)
    if found and iso is not None:
        found = {speed: files for speed, files in found.items() if speed == iso}
    elif (files := _raw_files(folder)) and not found:
        if iso is None:
            raise CalibrationFault(f"nothing says at which ISO speed {folder} was taken: give --iso, or use folders")
        found = {iso: files}
    if not found:
        raise CalibrationFault(f"{folder} holds no RAW files, nor folders of them named by ISO speed, such as iso800")
    return found


def _raw_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in Raw.suffixes and path.is_file())


def read(paths: Sequence[Path]) -> Frames:
    """Read RAW files of one sensor, cut so that red lies at the top left.

    Raises
    ------
    CalibrationFault
        If they differ in size, CFA or levels, or if the CFA is not Bayer's.
    InputFault
        If a file can't be read.
    """
    reader = Raw(Raw.Params(path=str(paths[0].parent)))
    found: list[Frames] = []
    for path in paths:
        frame = reader.read(Item(path.name, str(path))).frame
        cfa = str(frame.signal.cfa)
        if frame.signal.layout != "mosaic" or not is_bayer(cfa):
            raise CalibrationFault(f"{path}: calibration needs a Bayer CFA; found {frame.signal}")
        top, left = divmod(cfa.index("R"), 2)
        height, width = ((size - offset) // 2 * 2 for size, offset in zip(frame.size, (top, left), strict=True))
        frame = frame.crop(top, left, height, width)
        black = frame.tiled(frame.capture["black_level"])[0, 0, :2, :2].flatten().tolist()
        pixels = frame.pixels[0, 0].double().numpy()
        white = float(frame.capture["white_level"].min())
        found.append(Frames((path.name,), (pixels,), (black[0], black[1], black[2], black[3]), white, cfa))
    first = found[0]
    for other in found:
        if (other.pixels[0].shape, other.white, other.cfa) != (first.pixels[0].shape, first.white, first.cfa):
            raise CalibrationFault(
                f"{first.names[0]} and {other.names[0]} differ in size, white level or CFA: they are of two sensors, "
                "or of two settings of one"
            )
    return Frames(
        tuple(one.names[0] for one in found),
        tuple(one.pixels[0] for one in found),
        first.black,
        first.white,
        first.cfa,
    )


def pairs(flats: Frames) -> list[Pair]:
    """Two flats each, one after the other by name, of equal exposure.

    Raises
    ------
    CalibrationFault
        If a flat is left over, or if the means of a pair differ.
    """
    if len(flats.pixels) % 2:
        raise CalibrationFault(
            f"flats come in pairs of equal exposure, one after the other by name; found {len(flats.pixels)}"
        )
    found = []
    for i in range(0, len(flats.pixels), 2):
        a, b = flats.pixels[i], flats.pixels[i + 1]
        means = a.mean() - np.mean(flats.black), b.mean() - np.mean(flats.black)
        if abs(means[0] - means[1]) > ALIKE * max(means):
            raise CalibrationFault(
                f"{flats.names[i]} and {flats.names[i + 1]} are no pair of equal exposure: their means above black are "
                f"{means[0]:.4g} and {means[1]:.4g} DN. Pairs stand one after the other by name"
            )
        found.append((a, b))
    return found
