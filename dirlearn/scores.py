"""What heads find in the pictures of a test set, measured; and whether a recipe's heads and data fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dirlearn.datasets.dataset import Dataset, Scene, build_dataset
from dirlearn.heads.head import Head, build_head
from dirlearn.metrics.metric import Metric, build_metric
from dirlearn.metrics.picture_metric import build_pictures
from dirlearn.recipe import Recipe
from dirlearn.settings import Evaluation, Heading
from dirlearn.targets import Boxes, Masks, SemanticMap, Target, TaskFault, batch_of

USUAL: Mapping[type[Target], str] = {
    SemanticMap: "confusion",
    Boxes: "average_precision",
    Masks: "average_precision",
}
"""The metric for each kind of target, where a recipe names none."""


SMALL = 16
"""Pictures of this side are not asked for before they are measured: hardly any are smaller [px]."""


class Scores:
    """The metrics of one head on one test set."""

    def __init__(self, head: Head, dataset: Dataset, settings: Evaluation) -> None:
        self.head = head
        nodes = settings.metrics or USUAL[head.takes]
        nodes = nodes if isinstance(nodes, list) else [nodes]
        self.metrics: list[Metric] = [build_metric(node, head.takes, dataset.classes) for node in nodes]

    def update(self, picture: Tensor, scene: Scene) -> None:
        """Count what the head finds in a picture (1, 3, H, W) of a scene."""
        (target,) = batch_of(self.head.takes, [scene.labels], [scene.key], self.head.params.classes)
        with torch.no_grad():
            (found,) = self.head.predict(picture)
        for metric in self.metrics:
            metric.update(found, target)

    def row(self) -> dict[str, Any]:
        """Figures, and the main one of each class, for the results."""
        scores: dict[str, float | None] = {}
        classes: dict[str, float | None] = {}
        for metric in self.metrics:
            scores |= {name: _rounded(value) for name, value in metric.compute().items()}
            classes |= {name: _rounded(value) for name, value in metric.by_class().items()}
        return {"scores": scores, "classes": classes}


def scores_of(job: Any, dataset: Dataset, settings: Evaluation) -> Scores | None:
    """What measures a job's head on a test set; None where there is no head or no label for it."""
    head = getattr(job, "head", None)
    return Scores(head, dataset, settings) if head is not None and head.takes in dataset.gives else None


def check_tasks(recipe: Recipe, train: Dataset, tests: Mapping[str, Dataset]) -> None:
    """Refuse heads that can't be built, or that do not fit the data, before anything is trained.

    Raises
    ------
    dirlearn.targets.TaskFault
        Saying which row, and what would fit.
    """
    check_pictures(recipe, tests)
    built: dict[str, Head] = {}
    for method in recipe.methods:
        if not isinstance(method.training, Heading) or method.training.head is None:
            continue
        kind = repr(method.training.head)
        if kind not in built:
            built[kind] = build_head(method.training.head)
        head = built[kind]
        check_fit(method.name, head, "the training set", train)
        for name, test in tests.items():
            if head.takes in test.gives:
                check_fit(method.name, head, f"the test set {name}", test)
        if tests and not any(head.takes in test.gives for test in tests.values()):
            raise TaskFault(f"{method.name}: no test set has {head.takes.__name__}, which its head is measured by")
        for dataset in (train, *tests.values()):
            scores_of(_Holder(head), dataset, recipe.evaluation)


def check_pictures(recipe: Recipe, tests: Mapping[str, Dataset]) -> None:
    """Refuse measures of pictures that need what is not installed, or larger pictures than there are.

    Raises
    ------
    dirlearn.targets.TaskFault
        Saying which.
    """
    settings = recipe.evaluation
    most = max(build_pictures(settings.pictures).values(), key=lambda measure: measure.needed)
    if most.needed <= SMALL:
        return
    for name, dataset in (tests or {"validation": build_dataset(recipe.data.validation)}).items():
        for index in range(min(len(dataset), settings.limit or len(dataset))):
            size = dataset.read(index).pixels.shape[:2]
            side = min(settings.crop or min(size), *size) // 2 * 2
            try:
                most.check(side, side)
            except TaskFault as error:
                raise TaskFault(f"the test set {name}: {error}") from None


class _Holder:
    def __init__(self, head: Head) -> None:
        self.head = head


def check_fit(name: str, head: Head, which: str, dataset: Dataset) -> None:
    """Refuse a head that can't be measured on a data set.

    Raises
    ------
    dirlearn.targets.TaskFault
        Saying what would fit.
    """
    if head.takes not in dataset.gives:
        given = ", ".join(sorted(kind.__name__ for kind in dataset.gives)) or "no labels"
        hint = "; set `masks: true` of coco" if head.takes is Masks and Boxes in dataset.gives else ""
        raise TaskFault(f"{name}: its head takes {head.takes.__name__}, and {which} has {given}{hint}")
    if head.params.classes != len(dataset.classes):
        names = ", ".join(dataset.classes[:4]) + (", ..." if len(dataset.classes) > 4 else "")
        raise TaskFault(
            f"{name}: its head has {head.params.classes} classes, and {which} {len(dataset.classes)} ({names}); "
            f"set `classes: {len(dataset.classes)}`"
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
