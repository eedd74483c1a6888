"""Real noise, restored by what learnt from simulated degradations alone, beside non-local means.

python benchmarks/real_noise.py --data DIR --json FILE --budget MINUTES [--pictures FOLDER]

Trains every row of recipes/restore_real_small.yaml, all lengths scaled to the budget alike, and measures them on the
real pairs of CC15 and PolyU as they are: no real picture is seen in training. One choice was made after looking at
real pictures: the ranges of smoothing in recipes/real_camera.yaml were widened, and training pictures enlarged.
Beside them scikit-image's non-local means, blind (noise level estimated on the picture, strength as its manual has it),
and with the best of five strengths for the whole set, which only somebody who has the references could choose; and
OpenCV's with its defaults, where that is installed. Killed, the same command with the same --work goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from budget import options, planned
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from report import ROOT, Target, at_least, publish
from skimage.restoration import denoise_nl_means, estimate_sigma
from torch import Tensor

from dirlearn.cli import Progress
from dirlearn.datasets.dataset import Dataset, Scene, build_dataset
from dirlearn.evaluate import REAL
from dirlearn.metrics.psnr import psnr
from dirlearn.metrics.ssim import ssim
from dirlearn.run import Runner, load_method, restore_pictures
from dirlearn.training.samples import as_tensor

METHOD, NOISY = "DiR", "noisy"
BLIND = "non-local means, blind"
BEST = "non-local means, best strength in hindsight"
OPENCV = "OpenCV's fastNlMeansDenoisingColored"
STRENGTHS = (0.6, 0.8, 1.0, 1.4, 2.0)
"""Of the standard deviation that is estimated; 0.8 is the blind one."""
Bytes = NDArray[np.uint8]


def non_local_means(picture: Bytes, strength: float) -> Bytes:
    sigma = float(np.mean(estimate_sigma(picture / 255, channel_axis=-1)))
    made = denoise_nl_means(
        picture / 255, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )
    return (made.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def classical() -> dict[str, Callable[[Bytes], Bytes]]:
    """Peers that learn nothing, by name."""
    found: dict[str, Callable[[Bytes], Bytes]] = {
        f"nlm {strength}": lambda x, s=strength: non_local_means(x, s)  # type: ignore[misc]  # bound now
        for strength in STRENGTHS
    }
    try:
        import cv2
    except ImportError:
        return found
    # the order of the channels matters to it: it takes luma from BGR
    return found | {
        OPENCV: lambda x: np.ascontiguousarray(
            cv2.fastNlMeansDenoisingColored(np.ascontiguousarray(x[..., ::-1]))[..., ::-1]
        )
    }


def measured(dataset: Dataset, methods: dict[str, Callable[[Bytes], Bytes]]) -> dict[str, tuple[float, float]]:
    """PSNR [dB] and SSIM of each method, means over pictures."""
    values: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for index in range(len(dataset)):
        scene = dataset.read(index)
        clean = as_tensor(scene.pixels)[None]
        for name, method in methods.items():
            made = as_tensor(method(degraded(scene)))[None]
            values[name].append((float(psnr(made, clean)), ssim(made, clean)))
    return {name: (float(m[0]), float(m[1])) for name, m in ((n, np.mean(v, axis=0)) for n, v in values.items())}


def degraded(scene: Scene) -> Bytes:
    assert scene.degraded is not None
    return scene.degraded


def rows_of(name: str, dataset: Dataset) -> list[dict[str, Any]]:
    """What classical methods reach on a set; of the strengths of non-local means, the blind one and the best."""
    found = measured(dataset, classical())
    best = max((n for n in found if n.startswith("nlm")), key=lambda n: found[n][0])
    named = {BLIND: found[f"nlm {0.8}"], BEST: found[best]}
    named |= {n: value for n, value in found.items() if not n.startswith("nlm")}
    return [
        {"set": name, "method": method, "PSNR [dB]": p, "SSIM": s, "pictures": len(dataset)}
        for method, (p, s) in named.items()
    ]


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    found = {(row["set"], row["method"]): row["PSNR [dB]"] for row in rows}
    sets = dict.fromkeys(row["set"] for row in rows)
    return [
        at_least(f"{name}: {METHOD} over {over} [dB]", found[name, METHOD] - found[name, over], 0)
        for name in sets
        for over in (NOISY, BLIND, BEST, OPENCV)
        if (name, over) in found
    ]


def show(folder: Path, recipe: Any, sets: dict[str, Dataset], side: int = 160) -> None:
    """A crop of one picture of each set, as every method has it, twice as large."""
    lines = []
    for dataset in sets.values():
        scene = dataset.read(len(dataset) // 3)
        y, x = ((n - side) // 2 for n in scene.pixels.shape[:2])
        crop = (slice(y, y + side), slice(x, x + side))
        shown = {"noisy": degraded(scene)[crop], BLIND: non_local_means(degraded(scene), 0.8)[crop]}
        for method in recipe.methods:
            if method.training is not None:
                made = restore_pictures(load_method(recipe, method.name), as_tensor(degraded(scene))[None])
                shown[method.name] = _codes(made)[crop]
        lines.append({**shown, "reference": scene.pixels[crop]})
    width, height = 2 * side * len(lines[0]), (2 * side + 18) * len(lines)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        for column, (name, picture) in enumerate(line.items()):
            place = (2 * side * column, (2 * side + 18) * row)
            draw.text((place[0] + 4, place[1] + 3), name, fill="black")
            tile = Image.fromarray(np.ascontiguousarray(picture)).resize((2 * side, 2 * side), Image.Resampling.NEAREST)
            sheet.paste(tile, (place[0], place[1] + 18))
    sheet.save(folder / "real_noise.png", optimize=True)


def _codes(picture: Tensor) -> Bytes:
    return torch.floor(picture[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).numpy()


def main() -> int:
    given = options(__doc__.splitlines()[0], 90, ROOT / "out" / "real_noise")
    path = given.recipe or ROOT / "recipes" / "restore_real_small.yaml"
    recipe, _ = planned(path, given.set, given.budget, given.work)
    with closing(Progress()) as reporter:
        results = Runner(recipe, reporter, resume=True).everything()
    sets = {name: build_dataset(node) for name, node in recipe.evaluation.sets.items()}
    sets = {name: dataset for name, dataset in sets.items() if dataset.paired}
    rows = [
        {"set": r["set"], "method": r["method"], "PSNR [dB]": r["psnr"], "SSIM": r["ssim"], "pictures": r["pictures"]}
        for r in results["rows"]
        if r["degradation"] == REAL
    ]
    rows += [row for name, dataset in sets.items() for row in rows_of(name, dataset)]
    rows.sort(key=lambda row: list(sets).index(row["set"]))
    if given.pictures:
        show(given.pictures, recipe, sets)
    return publish(rows, targets(rows), given.json, "real noise, PSNR and SSIM in RGB, means over pictures")


if __name__ == "__main__":
    sys.exit(main())
