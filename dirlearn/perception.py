"""Heads in training: beside what makes pictures, or alone on pictures as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from dirlearn.heads.head import Head
from dirlearn.objectives import Objective
from dirlearn.targets import batch_of
from dirlearn.training.data import Batch, Needs
from dirlearn.training.job import Job

HEAD = "head"


class TaskJob(Job):
    """A training that may have a task's head: trained at the full rate, at a part of it, or frozen."""

    head: Head | None

    def __init__(self) -> None:
        super().__init__()
        self.head, self.head_rate = None, 1.0

    def hold(self, head: Head | None, rate: float = 1.0) -> None:
        """Take a head. A rate of 0 freezes it: it is neither trained nor saved, and gradients pass through it."""
        if head is not None and rate == 0:
            self.__dict__[HEAD] = self.freeze(HEAD, head)
        else:
            self.head = head
        self.head_rate = rate
        self.needs = Needs(views=1, labels=head is not None)

    def task(self, picture: Tensor, batch: Batch) -> Tensor | None:
        """The head's loss on pictures of a batch; None without a head."""
        if self.head is None:
            return None
        targets = batch_of(self.head.takes, batch.labels, batch.keys, self.head.params.classes)
        return self.head.loss(picture, targets)

    def parts(self) -> Mapping[str, Iterator[nn.Parameter]]:
        """The head apart: it shares the task's loss with the rest, and no other."""
        trained = dict(self.named_parameters())
        heads = {name: p for name, p in trained.items() if name.startswith(f"{HEAD}.")}
        found = {"": [p for name, p in trained.items() if name not in heads], HEAD: list(heads.values())}
        return {name: iter(parameters) for name, parameters in found.items() if parameters}

    def rates(self) -> Mapping[str, float]:
        return {HEAD: self.head_rate}


class Perception(TaskJob):
    """A head on pictures as they are: degraded, or, for what can be reached at most, clean."""

    head: Head

    def __init__(self, head: Head, rate: float, sees: Literal["degraded", "clean"]) -> None:
        super().__init__()
        self.hold(head, rate)
        self.sees = sees

    def forward(self, batch: Batch, step: int) -> Objective:
        loss: Any = self.task(batch.clean if self.sees == "clean" else batch.views[0], batch)
        return Objective(loss, {"task": loss})

    def pictures(self, degraded: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        return {"restored": clean if self.sees == "clean" else degraded}
