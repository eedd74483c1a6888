"""Laws on what a plugin says of itself. No picture is made for them."""

from __future__ import annotations

import itertools
import json
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from isp_sim.parameters import ParameterFaults, Parameters, StageParams, Static, is_marked, said
from isp_sim.signal import OPEN, Requirement
from isp_sim.stage import Degradation
from isp_sim.testing.cases import Range, holds_number, lists
from isp_sim.testing.law import Broken, NotApplicable, law, raised
from isp_sim.testing.pictures import keyed, signals
from isp_sim.testing.subject import KEYS, Subject


@law(
    "docstring",
    "the class says in its docstring what it does, in one line, then domain, range and whether it clips",
    "a missing docstring; the one of the base class does not count",
)
def docstring(s: Subject) -> str | None:
    if not (vars(s.plugin).get("__doc__") or "").strip():
        raise Broken(f"{s.plugin.__name__} has none")
    return None


@law(
    "class facts",
    "needs is made by Signal.where, gives by Signal.change, reads and writes are tuples of names, halo is None or a "
    "whole number from 0, Params is derived from StageParams",
    "a text in place of a tuple of one text, such as reads = ('iso')",
)
def class_facts(s: Subject) -> str | None:
    stage, faults = s.type, []
    if not isinstance(stage.needs, Requirement):
        faults.append(f"needs is {stage.needs!r}")
    if not isinstance(stage.gives, Mapping):
        faults.append(f"gives is {stage.gives!r}")
    for name in ("reads", "writes"):
        value = getattr(stage, name)
        if not (isinstance(value, tuple) and all(isinstance(entry, str) for entry in value)):
            faults.append(f"{name} is {value!r}")
    if not (stage.halo is None or (isinstance(stage.halo, int) and stage.halo >= 0)):
        faults.append(f"halo is {stage.halo!r}")
    if not (isinstance(stage.Params, type) and issubclass(stage.Params, StageParams)):
        faults.append(f"Params is {stage.Params!r}")
    if faults:
        raise Broken("; ".join(faults))
    return None


@law(
    "documented",
    "every parameter has a description, and one that is a number names its unit in brackets, such as [px] or [1]",
    "a Field without description=, or without a unit",
    after=("class facts",),
)
def documented(s: Subject) -> str | None:
    faults = []
    for name, info in s.model.model_fields.items():
        description = (info.description or "").strip()
        if not description:
            faults.append(f"{name} has no description")
        elif holds_number(info.annotation) and not re.search(r"\[[^\[\]]+\]", description):
            faults.append(f"{name} is a number without a unit: {description!r}")
    if faults:
        raise Broken("; ".join(faults))
    return None


