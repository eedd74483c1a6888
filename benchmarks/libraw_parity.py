"""RAW files developed by recipes/develop_raw.yaml beside LibRaw's own linear development.

python benchmarks/libraw_parity.py --data DIR --json FILE

Every RAW file below DIR that holds a Bayer mosaic and an as-shot white balance is rendered as `isp-sim render` does
it and compared with rawpy, away from the border and from pixels that either has clipped. Differences are in 8-bit
code values.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import rawpy
from report import ROOT, arguments, at_most, publish

from isp_sim import recipe as recipes
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import InputFault, Item
from isp_sim.render import job
from isp_sim.signal import is_bayer

BORDER = 6
MEAN, TAIL = 0.1, 0.5


def libraw(path: Path) -> Any:
    with rawpy.imread(str(path)) as raw:
        return raw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            user_flip=0,
            gamma=(2.4, 12.92),
            output_color=rawpy.ColorSpace.sRGB,
            output_bps=16,
        )


def ours(path: Path) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        recipe = recipes.read(ROOT / "recipes" / "develop_raw.yaml").with_places(str(path), folder)
        summary = job.render(recipe)
        if summary.failed:
            raise InputFault(summary.failed[0]["reason"])
        return imagecodecs.png_decode((Path(folder) / f"{path.stem}.png").read_bytes())


def compare(path: Path) -> dict[str, Any]:
    """The row of one file; without figures, and with the reason, where there is nothing to compare."""
    row: dict[str, Any] = {"file": path.name}
    try:
        reading = Raw(Raw.Params()).read(Item(path.name, str(path)))
        signal = reading.frame.signal
        if unbalanced := [note for note in reading.notes if note.startswith("no as-shot white balance")]:
            return row | {"left out": unbalanced[0]}
        if signal.layout != "mosaic" or not is_bayer(str(signal.cfa)):
            return row | {"left out": f"no Bayer mosaic: {signal.layout} {signal.cfa or ''}".strip()}
        mine, theirs = ours(path), libraw(path)
    except InputFault as error:
        return row | {"left out": str(error)}
    row["cfa"] = signal.cfa
    if mine.shape != theirs.shape:
        return row | {"left out": f"sizes differ: {mine.shape} and LibRaw's {theirs.shape}"}
    inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    mine, theirs = mine[inside].astype(np.float64), theirs[inside].astype(np.float64)
    clipped = ((mine <= 0) | (mine >= 65535) | (theirs <= 0) | (theirs >= 65535)).any(axis=-1)
    difference = np.abs(mine - theirs)[~clipped] / 257
    if not difference.size:
        return row | {"left out": "every pixel is clipped"}
    return row | {
        "mean": float(difference.mean()),
        "p99.9": float(np.percentile(difference, 99.9)),
        "largest": float(difference.max()),
        "compared": float(1 - clipped.mean()),
    }


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    paths = sorted(p for p in options.data.rglob("*") if p.suffix.lower() in Raw.suffixes and p.is_file())
    rows = [compare(path) for path in paths]
    measured = [row for row in rows if "mean" in row]
    targets = []
    for row in measured:
        targets.append(at_most(f"{row['file']}: mean absolute difference / 255", row["mean"], MEAN))
        targets.append(at_most(f"{row['file']}: 99.9th percentile / 255", row["p99.9"], TAIL))
    if not measured:
        targets = [at_most("mean absolute difference / 255", None, MEAN)]
    return publish(rows, targets, options.json, "Development beside LibRaw (linear demosaicing), 8-bit code values")


if __name__ == "__main__":
    sys.exit(main())
