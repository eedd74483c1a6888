"""The ablation of Table 5 on real photos, with degradations seen in training and others never seen.

python benchmarks/ablation.py --data DIR --json FILE --budget MINUTES

Trains every row of a recipe from scratch. The time of a step of each is measured first, and all the recipe's lengths
are scaled to the budget alike. A supervised row takes as many steps as both stages together. Nothing is chosen by
looking at the test pictures. Killed, the same command with the same --work goes on where it was, by the same plan.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from contextlib import closing
from itertools import pairwise
from typing import Any

from budget import options, planned, steps_of
from report import ROOT, Target, at_least, publish

from dirlearn.cli import Progress
from dirlearn.recipe import Recipe
from dirlearn.run import Runner

FULL, ALONE, UNPILOTED, SUPERVISED = "r0 + A + pilot", "r0", "r0 + A", "auto-encoder"
PAPER = {
    "Set14": {SUPERVISED: 2.5, ALONE: 1.7, UNPILOTED: 0.2, None: 24.1},
    "CBSD68": {SUPERVISED: 1.9, ALONE: 1.2, UNPILOTED: 0.4, None: 25.0},
}
"""Margins of the whole method over a row, and its PSNR, in Table 5 of Guo, Luo and Wu 2024 [dB]; BSD100 for CBSD68."""


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    """The paper's margins under the degradations of the training."""
    found = {(row["set"], row["method"]): row["psnr"] for row in rows if row["degradation"] == "seen"}
    made = []
    for name, margins in PAPER.items():
        whole = found.get((name, FULL))
        for other, margin in margins.items():
            base = 0.0 if other is None else found.get((name, other))
            value = None if whole is None or base is None else whole - base
            made.append(at_least(f"{name}: {FULL}" + (f" over {other}" if other else "") + " [dB]", value, margin))
    return made


def main() -> int:
    given = options(__doc__.splitlines()[0], 60, ROOT / "out" / "ablation")
    started = time.perf_counter()
    path = given.recipe or ROOT / "recipes" / "ablation_table5_small.yaml"
    recipe, _ = planned(path, given.set, given.budget, given.work)
    with closing(Progress()) as reporter:
        results = Runner(recipe, reporter, resume=True).everything()
    rows = results["rows"]
    if given.pictures:
        sample = f"{rows[0]['set']}-{rows[0]['degradation']}.png"
        shutil.copyfile(recipe.folder / "samples" / sample, given.pictures / "ablation.png")
        shutil.copyfile(recipe.folder / "embedding" / "tsne.png", given.pictures / "latents.png")
    for row in rows:
        row["seconds"] = seconds_of(recipe, row["method"])
        row |= {
            "steps": all_steps_of(recipe, row["method"]),
            "parameters": results["parameters"][row["method"]]["used"],
        }
    minutes = (time.perf_counter() - started) / 60
    print(f"{minutes:.1f} minutes in this call")
    code = publish(rows, targets(rows), given.json, "PSNR [dB] in RGB and SSIM, mean over pictures")
    if given.json:
        given.json.write_text(
            json.dumps(json.loads(given.json.read_text()) | {"probes": results["probes"]}, indent=1) + "\n"
        )
    return code


def seconds_of(recipe: Recipe, name: str) -> float:
    """How long the training of a row took, without Stage I [s]."""
    method = next(m for m in recipe.methods if m.name == name)
    if method.training is None:
        return 0.0
    lines = (recipe.folder / "methods" / method.folder / "metrics.jsonl").read_text().splitlines()
    rates = {line["step"]: line["steps_per_second"] for line in map(json.loads, lines) if "steps_per_second" in line}
    return sum((step - before) / rates[step] for before, step in pairwise([0, *rates]))


def all_steps_of(recipe: Recipe, name: str) -> int:
    """Optimiser steps that a row took in all, those of Stage I included."""
    method = next(m for m in recipe.methods if m.name == name)
    return steps_of(method) + (recipe.stage1.steps if method.needs_representation else 0)


if __name__ == "__main__":
    sys.exit(main())
