"""A recipe from end to end: Stage I, every method, evaluation, report."""

from __future__ import annotations

import json
import platform
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dirlearn import recipe as recipes
from dirlearn.baselines import AutoEncoder, DecodedRepresentation, Restorer, Supervised
from dirlearn.datasets.dataset import Dataset, build_dataset
from dirlearn.datasets.split import check_split
from dirlearn.developing import DevelopedTask
from dirlearn.heads.head import Head, build_head
from dirlearn.perception import HEAD, Perception
from dirlearn.recipe import Method, Recipe
from dirlearn.refine import Refine
from dirlearn.represent import Represent, Representation
from dirlearn.scores import check_tasks
from dirlearn.settings import Developing, Heading, Pairs, Refinement, Task, Training
from dirlearn.training import checkpoint as checkpoints
from dirlearn.training.data import Needs, Stream
from dirlearn.training.job import Job
from dirlearn.training.loop import FINAL, Reporter, Silent, TrainingFault, load_final, train
from dirlearn.training.samples import Watcher
from isp_sim.randomness import generator
from isp_sim.render.atomic import write_atomically

STAGE1 = "stage1"
METHODS = "methods"
ALONE = "alone"
"""Folder, within a method's, of what it learns before its head joins."""
RECIPE = "recipe.yaml"
ENVIRONMENT = "environment.json"


def start_weights(seed: int, name: str) -> None:
    """Seed torch's own generator, from which networks draw their first weights: a function of the seed and the name."""
    torch.manual_seed(int(generator(seed, name, 0, "dirlearn", "weights").integers(0, 1 << 63)))


def stage1_job(recipe: Recipe) -> Represent:
    start_weights(recipe.seed, STAGE1)
    return Represent(recipe.networks, recipe.stage1, recipe.data.patch)


def method_job(recipe: Recipe, method: Method, representation: Representation | None, head: Head | None = None) -> Job:
    """The job of a method; `representation` is what Stage I left, `head` what `method_head` gave."""
    start_weights(recipe.seed, method.name)
    training = method.training
    if isinstance(training, Developing):
        job = DevelopedTask(recipe.views, training)
        job.hold(head, training.head_rate)
        return job
    if head is not None and isinstance(training, Heading) and method.kind in ("degraded", "clean"):
        return Perception(head, training.head_rate, "clean" if method.kind == "clean" else "degraded")
    if method.needs_representation and representation is None:
        raise TrainingFault(f"{method.name} needs what Stage I leaves")
    if method.kind == "refine" and representation is not None and isinstance(training, Refinement):
        return Refine(representation, training, head)
    supervised: Supervised
    if method.kind == "autoencoder":
        supervised = AutoEncoder(recipe.networks)
    elif isinstance(training, recipes.Supervised | recipes.SupervisedPairs):
        supervised = Restorer(training.network)
    else:
        assert representation is not None
        supervised = DecodedRepresentation(representation, recipe.networks)
    if isinstance(training, Task):
        supervised.learn(head, training)
    return supervised


def method_head(recipe: Recipe, method: Method, start: bool) -> Head | None:
    """The head of a method, of equal weights in all rows that start anew.

    Parameters
    ----------
    start
        Whether it needs the weights that it starts from: those of another row's head, or from a file. A frozen head
        always does.
    """
    training = method.training
    if not isinstance(training, Heading) or training.head is None:
        return None
    start = start or training.head_rate == 0
    start_weights(recipe.seed, HEAD)
    head = build_head(training.head, pretrained=start and training.head_from is None)
    if start and training.head_from is not None:
        place = _final_of(recipe, training.head_from)
        found = checkpoints.read(place).tensors
        prefix = f"{HEAD}."
        head.load_state_dict({n.removeprefix(prefix): t for n, t in found.items() if n.startswith(prefix)})
    return head


def _final_of(recipe: Recipe, name: str) -> Path:
    """Where a row's weights lie."""
    (folder,) = (m.folder for m in recipe.methods if m.name == name)
    return recipe.folder / METHODS / folder / FINAL


