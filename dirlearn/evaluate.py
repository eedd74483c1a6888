"""The pictures of every method of a run, measured, and what its head finds, on test sets degraded the same for all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dirlearn.datasets.dataset import Dataset, Scene, build_dataset
from dirlearn.datasets.geometry import window
from dirlearn.developing import DevelopedTask
from dirlearn.metrics.picture_metric import KNOWN, about, build_pictures
from dirlearn.recipe import Recipe
from dirlearn.run import load_method
from dirlearn.scores import scores_of
from dirlearn.tiles import tiled
from dirlearn.training.loop import Reporter, Silent
from dirlearn.training.samples import VIEW, as_tensor, save_grid
from dirlearn.views import Views
from isp_sim.render.atomic import write_atomically

RESULTS = "results.json"
REAL = "real"
"""The degradation of pictures that a camera degraded."""


def scenes(dataset: Dataset, crop: int | None, limit: int | None) -> Iterator[Scene]:
    """A test set, cut with its labels to even sides, so that no degradation has to cut."""
    for index in range(min(len(dataset), limit or len(dataset))):
        scene = dataset.read(index)
        height, width = scene.pixels.shape[:2]
        if crop is not None:
            side = min(crop, height, width) // 2 * 2
            yield window(scene, (height - side) // 2, (width - side) // 2, side, side)
        else:
            yield window(scene, 0, 0, height // 2 * 2, width // 2 * 2)


def degraded_of(scene: Scene, views: Views | None, seed: int) -> Tensor:
    """The picture (1, 3, H, W) that a scene is measured on: a rendering that no training saw, or the camera's."""
    if views is None:
        assert scene.degraded is not None
        return as_tensor(scene.degraded)[None]
    return views.render(as_tensor(scene.pixels)[None], [scene.key], [VIEW + seed], 0, 1)


def pictures(dataset: Dataset, crop: int | None, limit: int | None) -> Iterator[tuple[str, Tensor]]:
    """Key and picture (1, 3, H, W) of each of `scenes`."""
    for scene in scenes(dataset, crop, limit):
        yield scene.key, as_tensor(scene.pixels)[None]


def evaluate_run(
    recipe: Recipe,
    reporter: Reporter | None = None,
    sets: Mapping[str, Dataset] | None = None,
    degradations: Mapping[str, Views] | None = None,
    name: str = RESULTS,
) -> dict[str, Any]:
    """Measure every method of a run, write the results as JSON into its folder, and return them.

    Each picture is measured by itself, then the mean is taken. The degraded pictures are a function of the recipe's
    evaluation seed: every method sees the same.
    """
    reporter = reporter or Silent()
    settings = recipe.evaluation
    sets = (
        sets
        or {n: build_dataset(node) for n, node in settings.sets.items()}
        or {"validation": build_dataset(recipe.data.validation)}
    )
    degradations = degradations or recipe.degradations
    device = torch.device("cuda" if torch.cuda.is_available() and recipe.run.device != "cpu" else "cpu")
    jobs = {method.name: load_method(recipe, method.name) for method in recipe.methods}
    for job in jobs.values():
        if job is not None:
            job.to(device)
    measures = build_pictures(settings.pictures)
    rows: list[dict[str, Any]] = []
    for set_name, dataset in sets.items():
        for kind, views in ({REAL: None} if dataset.paired else degradations).items():
            values: dict[str, list[list[float]]] = {name: [] for name in jobs}
            scores = {name: scores_of(job, dataset, settings) for name, job in jobs.items()}
            for number, scene in enumerate(scenes(dataset, settings.crop, settings.limit)):
                clean = as_tensor(scene.pixels)[None]
                degraded = degraded_of(scene, views, settings.seed)
                shown = [degraded]
                for method, job in jobs.items():
                    if views is None and isinstance(job, DevelopedTask):
                        continue  # there is no RAW that it could develop
                    own = views if views is None or job is None else job.views(views)
                    seen = degraded if own is views else degraded_of(scene, own, settings.seed)
                    seen = clean if job is not None and job.sees == "clean" else seen
                    restored = restored_by(job, seen, device)
                    if count_parameters(job)["used"]:
                        shown.append(restored)
                    values[method].append([measure(restored, clean) for measure in measures.values()])
                    if (score := scores[method]) is not None:
                        score.update(restored.to(device), scene)
                if number == 0:
                    place = recipe.folder / "samples"
                    place.mkdir(parents=True, exist_ok=True)
                    save_grid([_shown(torch.cat([*shown, clean]))], place / f"{set_name}-{kind}.png".replace("/", "_"))
                reporter.step(
                    f"{set_name}, {kind}", number + 1, min(len(dataset), settings.limit or len(dataset)), None
                )
            for method, found in values.items():
                if not found:
                    continue
                means = torch.tensor(found, dtype=torch.float64).mean(dim=0).tolist()
                named = zip(measures.items(), means, strict=True)
                rows.append(
                    {
                        "set": set_name,
                        "degradation": kind,
                        "method": method,
                        **{name: round(mean, max(measure.digits + 1, 4)) for (name, measure), mean in named},
                        "pictures": len(found),
                    }
                    | (score.row() if (score := scores[method]) is not None else {})
                )
    results = {"rows": rows, "parameters": {n: count_parameters(job) for n, job in jobs.items()}}
    if not measures.keys() <= KNOWN.keys():
        results["measures"] = {name: about(measure) for name, measure in measures.items()}
    return add_results(recipe.folder, results, name)


def _shown(x: Tensor, side: int = 320) -> Tensor:
    """The middle of pictures, so that the report stays small."""
    top, left = (max(n - side, 0) // 2 for n in x.shape[-2:])
    return x[..., top : top + side, left : left + side]


def count_parameters(job: torch.nn.Module | None) -> dict[str, int]:
    """Numbers that were trained by the method, and numbers that it uses, frozen ones included."""
    if job is None:
        return {"trained": 0, "used": 0}
    trained = sum(p.numel() for p in job.parameters())
    frozen = sum(p.numel() for m in job.__dict__["frozen"].values() for p in m.parameters())
    return {"trained": trained, "used": trained + frozen}


def restored_by(job: Any, degraded: Tensor, device: torch.device) -> Tensor:
    """What a method makes of pictures of any size, in [0, 1] and on the CPU; without a job, the pictures themselves."""
    if job is None:
        return degraded
    with torch.no_grad():
        return tiled(lambda x: job.pictures(x, x)["restored"], degraded.to(device)).cpu().clamp(0, 1)


def add_results(folder: Path, found: Mapping[str, Any], name: str = RESULTS) -> dict[str, Any]:
    """Put measures beside those that the results hold already, or in their place."""
    before = read_results(folder, name) if (folder / name).exists() else {}
    results = {**before, **found}
    write_atomically(folder / name, (json.dumps(results, indent=1) + "\n").encode())
    return results


def read_results(folder: Path, name: str = RESULTS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found
