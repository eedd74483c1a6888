"""Colours of a chart, developed from a RAW file by the camera's own matrices, beside LibRaw's and beside the truth.

python benchmarks/chart.py --data DIR --json FILE

The chart is a ColorChecker of 24 patches in ``raw/tinydng_colorchart.dng`` below DIR. Both developments are linear:
black level, white balance, bilinear demosaicing, matrix to linear sRGB. White is that of the file as shot, or the mean
of the chart's patch "neutral 6.5", for both alike. A patch is the mean over 45x45 pixels in its middle. Of each
development, what cast is left is adapted away by Bradford's method, so that "neutral 6.5" has the chromaticity that it
is published with, under D50; and all patches are scaled by one factor, so that the four greys have the published
luminance in the mean. Values below 0 and above 1 stay, but for LibRaw, which clips them. Differences from the published
colours are by CIEDE2000.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import colour
import numpy as np
import rawpy
import torch
from numpy.typing import NDArray
from report import arguments, at_most, publish

from isp_sim import recipe as recipes
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import Item
from isp_sim.frame import Frame

Array = NDArray[np.float64]

FILE: Final = "raw/tinydng_colorchart.dng"
CHART: Final = "ColorChecker24 - Before November 2014"
"""The published colours; the camera is of 2010."""
PATCHES: Final = (
    ((715, 624), (821, 622), (929, 621), (1036, 618), (1143, 615), (1251, 613)),
    ((711, 726), (819, 722), (926, 720), (1036, 717), (1144, 716), (1253, 713)),
    ((707, 827), (817, 824), (926, 822), (1036, 819), (1146, 818), (1257, 815)),
    ((703, 930), (813, 928), (925, 926), (1035, 924), (1147, 922), (1258, 921)),
)
"""Column and row of the middle of each patch [px]."""
REACH: Final = 22
WHITE_PATCH: Final = 20
GREYS: Final = (19, 20, 21, 22)

CHAIN: Final = """version: 1
input: {{reader: raw}}
stages:
  - normalise
  - white_balance
  - demosaic: {{method: bilinear}}
  - {matrix}
"""
OURS: Final = {
    "camera_matrix": "the DNG's matrices, adapted to the light",
    "colour_matrix": "LibRaw's matrix, as develop_raw.yaml has it",
}


def patches(picture: Array) -> Array:
    """Means of the patches of a picture (H, W, n), (24, n)."""
    middles = [middle for row in PATCHES for middle in row]
    return np.stack(
        [picture[y - REACH : y + REACH + 1, x - REACH : x + REACH + 1].mean(axis=(0, 1)) for x, y in middles]
    )


def camera_white(path: Path) -> Array:
    """Gains that make the white patch grey, from the samples of each colour in it."""
    with rawpy.imread(str(path)) as raw:
        x, y = [middle for row in PATCHES for middle in row][WHITE_PATCH]
        window = (slice(y - REACH, y + REACH + 1), slice(x - REACH, x + REACH + 1))
        colours, samples = raw.raw_colors_visible[window], raw.raw_image_visible[window].astype(np.float64)
        black = raw.black_level_per_channel[0]
        means = [samples[np.isin(colours, sites)].mean() - black for sites in ((0,), (1, 3), (2,))]
    return np.asarray(max(means) / np.asarray(means))


def developed(path: Path, matrix: str, gains: Array | None) -> Array:
    """(H, W, 3), linear sRGB."""
    recipe = recipes.parse(CHAIN.format(matrix=matrix))
    frame: Frame = Raw(Raw.Params()).read(Item(path.name, str(path))).frame
    if gains is not None:
        facts = {"wb_gains": torch.from_numpy(gains).reshape(1, 3, 1, 1).to(frame.pixels)}
        frame = replace(frame, capture=frame.capture.with_facts(facts))
    return np.asarray(recipe.pipeline.run(frame).frame.pixels[0].permute(1, 2, 0).double().numpy())


def libraw(path: Path, gains: Array | None) -> Array:
    white: dict[str, Any] = {"use_camera_wb": True}
    if gains is not None:
        white = {"user_wb": [*gains.tolist(), float(gains[1])]}
    with rawpy.imread(str(path)) as raw:
        picture = raw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            user_flip=0,
            gamma=(1, 1),
            output_color=rawpy.ColorSpace.sRGB,
            output_bps=16,
            **white,
        )
    return np.asarray(picture / 65535)


def published() -> Array:
    """CIE XYZ of the patches under D50, (24, 3)."""
    chart = colour.CCS_COLOURCHECKERS[CHART]
    return np.asarray(colour.xyY_to_XYZ(list(chart.data.values())), dtype=np.float64)


def distances(rgb: Array) -> Array:
    """CIEDE2000 of patches in linear sRGB from the published colours, (24,)."""
    whites = colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]
    xyz = colour.RGB_to_XYZ(rgb, "sRGB", whites["D50"], chromatic_adaptation_transform="Bradford")
    truth = published()
    cast, neutral = (value[WHITE_PATCH] / value[WHITE_PATCH, 1] for value in (xyz, truth))
    xyz = colour.adaptation.chromatic_adaptation_VonKries(xyz, cast, neutral, transform="Bradford")
    xyz = xyz * (truth[list(GREYS), 1].mean() / xyz[list(GREYS), 1].mean())
    lab, right = (colour.XYZ_to_Lab(value, whites["D50"]) for value in (xyz, truth))
    return np.asarray(colour.delta_E(right, lab, method="CIE 2000"))


def measure(path: Path) -> tuple[list[dict[str, Any]], dict[str, Mapping[str, float]]]:
    rows, means = [], {}
    for white, gains in (("as shot", None), ("grey patch", camera_white(path))):
        pictures = {f"isp_sim, {name}": developed(path, name, gains) for name in OURS}
        pictures["LibRaw"] = libraw(path, gains)
        means[white] = {}
        for name, picture in pictures.items():
            found = distances(patches(picture))
            means[white][name] = float(found.mean())
            rows.append(
                {
                    "white": white,
                    "development": name,
                    "mean": float(found.mean()),
                    "median": float(np.median(found)),
                    "largest": float(found.max()),
                    "18 colours": float(found[:18].mean()),
                    "6 greys": float(found[18:].mean()),
                }
            )
    return rows, means


def main() -> int:
    options = arguments(__doc__ or "").parse_args()
    path = next((found for found in (options.data / FILE, options.data / Path(FILE).name) if found.is_file()), None)
    if path is None:
        raise SystemExit(f"no {FILE} below {options.data}")
    rows, means = measure(path)
    targets = [
        at_most(
            f"white {white}: mean CIEDE2000 of isp_sim, camera_matrix, beside LibRaw",
            own["isp_sim, camera_matrix"],
            own["LibRaw"],
        )
        for white, own in means.items()
    ]
    return publish(rows, targets, options.json, "Colours of a chart, CIEDE2000")


if __name__ == "__main__":
    sys.exit(main())
