"""Metric against severity: trained methods and heads over every degradation of the simulator [Hendrycks2019]."""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene, build_dataset, data_folder
from dirlearn.datasets.geometry import resampled
from dirlearn.evaluate import restored_by, scenes
from dirlearn.heads.head import Head, build_head
from dirlearn.metrics.psnr import psnr
from dirlearn.perception import Perception
from dirlearn.recipe import Recipe, explicit, read_part
from dirlearn.run import load_method
from dirlearn.scores import Scores, check_fit
from dirlearn.settings import Evaluation
from dirlearn.targets import Boxes, Masks, SemanticMap, Target, TaskFault
from dirlearn.training.checkpoint import versions
from dirlearn.training.job import Job
from dirlearn.training.loop import Reporter, Silent, TrainingFault
from dirlearn.training.samples import as_tensor
from isp_sim import frame as frames
from isp_sim import registry
from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import StageStep, Step
from isp_sim.render.atomic import write_atomically
from isp_sim.signal import Signal
from isp_sim.stage import SEVERITIES, Degradation
from isp_sim.surroundings import NoSurroundings, Surroundings, at_severity, sample_photo

DEGRADATIONS: Final = "isp_sim.degradations"
OWN: Final = "isp-sim"
FIGURES, RESULTS, PICTURE = "figures.jsonl", "robustness.json", "robustness.png"
PSNR: Final = "PSNR"
MAIN: Final[Mapping[type[Target], str]] = {SemanticMap: "mIoU", Boxes: "AP", Masks: "AP"}
"""The figure that is held against severity, for each kind of target."""
LARGEST: Final = 50.0
"""Of a PSNR that is drawn [dB]: above it pictures look equal, and those that are equal count as 100 dB."""
FORMAT: Final = 1


# -- what is measured ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A method of a run, or a head alone; None for pictures as they are.

    Attributes
    ----------
    digest
        Of its weights, and of what is not in them.
    """

    name: str
    job: Job | None
    digest: str

    @property
    def head(self) -> Head | None:
        return getattr(self.job, "head", None)


def models_of_run(recipe: Recipe, names: Sequence[str] = ()) -> list[Model]:
    """Trained methods of a run; all, if none is named.

    Raises
    ------
    dirlearn.training.loop.TrainingFault, dirlearn.training.checkpoint.CheckpointFault
        If there is no such method, or its weights are not there.
    """
    found = []
    for name in names or [method.name for method in recipe.methods]:
        job = load_method(recipe, name)
        (own,) = (m for m in recipe.methods if name in (m.name, m.folder))
        about = {key: recipe.resolved[key] for key in ("networks", "stage1")}
        about["method"] = recipe.resolved["methods"][own.name]
        found.append(Model(own.name, job, _digest(about, _weights(job))))
    return found


def models_of_heads(nodes: Sequence[Any]) -> list[Model]:
    """Heads with weights, each as the recipe of a run would name it.

    Raises
    ------
    dirlearn.targets.TaskFault
        If a head has no weights, or only some of them.
    """
    found = []
    for node in nodes:
        name, values = next(iter(explicit(node, "dirlearn.heads").items()))
        weights = values.pop("weights", None)
        if weights is None:
            raise TaskFault(f"head {name} would start at random: give `weights`, a folder or a name on the hub")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".* start at random")
            try:
                job = Perception(build_head(node), 1.0, "degraded").eval()
            except UserWarning as warning:
                raise TaskFault(f"head {name}: {warning}, so nothing it says can be measured") from None
        found.append(Model(f"{name} {Path(weights).name}", job, _digest({name: values}, _weights(job))))
    return found


def _weights(job: Job | None) -> str:
    """Hash of all tensors of a job, those of frozen parts included."""
    digest = hashlib.sha256()
    if job is not None:
        for module in (job, *job.__dict__["frozen"].values()):
            for name, tensor in module.state_dict().items():
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _digest(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def data_sets(recipe: Recipe | None, text: str | None = None) -> dict[str, Dataset]:
    """The data that are asked for: a folder of pictures, or a data set as a recipe writes it; if none, the run's own.

    Raises
    ------
    isp_sim.recipe.RecipeError, isp_sim.registry.UnknownPlugin, dirlearn.datasets.dataset.DatasetFault
        If there are none.
    """
    if text is None:
        if recipe is None:
            raise DatasetFault("a head alone brings no data: give a folder or a data set")
        sets = {name: build_dataset(node) for name, node in recipe.evaluation.sets.items()}
        return sets or {"validation": build_dataset(recipe.data.validation)}
    is_path = not text.lstrip().startswith(("{", "[")) and ": " not in text and "\n" not in text
    if is_path and data_folder(text).is_dir():
        return {Path(text).resolve().name: build_dataset({"images": {"path": text}})}
    if is_path and "/" in text:
        raise DatasetFault(f"no folder {data_folder(text)}")
    node = read_part(text, "dirlearn.datasets", "--data")
    first = node[0] if isinstance(node, list) else node
    return {first if isinstance(first, str) else next(iter(first)): build_dataset(node)}


# -- degradations ----------------------------------------------------------------------------------------------


class Unrenderable(Exception):
    """A degradation can't be run on some pictures."""


