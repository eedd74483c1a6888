"""Parameters to test a stage with, made up from their types and bounds."""

from __future__ import annotations

import math
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import annotated_types
import numpy as np
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from isp_sim.parameters import StageParams, Static, Structural, is_marked
from isp_sim.testing.pictures import keyed


class NoValue(ValueError):
    """Nothing can be made up for a parameter."""


# -- one value -------------------------------------------------------------------------------------------------


def _constraints(metadata: Sequence[Any]) -> Iterator[Any]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from _constraints(entry.metadata)
        elif isinstance(entry, annotated_types.GroupedMetadata):
            yield from _constraints(list(entry))
        else:
            yield entry


@dataclass(frozen=True)
class Range:
    """The bounds of a number, each of which may be open."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    @classmethod
    def of(cls, metadata: Sequence[Any]) -> Range:
        """The bounds that a field's metadata sets."""
        span = cls()
        for entry in _constraints(metadata):
            if isinstance(entry, annotated_types.Ge | annotated_types.Gt):
                is_open = isinstance(entry, annotated_types.Gt)
                value = float(typing.cast(Any, entry.gt if isinstance(entry, annotated_types.Gt) else entry.ge))
                span = cls(value, span.high, is_open, span.high_open) if value >= span.low else span
            elif isinstance(entry, annotated_types.Le | annotated_types.Lt):
                is_open = isinstance(entry, annotated_types.Lt)
                value = float(typing.cast(Any, entry.lt if isinstance(entry, annotated_types.Lt) else entry.le))
                span = cls(span.low, value, span.low_open, is_open) if value <= span.high else span
        return span

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends; an open one is moved inside by a millionth, since float32 would round onto it."""
        inset = (self.high - self.low) * 1e-6 if math.isfinite(self.high - self.low) else 1e-6
        return self.low + inset * self.low_open, self.high - inset * self.high_open

    @property
    def whole_ends(self) -> tuple[float, float]:
        """The least and the greatest whole number."""
        return (
            (math.floor(self.low) + 1 if self.low_open else math.ceil(self.low))
            if math.isfinite(self.low)
            else self.low,
            (math.ceil(self.high) - 1 if self.high_open else math.floor(self.high))
            if math.isfinite(self.high)
            else self.high,
        )


def _number(metadata: Sequence[Any], whole: bool, rng: np.random.Generator, end: int | None) -> float | int:
    span = Range.of(metadata)
    low, high = span.whole_ends if whole else span.ends
    if end is not None:
        if not math.isfinite((low, high)[end]):
            raise NoValue("has no bound on this side")
        return int((low, high)[end]) if whole else (low, high)[end]
    if not math.isfinite(low):
        low = min(high, 0.0) - 2
    if not math.isfinite(high):
        high = low + (16 if whole else 4)
    steps = [
        float(typing.cast(Any, m.multiple_of))
        for m in _constraints(metadata)
        if isinstance(m, annotated_types.MultipleOf)
    ]
    value = float(rng.integers(int(low), int(high), endpoint=True)) if whole else float(rng.uniform(low, high))
    if steps:
        value = math.floor(value / steps[0]) * steps[0]
    if whole:
        return int(value)
    single = float(np.float32(value))  # a number that float32 has, so that float64 computes with the same
    return single if low <= single <= high else value


def _length(metadata: Sequence[Any]) -> int:
    """Of a tuple without a fixed length. One for all draws, so that a batch of different draws is one batch."""
    least, most = 1, None
    for entry in _constraints(metadata):
        least = entry.min_length if isinstance(entry, annotated_types.MinLen) else least
        most = entry.max_length if isinstance(entry, annotated_types.MaxLen) else most
    return least + 2 if most is None else max(least, min(least + 2, most))


def made_up(annotation: Any, metadata: Sequence[Any], rng: np.random.Generator, end: int | None = None) -> Any:
    """A value of a type within its bounds; with `end`, all its numbers at their lower (0) or upper (1) end.

    Raises
    ------
    NoValue
        If nothing can be made up for the type, or if there is no such end.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return made_up(arguments[0], [*metadata, *arguments[1:]], rng, end)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return made_up(inner[0], metadata, rng, end)
    if origin is Literal:
        return arguments[int(rng.integers(len(arguments)))]
    if annotation is bool:
        return bool(rng.integers(2))
    if annotation in (int, float):
        return _number(metadata, annotation is int, rng, end)
    if origin is tuple:
        if arguments[1:] == (Ellipsis,):
            arguments = arguments[:1] * _length(metadata)
        return tuple(made_up(argument, [], rng, end) for argument in arguments)
    raise NoValue(f"is of type {annotation}")


def drawn(info: FieldInfo, rng: np.random.Generator) -> Any:
    """A value for a parameter: one of its examples, if it has some."""
    if info.examples:
        return tuples(info.examples[int(rng.integers(len(info.examples)))])
    return made_up(info.annotation, info.metadata, rng)


