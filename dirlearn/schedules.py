"""Weights that change while training runs: functions of the step alone, so that a resumed run knows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Schedule(BaseModel):
    """A weight as a function of the step. In a recipe: a number, or the name of a law with its parameters.

    Examples
    --------
    >>> schedule = Schedule.model_validate({"exponential": {"from": 0.001, "to": 1, "steps": 300}})
    >>> [round(schedule.at(step), 6) for step in (0, 100, 200, 300, 400)]
    [0.001, 0.01, 0.1, 1.0, 1.0]
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    law: Literal["constant", "linear", "exponential", "saturating"] = "constant"
    start: Number = 0.0
    end: Number = 0.0
    steps: int = Field(0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, node: Any) -> Any:
        if isinstance(node, bool):
            raise ValueError("a weight is a number or a schedule")
        if isinstance(node, int | float):
            return {"law": "constant", "end": node}
        if not isinstance(node, Mapping) or set(node) & {"law", "start", "end"}:
            return node
        if len(node) != 1 or next(iter(node)) not in ("linear", "exponential", "saturating"):
            raise ValueError("a weight is a number, or one of linear, exponential and saturating with its parameters")
        ((law, inner),) = node.items()
        inner = dict(inner) if isinstance(inner, Mapping) else {}
        needed = {"to", "steps"} if law == "saturating" else {"from", "to", "steps"}
        if set(inner) != needed:
            raise ValueError(f"{law} takes {', '.join(sorted(needed))}; found {', '.join(sorted(inner)) or 'nothing'}")
        return {"law": law, "start": inner.get("from", 0.0), "end": inner["to"], "steps": inner["steps"]}

    @model_validator(mode="after")
    def _ends(self) -> Schedule:
        if self.law == "exponential" and (self.start <= 0 or self.end <= 0):
            raise ValueError("an exponential goes from above 0 to above 0")
        return self

    def at(self, step: int) -> float:
        """The weight at a step, from 0."""
        if self.law == "constant" or self.steps == 0:
            return self.end
        if self.law == "saturating":  # Hwang et al. 2020
            return self.end * (1 - math.exp(-step / self.steps))
        done = min(step / self.steps, 1.0)
        if self.law == "linear":
            return self.start + (self.end - self.start) * done
        return float(self.start * (self.end / self.start) ** done)

    def to_recipe(self) -> Any:
        """As a recipe writes it."""
        if self.law == "constant":
            return self.end
        inner = {"to": self.end, "steps": self.steps}
        return {self.law: inner if self.law == "saturating" else {"from": self.start, **inner}}


class Rate(BaseModel):
    """The learning rate: constant, then down to its end, as a function of the step.

    The paper says "initially 1e-4 and reduced to 1e-6 after 200 epochs": the law ``step``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    initial: float = Field(1e-4, gt=0, le=1)
    final: float = Field(1e-6, ge=0, le=1)
    warmup: int = Field(0, ge=0, description="steps of linear growth from 0")
    hold: float = Field(2 / 3, ge=0, le=1, description="part of all steps after which it goes down")
    decay: Literal["step", "linear", "cosine", "exponential"] = "cosine"

    def at(self, step: int, steps: int) -> float:
        """The rate of a step, from 0, of so many."""
        if step < self.warmup:
            return self.initial * (step + 1) / (self.warmup + 1)
        begin = self.hold * steps
        if step < begin:
            return self.initial
        done = min((step - begin) / max(steps - begin, 1e-9), 1.0)
        if self.decay == "step":
            return self.final
        if self.decay == "linear":
            return self.initial + (self.final - self.initial) * done
        if self.decay == "cosine":
            return self.final + (self.initial - self.final) * 0.5 * (1 + math.cos(math.pi * done))
        return float(self.initial * (max(self.final, 1e-12) / self.initial) ** done)
