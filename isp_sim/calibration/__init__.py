"""From flats and darks to a camera profile: gain, row noise, read noise, black level, with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isp_sim.calibration import frames
from isp_sim.calibration.estimate import (
    CalibrationFault,
    Darks,
    Estimate,
    Pair,
    Transfer,
    photon_transfer,
    read_out,
)
from isp_sim.calibration.frames import Floats

__all__ = ["Calibration", "CalibrationFault", "Estimate", "calibrate", "calibrated", "document"]


@dataclass(frozen=True)
class Calibration:
    """A sensor at one ISO speed.

    Attributes
    ----------
    declared_black
        Black level that the files declare [DN].
    gain
        System gain K of all sites together [DN/e-].
    transfer
        The photon transfer of each site.
    darks
        What the darks tell.
    """

    iso: float
    declared_black: tuple[float, float, float, float]
    white: float
    cfa: str
    gain: Estimate
    transfer: tuple[Transfer, ...]
    darks: Darks

    @property
    def offsets(self) -> tuple[float, ...]:
        """Colour bias: the measured black level less the declared one, of each site [DN]."""
        return tuple(e.value - b for e, b in zip(self.darks.black, self.declared_black, strict=True))


def calibrated(
    pairs: Sequence[Pair],
    darks: Sequence[Floats],
    *,
    iso: float,
    black: tuple[float, float, float, float],
    white: float,
    cfa: str = "RGGB",
    rounding: float = 1.0,
) -> Calibration:
    """Estimate from arrays [DN] whose top-left site is red; see `photon_transfer` and `read_out` for what is raised."""
    dark = read_out(darks, rounding)
    transfer = photon_transfer(pairs, [estimate.value for estimate in dark.black], white)
    weights = [site.gain.error**-2 for site in transfer]
    gain = sum(w * site.gain.value for w, site in zip(weights, transfer, strict=True)) / sum(weights)
    return Calibration(iso, black, white, cfa, Estimate(gain, sum(weights) ** -0.5), tuple(transfer), dark)


def calibrate(flats: Path, darks: Path, iso: float | None = None) -> list[Calibration]:
    """Estimate from two folders of RAW files, at each ISO speed that both have.

    Raises
    ------
    CalibrationFault
        If the folders do not hold what is needed.
    InputFault
        If a file can't be read.
    """
    lit, dark = frames.by_speed(flats, iso), frames.by_speed(darks, iso)
    if not (speeds := sorted(set(lit) & set(dark))):
        raise CalibrationFault(
            f"flats and darks have no ISO speed in common: {_listed(lit)} in {flats}, {_listed(dark)} in {darks}"
        )
    found = []
    for speed in speeds:
        bright, black = frames.read(lit[speed]), frames.read(dark[speed])
        if (bright.cfa, bright.white, bright.pixels[0].shape) != (black.cfa, black.white, black.pixels[0].shape):
            raise CalibrationFault(f"ISO {speed:g}: flats and darks differ in size, CFA or white level")
        found.append(
            calibrated(
                frames.pairs(bright),
                black.pixels,
                iso=speed,
                black=black.black,
                white=black.white,
                cfa=black.cfa,
            )
        )
    return found


def _listed(by_speed: Mapping[float, Any]) -> str:
    return ", ".join(f"{speed:g}" for speed in sorted(by_speed))


def document(calibrations: Sequence[Calibration], name: str) -> dict[str, Any]:
    """A camera profile of what was estimated, ready for `isp_sim.cameras.document.to_yaml`."""
    first = calibrations[0]
    black = sum(first.declared_black) / 4
    intervals = "; ".join(
        f"ISO {c.iso:g}: K {c.gain} DN/e-, read scale {c.darks.scale} DN, shape {c.darks.shape}, rows {c.darks.row} DN"
        for c in calibrations
    )
    points = [
        {
            "iso": c.iso,
            "gain": [c.gain.value],
            "read": [c.darks.scale.value],
            "shape": c.darks.shape.value,
            "row": c.darks.row.value,
            "colour_bias": [float(offset) for offset in c.offsets],
        }
        for c in calibrations
    ]
    return {
        "name": name,
        "description": f"Noise measured on flats and darks; values with 95 % confidence intervals. {intervals}.",
        "source": "isp-sim calibrate: photon transfer, row noise, and PPCC over the Tukey lambda laws.",
        "licence": "Measured by the user.",
        "cfa": first.cfa,
        "black_level": [float(level) for level in first.declared_black],
        "white_level": first.white,
        "noise": {"law": "points", "span": first.white - black, "points": points},
    }
