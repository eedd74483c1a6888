"""An ISP as a row of the results: settings of its own on the same RAW, or parameters that are tuned for a task.

By gradient, through the soft twins of stages that round or choose; or without, by CMA-ES or a Parzen estimator for a
frozen head, as Mosleh et al. 2020 [Mosleh2020] and Nishimura et al. 2018 [Nishimura2018] do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.objectives import Objective
from dirlearn.perception import TaskJob
from dirlearn.settings import Developing
from dirlearn.training.data import Batch, Needs
from dirlearn.views import Views, load_views
from isp_sim import registry
from isp_sim.parameters import takes_tensors
from isp_sim.pipeline import StageStep, walk

DECADE = 10.0
"""Bounds further apart than this factor, and above zero, are searched by the logarithm."""
EDGE = 0.02
"""How far from its bounds a parameter starts at the least, of their distance: at a bound no gradient would move it."""


class TuningFault(ValueError):
    """An ISP can't be tuned so; the message says why."""


def developed(views: Views, after: str, stages: Sequence[Any], soft: bool = False) -> tuple[Views, list[Any]]:
    """Views that are developed in another way: up to the step `after` all is drawn as before.

    Parameters
    ----------
    stages
        isp_sim stages in place of the further ones.
    soft
        Take the differentiable twin of each of them that has one.

    Returns
    -------
    tuple
        The views, and `stages` with every default explicit.

    Raises
    ------
    TuningFault
        If there is no such step.
    isp_sim.recipe.RecipeError
        With everything that is wrong with the stages.
    """
    resolved = views.renderer.recipe.resolved
    ids = [node["id"] for node in resolved["stages"]]
    if after not in ids:
        raise TuningFault(f"no step of the views has the id {after!r}; there are {', '.join(ids)}")
    kept = resolved["stages"][: ids.index(after) + 1]
    own = [_softened(node) for node in stages] if soft else list(stages)
    found, explicit = load_views({"seed": resolved["seed"], "stages": [*kept, *own]}, Path())
    return found, explicit["stages"][len(kept) :]


def _softened(node: Any) -> Any:
    """A stage in its differentiable mode, if it has one."""
    name = node if isinstance(node, str) else next(key for key in node if key != "id")
    values = {} if isinstance(node, str) else dict(node[name] or {})
    mode = registry.load(name, *registry.STAGE_GROUPS).Params.model_fields.get("mode")
    if mode is None or "soft" not in get_args(mode.annotation):
        return node
    return {**({} if isinstance(node, str) else node), name: {**values, "mode": "soft"}}


@dataclass(frozen=True)
class Tuned:
    """A parameter that is tuned: numbers of the unit interval stand for what lies between its bounds."""

    step: str
    name: str
    start: Tensor
    low: float
    high: float

    @classmethod
    def find(cls, views: Views, path: str, low: float, high: float) -> Tuned:
        """The parameter ``step.parameter`` of a recipe. TuningFault if it can't be tuned."""
        id, _, name = path.rpartition(".")
        steps = {step.id: step for step in walk(views.renderer.recipe.pipeline.steps) if isinstance(step, StageStep)}
        if id not in steps:
            raise TuningFault(f"{path}: no stage has the id {id!r}; there are {', '.join(steps)}")
        step = steps[id]
        fields = step.parameters.model.model_fields
        if name not in fields:
            raise TuningFault(f"{path}: {step.name} has no parameter {name!r}; it has {', '.join(fields) or 'none'}")
        if reason := takes_tensors(fields[name]):
            raise TuningFault(f"{path}: {reason}")
        start = getattr(step.parameters.constants, name)
        if (name,) in step.parameters.laws or start is None:
            raise TuningFault(f"{path}: give it a number, from which tuning starts")
        start = torch.tensor(start, dtype=torch.float64)
        if not low < high or not bool(((start >= low) & (start <= high)).all()):
            raise TuningFault(f"{path}: needs a lower and an upper bound around {start.tolist()}; found {low}, {high}")
        for bound in (low, high):
            try:
                step.replace([{**vars(step.parameters.constants)}], {name: torch.full_like(start, bound)[None]})
            except ValueError as error:
                raise TuningFault(f"{path}: {error}") from None
        return cls(id, name, start, low, high)

    @property
    def path(self) -> str:
        return f"{self.step}.{self.name}"

    @property
    def _logarithmic(self) -> bool:
        return self.low > 0 and self.high / self.low > DECADE

    def at(self, unit: Tensor) -> Tensor:
        """The value that a number of [0, 1] stands for."""
        if self._logarithmic:
            return self.low * torch.exp(unit * math.log(self.high / self.low))
        return self.low + unit * (self.high - self.low)

    @property
    def unit(self) -> Tensor:
        """What stands for the start."""
        if self._logarithmic:
            return torch.log(self.start / self.low) / math.log(self.high / self.low)
        return (self.start - self.low) / (self.high - self.low)


