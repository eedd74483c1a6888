"""The ablation of Table 5 on real photos, with degradations seen in training and others never seen.

python benchmarks/ablation.py --data DIR --json FILE --budget MINUTES

Trains every row of a recipe from scratch. The time of a step of each is measured first, and all the recipe's lengths
are scaled to the budget alike. A supervised row takes as many steps as both stages together. Nothing is chosen by
looking at the test pictures. Killed, the same command with the same --work goes on where it was, by the same plan.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from report import ROOT, Target, arguments, at_least, publish

from dirlearn import recipe as recipes
from dirlearn.cli import Progress
from dirlearn.datasets.dataset import build_dataset
from dirlearn.recipe import Recipe
from dirlearn.run import Runner, method_job, stage1_job
from dirlearn.training.data import Stream, batches
from dirlearn.training.job import Job

FULL, ALONE, UNPILOTED, SUPERVISED = "r0 + A + pilot", "r0", "r0 + A", "auto-encoder"
PAPER = {
    "Set14": {SUPERVISED: 2.5, ALONE: 1.7, UNPILOTED: 0.2, None: 24.1},
    "CBSD68": {SUPERVISED: 1.9, ALONE: 1.2, UNPILOTED: 0.4, None: 25.0},
}
"""Margins of the whole method over a row, and its PSNR, in Table 5 of Guo, Luo and Wu 2024 [dB]; BSD100 for CBSD68."""
WARM = 16
"""Steps before the clock starts."""
RESERVE = 0.9
"""Part of the budget that training gets; the rest is evaluation."""


def seconds_a_step(recipe: Recipe, job: Job, batch: int, steps: int = 48) -> float:
    """Of forward and backward pass and views, after a few steps to warm up [s]."""
    dataset = build_dataset(recipe.data.train)
    stream = Stream(dataset, recipe.views, job.needs, recipe.seed, batch, recipe.data.patch, recipe.data.flips)
    device = torch.device("cuda" if torch.cuda.is_available() and recipe.run.device != "cpu" else "cpu")
    job.to(device).train()
    source = batches(stream, range(WARM + steps), recipe.run.workers, device)
    for _ in range(WARM):
        job(next(source), 0).loss.backward()
    started = time.perf_counter()
    for batch_ in source:
        job(batch_, 0).loss.backward()
        job.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def timed(recipe: Recipe) -> dict[str, float]:
    """Seconds a step of every training of a recipe."""
    first = stage1_job(recipe)
    found = {"stage1": seconds_a_step(recipe, first, recipe.stage1.batch)}
    for method in recipe.methods:
        if method.training is not None:
            job = method_job(recipe, method, first.representation)
            found[method.name] = seconds_a_step(recipe, job, method.training.batch)
    return found


def part(recipe: Recipe, seconds: Mapping[str, float], budget: float) -> float:
    """The part of the recipe's own steps that fits into a budget [s]."""
    steps = {method.name: method.training.steps for method in recipe.methods if method.training is not None}
    steps["stage1"] = recipe.stage1.steps
    return RESERVE * budget / sum(cost * steps[name] for name, cost in seconds.items())


def planned(path: Path, overrides: list[str], budget: float, work: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe in as many steps as the budget allows; written down, so that a run that was killed keeps to it."""
    note = work / "plan.json"
    if not note.exists():
        draft = recipes.read(path, [*overrides, f"run.path={json.dumps(str(work / 'run'))}"])
        seconds = timed(draft)
        work.mkdir(parents=True, exist_ok=True)
        temporary = note.with_suffix(".tmp")
        found = {"set": scaled(draft, part(draft, seconds, budget)), "seconds a step": seconds}
        temporary.write_text(json.dumps(found, indent=1))
        temporary.replace(note)
    plan = json.loads(note.read_text())
    place = [f"run.path={json.dumps(str(work / 'run'))}"]
    return recipes.read(path, [*overrides, *(f"{key}={value}" for key, value in plan["set"].items()), *place]), plan


def scaled(recipe: Recipe, by: float) -> dict[str, Any]:
    """Every length of the recipe, scaled."""
    second = next(m.training.steps for m in recipe.methods if m.training is not None and m.needs_representation)
    first, second = (max(round(by * steps), 10) for steps in (recipe.stage1.steps, second))
    law = dict(recipe.stage1.lambda_.to_recipe()) if recipe.stage1.lambda_.law != "constant" else {}
    warm = {kind: {**given, "steps": max(round(by * given["steps"]), 1)} for kind, given in law.items()}
    found = {"stage1.steps": first, "stage2.steps": second}
    found |= {"stage1.lambda": json.dumps(warm)} if warm else {}
    return found | {"run.checkpoint_every": max(second // 8, 1), "run.validate_every": max(second // 8, 1)}


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
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=60, help="minutes for everything; default 60")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "ablation_table5_small.yaml")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "ablation", help="folder of the training")
    parser.add_argument("--pictures", type=Path, help="folder for ablation.png and latents.png")
    parser.add_argument("-s", "--set", action="append", default=[], help="a value in place of the recipe's")
    given = parser.parse_args()
    os.environ["DIRLEARN_DATA"] = str(given.data.resolve())
    started = time.perf_counter()
    recipe, plan = planned(given.recipe, given.set, given.budget * 60, given.work)
    print(json.dumps(plan, indent=1), flush=True)
    with closing(Progress()) as reporter:
        results = Runner(recipe, reporter, resume=True).everything()
    rows = results["rows"]
    if given.pictures:
        sample = f"{rows[0]['set']}-{rows[0]['degradation']}.png"
        shutil.copyfile(recipe.folder / "samples" / sample, given.pictures / "ablation.png")
        shutil.copyfile(recipe.folder / "embedding" / "tsne.png", given.pictures / "latents.png")
    for row in rows:
        row["seconds"] = seconds_of(recipe, row["method"])
        row |= {"steps": steps_of(recipe, row["method"]), "parameters": results["parameters"][row["method"]]["used"]}
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


def steps_of(recipe: Recipe, name: str) -> int:
    """Optimiser steps that a row took in all, those of Stage I included."""
    method = next(m for m in recipe.methods if m.name == name)
    if method.training is None:
        return 0
    return method.training.steps + (recipe.stage1.steps if method.needs_representation else 0)


if __name__ == "__main__":
    sys.exit(main())
