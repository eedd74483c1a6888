"""Segmentation of CamVid under low light: pictures of three ISPs, an auto-encoder's, the method's, and clean ones.

python benchmarks/segmentation.py --data DIR --json FILE --budget MINUTES

Trains every row of recipes/seg_camvid_small.yaml from scratch. The time of a step of each is measured first, and the
recipe's lengths are scaled to the budget alike, so that every head gets equal steps. Nothing is chosen by looking at
the test pictures. Killed, the same command with the same --work goes on where it was, by the same plan.
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import closing
from typing import Any

import torch
from budget import options, planned
from report import ROOT, Target, at_least, publish

from dirlearn.cli import Progress
from dirlearn.run import Runner

METHOD, DEFAULT, BOUND = "DiR", "default ISP", "clean"
RIVALS = ("expert ISP", "tuned ISP", "auto-encoder")
PAPER = {"aAcc": 4.9, "mIoU": 5.5, "mAcc": 7.8}
"""Margins of the method over the default ISP with SegFormer on ADE20K, Table 4 of Guo, Luo and Wu 2024 [points]."""


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    """The method beside the others, in points; the default ISP by the paper's margins."""
    found = {row["method"]: row for row in rows}

    def margin(over: str, name: str) -> float | None:
        pair = (found[METHOD][name], found[over][name])
        return None if None in pair else pair[0] - pair[1]

    made = [at_least(f"{METHOD} over {DEFAULT}: {name} [points]", margin(DEFAULT, name), PAPER[name]) for name in PAPER]
    made += [
        at_least(f"{METHOD} over {over}: {name} [points]", margin(over, name), 0) for over in RIVALS for name in PAPER
    ]
    value = margin(BOUND, "mIoU")
    made.append(Target(f"{METHOD} over {BOUND}: mIoU [points]", value, "<= 0", value is not None and value <= 0))
    return made


def main() -> int:
    given = options(__doc__.splitlines()[0], 120, ROOT / "out" / "segmentation")
    started = time.perf_counter()
    path = given.recipe or ROOT / "recipes" / "seg_camvid_small.yaml"
    recipe, _ = planned(path, given.set, given.budget, given.work)
    with closing(Progress()) as reporter:
        results = Runner(recipe, reporter, resume=True).everything()
    lengths = {m.name: m.training.steps for m in recipe.methods if m.training is not None}
    if given.pictures:
        shutil.copyfile(recipe.folder / "samples" / "CamVid-seen.png", given.pictures / "segmentation.png")
    rows = [
        {
            "method": row["method"],
            **{name: None if v is None else 100 * v for name, v in row["scores"].items()},
            "PSNR [dB]": row["psnr"],
            "SSIM": row["ssim"],
            "steps of the head": lengths[row["method"]],
            "trained": results["parameters"][row["method"]]["trained"],
            "pictures": row["pictures"],
        }
        for row in results["rows"]
    ]
    minutes = (time.perf_counter() - started) / 60
    title = f"CamVid at half size under low light, {minutes:.0f} minutes on {torch.get_num_threads()} threads"
    return publish(rows, targets(rows), given.json, title)


if __name__ == "__main__":
    sys.exit(main())