class Runner:
    """Trains what a recipe asks for, in one folder."""

    def __init__(self, recipe: Recipe, reporter: Reporter | None = None, resume: bool = False) -> None:
        self.recipe, self.reporter, self.resume = recipe, reporter or Silent(), resume
        self.folder = recipe.folder
        self._train: Dataset | None = None

    @property
    def train_data(self) -> Dataset:
        if self._train is None:
            self._train = build_dataset(self.recipe.data.train)
        return self._train

    def everything(self) -> dict[str, Any]:
        """Train, evaluate and report; returns the results."""
        from dirlearn.embed import look_at_run
        from dirlearn.evaluate import evaluate_run, read_results
        from dirlearn.report import write_report

        self.prepare()
        representation = self.stage1() if any(m.needs_representation for m in self.recipe.methods) else None
        for method in self.recipe.methods:
            if method.training is not None:
                self.method(method, representation)
        if not is_main():
            return {}
        started = time.monotonic()
        evaluate_run(self.recipe, self.reporter)
        measured = time.monotonic()
        look_at_run(self.recipe, self.reporter)
        seconds = {"evaluation": measured - started, "probes": time.monotonic() - measured}
        self._note({"seconds": {name: round(value, 1) for name, value in seconds.items()}})
        write_report(self.folder)
        return read_results(self.folder)

    def prepare(self) -> None:
        """Check the data and write down what is going to run."""
        tests = {name: build_dataset(node) for name, node in self.recipe.evaluation.sets.items()}
        measured = dict(tests)
        tests["validation"] = build_dataset(self.recipe.data.validation)
        check_tasks(self.recipe, self.train_data, measured)
        check_split(self.train_data, tests)
        if not is_main():
            return
        if (self.folder / RECIPE).exists() and not self.resume:
            raise TrainingFault(
                f"{self.folder} holds a run already; go on with --resume auto, or take another folder: -s run.path=..."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_recipe(self.recipe, self.folder / RECIPE)
        facts = {"versions": checkpoints.versions(), "machine": platform.platform(), "threads": torch.get_num_threads()}
        self._note(facts)

    def _note(self, facts: Mapping[str, Any]) -> None:
        """Put facts into environment.json."""
        path = self.folder / ENVIRONMENT
        before = json.loads(path.read_text()) if path.exists() else {}
        write_atomically(path, (json.dumps({**before, **facts}, indent=1) + "\n").encode())

    def stage1(self) -> Representation:
        job = stage1_job(self.recipe)
        about = self._about("stage1")
        self._train_job(job, self.recipe.stage1, self.folder / STAGE1, about)
        return job.representation

    def method(self, method: Method, representation: Representation | None) -> Job:
        head = method_head(self.recipe, method, start=True)
        job = method_job(self.recipe, method, representation if method.needs_representation else None, head)
        training, folder = method.training, self.folder / METHODS / method.folder
        assert training is not None
        about = self._about("method") | {"method": self.recipe.resolved["methods"][method.name]}
        if method.needs_representation:
            about["stage1"] = _hash(self.folder / STAGE1 / FINAL)
        if isinstance(training, Heading) and training.head_from is not None:
            about["head_from"] = _hash(_final_of(self.recipe, training.head_from))
        if isinstance(training, Pairs) and training.alone:
            # what it learns before the head joins, as DiRNet and DfRNet learn in Stage I
            plain = Training(**{name: getattr(training, name) for name in Training.model_fields})
            first = method_job(self.recipe, method, None)
            self._train_job(first, plain.model_copy(update={"steps": training.alone}), folder / ALONE, about)
            job.load_state_dict({**job.state_dict(), **first.state_dict()})
        if isinstance(job, DevelopedTask) and isinstance(training, Developing) and training.search is not None:
            self._search(job, training, folder, about)
        else:
            self._train_job(job, training, folder, about)
        return job

    def _search(self, job: DevelopedTask, training: Developing, folder: Path, about: Mapping[str, Any]) -> None:
        """Seek the parameters of an ISP without gradients, on the first device."""
        from dirlearn.search import search
        from dirlearn.training.loop import accelerator

        if self.resume and self._done(folder, about):
            load_final(job, folder)
            self.reporter.say(f"{folder.name}: done already")
            return
        folder.mkdir(parents=True, exist_ok=True)
        device = accelerator(self.recipe.run, folder).device
        if is_main():
            stream = self._stream(Needs(), training.batch)
            search(job, stream, folder, about, self.reporter, device, self.resume)

    def _stream(self, needs: Needs, batch: int) -> Stream:
        recipe = self.recipe
        return Stream(self.train_data, recipe.views, needs, recipe.seed, batch, recipe.data.patch, recipe.data.flips)

    def _about(self, *sections: str) -> dict[str, Any]:
        """What a checkpoint depends on."""
        resolved = self.recipe.resolved
        keys = ("version", "seed", "views", "data", "networks") + (("stage1",) if "stage1" in sections else ())
        return {key: resolved[key] for key in keys}

    def _train_job(self, job: Job, training: Any, folder: Path, about: Mapping[str, Any]) -> None:
        if self.resume and self._done(folder, about):
            load_final(job, folder)
            self.reporter.say(f"{folder.name}: done already")
            return
        recipe = self.recipe
        stream = self._stream(Needs(), training.batch)
        folder.mkdir(parents=True, exist_ok=True)
        watcher = Watcher(build_dataset(recipe.data.validation), recipe.views, recipe.data.patch)
        train(job, stream, training, recipe.run, folder, about, watcher, self.reporter, self.resume)

    @staticmethod
    def _done(folder: Path, about: Mapping[str, Any]) -> bool:
        """Whether a training left its final weights. Damaged ones are made again of its checkpoints."""
        if not (folder / FINAL).exists():
            return False
        try:
            found = checkpoints.read(folder / FINAL)
        except checkpoints.CheckpointFault as error:
            if is_main():
                message = f"{folder.name}: {error}; making it again of the newest checkpoint"
                warnings.warn(message, RuntimeWarning, stacklevel=2)
            return False
        return bool(found.about.get("about") == json.loads(json.dumps(dict(about))))


def _hash(final: Path) -> str:
    """Of the weights of a finished training."""
    found: str = json.loads((final / checkpoints.ABOUT).read_text())["sha256"]
    return found


def is_main() -> bool:
    """Whether this is the first of the processes."""
    import os

    return os.environ.get("RANK", "0") == "0"


def write_recipe(recipe: Recipe, path: Path) -> None:
    """The resolved recipe as YAML."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 110
    with path.open("w") as file:
        yaml.dump(recipe.resolved, file)


def open_run(folder: Path) -> Recipe:
    """The recipe of a run, for its folder wherever that lies now."""
    if not (folder / RECIPE).exists():
        raise TrainingFault(f"{folder} is no run: it has no {RECIPE}")
    return recipes.read(folder / RECIPE, [f"run.path={json.dumps(str(folder))}"])


def load_method(recipe: Recipe, name: str) -> Job | None:
    """A trained method of a run, in evaluation mode; None for `degraded`."""
    by_name = {m.name: m for m in recipe.methods} | {m.folder: m for m in recipe.methods}
    if name not in by_name:
        raise TrainingFault(
            f"no method {name!r} in {recipe.folder}; there are {', '.join(m.name for m in recipe.methods)}"
        )
    method = by_name[name]
    if method.training is None:
        return None
    representation = None
    if method.needs_representation:
        stage1 = stage1_job(recipe)
        load_final(stage1, recipe.folder / STAGE1)
        representation = stage1.representation
    job = method_job(recipe, method, representation, method_head(recipe, method, start=False))
    load_final(job, recipe.folder / METHODS / method.folder)
    return job


def load_restorer(recipe: Recipe, name: str) -> Job | None:
    """A trained method that makes pictures of pictures; see `load_method`. TrainingFault for an ISP."""
    job = load_method(recipe, name)
    if isinstance(job, DevelopedTask):
        raise TrainingFault(
            f"{name} is an ISP: it develops RAW, and can't restore finished pictures; name another method"
        )
    return job


def restore_pictures(job: Job | None, degraded: Tensor) -> Tensor:
    """What a method makes of degraded pictures, in [0, 1]."""
    if job is None:
        return degraded
    with torch.no_grad():
        return job.pictures(degraded, degraded)["restored"].clamp(0, 1)
