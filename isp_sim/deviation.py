"""Deviations: a recipe says the right setting of a stage, and how far the camera's is off.

``white_balance: {deviate: {gains.0: {factor: {loguniform: [0.8, 1.25]}}}}``. What deviates is a number of a parameter,
all numbers of one, or a fact that the stage takes from the capture. An error comes on top: only this stage sees it,
the capture keeps what is right, and no inverse undoes it.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from pydantic.fields import FieldInfo
from torch import Tensor

from isp_sim.distributions import Choice, Constant, Law, RandInt, is_law, parse_law
from isp_sim.frame import PERIODIC, Frame
from isp_sim.parameters import (
    ParameterFaults,
    Parameters,
    Path,
    StageParams,
    Static,
    bounds,
    dotted,
    is_marked,
    said,
    takes_only_whole_numbers,
    validated,
)
from isp_sim.stage import Stage

KEY: Final = "deviate"
"""Under which a recipe gives the deviations, among a stage's parameters."""

MODES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "factor": lambda right, error: right * error,
    "add": lambda right, error: right + error,
    "set": lambda right, error: right * 0 + error,
}
"""What a deviation makes of what is right."""

PLACES: Final = ("placement", "gain_map_geometry", "shading_corrected", "linearization_table")
"""Facts that are no settings: where things lie, and what has been done."""


@dataclass(frozen=True)
class Deviation:
    """One number that goes wrong, or all numbers of a value by the same error.

    Attributes
    ----------
    path
        Of the parameter or the fact, with indices.
    mode
        See `MODES`.
    law
        What the error is drawn from.
    fact
        The capture's fact that it is about; None for a parameter that the recipe gives.
    """

    path: Path
    mode: str
    law: Law
    fact: str | None = None

    @property
    def name(self) -> str:
        return dotted(self.path)

    @property
    def attribute(self) -> str:
        """Under which a stage's drawn values hold the error of a fact."""
        return f"{KEY} {self.name}"

    def of(self, right: Any, error: Any) -> Any:
        """A value, which may be a tuple, with the error in every number below the path's indices."""
        return _changed(right, self.path[1:], lambda number: MODES[self.mode](number, error))

    def within(self, low: float, high: float, right: float) -> Law:
        """The law, if it is unbounded, within what keeps a number between bounds."""
        if self.mode == "set":
            return self.law.truncated(low, high)
        if self.mode == "add":
            return self.law.truncated(low - right, high - right)
        if right == 0:
            return self.law
        return self.law.truncated(*sorted((low / right, high / right)))


