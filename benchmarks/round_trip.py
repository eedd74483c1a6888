"""Photos to RAW and back: the inverse stages beside their forward ones, without the mosaic, in float32.

python benchmarks/round_trip.py --data DIR --json FILE

Each photo is taken back to linear camera RGB with a drawn camera state (gains, matrix, tone curve) and developed
again. PSNR is over the pixels that the photo has not saturated; the RAW must differ from the photo, or there was
nothing to undo. The photos: those that come with the program, and pictures below DIR
other than label maps (``annot`` or ``mask`` in their path).
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from report import arguments, at_least, publish

from isp_sim import recipe as recipes
from isp_sim.cameras.profile import load, shipped
from isp_sim.formats.images import Images
from isp_sim.formats.reader import InputFault, Item, Reader
from isp_sim.formats.samples import Samples
from isp_sim.pipeline import Pipeline

PSNR, APART = 120.0, 0.2
DEVELOP = ("white_balance", "colour_matrix", "tone_curve", "srgb_oetf")


def pipelines() -> dict[str, Pipeline]:
    """There and back for each camera profile that comes with the program."""
    chain = "".join(f"  - {name}\n" for name in DEVELOP)
    text = "version: 1\nstages:\n  - unprocess: {{profile: {profile}, develop: [{develop}]}}\n" + chain
    names = [name for name in shipped() if load(name).state is not None]
    return {name: recipes.parse(text.format(profile=name, develop=", ".join(DEVELOP))).pipeline for name in names}


def measure(reader: Reader, item: Item, profile: str, pipeline: Pipeline, draws: int) -> dict[str, Any]:
    """The worst of several draws for one photo."""
    photo = reader.read(item).frame
    worst: dict[str, Any] = {"photo": item.key, "profile": profile, "psnr": float("inf")}
    apart = float("inf")
    for view in range(draws):
        trace = {}
        after = pipeline.run(photo, view, lambda step, frame: trace.update({step.id: frame})).frame  # noqa: B023 - called at once
        raw = trace["unprocess"]
        kept = ~raw.maps["saturated"].expand_as(photo.pixels)
        if not bool(kept.any()):
            return worst | {"psnr": None, "note": "every pixel is saturated"}
        error = (after.pixels.double() - photo.pixels.double())[kept]
        psnr = float(-10 * torch.log10(error.square().mean().clamp_min(1e-30)))
        distance = (raw.pixels.double() - photo.pixels.double())[kept].abs().mean()
        apart = min(apart, float(distance / photo.pixels.double()[kept].mean().clamp_min(1e-9)))
        if psnr < worst["psnr"]:
            beyond = ((raw.pixels < 0) | (raw.pixels > 1)).any(dim=1)
            worst |= {
                "psnr": psnr,
                "largest error": float(error.abs().max()),
                "saturated": float(raw.maps["saturated"].double().mean()),
                "raw outside [0, 1]": float(beyond.double().mean()),
            }
    return worst | {"raw apart from photo": apart}


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--draws", type=int, default=4, help="camera states for each photo")
    parser.add_argument("--most", type=int, default=60, help="pictures below DIR at the most, evenly spread")
    options = parser.parse_args()
    samples, images = Samples(Samples.Params()), Images(Images.Params(path=str(options.data)))
    work: list[tuple[Reader, Item]] = [(samples, item) for item in samples.items()]
    try:
        found = [item for item in images.items() if not any(word in item.key for word in ("annot", "mask"))]
        step = max(1, -(-len(found) // options.most))
        work += [(images, item) for item in found[::step]]
    except InputFault as error:
        print(f"no pictures of DIR: {error}")
    rows = []
    for profile, pipeline in pipelines().items():
        for reader, item in work:
            try:
                rows.append(measure(reader, item, profile, pipeline, options.draws))
            except InputFault as error:
                rows.append({"photo": item.key, "profile": profile, "note": str(error)})
    measured = [row for row in rows if row.get("psnr") is not None]
    own = {item.key for _, item in work[: len(samples.items())]}
    targets = []
    for label, chosen in (
        ("sample photos", [row for row in measured if row["photo"] in own]),
        ("all photos", measured),
    ):
        targets.append(at_least(f"{label}: worst PSNR [dB]", min(row["psnr"] for row in chosen), PSNR))
        least = min(row["raw apart from photo"] for row in chosen)
        targets.append(at_least(f"{label}: RAW apart from the photo, mean difference / mean", least, APART))
    return publish(rows, targets, options.json, "Photo to RAW and back, worst of the draws")


if __name__ == "__main__":
    sys.exit(main())
