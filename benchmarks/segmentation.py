"""Segmentation of CamVid under low light: the default ISP's pictures, an auto-encoder's, the method's, and clean ones.

python benchmarks/segmentation.py --data DIR --json FILE --budget MINUTES

Trains every row of recipes/seg_camvid_small.yaml from scratch. The time of a step of each is measured first, and the
recipe's lengths are scaled to the budget alike, so that every head gets equal steps. Nothing is chosen by looking at
the test pictures.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from report import ROOT, Target, arguments, at_least, publish

from dirlearn import recipe as recipes
from dirlearn.cli import Progress
from dirlearn.datasets.dataset import build_dataset
from dirlearn.evaluate import scenes
from dirlearn.metrics.ssim import ssim
from dirlearn.recipe import Recipe
from dirlearn.run import Runner, method_head, method_job, stage1_job
from dirlearn.scores import scores_of
from dirlearn.settings import Pairs
from dirlearn.training.data import Stream
from dirlearn.training.job import Job
from dirlearn.training.samples import as_tensor

RECIPE = ROOT / "recipes" / "seg_camvid_small.yaml"
METHOD, DEFAULT, SUPERVISED, BOUND = "DiR", "default ISP", "auto-encoder", "clean"
PAPER = {"aAcc": 4.9, "mIoU": 5.5, "mAcc": 7.8}
"""Margins of the method over the default ISP with SegFormer on ADE20K, Table 4 of Guo, Luo and Wu 2024 [points]."""
WARM, TIMED = 2, 6
RESERVE = 0.9
"""Part of the budget that is planned for: samples, checkpoints and the report take some more."""


def seconds_a_step(stream: Stream, job: Job) -> float:
    """Of batch, views, forward and backward pass [s]."""
    stream.needs = job.needs
    job.train()
    for number in range(WARM + TIMED):
        if number == WARM:
            started = time.perf_counter()
        job(stream[number], 0).loss.backward()
        job.zero_grad()
    return (time.perf_counter() - started) / TIMED


def seconds_a_picture(recipe: Recipe, jobs: list[Job]) -> float:
    """Of measuring all rows on one test picture [s]."""
    dataset = build_dataset(next(iter(recipe.evaluation.sets.values())))
    scene = next(scenes(dataset, recipe.evaluation.crop, 1))
    clean = as_tensor(scene.pixels)[None]
    started = time.perf_counter()
    degraded = recipe.views.render(clean, [scene.key], [0], 0, 1)
    with torch.no_grad():
        for job in jobs:
            made = job.eval().pictures(degraded, clean)["restored"]
            ssim(made, clean)
            measured = scores_of(job, dataset, recipe.evaluation)
            if measured is not None:
                measured.update(made, scene)
    return time.perf_counter() - started


def cost(recipe: Recipe) -> tuple[float, float]:
    """Seconds that the recipe's own steps would take, and seconds of its evaluation."""
    data, first = Runner(recipe).train_data, stage1_job(recipe)
    stream = Stream(data, recipe.views, first.needs, recipe.seed, recipe.stage1.batch, recipe.data.patch)
    total, jobs = recipe.stage1.steps * seconds_a_step(stream, first), list[Job]()
    for method in recipe.methods:
        training = method.training
        if training is not None:
            stream.batch = training.batch
            job = method_job(recipe, method, first.representation, method_head(recipe, method, start=False))
            alone = training.alone if isinstance(training, Pairs) else 0
            total += (training.steps + alone) * seconds_a_step(stream, job)
            jobs.append(job)
    pictures = sum(len(build_dataset(node)) for node in recipe.evaluation.sets.values())
    pictures = min(pictures, recipe.evaluation.limit or pictures) * len(recipe.degradations)
    return total, pictures * seconds_a_picture(recipe, jobs)


def scaled(recipe: Recipe, by: float) -> dict[str, Any]:
    """The lengths of the recipe, each times a factor."""

    def steps(count: int) -> int:
        return max(round(by * count), 2)

    warm = {"exponential": {"from": 1e-3, "to": 1, "steps": steps(recipe.stage1.lambda_.steps)}}
    # averaged weights must have forgotten the first ones
    ema = max(1 - 10 / steps(recipe.stage1.steps), 0) if by < 1 else 0.999
    return {
        "stage1.steps": steps(recipe.stage1.steps),
        "stage2.steps": steps(max(m.training.steps for m in recipe.methods if m.training is not None)),
        "stage1.lambda": json.dumps(warm),
        "stage1.ema": min(ema, 0.999),
        "stage2.ema": min(ema, 0.999),
    }


def targets(rows: list[dict[str, Any]]) -> list[Target]:
    """The method beside the others, in points; the default ISP by the paper's margins."""
    found = {row["method"]: row for row in rows}

    def margin(over: str, name: str) -> float | None:
        pair = (found[METHOD][name], found[over][name])
        return None if None in pair else pair[0] - pair[1]

    made = [at_least(f"{METHOD} over {DEFAULT}: {name} [points]", margin(DEFAULT, name), PAPER[name]) for name in PAPER]
    made += [at_least(f"{METHOD} over {SUPERVISED}: {name} [points]", margin(SUPERVISED, name), 0) for name in PAPER]
    value = margin(BOUND, "mIoU")
    made.append(Target(f"{METHOD} over {BOUND}: mIoU [points]", value, "<= 0", value is not None and value <= 0))
    return made


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=120, help="minutes for everything; default 120")
    parser.add_argument("--work", type=Path, help="folder of the training; a temporary one, if not given")
    parser.add_argument("-s", "--set", action="append", default=[], help="a value in place of the recipe's")
    given = parser.parse_args()
    os.environ["DIRLEARN_DATA"] = str(given.data.resolve())
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        place = [f"run.path={json.dumps(str((given.work or Path(temporary)) / 'run'))}", *given.set]
        draft = recipes.read(RECIPE, place)
        training, evaluation = cost(draft)
        plan = scaled(draft, max(RESERVE * given.budget * 60 - evaluation, 0) / training)
        recipe = recipes.read(RECIPE, [*place, *(f"{key}={value}" for key, value in plan.items()), *given.set])
        print(json.dumps(plan, indent=1), flush=True)
        with closing(Progress()) as reporter:
            results = Runner(recipe, reporter).everything()
    lengths = {m.name: m.training.steps for m in recipe.methods if m.training is not None}
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
