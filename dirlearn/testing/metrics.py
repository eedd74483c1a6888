"""Laws of the metrics of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch

from dirlearn.metrics.metric import Metric
from dirlearn.targets import IGNORE, Boxes, ScoredBoxes, ScoredMasks, SemanticMap, Target
from dirlearn.testing.component import DECLARED, Subject
from dirlearn.testing.heads import KINDS, target
from isp_sim.randomness import generator
from isp_sim.testing.law import Broken, Law, law

NAMES: Final = ("a", "b", "c", "never")
SIZE: Final = torch.Size((48, 64))
SCENES: Final = ((0,), (1, 2), (), (2, 0, 1), (1,), (0, 2))
"""Classes of the objects of each picture; the last of the names is in none."""
RUNS: Final = ("class facts", "runs")
SAME: Final = 1e-12


class MetricSubject(Subject):
    """A metric, for each kind of targets that it takes."""

    plugin: Any

    def cases(self) -> Iterator[tuple[str, Mapping[str, Any], type[Target]]]:
        for setting in self.settings:
            for kind in self.plugin.takes:
                yield f"{setting}, {kind.__name__}", setting, kind

    def counted(self, setting: Mapping[str, Any], kind: type[Target], pairs: Sequence[tuple[Any, Any]]) -> Any:
        """A new metric that has counted pairs of a prediction and a target."""
        metric = self.make(setting, kind=kind, classes=NAMES)
        for prediction, labels in pairs:
            metric.update(prediction, labels)
        return metric


def pairs(kind: type[Target], wrong: float) -> list[tuple[Any, Any]]:
    """A prediction and a target for each picture; a share of what is predicted is wrong. All scores differ."""
    rng = generator(0, kind.__name__, 0, "kit", "predictions")
    found: list[tuple[Any, Any]] = []
    for classes in SCENES:
        labels = target(kind, SIZE, classes)
        numbers = labels.classes.clone()
        lost = torch.from_numpy(rng.random(tuple(numbers.shape))) < wrong
        numbers[lost] = (numbers[lost] + 1) % 3
        if isinstance(labels, SemanticMap):
            found.append((SemanticMap(torch.where(numbers == IGNORE, 0, numbers)), labels))
            continue
        scores = torch.from_numpy(rng.random(len(classes)))
        shapes = labels.xyxy if isinstance(labels, Boxes) else labels.masks
        made = ScoredBoxes if kind is Boxes else ScoredMasks
        found.append((made(shapes.clone(), scores, numbers), labels))
    return found


def difference(first: Any, second: Any) -> str | None:
    """Where the figures of two metrics differ by more than the last digit."""
    for what in ("compute", "by_class"):
        a, b = getattr(first, what)(), getattr(second, what)()
        if a.keys() != b.keys():
            return f"{what} names {', '.join(a)} and {', '.join(b)}"
        for name in a:
            if (a[name] is None) != (b[name] is None) or (a[name] is not None and abs(a[name] - b[name]) > SAME):
                return f"{name} is {a[name]} and {b[name]}"
    return None


@law(
    "class facts",
    "takes is a tuple of SemanticMap, Boxes or Masks, needs a tuple of names of packages",
    "one kind in place of a tuple of one kind",
)
def class_facts(s: Subject) -> str | None:
    takes: Any = getattr(s.plugin, "takes", None)
    needs: Any = getattr(s.plugin, "needs", None)
    if not (isinstance(takes, tuple) and takes and all(kind in KINDS for kind in takes)):
        raise Broken(f"takes is {takes!r}")
    if not (isinstance(needs, tuple) and all(isinstance(name, str) for name in needs)):
        raise Broken(f"needs is {needs!r}")
    return None


@law(
    "runs",
    "compute gives figures by name, finite or None; by_class one of each class or none",
    "nan where the data set does not define a figure: give None; tensors in place of numbers",
    after=("class facts",),
)
def runs(s: MetricSubject) -> str | None:
    for where, setting, kind in s.cases():
        metric = s.counted(setting, kind, pairs(kind, 0.3))
        figures, classes = metric.compute(), metric.by_class()
        if not figures or all(value is None for value in figures.values()):
            raise Broken(f"{where}: there is no figure: {dict(figures)}")
        if classes and tuple(classes) != NAMES:
            raise Broken(f"{where}: classes are {', '.join(classes)}")
        for name, value in [*figures.items(), *classes.items()]:
            if value is not None and not (isinstance(value, float) and abs(value) < float("inf")):
                raise Broken(f"{where}: {name} is {value!r}")
    return None


@law(
    "nothing counted",
    "without pictures, and of pictures without labels, figures are None or finite, and nothing is raised",
    "a division by no pixels or no objects",
    after=RUNS,
)
def nothing_counted(s: MetricSubject) -> str | None:
    for where, setting, kind in s.cases():
        empty = [pair for pair, classes in zip(pairs(kind, 0), SCENES, strict=True) if not classes]
        for some in ([], empty):
            for name, value in s.counted(setting, kind, some).compute().items():
                if value is not None and not abs(value) < float("inf"):
                    raise Broken(f"{where}: {name} of {len(some)} pictures is {value!r}")
    return None


@law(
    "best",
    "predictions that are the labels give 1 for every figure; wrong ones a lower one",
    "a threshold that a perfect match does not pass, classes that are absent counted as 0, a loss in place of a figure",
    after=RUNS,
)
def best(s: MetricSubject) -> str | None:
    for where, setting, kind in s.cases():
        right, wrong = (s.counted(setting, kind, pairs(kind, share)).compute() for share in (0.0, 0.5))
        for name, value in right.items():
            if value is not None and abs(value - 1) > 1e-9:
                raise Broken(f"{where}: {name} of perfect predictions is {value!r}")
        if not any(wrong[name] < value for name, value in right.items() if value is not None):
            raise Broken(f"{where}: wrong predictions have the same figures: {dict(wrong)}")
    return None


@law(
    "order",
    "the order of the pictures does not matter, to 1e-12",
    "a mean that moves, a running figure in single precision",
    after=RUNS,
)
def order(s: MetricSubject) -> str | None:
    for where, setting, kind in s.cases():
        some = pairs(kind, 0.3)
        turned = [some[i] for i in (3, 0, 5, 1, 4, 2)]
        if found := difference(s.counted(setting, kind, some), s.counted(setting, kind, turned)):
            raise Broken(f"{where}: {found}")
    return None


@law(
    "merged",
    "two halves put together are the whole, to 1e-12, whichever takes the other; one that counted nothing adds nothing",
    "the mean of two means; numbers of pictures that collide",
    after=RUNS,
)
def merged(s: MetricSubject) -> str | None:
    for where, setting, kind in s.cases():
        some = pairs(kind, 0.3)
        whole = s.counted(setting, kind, some)
        for parts in ((some[:2], some[2:]), (some[2:], some[:2]), (some, []), ([], some)):
            first, second = (s.counted(setting, kind, part) for part in parts)
            first.merge(second)
            if found := difference(first, whole):
                raise Broken(f"{where}: of {len(parts[0])} and {len(parts[1])} pictures, {found}")
    return None


@law(
    "reading changes nothing",
    "compute and by_class can be asked twice, and between pictures",
    "counts that are normalised in place",
    after=RUNS,
)
def reading(s: MetricSubject) -> str | None:
    for where, setting, kind in s.cases():
        some = pairs(kind, 0.3)
        asked = s.make(setting, kind=kind, classes=NAMES)
        for prediction, labels in some:
            asked.update(prediction, labels)
            asked.compute(), asked.by_class()
        if found := difference(asked, s.counted(setting, kind, some)):
            raise Broken(f"{where}: {found}")
    return None


LAWS: Final[tuple[Law, ...]] = (class_facts, *DECLARED, runs, nothing_counted, best, order, merged, reading)


def suited(name: str, plugin: Any, given: Any) -> tuple[Subject, tuple[Law, ...]]:
    """What is tested, and by which laws.

    Raises
    ------
    TypeError
        If the plugin is no metric of a task.
    """
    if not (isinstance(plugin, type) and issubclass(plugin, Metric)):
        raise TypeError(f"{name} is no Metric")
    return MetricSubject(name, plugin, given), LAWS
