"""Simulated RAW as DNG, for RAW developers and LibRaw."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from isp_sim.formats.opcodes import Opcode, build, shading
from isp_sim.formats.writer import OutputParams, Writer
from isp_sim.frame import Frame
from isp_sim.signal import OPEN, Signal, cfa_rows, mixed_sites
from isp_sim.stages.colour_matrix import XYZ_FROM_SRGB

D65: Final = 21
"""DNG's number of the illuminant."""

UNDEFINED: Final = 7
"""TIFF's type of bytes that mean nothing to TIFF."""

WIDEST: Final = 6
"""Side of the largest CFA period that LibRaw describes."""


class DNG(Writer):
    """Writes a mosaic as a DNG 1.4 file, 16-bit samples, uncompressed.

    The file says what the capture knows: black and white level, CFA, as-shot neutral, colour matrix, noise profile,
    and the lens shading that is left to be corrected, as opcodes.
    A picture in [0, 1] is scaled between `black` and `white`; digital numbers are written as they are, under their
    own levels. Samples are rounded, halves upwards, and clipped to 0 and 65535.

    The colour matrix is one for D65, chosen so that a reader which scales it to map white to (1, 1, 1), as LibRaw
    does, gets the capture's own matrix back.

    Raises
    ------
    ValueError
        When a picture with lens shading was turned, or cut beside its optical centre, which opcodes can't say.
    """

    class Params(OutputParams):
        black: int = Field(1024, ge=0, le=65534, description="black level of a picture in [0, 1] [DN]")
        white: int = Field(65535, ge=1, le=65535, description="white level of a picture in [0, 1] [DN]")
        camera: str = Field("isp-sim", min_length=1, max_length=64, pattern="^[ -~]+$", description="UniqueCameraModel")

        @model_validator(mode="after")
        def _ordered(self) -> DNG.Params:
            if self.black >= self.white:
                raise ValueError(f"black {self.black} must lie below white {self.white}")
            return self

    @property
    def suffix(self) -> str:
        return ".dng"

    def refuses(self, signal: Signal) -> str | None:
        if signal.layout not in ("mosaic", OPEN) or signal.transfer not in ("linear", OPEN):
            return f"a DNG holds a linear mosaic; found {signal}"
        if signal.layout == "mosaic" and signal.cfa != OPEN and max(_size(str(signal.cfa))) > WIDEST:
            return f"a DNG's reader knows CFA periods of up to {WIDEST}x{WIDEST}; found {signal.cfa}"
        if signal.layout == "mosaic" and signal.cfa != OPEN and (mixed := mixed_sites(str(signal.cfa))):
            return f"it writes sites of R, G and B; the CFA {signal.cfa} has {' and '.join(mixed)}"
        return None

    def remarks(self, signal: Signal) -> list[str]:
        if signal.white_balanced is True:
            return ["the mosaic is white-balanced already; a DNG's reader balances it again"]
        return []

    def encode(self, frame: Frame) -> bytes:
        import tifffile

        tile = (1, 1) if frame.signal.levels == "unit" else tuple(frame.capture["black_level"].shape[-2:])
        if frame.signal.levels == "unit":
            black, white = np.full(tile, float(self.params.black)), float(self.params.white)
            samples = frame.pixels[0, 0].double() * (white - black[0, 0]) + black[0, 0]
        else:
            black = frame.capture["black_level"][0, 0].to("cpu", torch.float64).numpy()
            white = float(frame.capture["white_level"][0].max())
            samples = frame.pixels[0, 0].double()
        codes = torch.floor(samples + 0.5).clamp(0, 65535).to("cpu").numpy().astype(np.uint16)
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer,
            np.ascontiguousarray(codes),
            photometric=tifffile.PHOTOMETRIC.CFA,
            metadata=None,
            software=False,
            extratags=self._tags(frame, black, white),
        )
        return buffer.getvalue()

    def _tags(self, frame: Frame, black: NDArray[np.float64], white: float) -> list[tuple[Any, ...]]:
        """What DNG adds to TIFF: code, type, count, value, write once."""
        cfa = str(frame.signal.cfa)
        pattern = bytes("RGB".index(letter) for letter in "".join(cfa_rows(cfa)))
        tags: list[tuple[Any, ...]] = [
            (50706, "B", 4, bytes([1, 4, 0, 0]), True),  # DNGVersion
            (50707, "B", 4, bytes([1, 1, 0, 0]), True),  # DNGBackwardVersion
            (50708, "s", 0, self.params.camera, True),  # UniqueCameraModel
            (271, "s", 0, self.params.camera, True),  # Make
            (272, "s", 0, self.params.camera, True),  # Model
            (33421, "H", 2, _size(cfa), True),  # CFARepeatPatternDim
            (33422, "B", len(pattern), pattern, True),  # CFAPattern
            (50713, "H", 2, black.shape, True),  # BlackLevelRepeatDim
            (50714, "2I", black.size, _rationals(black.flatten()), True),  # BlackLevel
            (50717, "I", 1, round(white), True),  # WhiteLevel
        ]
        if "wb_gains" in frame.capture:
            neutral = 1 / frame.capture["wb_gains"][0, :, 0, 0].to("cpu", torch.float64).numpy()
            tags.append((50728, "2I", 3, _rationals(neutral / neutral.max()), True))  # AsShotNeutral
            if "ccm" in frame.capture:
                balanced = np.linalg.inv(frame.capture["ccm"][0].to("cpu", torch.float64).numpy())
                matrix = np.diag(neutral) @ balanced @ np.linalg.inv(XYZ_FROM_SRGB)
                tags.append((50721, "2i", 9, _rationals(matrix.flatten()), True))  # ColorMatrix1
                tags.append((50778, "H", 1, D65, True))  # CalibrationIlluminant1
        if "noise_profile" in frame.capture:
            profile = frame.capture["noise_profile"][0].to("cpu", torch.float64).numpy()
            tags.append((51041, "d", profile.size, tuple(profile.flatten()), True))  # NoiseProfile
        place = frame.placement[0].to("cpu", torch.float64).numpy()
        lens = shading(frame.capture, frame.size, place)
        if lens.maps:
            tags.append(_opcodes(51009, lens.maps))  # OpcodeList2, for linear samples
        if any(lens.vignette.k):
            tags.append(_opcodes(51022, [lens.vignette]))  # OpcodeList3, for demosaiced samples
        return tags


def _opcodes(code: int, opcodes: Sequence[Opcode]) -> tuple[Any, ...]:
    value = build(opcodes)
    return code, UNDEFINED, len(value), value, True


def _size(cfa: str) -> tuple[int, int]:
    rows = cfa_rows(cfa)
    return len(rows), len(rows[0])


def _rationals(values: Sequence[float] | NDArray[np.float64]) -> list[int]:
    """Numerators and denominators, one after the other."""
    return [part for value in values for part in Fraction(float(value)).limit_denominator(1_000_000).as_integer_ratio()]
