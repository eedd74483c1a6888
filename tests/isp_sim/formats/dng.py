"""Synthetic DNG files, written with tifffile, so that the RAW reader is tested where no camera file is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

COLOURS = "RGBCMYW"
"""Letters of the colours, by their numbers in CFAPattern."""

DAYLIGHT_MATRIX = ((0.6722, -0.0635, -0.0963), (-0.4287, 1.2460, 0.2028), (-0.0908, 0.2162, 0.5668))
"""CIE XYZ to camera RGB of a common camera, as ColorMatrix1."""

NEUTRAL = (0.5, 1.0, 0.625)
"""Camera RGB of a neutral surface, as AsShotNeutral: gains of 2, 1 and 1.6."""


def rationals(values: Sequence[float]) -> list[int]:
    """Numerators and denominators, as tifffile wants them."""
    return [n for v in values for n in Fraction(v).limit_denominator(10**6).as_integer_ratio()]


def write_dng(
    path: Path,
    samples: NDArray[Any],
    cfa: Sequence[str] | None = ("RG", "GB"),
    *,
    black: Sequence[float] | None = (0,),
    black_dim: tuple[int, int] | None = None,
    white: int | None = 65535,
    neutral: Sequence[float] | None = NEUTRAL,
    matrix: Sequence[Sequence[float]] | None = DAYLIGHT_MATRIX,
    area: tuple[int, int, int, int] | None = None,
    orientation: int = 1,
    make: str = "Nobody",
    model: str = "Nothing",
    more: Sequence[tuple[Any, ...]] = (),
    **options: Any,
) -> Path:
    """Write samples (H, W), or (H, W, n) if they are demosaiced, as a DNG.

    Parameters
    ----------
    cfa
        The rows of the CFA at the top-left pixel of the active area; None for samples that are demosaiced, or of
        a monochrome sensor.
    black, black_dim
        BlackLevel and BlackLevelRepeatDim, from the top-left pixel of the active area.
    area
        ActiveArea: top, left, bottom, right.
    more
        Further tags for tifffile: code, type, count, value, writeonce.
    options
        Go to `tifffile.imwrite`.
    """
    tags: list[tuple[Any, ...]] = [
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),
        (50707, "B", 4, bytes([1, 1, 0, 0]), True),
        (271, "s", 0, make, True),
        (272, "s", 0, model, True),
        (50708, "s", 0, f"{make} {model}", True),
        (274, "H", 1, orientation, True),
        (50778, "H", 1, 21, True),
    ]
    if cfa is not None:
        pattern = bytes(COLOURS.index(letter) for row in cfa for letter in row)
        tags += [(33421, "H", 2, (len(cfa), len(cfa[0])), True), (33422, "B", len(pattern), pattern, True)]
    if black is not None:
        tags.append((50714, "2I", len(black), rationals(black), True))
    if black_dim is not None:
        tags.append((50713, "H", 2, black_dim, True))
    if white is not None:
        tags.append((50717, "I", 1, white, True))
    if neutral is not None:
        tags.append((50728, "2I", len(neutral), rationals(neutral), True))
    if matrix is not None:
        flat = [value for row in matrix for value in row]
        tags.append((50721, "2i", len(flat), rationals(flat), True))
    if area is not None:
        tags.append((50829, "I", 4, area, True))
    # tifffile takes LinearRaw for three samples only; a monochrome sensor's file is told so afterwards.
    photometric = tifffile.PHOTOMETRIC.LINEAR_RAW if samples.ndim == 3 else tifffile.PHOTOMETRIC.CFA
    tifffile.imwrite(
        path,
        samples,
        photometric=photometric,
        planarconfig="contig" if samples.ndim == 3 else None,
        metadata=None,
        extratags=[*tags, *more],
        **options,
    )
    if samples.ndim == 2 and cfa is None:
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages.first.tags["PhotometricInterpretation"].overwrite(int(tifffile.PHOTOMETRIC.LINEAR_RAW))
    return path