@dataclass(frozen=True)
class Deviations:
    """All deviations of one stage, checked."""

    parameters: Parameters
    entries: tuple[Deviation, ...] = ()
    linked: Mapping[str, str] = field(default_factory=dict)
    """Of facts: the parameter that takes their place, whose bounds hold for them."""

    @classmethod
    def bind(cls, stage: Stage, parameters: Parameters, node: Any) -> Deviations:
        """Check what a recipe gives, both ends of every law included.

        Raises
        ------
        ParameterFaults
            With everything that is wrong, each with its path.
        """
        if node is None:
            return cls(parameters)
        if not isinstance(node, Mapping) or not node:
            raise ParameterFaults(
                [((KEY,), f"{KEY} needs settings, such as {{gains.0: {{factor: 1.1}}}}; found {node!r}")]
            )
        entries: list[Deviation] = []
        faults: list[tuple[Path, str]] = []
        for key, value in node.items():
            try:
                entries += _entries(stage, parameters, str(key), value)
            except ValueError as error:
                faults.append(((KEY, key), f"{KEY} {key}: {error}"))
        for i, entry in enumerate(entries):
            if any(_overlap(entry.path, other.path) for other in entries[:i]):
                faults.append(((KEY, entry.name), f"{KEY} {entry.name}: it deviates twice"))
        for entry in entries if not faults else ():
            if problem := _unfit(parameters, entry):
                faults.append(((KEY, entry.name), f"{KEY} {entry.name}: {problem}"))
        if faults:
            raise ParameterFaults([((KEY, _written_as(node, path[1])), message) for path, message in faults])
        fields = parameters.model.model_fields
        linked = {said(info, "fact"): name for name, info in fields.items() if said(info, "fact")}
        return cls(parameters, tuple(entries), linked)

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The errors of facts as parameters, ready for `isp_sim.parameters.collate`."""
        return {entry.attribute: FieldInfo(annotation=float) for entry in self.entries if entry.fact is not None}

    def draw(
        self, right: Mapping[str, Any], rng: Callable[[str], np.random.Generator]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """One sample's deviated values, and for the record the errors by name and mode.

        Raises
        ------
        ValueError
            If values that the stage accepts one by one do not go together once they have deviated.
        """
        values, record = dict(right), dict[str, Any]()
        for entry in self.entries:
            name = str(entry.path[0])
            generator = rng(f"{KEY}:{entry.name}")
            if entry.fact is not None:
                error = values[entry.attribute] = entry.law.draw(generator, {})
            else:
                low, high = bounds(self.parameters.model.model_fields[name])
                law = entry.law
                for number in _numbers(right[name], entry.path[1:]):
                    law = replace(entry, law=law).within(low, high, number)
                error = law.draw(generator, {})
                values[name] = entry.of(values[name], error)
            record[entry.name] = {entry.mode: error}
        if any(entry.fact is None for entry in self.entries):
            self._check({name: values[name] for name in self.parameters.model.model_fields})
        return values, record

    def _check(self, values: Mapping[str, Any]) -> None:
        _, wrong = validated(self.parameters.model, values)
        if wrong:
            raise ValueError(f"the settings deviate too far: {'; '.join(text for _, text in wrong)}")

    def deviated(self, frame: Frame, p: Any) -> dict[str, Tensor]:
        """The facts of a batch with their errors.

        Raises
        ------
        ValueError
            If a fact has no such number, or goes beyond the bounds of the parameter that could take its place.
        """
        facts: dict[str, Tensor] = {}
        for entry in self.entries:
            if entry.fact is None:
                continue
            fact = facts.get(entry.fact, frame.capture[entry.fact]).clone()
            where: tuple[slice | int, ...] = (slice(None), *(int(index) for index in entry.path[1:]))
            try:
                right = fact[where]
            except IndexError:
                raise ValueError(
                    f"{KEY} {entry.name}: {entry.fact} has no such number, it has the shape {tuple(fact.shape[1:])}"
                ) from None
            error = getattr(p, entry.attribute).reshape(-1, *[1] * (right.ndim - 1)).to(fact)
            fact[where] = MODES[entry.mode](right, error)
            facts[entry.fact] = fact
        for name, fact in facts.items():
            if parameter := self.linked.get(name):
                constants = self.parameters.constants
                values = {other: getattr(constants, other) for other in self.parameters.model.model_fields}
                for sample in fact:
                    self._check(values | {parameter: sample.squeeze().tolist()})
        return facts

    def resolved(self) -> dict[str, Any]:
        """The deviations as a recipe writes them."""
        return {entry.name: {entry.mode: _written(entry.law)} for entry in self.entries}


# -- reading ---------------------------------------------------------------------------------------------------


def _entries(stage: Stage, parameters: Parameters, key: str, node: Any) -> Iterator[Deviation]:
    path = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    if not isinstance(node, Mapping) or len(node) != 1 or next(iter(node)) not in MODES:
        raise ValueError(
            f"needs one of {', '.join(MODES)}, such as {{factor: {{uniform: [0.9, 1.1]}}}}; found {node!r}"
        )
    ((mode, errors),) = node.items()
    path, fact = _target(stage, parameters, path, mode)
    for below, error in _leaves(errors):
        if fact is None and below:
            _at(getattr(parameters.constants, str(path[0])), (*path[1:], *below), key)
        law = _law(error)
        if fact is not None:
            if below and fact in PERIODIC:
                raise ValueError(f"{fact} deviates as a whole, because its sites move with the pixels")
            if info := parameters.model.model_fields.get(str(path[0])):
                _fits(info.annotation, (*path[1:], *below), str(path[0]))
            law = law.truncated(*_limits(parameters.model, fact, mode))
        yield Deviation((*path, *below), mode, law, fact)


def _target(stage: Stage, parameters: Parameters, path: Path, mode: str) -> tuple[Path, str | None]:
    """The path, and the fact that it is about, if it is about one."""
    name, indices = str(path[0]), path[1:]
    fields = parameters.model.model_fields
    facts = stage.facts_read(parameters.constants)
    if name not in fields:
        if name not in facts:
            known = [*fields, *facts]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known) or 'none'}"
            raise ValueError(f"the stage has no setting {name!r}, and takes no such fact from the capture: {hint}")
        if parameter := next((p for p, info in fields.items() if said(info, "fact") == name), None):
            raise ValueError(f"the setting is called {dotted((parameter, *indices))}")
        if name in PLACES:
            raise ValueError(f"{name} is no setting that could be off")
        if not all(isinstance(index, int) for index in indices):
            raise ValueError(f"after the fact {name} stand whole numbers, such as {name}.0")
        if name in PERIODIC and indices:
            raise ValueError(f"{name} deviates as a whole, because its sites move with the pixels")
        return path, name
    if is_marked(fields[name], Static):
        raise ValueError("it decides what the stage gives, so it can't deviate")
    value = getattr(parameters.constants, name)
    if value is None:
        fact = said(fields[name], "fact")
        if fact is None or fact not in facts:
            raise ValueError(f"{name} is not given, and what then stands in its place can't deviate: give {name}")
        return path, str(fact)
    if takes_only_whole_numbers(fields[name]) and mode == "factor":
        raise ValueError("it takes whole numbers: use add or set")
    _at(value, indices, name)
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in _numbers(value, indices)):
        raise ValueError(f"only numbers deviate; found {value!r}")
    return path, None


def _law(node: Any) -> Law:
    law = parse_law(node) if is_law(node) else Constant(node)
    if law.depends_on is not None:
        raise ValueError("an error can't follow from a parameter")
    ends = law.ends({})
    if not all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends):
        raise ValueError(f"an error is a finite number; found {ends[0]!r}")
    return law


def _unfit(parameters: Parameters, entry: Deviation) -> str | None:
    """What is wrong with the values that a deviation leads to, at both ends of both laws."""
    name = str(entry.path[0])
    model = parameters.model
    if entry.fact is not None:
        low, high = _limits(model, entry.fact, entry.mode)
        for end in entry.law.ends({}):
            if not low <= end <= high:
                return f"{entry.mode} {end:g} leads out of bounds, whatever is right, in {_short(entry.law)}"
        return None
    if takes_only_whole_numbers(model.model_fields[name]) and not isinstance(entry.law, RandInt | Choice | Constant):
        return f"it takes whole numbers, which {next(iter(entry.law.to_recipe()))} does not draw; use randint"
    for right in _rights(parameters, name):
        try:
            _at(right[name], entry.path[1:], name)
        except ValueError as error:
            return str(error)
        for end in entry.law.ends({}):
            _, wrong = validated(model, right | {name: entry.of(right[name], end)})
            if wrong:
                return f"{wrong[0][1]}, at {entry.mode} {end:g} of {_short(entry.law)}"
    return None


def _limits(model: type[StageParams], fact: str, mode: str) -> tuple[float, float]:
    """Beyond which an error of a fact leads out of the bounds of the parameter that could take its place."""
    info = next((info for info in model.model_fields.values() if said(info, "fact") == fact), None)
    low, high = (-math.inf, math.inf) if info is None else bounds(info)
    if mode == "set":
        return low, high
    if mode == "add":
        return low - high, high - low
    return (low / high, high / low) if low > 0 else (-math.inf, math.inf)


def _rights(parameters: Parameters, name: str) -> Iterator[dict[str, Any]]:
    """The right values: with each law of a parameter at each of its ends, the other laws at their first."""
    first = {other: getattr(parameters.constants, other) for other in parameters.model.model_fields}
    yield first
    given = {other: (value,) for other, value in first.items()}
    for path, law in parameters.laws.items():
        for end in law.ends(given) if path[0] == name else ():
            yield first | {name: _with(first[name], path[1:], end)}


def _leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, list | tuple):
        for i, item in enumerate(node):
            yield from _leaves(item, (*path, i))
    else:
        yield path, node


def _at(value: Any, indices: Path, name: str) -> Any:
    for depth, index in enumerate(indices):
        if not isinstance(value, tuple) or not isinstance(index, int) or index >= len(value):
            below = dotted((name.partition(".")[0], *indices[:depth]))
            what = (
                f"{len(value)} entries, {below}.0 to {below}.{len(value) - 1}" if isinstance(value, tuple) else "none"
            )
            raise ValueError(f"{below} has no entry {index}: it has {what}")
        value = value[index]
    return value


def _fits(annotation: Any, indices: Path, name: str) -> None:
    """Raise ValueError if a type has no such entry."""
    kinds = [annotation]
    while kinds and typing.get_origin(kinds[-1]) in (typing.Union, types.UnionType, typing.Annotated):
        kinds += [kind for kind in typing.get_args(kinds.pop()) if kind is not type(None)][:1]
    arguments = typing.get_args(kinds[-1]) if typing.get_origin(kinds[-1]) is tuple else ()
    if not indices:
        return
    if not arguments or not isinstance(indices[0], int) or (arguments[-1] is not ... and indices[0] >= len(arguments)):
        found = (
            "is one number"
            if not arguments
            else f"has {len(arguments)} entries, {name}.0 to {name}.{len(arguments) - 1}"
        )
        raise ValueError(f"{name} {found}; there is no {name}.{indices[0]}")
    _fits(arguments[0 if arguments[-1] is ... else indices[0]], indices[1:], f"{name}.{indices[0]}")


def _numbers(value: Any, indices: Path = ()) -> Iterator[Any]:
    """All numbers of a value below the indices."""
    for index in indices:
        value = value[index]
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    else:
        yield value


def _changed(value: Any, indices: Path, change: Callable[[Any], Any]) -> Any:
    if indices:
        return tuple(_changed(v, indices[1:], change) if i == indices[0] else v for i, v in enumerate(value))
    return tuple(_changed(v, (), change) for v in value) if isinstance(value, tuple) else change(value)


def _with(value: Any, indices: Path, entry: Any) -> Any:
    """The value with another entry in the place of one of its own."""
    if not indices:
        return entry
    return tuple(_with(v, indices[1:], entry) if i == indices[0] else v for i, v in enumerate(value))


def _overlap(a: Path, b: Path) -> bool:
    shared = min(len(a), len(b))
    return a[:shared] == b[:shared]


def _written_as(node: Mapping[str, Any], name: Any) -> str:
    """The key under which a recipe wrote an entry."""
    return next((key for key in node if name == key or str(name).startswith(f"{key}.")), str(name))


def _written(law: Law) -> Any:
    return law.value if isinstance(law, Constant) else law.to_recipe()


def _short(law: Law) -> str:
    return str(_written(law)).replace("'", "")