def _numbers(annotation: Any, metadata: Sequence[Any]) -> Iterator[Range]:
    """The bounds of each number in a type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _numbers(arguments[0], [*metadata, *arguments[1:]])
    elif origin is tuple:
        for argument in arguments:
            yield from _numbers(argument, [])
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _numbers(argument, metadata)
    elif annotation in (int, float):
        yield Range.of(metadata)


@law(
    "bounded",
    "every number has a lower and an upper bound, or the reason in json_schema_extra={'unbounded': 'why'}",
    "a Field without ge= or gt=, or without le= or lt=: a distribution would be cut off nowhere",
    after=("class facts",),
)
def bounded(s: Subject) -> str | None:
    faults = []
    for name, info in s.model.model_fields.items():
        if said(info, "unbounded"):
            continue
        for span in _numbers(info.annotation, info.metadata):
            sides = [side for side, end in (("below", span.low), ("above", span.high)) if not math.isfinite(end)]
            if sides:
                faults.append(f"{name} has no bound {' and '.join(sides)}")
    if faults:
        raise Broken("; ".join(dict.fromkeys(faults)))
    return None


@law(
    "recipe",
    "the defaults and all values in bounds are valid as a recipe writes them, a distribution may stand in place of "
    "each number that is not Static, and Params has a JSON schema",
    "a list[...] type (a recipe's lists become tuples), a default outside its own bounds, or a type that JSON does "
    "not know",
    after=("class facts",),
)
def recipe(s: Subject) -> str | None:
    json.dumps(s.model.model_json_schema())
    fields = s.model.model_fields
    if not any(info.is_required() for info in fields.values()):
        _bound(s, "its defaults", {name: lists(info.get_default()) for name, info in fields.items()})
    for case in s.cases:
        values = case.values(KEYS[0])
        written = {name: lists(value) for name, value in values.items()}
        constants = _bound(s, case.label, json.loads(json.dumps(written))).constants
        read = {name: getattr(constants, name) for name in fields}
        if read != values:
            raise Broken(f"{case.label}: written {values}, read {read}")
        for name, info in fields.items():
            node = _distribution(values[name])
            if node is not None and not is_marked(info, Static):
                _bound(s, f"{name}: {node}", written | {name: node}).draw(lambda purpose: keyed(purpose, ""))
    return None


def _bound(s: Subject, what: str, node: Mapping[str, Any]) -> Parameters:
    try:
        return Parameters.bind(s.model, node)
    except ParameterFaults as error:
        raise Broken(f"{what}: {error}") from None


def _distribution(value: Any) -> Any:
    """A distribution in place of a number, or of the first number of a tuple."""
    if isinstance(value, tuple) and value:
        first = _distribution(value[0])
        return None if first is None else [first, *lists(value[1:])]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return {"randint": [value, value]} if isinstance(value, int) else {"uniform": [value, value]}


@law(
    "values",
    "the kit finds values other than the default for every number, and some value for every parameter",
    "a validator that bounds do not tell of: give the Field examples=[...], or loosen the validator",
    after=("class facts", "recipe"),
)
def values(s: Subject) -> str | None:
    faults: list[str] = []
    untried: list[str] = []
    for name, info in s.model.model_fields.items():
        seen = [case.values(key)[name] for case in s.cases for key in KEYS[:2]]
        if not seen:
            faults.append(f"nothing valid was found for {name}")
        elif not info.is_required() and all(value == info.get_default() for value in seen):
            (faults if holds_number(info.annotation) else untried).append(f"{name} was tried with its default alone")
    if faults:
        raise Broken("; ".join(faults))
    return "; ".join(untried)


@law(
    "signal",
    "the signal after the stage is known before a picture is read, also where a file will tell the CFA and the bit "
    "depth; it is as `gives` says; a Degradation changes nothing but the bit depth",
    "an output_signal that contradicts `gives`, or that computes with a field that is still open; a Degradation that "
    "changes what the numbers mean must be a Stage",
    after=("class facts",),
)
def signal(s: Subject) -> str | None:
    for case in s.cases:
        for before in itertools.chain(*signals(s.stage, case.constants)):
            after = s.stage.output_signal(before, case.constants)
            if isinstance(s.stage, Degradation) and replace(after, bit_depth=before.bit_depth) != before:
                raise Broken(f"{case.label}: a Degradation turned [{before}] into [{after}]")
            for name, value in s.stage.gives.items():
                found = getattr(after, name)
                if OPEN not in (value, found) and found != value:
                    raise Broken(f"{case.label}: gives says {name} {value}, output_signal says {found}")
            opened = replace(before, bit_depth=OPEN, cfa=OPEN if before.layout == "mosaic" else None)
            try:
                s.stage.refuses(opened, case.constants)
                s.stage.output_signal(opened, case.constants)
            except Exception as error:
                raise Broken(f"{case.label}: with CFA and bit depth open, {raised(error)}") from error
    return None


@law(
    "inverse signal",
    "the signal before, found from the signal after, is one that the stage accepts and that leads to the same signal "
    "after it",
    "an input_signal that forgets a field, or a field in `gives` that `needs` does not name",
    after=("signal",),
)
def inverse_signal(s: Subject) -> str | None:
    if not s.type.is_invertible():
        raise NotApplicable("it has no inverse")
    for case in s.cases:
        for first in itertools.chain(*signals(s.stage, case.constants)):
            after = s.stage.output_signal(first, case.constants)
            before = s.stage.input_signal(after, case.constants)
            where = f"{case.label}: [{first}] became [{after}], and undone [{before}]"
            if s.stage.requirement(case.constants).faults(replace(before, bit_depth=first.bit_depth)):
                raise Broken(f"{where}, which it does not accept")
            again = s.stage.output_signal(before, case.constants)
            if replace(again, bit_depth=None) != replace(after, bit_depth=None):
                raise Broken(f"{where}, which leads to [{again}]")
    return None