@dataclass(frozen=True)
class Chain:
    """A degradation at its severities, amid what leads from a picture to it and back; `origin` is its distribution."""

    name: str
    origin: str
    surroundings: Surroundings
    severities: tuple[StageStep, ...]

    def steps(self, severity: int) -> tuple[Step, ...]:
        """The whole chain; of severity 0, what surrounds the degradation alone."""
        return self.surroundings.around(self.severities[severity - 1] if severity else None)

    def render(self, scene: Scene, severity: int, seed: int) -> tuple[Tensor, Scene]:
        """The picture (1, 3, H, W) in [0, 1], and the scene with its labels where the degradation has moved them.

        Draws are a function of the seed and of the scene's key; they are the same at every severity.
        """
        clean = as_tensor(scene.pixels)[None]
        height, width = clean.shape[-2:]
        index = torch.arange(height * width).reshape(1, height, width)
        targets: dict[str, frames.Target] = {"index": frames.Masks(index, outside=-1)}
        if "boxes" in scene.labels:
            targets["boxes"] = frames.Boxes((torch.from_numpy(np.asarray(scene.labels["boxes"])),))
        photo = frames.Frame(clean, Signal(), keys=(scene.key,), targets=targets)
        step = self.severities[severity - 1] if severity else None
        with torch.no_grad():
            after = self.surroundings.render(photo, step, seed)
        if after.size != photo.size:
            raise ValueError(f"makes {after.size[0]}x{after.size[1]} pixels of {height}x{width}")
        moved, boxes = after.targets["index"], after.targets.get("boxes")
        if isinstance(moved, frames.Masks) and not torch.equal(moved.labels, index):
            corners = boxes.xyxy[0].numpy() if isinstance(boxes, frames.Boxes) else np.zeros((0, 4), np.float32)
            scene = resampled(scene, moved.labels[0].numpy(), corners)
        return after.pixels.clamp(0, 1), scene


def chains(wanted: Sequence[str] = ()) -> tuple[list[Chain], dict[str, str]]:
    """The degradations that have severities and can be run on a picture, and of the others why not.

    Parameters
    ----------
    wanted
        Names; all that are installed, plugins included, if there are none.

    Raises
    ------
    isp_sim.registry.UnknownPlugin
        If one that is wanted is not installed, with the nearest name.
    """
    found, left, photo = list[Chain](), dict[str, str](), sample_photo(side=16)
    for name in dict.fromkeys(wanted or registry.names(DEGRADATIONS)):
        try:
            plugin = registry.load(name, DEGRADATIONS)
            if not (isinstance(plugin, type) and issubclass(plugin, Degradation)):
                left[name] = "it is no degradation"
            elif not plugin.severities:
                left[name] = "it declares no severities"
            else:
                steps = tuple(at_severity(name, plugin, level) for level in range(1, SEVERITIES + 1))
                origin = registry.origin(name, DEGRADATIONS)
                found.append(Chain(name, origin, Surroundings.of(steps[0], photo), steps))
        except registry.UnknownPlugin:
            raise
        except (LookupError, ParameterFaults, NoSurroundings) as error:
            left[name] = str(error)
    return found, left


