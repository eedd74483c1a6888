"""Calibration on sensors that are known: flats and darks rendered with each shipped profile, and what comes back.

python benchmarks/calibration.py --json FILE

Frames are rounded to whole DN, as cameras write them. The gain, the read noise and the row noise must come back within
3 %, the shape of the read noise within 0.02. Where the read noise is hardly more than one DN, rounding leaves a bias of
up to 2 % in its scale, of which its confidence interval does not know; those intervals are not counted.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from report import arguments, at_most, publish

from isp_sim import calibration, registry
from isp_sim.cameras import profile
from isp_sim.frame import Capture, Frame
from isp_sim.parameters import Parameters
from isp_sim.pipeline import Pipeline, StageStep
from isp_sim.signal import Signal

BAYER = Signal(layout="mosaic", cfa="RGGB", colour="camera", white_balanced=False, transfer="linear", reference="scene")
BLACK = 800.0
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
RELATIVE, SHAPE = 0.03, 0.02
COARSE = 1.0
"""Scale of the read noise below which rounding biases it [DN]."""


def frames(name: str, iso: float, level: float, number: int, size: tuple[int, int], tag: str) -> list[NDArray[Any]]:
    """Frames [DN] of one flat light level."""
    plugin = registry.load("sensor_noise", *registry.STAGE_GROUPS)
    given = {"profile": name, "iso": iso, "scatter": False, "quantisation": "round"}
    pipeline = Pipeline((StageStep("noise", "sensor_noise", plugin(), Parameters.bind(plugin.Params, given)),), 1)
    span = _law(name).dn
    found = []
    for i in range(number):
        light = torch.full((1, 1, *size), level, dtype=torch.float64)
        frame = Frame(light, BAYER, Capture(), (f"{name} {iso} {tag} {i}",))
        found.append(np.asarray(pipeline.run(frame).frame.pixels[0, 0].numpy() * span + BLACK))
    return found


def _law(name: str) -> Any:
    return profile.load(name).noise


def measure(name: str, iso: float, darks: int, size: tuple[int, int]) -> dict[str, Any]:
    """Truth and estimate of one profile at one speed."""
    pairs = [tuple(frames(name, iso, x, 2, (256, 256), f"flat {x}")) for x in LEVELS]
    found = calibration.calibrated(
        [(a, b) for a, b in pairs],
        frames(name, iso, 0.0, darks, size, "dark"),
        iso=iso,
        black=(BLACK,) * 4,
        white=BLACK + _law(name).dn,
    )
    truth = _law(name).at(iso)
    values = {
        "K": (found.gain, truth.gain[0]),
        "read": (found.darks.scale, truth.read[0]),
        "rows": (found.darks.row, truth.row),
        "shape": (found.darks.shape, truth.shape or 0.0),
    }
    row: dict[str, Any] = {"profile": name, "ISO": iso}
    for key, (estimate, value) in values.items():
        row |= {key: value, f"{key} found": estimate.value, f"{key} +-": 1.96 * estimate.error}
    return row


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--darks", type=int, default=24)
    parser.add_argument("--speeds", type=float, nargs="+", default=[100.0, 800.0, 6400.0])
    options = parser.parse_args()
    names = [name for name in profile.shipped() if _law(name) is not None]
    rows = [measure(name, iso, options.darks, (768, 512)) for name in names for iso in options.speeds]
    targets = []
    for key, label in (("K", "gain"), ("read", "read noise"), ("rows", "row noise")):
        worst = max(abs(row[f"{key} found"] / row[key] - 1) for row in rows)
        targets.append(at_most(f"{label}: worst relative error", worst, RELATIVE))
    targets.append(at_most("shape: worst error", max(abs(r["shape found"] - r["shape"]) for r in rows), SHAPE))
    counted = [(r, key) for r in rows for key in ("K", "rows", *(("read", "shape") if r["read"] >= COARSE else ()))]
    inside = [abs(r[f"{key} found"] - r[key]) <= r[f"{key} +-"] for r, key in counted]
    missed = 1 - sum(inside) / len(inside)
    targets.append(at_most("95 % intervals that miss, share of all", missed, 0.15))
    return publish(rows, targets, options.json, "Calibration on rendered flats and darks")


if __name__ == "__main__":
    sys.exit(main())
