"""Trainings of a recipe in as many steps as a budget of time allows, all its lengths scaled alike."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from report import arguments

from dirlearn import recipe as recipes
from dirlearn.datasets.dataset import Dataset, build_dataset
from dirlearn.recipe import Method, Recipe
from dirlearn.run import method_head, method_job, stage1_job
from dirlearn.settings import Pairs
from dirlearn.training.data import Stream, batches
from dirlearn.training.job import Job

WARM = 16
"""Steps before the clock starts."""
RESERVE = 0.9
"""Part of the budget that training gets; the rest is evaluation."""


def options(description: str, minutes: float, work: Path) -> argparse.Namespace:
    """What such a benchmark is told; data sets are then looked for below --data."""
    parser = arguments(description)
    parser.add_argument("--budget", type=float, default=minutes, help=f"minutes for everything; default {minutes:g}")
    parser.add_argument("--work", type=Path, default=work, help="folder of the training")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the documentation")
    parser.add_argument("--recipe", type=Path, help="in place of the usual one")
    parser.add_argument(
        "-s", "--set", action="append", default=[], help="a value in place of the recipe's or the plan's"
    )
    given = parser.parse_args()
    os.environ["DIRLEARN_DATA"] = str(given.data.resolve())
    return given


def planned(path: Path, overrides: list[str], minutes: float, work: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe in as many steps as the budget allows; written down, so that a run that was killed keeps to it."""
    note, place = work / "plan.json", f"run.path={json.dumps(str(work / 'run'))}"
    if not note.exists():
        draft = recipes.read(path, [*overrides, place])
        seconds = timed(draft)
        work.mkdir(parents=True, exist_ok=True)
        temporary = note.with_suffix(".tmp")
        found = {"set": scaled(draft, part(draft, seconds, minutes * 60)), "seconds a step": seconds}
        temporary.write_text(json.dumps(found, indent=1))
        temporary.replace(note)
    plan = json.loads(note.read_text())
    print(json.dumps(plan, indent=1), flush=True)
    return recipes.read(path, [*(f"{key}={value}" for key, value in plan["set"].items()), *overrides, place]), plan


def timed(recipe: Recipe) -> dict[str, float]:
    """Seconds a step of every training of a recipe."""
    dataset, first = build_dataset(recipe.data.train), stage1_job(recipe)
    found = {"stage1": _seconds_a_step(recipe, dataset, first, recipe.stage1.batch)} if _represented(recipe) else {}
    for method in recipe.methods:
        if method.training is not None:
            job = method_job(recipe, method, first.representation, method_head(recipe, method, start=False))
            found[method.name] = _seconds_a_step(recipe, dataset, job, method.training.batch)
    return found


def _seconds_a_step(recipe: Recipe, dataset: Dataset, job: Job, batch: int, steps: int = 48) -> float:
    """Of forward and backward pass and views, after a few steps to warm up [s]."""
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


def part(recipe: Recipe, seconds: Mapping[str, float], budget: float) -> float:
    """The part of the recipe's own steps that fits into a budget [s]."""
    steps = {method.name: steps_of(method) for method in recipe.methods} | {"stage1": recipe.stage1.steps}
    return RESERVE * budget / sum(cost * steps[name] for name, cost in seconds.items())


def steps_of(method: Method) -> int:
    """Optimiser steps of a row, without Stage I."""
    training = method.training
    return 0 if training is None else training.steps + (training.alone if isinstance(training, Pairs) else 0)


def scaled(recipe: Recipe, by: float) -> dict[str, Any]:
    """Every length of the recipe, scaled."""
    second = max(
        m.training.steps for m in recipe.methods if m.training is not None and m.kind not in ("restorer", "autoencoder")
    )
    first, second = (max(round(by * steps), 10) for steps in (recipe.stage1.steps, second))
    law = dict(recipe.stage1.lambda_.to_recipe()) if recipe.stage1.lambda_.law != "constant" else {}
    warm = {kind: {**given, "steps": max(round(by * given["steps"]), 1)} for kind, given in law.items()}
    found = {"stage1.steps": first, "stage2.steps": second}
    found |= {"stage1.lambda": json.dumps(warm)} if warm else {}
    # averaged weights must have forgotten the first ones
    found |= {f"stage{n}.ema": min(0.999, 1 - 10 / steps) for n, steps in ((1, first), (2, second))}
    return found | {"run.checkpoint_every": max(second // 8, 1), "run.validate_every": max(second // 8, 1)}


def _represented(recipe: Recipe) -> bool:
    return any(method.needs_representation for method in recipe.methods)
