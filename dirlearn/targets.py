"""What a task's labels and predictions are. The type says the format, so nobody has to guess it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORE: Final = 255
"""The class of pixels of which nothing is known, or which do not count."""
Labels = Mapping[str, NDArray[Any]]


class TaskFault(Exception):
    """A task can't be worked on; the message says why and what to do."""


class TargetFault(TaskFault):
    """Labels or predictions are not what they should be; the message says which and why."""


def require(what: str, packages: Sequence[str], install: str = "isp-sim[tasks]") -> None:
    """Refuse to go on where a package of an extra is missing.

    Raises
    ------
    TaskFault
        With the line that installs it.
    """
    absent = [name for name in packages if find_spec(name) is None]
    if absent:
        raise TaskFault(f"{what} needs {', '.join(absent)}: pip install '{install}'")


@dataclass(frozen=True)
class Target(ABC):
    """Labels of one picture."""

    @classmethod
    @abstractmethod
    def of(cls, labels: Labels) -> Self:
        """The target that a scene's labels hold; see `dirlearn.datasets.dataset.Scene`.

        Raises
        ------
        TargetFault
            If they hold none, or one that is not valid.
        """

    @abstractmethod
    def check(self, classes: int) -> None:
        """Refuse what no head of so many classes can take.

        Raises
        ------
        TargetFault
            If a class is out of range, or a number is not finite.
        """

    def to(self, device: torch.device | str) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})


@dataclass(frozen=True)
class SemanticMap(Target):
    """The class of every pixel.

    Attributes
    ----------
    classes
        (H, W), int64: a class from 0, or IGNORE.
    """

    classes: Tensor

    @classmethod
    def of(cls, labels: Labels) -> Self:
        return cls(torch.from_numpy(_needed(labels, "classes").astype(np.int64)))

    def check(self, classes: int) -> None:
        _in_range(self.classes[self.classes != IGNORE], classes)


@dataclass(frozen=True)
class Boxes(Target):
    """Objects by the boxes around them.

    Attributes
    ----------
    xyxy
        (N, 4), float64: left, upper, right and lower edge [px]. The whole of the first pixel is the box 0, 0, 1, 1.
    classes
        (N,), int64.
    crowd
        (N,), bool: a region of many objects; neither learnt nor counted.
    areas
        (N,), float64: area of the object [px], by which results are told apart by size.
    """

    xyxy: Tensor
    classes: Tensor
    crowd: Tensor
    areas: Tensor

    @classmethod
    def of(cls, labels: Labels) -> Self:
        xyxy = torch.from_numpy(_needed(labels, "boxes").astype(np.float64)).reshape(-1, 4)
        sides = (xyxy[:, 2:] - xyxy[:, :2]).prod(dim=1)
        classes, crowd, areas = _about_objects(labels, len(xyxy), sides)
        return cls(xyxy, classes, crowd, areas)

    def check(self, classes: int) -> None:
        _in_range(self.classes, classes)
        if not bool(self.xyxy.isfinite().all()):
            raise TargetFault("a box has an edge that is no finite number")
        if bool((self.xyxy[:, 2:] <= self.xyxy[:, :2]).any()):
            raise TargetFault("a box has no area; boxes are left, upper, right and lower edge")


@dataclass(frozen=True)
class Masks(Target):
    """Objects by their pixels.

    Attributes
    ----------
    masks
        (N, H, W), bool. Objects may overlap.
    classes, crowd, areas
        As of `Boxes`.
    """

    masks: Tensor
    classes: Tensor
    crowd: Tensor
    areas: Tensor

    @classmethod
    def of(cls, labels: Labels) -> Self:
        if "masks" in labels:
            masks = torch.from_numpy(np.ascontiguousarray(labels["masks"].transpose(2, 0, 1))).bool()
        else:
            map_, numbers = _needed(labels, "instances"), _needed(labels, "box_instances")
            masks = torch.from_numpy(map_[None] == numbers[:, None, None])
        covered = masks.flatten(1).sum(dim=1)
        classes, crowd, areas = _about_objects(labels, len(masks), covered.double())
        seen = covered > 0  # the window may hold a part of the box and nothing of the object
        return cls(masks[seen], classes[seen], crowd[seen], areas[seen])

    def check(self, classes: int) -> None:
        _in_range(self.classes, classes)


@dataclass(frozen=True)
class ScoredBoxes:
    """Boxes that were found: `xyxy` (N, 4) [px], `scores` (N,), the higher the surer, and `classes` (N,)."""

    xyxy: Tensor
    scores: Tensor
    classes: Tensor


@dataclass(frozen=True)
class ScoredMasks:
    """Objects that were found: `masks` (N, H, W) bool, `scores` (N,), `classes` (N,)."""

    masks: Tensor
    scores: Tensor
    classes: Tensor


Prediction = SemanticMap | ScoredBoxes | ScoredMasks


def batch_of(kind: type[Target], labels: Sequence[Labels], keys: Sequence[str], classes: int) -> list[Any]:
    """The targets of a batch, checked.

    Raises
    ------
    TargetFault
        With the key of the picture.
    """
    found = []
    for key, one in zip(keys, labels, strict=True):
        try:
            target = kind.of(one)
            target.check(classes)
        except TargetFault as error:
            raise TargetFault(f"{key}: {error}") from None
        found.append(target)
    return found


def _needed(labels: Labels, name: str) -> NDArray[Any]:
    if name not in labels:
        raise TargetFault(f"there are no labels {name!r}; there are {', '.join(map(repr, labels)) or 'none'}")
    return labels[name]


def _about_objects(labels: Labels, count: int, areas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Classes, crowd and areas of objects."""
    classes = torch.from_numpy(_needed(labels, "box_classes").astype(np.int64))
    crowd = torch.from_numpy(labels["box_crowd"].astype(bool)) if "box_crowd" in labels else torch.zeros(count).bool()
    if "box_areas" in labels:
        areas = torch.from_numpy(labels["box_areas"].astype(np.float64))
    if not len(classes) == len(crowd) == len(areas) == count:
        raise TargetFault(f"{count} objects, {len(classes)} classes, {len(crowd)} crowd flags, {len(areas)} areas")
    return classes, crowd, areas


def _in_range(classes: Tensor, count: int) -> None:
    wrong = classes[(classes < 0) | (classes >= count)]
    if len(wrong):
        found = ", ".join(map(str, sorted(set(wrong.tolist()))[:10]))
        raise TargetFault(
            f"found class {found}; classes are 0 to {count - 1}, and {IGNORE} for pixels that don't count"
        )
