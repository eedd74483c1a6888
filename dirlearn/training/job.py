"""What can be trained: a module that makes an objective of a batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from torch import Tensor, nn

from dirlearn.objectives import Objective
from dirlearn.training.data import Batch, Needs
from dirlearn.views import Views

M = TypeVar("M", bound=nn.Module)


class Job(nn.Module):
    """A training. What it registers is trained and saved; what it holds by `freeze` is neither."""

    needs = Needs()
    sees: Literal["degraded", "clean"] = "degraded"
    """The pictures that it is measured on."""

    def __init__(self) -> None:
        super().__init__()
        # a plain dict: nn.Module must not see these, or they would be trained, saved and switched to training
        self.__dict__["frozen"] = {}

    def freeze(self, name: str, module: M) -> M:
        """Hold a module as it is: in evaluation mode, without gradients of its own. Gradients still pass through it."""
        module.eval().requires_grad_(False)
        self.__dict__["frozen"][name] = module
        return module

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Job:
        """Moves of device and dtype take the frozen modules along."""
        for module in self.__dict__["frozen"].values():
            module._apply(function, recurse)
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]  # torch does not type it
        return self

    @abstractmethod
    def forward(self, batch: Batch, step: int) -> Objective:
        """The objective of a batch, this process's part of it, at a step."""

    def parts(self) -> Mapping[str, Iterator[nn.Parameter]]:
        """Parameters whose gradients are clipped together; parts that don't share a loss should not share a norm."""
        return {"": self.parameters()}

    def rates(self) -> Mapping[str, float]:
        """Learning rates of `parts`, as factors of the training's; 1 for those that it does not name."""
        return {}

    def views(self, given: Views) -> Views:
        """The views that it is measured on, where others are measured on `given`."""
        return given

    @abstractmethod
    def pictures(self, degraded: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        """What the networks make of pictures, by name, to look at and to measure against `clean`."""


def restorer(job: Any, name: str) -> Callable[[Tensor], Tensor]:
    """A job as a function from degraded to restored pictures."""
    return lambda x: job.pictures(x, x)[name].clamp(0, 1)