class DevelopedTask(TaskJob):
    """An ISP's pictures, a head on them, and the ISP's parameters, if any are tuned; without a head, by L1."""

    def __init__(self, views: Views, training: Developing) -> None:
        super().__init__()
        self.training_settings = training
        exact, _ = developed(views, training.after, training.stages)
        soft, _ = developed(views, training.after, training.stages, soft=True)
        # plain attributes: a recipe is neither a module nor a buffer
        self.__dict__["tuned"] = tuple(Tuned.find(exact, path, *bounds) for path, bounds in training.tune.items())
        self.__dict__["through"] = soft if self.tuned and training.search is None else exact
        if training.search is not None:
            start = torch.cat([t.unit.flatten() for t in self.tuned]) if self.tuned else torch.zeros(0)
            self.register_buffer("found", start.float())
        else:
            self.isp = nn.ParameterList(
                nn.Parameter(torch.logit(t.unit.clamp(EDGE, 1 - EDGE)).float()) for t in self.tuned
            )

    tuned: tuple[Tuned, ...]
    through: Views
    found: Tensor
    """What stands for the parameters, where they are sought without gradients."""

    def units(self) -> list[Tensor]:
        """What stands for the parameters now, each in its shape."""
        if self.training_settings.search is None:
            return [torch.sigmoid(raw) for raw in self.isp]
        sizes = [t.start.numel() for t in self.tuned]
        parts = torch.split(self.found, sizes) if sizes else ()
        return [part.reshape(t.start.shape) for part, t in zip(parts, self.tuned, strict=True)]

    def values(self) -> dict[str, dict[str, Tensor]]:
        """The tuned parameters, by step and name."""
        values: dict[str, dict[str, Tensor]] = {}
        for t, unit in zip(self.tuned, self.units(), strict=True):
            values.setdefault(t.step, {})[t.name] = t.at(unit)
        return values

    def hold(self, head: Any, rate: float = 1.0) -> None:
        super().hold(head, rate)
        self.needs = Needs(views=0, labels=head is not None)

    def developed(self, batch: Batch) -> Tensor:
        """The ISP's pictures of a batch."""
        through = replace(self.through, values=self.values() or None)
        return through.render(batch.clean, batch.keys, batch.epochs, 0, 1)

    def forward(self, batch: Batch, step: int) -> Objective:
        picture = self.developed(batch)
        l1, task, settings = F.l1_loss(picture, batch.clean), self.task(picture, batch), self.training_settings
        loss = l1 if task is None else settings.gamma1 * task + settings.gamma2 * l1
        terms = {"l1": l1} | ({} if task is None else {"task": task})
        return Objective(loss, terms | self.said())

    def said(self) -> dict[str, Tensor]:
        """The tuned numbers by name, to be logged."""
        said = {}
        for id, own in self.values().items():
            for name, value in own.items():
                for i, number in enumerate(value.detach().flatten()):
                    said[f"isp/{id}.{name}" + (f".{i}" if value.ndim else "")] = number
        return said

    def views(self, given: Views) -> Views:
        settings = self.training_settings
        found, _ = developed(given, settings.after, settings.stages)
        values = {id: {name: v.detach() for name, v in own.items()} for id, own in self.values().items()}
        return replace(found, values=values or None)

    def parts(self) -> Mapping[str, Iterator[nn.Parameter]]:
        found = dict(super().parts())
        return {"isp" if name == "" else name: parameters for name, parameters in found.items()}

    def rates(self) -> Mapping[str, float]:
        return {**super().rates(), "isp": self.training_settings.tune_rate}

    def pictures(self, degraded: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        return {"restored": degraded}
