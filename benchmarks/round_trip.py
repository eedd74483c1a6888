"""Photos to RAW and back: the inverse stages beside their forward ones, without the mosaic, in float32.

python benchmarks/round_trip.py --data DIR --json FILE

For each camera profile that comes with the program, each photo is taken back to linear camera RGB with a drawn
camera state (gains, matrix, tone curve, ...) and developed again. PSNR is over the pixels that the photo has not
saturated; the RAW must differ from the photo, or there was nothing to undo. Safe highlights, which lose what is
close to white, are measured apart: PSNR is over the pixels that they do not mark, whose share is counted. The photos:
those that come with the program, and pictures below DIR other than label maps (``annot`` or ``mask`` in their path).
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from report import arguments, at_least, at_most, publish

from isp_sim import recipe as recipes
from isp_sim.cameras import profile as cameras
from isp_sim.formats.images import Images
from isp_sim.formats.reader import InputFault, Item, Reader
from isp_sim.formats.samples import Samples
from isp_sim.pipeline import Pipeline

PSNR, APART = 120.0, 0.2
PLAIN, SAFE = "plain", "safe"


def pipelines() -> dict[tuple[str, str], Pipeline]:
    """There and back for each camera profile that comes with the program and says something of colour, by its name and
    how highlights are undone: plainly, and for the paper's own profile safely too."""
    found = {}
    coloured = [name for name in cameras.shipped() if cameras.load(name).state is not None]
    for name, highlights in [*((name, PLAIN) for name in coloured), ("brooks2019", SAFE)]:
        develop = cameras.load(name).develop
        chain = "".join(f"  - {stage}\n" for stage in develop)
        first = f"unprocess: {{profile: {name}, develop: [{', '.join(develop)}], highlights: {highlights}}}"
        found[name, highlights] = recipes.parse(f"version: 1\nstages:\n  - {first}\n{chain}").pipeline
    return found


def measure(reader: Reader, item: Item, which: tuple[str, str], pipeline: Pipeline, draws: int) -> dict[str, Any]:
    """The worst of several draws for one photo."""
    photo = reader.read(item).frame
    profile, highlights = which
    worst: dict[str, Any] = {"photo": item.key, "profile": profile, "highlights": highlights, "psnr": float("inf")}
    marked = []
    apart = float("inf")
    for view in range(draws):
        trace = {}
        after = pipeline.run(photo, view, lambda step, frame: trace.update({step.id: frame})).frame  # noqa: B023 - called at once
        raw = trace["unprocess"]
        saturated = raw.maps["saturated"]
        lost = raw.maps.get("lost", torch.zeros_like(saturated))
        marked.append(float(lost.double().mean()))
        kept = ~(saturated | lost).expand_as(photo.pixels)
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
    return worst | {"raw apart from photo": apart, "marked as lost": max(marked)}


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
    for which, pipeline in pipelines().items():
        for reader, item in work:
            try:
                rows.append(measure(reader, item, which, pipeline, options.draws))
            except InputFault as error:
                rows.append({"photo": item.key, "profile": which[0], "highlights": which[1], "note": str(error)})
    measured = [row for row in rows if row.get("psnr") is not None]
    own = {item.key for _, item in work[: len(samples.items())]}
    targets = []
    for profile, highlights in pipelines():
        chosen = [row for row in measured if (row["profile"], row["highlights"]) == (profile, highlights)]
        label = profile if highlights == PLAIN else f"{profile}, safe highlights, unmarked pixels"
        for where, some in (("sample photos", [row for row in chosen if row["photo"] in own]), ("all photos", chosen)):
            targets.append(at_least(f"{label}: {where}: worst PSNR [dB]", min(row["psnr"] for row in some), PSNR))
        least = min(row["raw apart from photo"] for row in chosen)
        targets.append(at_least(f"{label}: RAW apart from the photo, mean difference / mean", least, APART))
        largest = max(row["marked as lost"] for row in chosen)
        if highlights == PLAIN:
            targets.append(at_most(f"{label}: largest share of pixels marked as lost", largest, 0.0))
    return publish(rows, targets, options.json, "Photo to RAW and back, worst of the draws")


if __name__ == "__main__":
    sys.exit(main())
