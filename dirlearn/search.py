"""Settings of an ISP sought without gradients: every trial is a line on disk, and a resumed search tells them again."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from dirlearn.developing import DevelopedTask
from dirlearn.metrics.metric import Metric, build_metric
from dirlearn.scores import USUAL
from dirlearn.settings import LOSS
from dirlearn.targets import TaskFault, batch_of, require
from dirlearn.training import checkpoint as checkpoints
from dirlearn.training.data import Batch, Stream, batches
from dirlearn.training.loop import FINAL, METRICS, Reporter, TrainingFault
from isp_sim.render.atomic import write_atomically

TRIALS: Final = "trials.jsonl"
TOLD: Final = 10
"""Trials after which the reporter is told how it goes."""


def search(
    job: DevelopedTask,
    stream: Stream,
    folder: Path,
    about: Mapping[str, Any],
    reporter: Reporter,
    device: torch.device,
    resume: bool = False,
) -> None:
    """Find the settings with the least loss, or the best score, of the job's frozen head, and leave them in the job.

    The folder gets ``trials.jsonl``, a line a trial; ``metrics.jsonl``, with the best so far; and ``final``. Stopped
    and resumed, a search takes the same trials: its sampler starts from the recipe's seed, and is told again what was
    found.

    Raises
    ------
    TrainingFault
        If the trials on disk are of another recipe.
    dirlearn.targets.TaskFault
        If optuna is not installed.
    """
    settings, head = job.training_settings.search, job.head
    assert settings is not None
    assert head is not None
    require("a search", ("optuna", "cmaes"))
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    job.to(device).eval()
    kinds = {"cmaes": optuna.samplers.CmaEsSampler, "tpe": optuna.samplers.TPESampler}
    # in memory: what is on disk is numbers alone
    study = optuna.create_study(sampler=kinds[settings.method](seed=stream.seed), direction="minimize")
    names = [f"{t.path}.{i}" if t.start.ndim else t.path for t in job.tuned for i in range(t.start.numel())]
    spaces: dict[str, Any] = {name: optuna.distributions.FloatDistribution(0, 1) for name in names}
    study.enqueue_trial({name: float(u) for name, u in zip(names, job.found.cpu(), strict=True)})
    stream.needs = job.needs
    place, fixed = folder / TRIALS, list[Batch]()
    known = _read(place, about) if resume else []
    write_atomically(place, "".join(json.dumps(line) + "\n" for line in [{"about": dict(about)}, *known]).encode())
    log, started = [], time.monotonic()
    with place.open("a") as file:
        for number in range(settings.trials):
            trial = study.ask(spaces)
            unit = [trial.params[name] for name in names]
            if number < len(known):
                if known[number]["unit"] != unit:
                    raise TrainingFault(
                        f"{place}: trial {number} is not the one that this version of optuna would take; start anew "
                        "without --resume"
                    )
                value = float(known[number]["objective"])
            else:
                fixed = fixed or _fixed(stream, settings.pictures, device)
                job.found.copy_(torch.tensor(unit))
                value = objective(job, fixed, settings.objective)
                said = {name: float(v) for name, v in job.said().items()}
                file.write(json.dumps({"trial": number, "unit": unit, "objective": value, "values": said}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            study.tell(trial, value if math.isfinite(value) else 1e9)
            job.found.copy_(torch.tensor(unit))
            numbers = {name: float(v) for name, v in job.said().items()}
            log.append({"step": number + 1, "objective": value, "best": study.best_value, **numbers})
            done = number + 1
            speed = (done - len(known)) / max(time.monotonic() - started, 1e-9)
            shown = {"objective": value, "best": study.best_value, "steps_per_second": max(speed, 0.0)}
            said_now = done % TOLD == 0 or done in (1, settings.trials)
            reporter.step(folder.name, done, settings.trials, shown if said_now else None)
    job.found.copy_(torch.tensor([study.best_params[name] for name in names]))
    write_atomically(folder / METRICS, "".join(json.dumps(line) + "\n" for line in log).encode())
    checkpoints.write_folder(folder / FINAL, job.state_dict(), {"about": dict(about), "step": settings.trials})


def objective(job: DevelopedTask, fixed: list[Batch], wanted: str) -> float:
    """What is minimised: the head's mean loss, or one less a figure of its usual metric."""
    head = job.head
    assert head is not None
    losses = []
    metric: Metric | None = None
    with torch.no_grad():
        for batch in fixed:
            picture = job.developed(batch)
            if wanted == LOSS:
                losses.append(float(job.task(picture, batch)))  # type: ignore[arg-type]  # it has a head
                continue
            if metric is None:
                metric = build_metric(USUAL[head.takes], head.takes, [str(i) for i in range(head.params.classes)])
            targets = batch_of(head.takes, batch.labels, batch.keys, head.params.classes)
            for found, target in zip(head.predict(picture), targets, strict=True):
                metric.update(found, target)
    if metric is None:
        return sum(losses) / len(losses)
    figures = metric.compute()
    if wanted not in figures:
        raise TaskFault(f"search: the metric of this task has no figure {wanted!r}; it has {', '.join(figures)}")
    return 1 - (figures[wanted] or 0.0)


def _fixed(stream: Stream, pictures: int, device: torch.device) -> list[Batch]:
    """The batches that every trial is measured on."""
    return list(batches(stream, range(-(-pictures // stream.batch)), 0, device))


def _read(place: Path, about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trials that are on disk, but for a line that was cut short."""
    if not place.exists():
        return []
    lines = []
    for text in place.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    if not lines:
        return []
    if lines[0].get("about") != json.loads(json.dumps(dict(about))):
        raise TrainingFault(
            f"{place} is of another recipe; take back what was changed, give another run.path, or start anew without "
            "--resume"
        )
    return lines[1:]