# -- measuring -------------------------------------------------------------------------------------------------


class Figures:
    """What was measured, a line each, under a key of everything that it depends on: nothing is measured twice."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, dict[str, dict[str, float | None]]()
        data = path.read_bytes() if path.exists() else b""
        for line in data.splitlines():
            try:
                row = json.loads(line)
                self.known[row["key"]] = row["figures"]
            except (ValueError, KeyError, TypeError):
                continue  # cut off when it was written; it is measured again
        self._torn = bool(data) and not data.endswith(b"\n")

    def add(self, key: str, figures: Mapping[str, float | None], about: Mapping[str, Any]) -> None:
        self.known[key] = dict(figures)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write("\n" * self._torn + json.dumps({"key": key, **about, "figures": figures}) + "\n")
        self._torn = False


@dataclass(frozen=True)
class Bench:
    """Models on a data set."""

    models: Sequence[Model]
    name: str
    dataset: Dataset
    settings: Evaluation
    device: torch.device

    def scenes(self) -> Iterator[Scene]:
        return scenes(self.dataset, self.settings.crop, self.settings.limit)

    def contents(self) -> tuple[int, str]:
        """How many pictures there are, and a digest of them and of their labels."""
        digest, count = hashlib.sha256(), 0
        for scene in self.scenes():
            count += 1
            digest.update(f"{scene.key} {scene.digest}".encode())
            for name, array in sorted(scene.labels.items()):
                digest.update(f"{name} {array.dtype} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return count, digest.hexdigest()

    def measure(
        self, models: Sequence[Model], chain: Chain | None, severity: int, told: Callable[[], None]
    ) -> list[dict[str, float | None]]:
        """The figures of each model on the pictures at a severity, or without a chain on the pictures themselves.

        Raises
        ------
        Unrenderable
            If some pictures can't be rendered: how many, and why.
        """
        scores = [None if m.head is None else Scores(m.head, self.dataset, self.settings) for m in models]
        values: list[list[float]] = [[] for _ in models]
        reasons = Counter[str]()
        count = 0
        for scene in self.scenes():
            count += 1
            clean = as_tensor(scene.pixels)[None]
            try:
                picture, seen = (clean, scene) if chain is None else chain.render(scene, severity, self.settings.seed)
            except Exception as error:  # noqa: BLE001 - whatever a third party's stage raises costs only its own rows
                reasons[f"{type(error).__name__}: {error}".strip().splitlines()[0]] += 1
                continue
            for model, score, own in zip(models, scores, values, strict=True) if not reasons else ():
                restored = restored_by(model.job, picture, self.device)
                if score is not None:
                    score.update(restored.to(self.device), seen)
                else:
                    own.append(float(psnr(restored, clean)))
            told()
        if reasons:
            first = reasons.most_common(1)[0][0]
            raise Unrenderable(f"{sum(reasons.values())} of {count} pictures at severity {severity}: {first}")
        return [
            {PSNR: round(math.fsum(own) / len(own), 4)} if score is None else score.row()["scores"]
            for score, own in zip(scores, values, strict=True)
        ]


def metric_of(models: Sequence[Model], settings: Evaluation, sets: Mapping[str, Dataset]) -> str:
    """The figure that is held against severity; models, data and each other fit.

    Raises
    ------
    dirlearn.targets.TaskFault
        Saying what does not fit what.
    """
    heads = {model.name: model.head for model in models if model.head is not None}
    kinds = {model.name: heads[model.name].takes.__name__ if model.name in heads else PSNR for model in models}
    if len(set(kinds.values())) > 1:
        said = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        raise TaskFault(f"these are not measured by the same ({said}); name those that are by --method")
    if not heads:
        return PSNR
    first = next(iter(heads.values()))
    fitting = [name for name, dataset in sets.items() if first.takes in dataset.gives] or list(sets)
    for model, head in heads.items():
        for name in fitting:
            check_fit(model, head, f"the test set {name}", sets[name])
    names = [name for metric in Scores(first, sets[fitting[0]], settings).metrics for name in metric.compute()]
    return MAIN[first.takes] if MAIN[first.takes] in names else names[0]


def measure_robustness(
    models: Sequence[Model],
    sets: Mapping[str, Dataset],
    settings: Evaluation,
    output: Path,
    wanted: Sequence[str] = (),
    reference: str | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Measure models over degradations at severities 1 to 5, write what was found, and return it.

    Every model sees the same pixels, a function of the settings' seed and of the pictures' keys. In `output`, figures
    that were measured before under the same settings are taken from ``figures.jsonl``; ``robustness.json`` and
    ``robustness.png`` are of these models alone.

    Parameters
    ----------
    wanted
        Degradations; all, if there are none.
    reference
        The model by whose errors those of the others are divided.

    Raises
    ------
    dirlearn.training.loop.TrainingFault
        If the reference is no model.
    dirlearn.targets.TaskFault
        If models and data do not fit, or no degradation can be measured.
    isp_sim.registry.UnknownPlugin
        If a degradation is not installed.
    """
    reporter = reporter or Silent()
    names = [model.name for model in models]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise TaskFault(f"two models are called {twice[0]!r}")
    if reference is not None and reference not in names:
        near = difflib.get_close_matches(reference, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
        raise TrainingFault(f"the reference {reference!r} is none of the models: {hint}")
    found, left = chains(wanted)
    metric = metric_of(models, settings, sets)
    skipped = [{"set": None, "degradation": name, "reason": reason} for name, reason in left.items()]
    place = torch.device("cuda" if torch.cuda.is_available() and device != "cpu" else "cpu")
    for model in models:
        if model.job is not None:
            model.job.to(place)
    figures = Figures(output / FIGURES)
    measured: dict[str, Any] = {}
    for name, dataset in sets.items() if found else ():
        head = models[0].head
        if head is not None and head.takes not in dataset.gives:
            reason = f"it has no {head.takes.__name__}, which the models are measured by"
            skipped.append({"set": name, "degradation": None, "reason": reason})
            continue
        bench = Bench(models, name, dataset, settings, place)
        own, failed = _on_set(bench, found, metric, figures, reporter)
        skipped += [
            {"set": name, "degradation": degradation, "reason": reason} for degradation, reason in failed.items()
        ]
        if own["degradations"]:
            measured[name] = own
    if not measured:
        raise TaskFault(f"nothing can be measured; {'; '.join(map(_left_out, skipped))}")
    results = {
        "metric": metric,
        "models": {model.name: model.digest for model in models},
        "reference": reference,
        "seed": settings.seed,
        "limit": settings.limit,
        "crop": settings.crop,
        "surroundings": {
            chain.name: [step.name for step in (*chain.surroundings.before, *chain.surroundings.after)]
            for chain in found
        },
        "sets": {name: own | {"summary": summary(own, metric, reference)} for name, own in measured.items()},
        "skipped": skipped,
        "versions": versions(),
    }
    write_atomically(output / RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    draw(results, output / PICTURE)
    return results


def _on_set(
    bench: Bench, found: Sequence[Chain], metric: str, figures: Figures, reporter: Reporter
) -> tuple[dict[str, Any], dict[str, str]]:
    """The curves of all models on one data set, and the degradations that can't be run on it."""
    count, contents = bench.contents()
    packages = {origin: versions(("transformers", origin)) for origin in {OWN, *(chain.origin for chain in found)}}
    about = {
        "format": FORMAT,
        "data": contents,
        "classes": bench.dataset.classes,
        "metrics": bench.settings.metrics,
        "seed": bench.settings.seed,
        "device": bench.device.type,
    }
    total = count * (1 + len(found) * (SEVERITIES + 1))
    before, within, rendered, started = 0, 0, 0, time.monotonic()

    def told() -> None:
        nonlocal within
        within += 1
        reporter.step(bench.name, before + within, total, None)

    def row(chain: Chain | None, severity: int) -> dict[str, dict[str, float | None]]:
        nonlocal before, within, rendered
        steps = [] if chain is None else [step.resolved() for step in chain.steps(severity)]
        depends = about | {"versions": packages[OWN if chain is None else chain.origin]}
        keys = {model.name: _digest(depends, steps, model.digest) for model in bench.models}
        try:
            if missing := [model for model in bench.models if keys[model.name] not in figures.known]:
                for model, own in zip(missing, bench.measure(missing, chain, severity, told), strict=True):
                    label = {"set": bench.name, "degradation": chain and chain.name, "severity": severity}
                    figures.add(keys[model.name], own, label | {"model": model.name})
        finally:
            before, within, rendered = before + count, 0, rendered + within
        return {name: figures.known[key] for name, key in keys.items()}

    clean = row(None, 0)
    curves: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for number, chain in enumerate(found):
        try:
            levels = [row(chain, severity) for severity in range(SEVERITIES + 1)]
        except Unrenderable as fault:
            failed[chain.name] = str(fault)
            before = count * (1 + (number + 1) * (SEVERITIES + 1))
            continue
        curves[chain.name] = {
            model.name: {name: [level[model.name][name] for level in levels] for name in clean[model.name]}
            for model in bench.models
        }
        if not rendered:  # all of it was known
            reporter.step(bench.name, before, total, None)
            continue
        shown = {name: mean(own[metric][1:]) for name, own in curves[chain.name].items()}
        speed = {"steps_per_second": rendered / max(time.monotonic() - started, 1e-9)}
        reporter.step(bench.name, before, total, {k: v for k, v in shown.items() if v is not None} | speed)
    return {"pictures": count, "digest": contents, "clean": clean, "degradations": curves}, failed


# -- summary ---------------------------------------------------------------------------------------------------


def mean(values: Sequence[float | None]) -> float | None:
    """None if there is nothing, or anything is not defined."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def error(metric: str, value: float) -> float:
    """What is lacking: 1 less the metric; of a PSNR [dB] the root mean square error, of pictures in [0, 1].

    >>> error("mIoU", 0.75), error("PSNR", 20.0)
    (0.25, 0.1)
    """
    return 10 ** (-value / 20) if metric == PSNR else 1 - value


def corruption_error(errors: Sequence[float], reference: Sequence[float]) -> float | None:
    """Errors, summed over severities, over the reference's [Hendrycks2019]; None where there are none.

    Of errors less those on clean pictures, on both sides, it is the relative corruption error.

    >>> corruption_error([0.2, 0.4], [0.4, 0.8])
    0.5
    """
    below = math.fsum(reference)
    return math.fsum(errors) / below if errors and below > 0 else None


def summary(measured: Mapping[str, Any], metric: str, reference: str | None) -> dict[str, Any]:
    """For each model, of each degradation and of all: the mean metric over severities, and the share of the clean one
    that is kept; with a reference the corruption error (CE) and the relative one, and their means (mCE).

    What is not defined for a degradation, such as a relative error where the reference loses nothing, is left out of
    the mean, and the degradation is named.
    """
    clean = {name: own[metric] for name, own in measured["clean"].items()}
    curves = {
        name: {d: own[name][metric][1:] for d, own in measured["degradations"].items()} for name in measured["clean"]
    }
    found: dict[str, Any] = {}
    for name, own in curves.items():
        parts: dict[str, dict[str, float | None]] = {}
        for degradation, values in own.items():
            level = mean(values)
            share = level / clean[name] if level is not None and clean[name] else None
            parts[degradation] = {"mean": level, "kept": share}
            if reference is not None:
                mine, theirs = _errors(metric, values), _errors(metric, curves[reference][degradation])
                lost, theirs_lost = (
                    _less(errors, _errors(metric, [clean[whose]]))
                    for whose, errors in ((name, mine), (reference, theirs))
                )
                parts[degradation] |= {
                    "ce": corruption_error(mine, theirs),
                    "relative_ce": corruption_error(lost, theirs_lost),
                }
        found[name] = {"clean": clean[name], **_overall(parts), "degradations": parts}
    return found


def _errors(metric: str, values: Sequence[float | None]) -> list[float]:
    """Empty if anything is not defined."""
    return [] if None in values else [error(metric, value) for value in values if value is not None]


def _less(errors: list[float], clean: list[float]) -> list[float]:
    return [value - clean[0] for value in errors] if clean else []


MEANS: Final = {"mean": "mean", "kept": "kept", "ce": "mce", "relative_ce": "relative_mce"}
"""What a figure of a degradation is called as a mean over degradations."""


def _overall(parts: Mapping[str, Mapping[str, float | None]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    undefined: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for part in parts.values() for key in part):
        found[MEANS[key]] = mean([part[key] for part in parts.values() if part[key] is not None])
        if absent := [name for name, part in parts.items() if part[key] is None]:
            undefined[MEANS[key]] = absent
    return found | {"undefined": undefined}


# -- showing ---------------------------------------------------------------------------------------------------


def worst_first(measured: Mapping[str, Any]) -> list[str]:
    """Degradations, those that harm most first: by the mean over models of what is left at all severities."""
    levels = {
        name: mean([own["degradations"][name]["mean"] or 0.0 for own in measured["summary"].values()]) or 0.0
        for name in measured["degradations"]
    }
    return sorted(levels, key=lambda name: levels[name])


def tables(results: Mapping[str, Any]) -> Iterator[tuple[list[str], list[list[str]]]]:
    """For each set a table of degradations and one of models: columns, and rows of text."""
    metric = results["metric"]
    ratios = {"ce": "CE", "relative_ce": "relative CE"} if results["reference"] is not None else {}
    unit = "dB" if metric == PSNR else "%"
    for name, own in results["sets"].items():
        columns = [f"{name}: {metric} [{unit}]", "model", *map(str, range(1, SEVERITIES + 1)), "mean", "kept"]
        rows = []
        for degradation in worst_first(own):
            for i, (model, about) in enumerate(own["summary"].items()):
                part = about["degradations"][degradation]
                values = own["degradations"][degradation][model][metric][1:]
                shown = [_said(metric, v) for v in (*values, part["mean"])]
                rows.append(["" if i else degradation, model, *shown, *(_percent(part[k]) for k in ("kept", *ratios))])
        yield [*columns, *ratios.values()], rows
        columns = [f"{name}: all {len(own['degradations'])}", "clean", "mean", "kept"]
        columns += [f"m{ratios['ce']}", f"relative m{ratios['ce']}"] if ratios else []
        yield (
            columns,
            [
                [model, _said(metric, about["clean"]), _said(metric, about["mean"])]
                + [_percent(about[MEANS[key]]) for key in ("kept", *ratios)]
                for model, about in own["summary"].items()
            ],
        )


def remarks(results: Mapping[str, Any]) -> Iterator[str]:
    """What was not measured, or has no figure, and why."""
    for item in results["skipped"]:
        yield _left_out(item)
    for name, own in results["sets"].items():
        alike: dict[tuple[str, ...], list[str]] = {}
        for model, about in own["summary"].items():
            for figure, absent in about["undefined"].items():
                alike.setdefault((figure, *absent), []).append(model)
        for (figure, *absent), models in alike.items():
            yield f"{name}: {figure} of {', '.join(models)} is not defined for {', '.join(absent)}, and a mean without"


def _left_out(item: Mapping[str, Any]) -> str:
    return f"left out: {', '.join(filter(None, (item['set'], item['degradation'])))}: {item['reason']}"


def _said(metric: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if metric == PSNR else f"{100 * value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Draw a panel for each degradation, a line for each model, dashed its level on clean pictures.

    Severity 0 is what surrounds the degradation alone, such as a mosaic and demosaicing.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    metric, unit = results["metric"], "dB" if results["metric"] == PSNR else "%"
    scale = 1 if metric == PSNR else 100
    blocks = {name: worst_first(own) for name, own in results["sets"].items()}
    across = min(7, max(map(len, blocks.values())))
    head, high, wide = 0.65, 1.5, 1.7  # of a block's title and legend, and of a panel [inch]
    rows = {name: -(-len(order) // across) for name, order in blocks.items()}
    width, height = max(0.6 + wide * across, 6.0), sum(head + high * n for n in rows.values())
    figure = Figure(figsize=(width, height))
    top = height
    for name, order in blocks.items():
        own = results["sets"][name]
        colour = {model: colormaps["tab10"](i % 10) for i, model in enumerate(own["summary"])}
        limits = _limits(own, metric)
        title = f"{name}, {own['pictures']} pictures: {metric} [{unit}] against severity"
        figure.text(0.15 / width, (top - 0.2) / height, title, fontsize=11, va="center")
        handles = [Line2D([], [], color=c, marker=".", label=model) for model, c in colour.items()]
        handles.append(Line2D([], [], color="0.4", linestyle="--", linewidth=0.9, label="clean pictures"))
        corner = (0.1 / width, (top - 0.45) / height)
        style: dict[str, Any] = {"loc": "center left", "fontsize": 9, "frameon": False, "borderpad": 0}
        figure.legend(handles=handles, bbox_to_anchor=corner, ncols=len(handles), **style)
        for i, degradation in enumerate(order):
            row, column = divmod(i, across)
            left, bottom = 0.5 + wide * column, top - head - high * (row + 1) + 0.3
            axes = figure.add_axes((left / width, bottom / height, (wide - 0.2) / width, (high - 0.5) / height))
            for model, about in own["summary"].items():
                values = own["degradations"][degradation][model][metric]
                shown = [math.nan if v is None else scale * v for v in values]
                axes.plot(shown, color=colour[model], marker=".", markersize=5, linewidth=1.3)
                if about["clean"] is not None:
                    axes.axhline(scale * about["clean"], color=colour[model], linestyle="--", linewidth=0.9, alpha=0.8)
            axes.set(xlim=(-0.25, SEVERITIES + 0.25), ylim=limits, xticks=range(SEVERITIES + 1))
            axes.set_title(degradation, fontsize=8, pad=3)
            axes.tick_params(labelsize=7, length=2, labelleft=column == 0)
            axes.grid(color="0.92")
            axes.spines[["top", "right"]].set_visible(False)
        top -= head + high * rows[name]
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    write_atomically(path, data.getvalue())


def _limits(own: Mapping[str, Any], metric: str) -> tuple[float, float]:
    """Of all panels of a set, so that they can be compared."""
    curves = (curve[metric][1:] for by_model in own["degradations"].values() for curve in by_model.values())
    known = [value for curve in curves for value in curve if value is not None] or [0.0]
    if metric != PSNR:
        known += [about["clean"] for about in own["summary"].values() if about["clean"] is not None]
        return 0.0, 100 * max(*known, 0.01) * 1.06
    low, high = min(known), min(max(known), LARGEST)
    return low - 1, max(high, low) + 1