def holds_number(annotation: Any) -> bool:
    """Whether a type is a number, or has numbers in it."""
    if typing.get_origin(annotation) is Literal:
        return False
    return annotation in (int, float) or any(holds_number(argument) for argument in typing.get_args(annotation))


def tuples(value: Any) -> Any:
    """A recipe's lists as the tuples that parameters hold."""
    return tuple(tuples(item) for item in value) if isinstance(value, list | tuple) else value


def lists(value: Any) -> Any:
    """Tuples as a recipe's lists."""
    return [lists(item) for item in value] if isinstance(value, list | tuple) else value


# -- all parameters of a stage ---------------------------------------------------------------------------------

DRAWN: Final = object()
"""Stands where each sample gets a value of its own."""


@dataclass(frozen=True)
class Case:
    """Parameters to try: some fixed for the whole batch, the others drawn for each sample."""

    label: str
    model: type[StageParams]
    fixed: Mapping[str, Any]
    drawn: tuple[str, ...]

    @cached_property
    def _found(self) -> dict[str, dict[str, Any]]:
        return {}

    def values(self, key: str) -> dict[str, Any]:
        """One sample's plain values, which the model accepts.

        Raises
        ------
        NoValue
            If the model refuses whatever is tried.
        """
        if key not in self._found:
            self._found[key] = self._values(keyed(f"values of {self.label}", key))
        return dict(self._found[key])

    def _values(self, rng: np.random.Generator) -> dict[str, Any]:
        for attempt in range(60):
            tried = dict(self.fixed)
            for name in self.drawn:
                info = self.model.model_fields[name]
                if attempt >= 30 and info.get_default() is not None and rng.random() < 0.5:
                    continue  # the default, in case two draws do not go together
                tried[name] = drawn(info, rng)
            try:
                valid = self.model.model_validate(tried)
            except ValidationError:
                continue
            return {name: getattr(valid, name) for name in self.model.model_fields}
        raise NoValue(f"with {self.label}, the model refuses everything that was tried")

    @cached_property
    def constants(self) -> StageParams:
        """A valid instance. What decides the signal is the same for every sample."""
        return self.model.model_validate(self.values(""))

    def with_value(self, name: str, value: Any) -> Case:
        """The case with one parameter fixed."""
        others = tuple(other for other in self.drawn if other != name)
        return Case(_named(name, value), self.model, {**self.fixed, name: value}, others)

    @property
    def is_valid(self) -> bool:
        try:
            self.values("")
        except NoValue:
            return False
        return True


def _options(info: FieldInfo) -> list[Any]:
    """What a parameter may be in a case, its default state first."""
    default = [] if info.is_required() else [info.get_default()]
    if holds_number(info.annotation) and not is_marked(info, Static, Structural):
        return [None, DRAWN] if default == [None] else [DRAWN]
    options = default + [tuples(example) for example in info.examples or ()]
    if typing.get_origin(info.annotation) is Literal:
        options += typing.get_args(info.annotation)
    elif info.annotation is bool:
        options += [False, True]
    elif not info.examples:
        rng = keyed("options", str(info.annotation))
        with suppress(NoValue):  # one other value; both ends have a law of their own
            made = (made_up(info.annotation, info.metadata, rng) for _ in range(20))
            options += [value for value in made if value not in default][:1]
    return [option for i, option in enumerate(options) if option not in options[:i]]


def cases(model: type[StageParams], given: Sequence[Mapping[str, Any]]) -> list[Case]:
    """The defaults, every number drawn, each choice in turn, and what the author gave."""
    fields = model.model_fields
    options = {name: found for name, info in fields.items() if (found := _options(info))}
    usual = {name: found[0] for name, found in options.items()}
    chosen: list[tuple[str, dict[str, Any]]] = []
    if not any(info.is_required() for info in fields.values()):
        chosen.append(("the defaults", {name: info.get_default() for name, info in fields.items()}))
    chosen.append(("every number drawn", usual))
    for name, found in options.items():
        chosen += [(_named(name, value), {**usual, name: value}) for value in found[1:]]
    for which in (1, -1):
        joint = {name: found[which] for name, found in options.items() if len(found) > 1}
        chosen.append((" and ".join(_named(name, value) for name, value in joint.items()), {**usual, **joint}))
    chosen += [(f"parameters[{i}]", {name: tuples(v) for name, v in values.items()}) for i, values in enumerate(given)]
    distinct = [choice for i, choice in enumerate(chosen) if choice[1] not in [earlier for _, earlier in chosen[:i]]]
    made = [
        Case(
            label,
            model,
            {name: value for name, value in choice.items() if value is not DRAWN},
            tuple(name for name, value in choice.items() if value is DRAWN),
        )
        for label, choice in distinct
    ]
    return [case for case in made if case.is_valid]


def _named(name: str, value: Any) -> str:
    return f"{name} drawn" if value is DRAWN else f"{name} {textwrap.shorten(str(value), 40, placeholder='...')}"
