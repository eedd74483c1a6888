"""Parameters of a stage: a bounded pydantic model, in which a recipe may put a law in place of any value."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, cast

import annotated_types
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from isp_sim.distributions import INFINITY, Choice, Constant, Law, Lookup, RandInt, is_law, parse_law

Path = tuple[str | int, ...]


class _Marker:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


Static: Final = _Marker("Static")
"""Marks a parameter that decides what a stage gives: no law may stand there. ``Annotated[str, Static]``."""

Structural: Final = _Marker("Structural")
"""Marks a number that shapes the computation (a kernel size): the engine splits a batch by its value and passes
it plain. Text, booleans and choices are so by nature."""


class StageParams(BaseModel):
    """Base of every stage's parameters. Unknown names are refused; numbers must be finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ParameterFaults(ValueError):
    """Everything that is wrong with a stage's parameters: a path into them and a message, each."""

    def __init__(self, faults: Sequence[tuple[Path, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(message for _, message in self.faults))


def dotted(path: Path) -> str:
    """``("gains", 0)`` as ``gains.0``."""
    return ".".join(map(str, path))


def is_marked(field: FieldInfo, *markers: _Marker) -> bool:
    """Whether a parameter is marked Static or Structural."""
    return any(marker is entry for entry in field.metadata for marker in markers)


def said(field: FieldInfo, name: str) -> Any:
    """What a parameter says under json_schema_extra."""
    return field.json_schema_extra.get(name) if isinstance(field.json_schema_extra, dict) else None


def _inside(annotation: Any) -> Iterator[Any]:
    """The types at the bottom of an annotation."""
    if not (arguments := typing.get_args(annotation)):
        yield annotation
    for argument in arguments:
        yield from _inside(argument)


def _holds_float(field: FieldInfo) -> bool:
    return float in _inside(field.annotation)


def takes_only_whole_numbers(field: FieldInfo) -> bool:
    """Whether a parameter is made of whole numbers alone."""
    return set(_inside(field.annotation)) - {type(None), Ellipsis} == {int}


def bounds(field: FieldInfo) -> tuple[float, float]:
    """The bounds of a number, or of the numbers in a tuple."""
    low, high = -INFINITY, INFINITY
    metadata = list(field.metadata)
    pending = [field.annotation]
    while pending:
        annotation = pending.pop()
        for argument in typing.get_args(annotation):
            if typing.get_origin(annotation) is typing.Annotated and isinstance(argument, FieldInfo):
                metadata += argument.metadata
            else:
                pending.append(argument)
    for constraint in metadata:
        if isinstance(constraint, annotated_types.Ge | annotated_types.Gt):
            value = cast(Any, getattr(constraint, "ge", getattr(constraint, "gt", None)))
            low = max(
                low,
                float(value) if isinstance(constraint, annotated_types.Ge) else float(np.nextafter(value, np.inf)),
            )
        if isinstance(constraint, annotated_types.Le | annotated_types.Lt):
            value = cast(Any, getattr(constraint, "le", getattr(constraint, "lt", None)))
            high = min(
                high,
                float(value) if isinstance(constraint, annotated_types.Le) else float(np.nextafter(value, -np.inf)),
            )
    return low, high


def frozen(value: Any) -> Any:
    """A recipe's lists as the tuples that parameters hold."""
    return tuple(frozen(v) for v in value) if isinstance(value, list | tuple) else value


def _thawed(value: Any) -> Any:
    return [_thawed(v) for v in value] if isinstance(value, list | tuple) else value


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The laws inside a value, with their paths."""
    if is_law(value):
        yield path, value
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _leaves(item, (*path, i))


def _put(values: dict[str, Any], path: Path, value: Any) -> None:
    target: Any = values
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value


@dataclass(frozen=True)
class Parameters:
    """A stage's parameters as a recipe gives them: constants and laws, checked.

    Attributes
    ----------
    model
        The stage's Params.
    constants
        A valid instance, with the first end of its support in place of each law.
    laws
        The laws by path, in an order in which they can be drawn.
    """

    model: type[StageParams]
    constants: StageParams
    laws: Mapping[Path, Law]

    @classmethod
    def bind(cls, model: type[StageParams], node: Mapping[str, Any] | None = None) -> Parameters:
        """Check a recipe's values against a model, both ends of every law included.

        Raises
        ------
        ParameterFaults
            With everything that is wrong, each with its path.
        """
        node = dict(node or {})
        faults: list[tuple[Path, str]] = []
        for name in [name for name in node if name not in model.model_fields]:
            close = difflib.get_close_matches(str(name), model.model_fields, n=1)
            known = ", ".join(model.model_fields) or "none"
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {known}"
            faults.append(((name,), f"unknown parameter {name!r}: {hint}"))
            del node[name]

        laws: dict[Path, Law] = {}
        for name, value in node.items():
            for path, leaf in _leaves(value, (name,)):
                try:
                    laws[path] = cls._law(model, path, leaf)
                except ValueError as error:
                    faults.append((path, f"{dotted(path)}: {error}"))
        broken = {path[0] for path, _ in faults}
        values = {name: _thawed(value) for name, value in node.items() if name not in broken}
        laws = {path: law for path, law in laws.items() if path[0] not in broken}
        try:
            laws = _ordered(model, laws)
        except ParameterFaults as error:
            raise ParameterFaults([*faults, *error.faults]) from None

        ends = _ends(model, values, laws)
        for path in laws:
            _put(values, path, ends[path][0])
        checked, wrong = validated(model, values)
        faults += [
            (loc, text)
            for loc, text in wrong
            if not any(loc[: len(path)] == path for path in laws) and not set(loc[:1]) & broken
        ]
        reported = {loc for loc, _ in wrong}

        def concerns(loc: Path, path: Path) -> bool:
            """Whether a fault at `loc` is the doing of the law at `path`."""
            if loc[: len(path)] == path:
                return True
            # A rule over several values. Each end is tried with the first ends of the others, which means nothing
            # where one follows from another; and a rule that is broken as it stands is reported already.
            others = (law for other, law in laws.items() if other[: len(loc)] == loc)
            return path[: len(loc)] == loc and loc not in reported and all(o.depends_on is None for o in others)

        for path, law in laws.items():
            for which, end in zip(_end_names(law, ends[path]), ends[path], strict=True):
                _put(values, path, end)
                _, wrong = validated(model, values)
                if problem := next((text for loc, text in wrong if concerns(loc, path)), None):
                    faults.append((path, f"{problem}, the {which} of {_written(law)}"))
            _put(values, path, ends[path][0])
        if faults or checked is None:
            raise ParameterFaults(faults)
        return cls(model, checked, MappingProxyType(laws))

    @staticmethod
    def _law(model: type[StageParams], path: Path, leaf: Any) -> Law:
        name = str(path[0])
        if is_marked(model.model_fields[name], Static):
            raise ValueError("no distribution may stand here, because the value decides what the stage gives")
        law = parse_law(leaf)
        field = model.model_fields[name]
        if takes_only_whole_numbers(field) and not isinstance(law, RandInt | Choice | Constant | Lookup):
            raise ValueError(f"takes whole numbers, which {next(iter(leaf))} does not draw; use randint")
        return law.truncated(*bounds(field))

    def alternatives(self) -> list[StageParams]:
        """Valid instances, one with each value that a law may choose where no number stands, `constants` first."""
        found = [self.constants]
        for path, law in self.laws.items():
            if isinstance(law, Choice) and len(path) == 1:
                values = [value for value in law.values if not _numeric(value)]
                found += [self.constants.model_copy(update={str(path[0]): frozen(value)}) for value in values]
        return [p for i, p in enumerate(found) if p not in found[:i]]

    def draw(self, rng: Callable[[str], np.random.Generator]) -> dict[str, Any]:
        """One sample's plain values. `rng` makes the generator for a purpose."""
        own = {str(path[0]) for path in self.laws}
        values = self._plain | {name: _thawed(self._plain[name]) for name in own}
        for path, law in self.laws.items():
            _put(values, path, law.draw(rng(f"param:{dotted(path)}"), values))
        return values | {name: frozen(values[name]) for name in own}

    @cached_property
    def _plain(self) -> dict[str, Any]:
        """The constants as plain values."""
        return {name: frozen(getattr(self.constants, name)) for name in self.model.model_fields}

    def resolved(self) -> dict[str, Any]:
        """The parameters as a recipe would write them with every default explicit."""
        values = {name: _thawed(getattr(self.constants, name)) for name in self.model.model_fields}
        for path, law in self.laws.items():
            _put(values, path, law.to_recipe())
        return values


def collate(
    fields: Mapping[str, FieldInfo], drawn: Sequence[Mapping[str, Any]], like: torch.Tensor
) -> list[tuple[list[int], SimpleNamespace]]:
    """Group samples by their plain values and make the numbers ready to broadcast.

    A number becomes (B, 1, 1, 1), a tuple (B, n, 1, 1), a tuple of tuples (B, n, m), in the dtype of `like`;
    whole numbers become int64. Text, booleans, None and what is marked Static or Structural stay plain, and
    samples that differ in them fall into different groups.

    Returns
    -------
    list
        For each group the positions of its samples and their values.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    known: dict[tuple[str, int], Any] = {}  # most values are one object in all samples
    for index, values in enumerate(drawn):
        for name, value in values.items():
            if (name, id(value)) not in known:
                known[name, id(value)] = _plain_key(fields[name], value)
        key = tuple((name, known[name, id(value)]) for name, value in values.items())
        groups.setdefault(key, []).append(index)
    return [
        (
            indices,
            SimpleNamespace(
                **{n: _batched(fields[n], [drawn[i][n] for i in indices], like) for n in drawn[indices[0]]}
            ),
        )
        for indices in groups.values()
    ]


def takes_tensors(field: FieldInfo) -> str | None:
    """Why no tensor may stand in place of a parameter's drawn values; None if one may."""
    if is_marked(field, Static, Structural) or not _holds_float(field):
        return "only a number that is neither fixed nor whole can be given as a tensor"
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get("differentiable") is False:
        return "no gradient flows to it"
    return None


def rank(annotation: Any) -> int:
    """How many axes a parameter of this type has: 0 a number, 1 a tuple of numbers, 2 a tuple of tuples.

    Examples
    --------
    >>> rank(tuple[tuple[float, float], ...] | None)
    2
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return rank(arguments[0])
    inner = [argument for argument in arguments if argument not in (Ellipsis, type(None))]
    return max(map(rank, inner), default=0) + (origin is tuple)


def as_batch(field: FieldInfo, given: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A tensor of a parameter's own shape, or of one such a sample, as (B, ...) for the batch `like`.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    axes, batch = rank(field.annotation), like.shape[0]
    if not isinstance(given, torch.Tensor) or not given.is_floating_point():
        raise ValueError(f"needs a floating tensor, found {getattr(given, 'dtype', type(given).__name__)}")
    if given.ndim == axes:
        given = given.expand(batch, *given.shape)
    elif given.ndim != axes + 1 or given.shape[0] != batch:
        shape = ["()", "(n,)", "(n, m)"][axes]
        raise ValueError(f"needs shape {shape}, or that for each of {batch} samples; found {tuple(given.shape)}")
    return given.to(like.device, like.dtype)


def plain(given: torch.Tensor) -> list[Any]:
    """The values (B, ...) of a tensor, in as few digits as tell them apart in its dtype."""
    array = given.detach().to("cpu").numpy()
    return cast(list[Any], array.astype(str).astype(np.float64).tolist())


def ready(given: torch.Tensor) -> torch.Tensor:
    """Values (B, ...) of a parameter as `collate` leaves them: a number (B, 1, 1, 1), a tuple (B, n, 1, 1)."""
    return given.reshape(*given.shape, *(1,) * (4 - given.ndim)) if given.ndim < 3 else given


def _numeric(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_numeric(v) for v in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _stays_plain(field: FieldInfo, value: Any) -> bool:
    return is_marked(field, Static, Structural) or not _numeric(value)


def _plain_key(field: FieldInfo, value: Any) -> Any:
    return (type(value).__name__, value) if _stays_plain(field, value) else np.shape(value)


def _batched(field: FieldInfo, values: list[Any], like: torch.Tensor) -> Any:
    if _stays_plain(field, values[0]):
        return values[0]
    dtype = like.dtype if _holds_float(field) else torch.int64
    array = np.asarray(values, dtype=np.float64 if dtype.is_floating_point else np.int64)
    return ready(torch.from_numpy(array)).to(like.device, dtype)


def _written(law: Law) -> str:
    """A law as one line of YAML."""
    return str(law.to_recipe()).replace("'", "")


def _end_names(law: Law, ends: tuple[Any, ...]) -> list[str]:
    if isinstance(law, Choice | Lookup) or len(ends) > 2:
        return [f"value {value!r}" for value in ends]
    return ["value"] if len(ends) == 1 else ["lower end", "upper end"]


def validated(model: type[StageParams], values: Mapping[str, Any]) -> tuple[StageParams | None, list[tuple[Path, str]]]:
    """A valid instance, or None; and what is wrong, each with its path."""
    try:
        return model.model_validate({name: frozen(value) for name, value in values.items()}), []
    except ValidationError as error:
        wrong = []
        for item in error.errors():
            path = tuple(step for step in item["loc"] if not (isinstance(step, str) and step not in model.model_fields))
            text = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            found = "" if item["type"] == "missing" else f"{item['input']!r} "
            wrong.append((path, f"{dotted(path)}: {found}{text}" if path else text))
        return None, wrong


def _ordered(model: type[StageParams], laws: Mapping[Path, Law]) -> dict[Path, Law]:
    """Laws in an order in which each follows the parameter it depends on."""
    faults: list[tuple[Path, str]] = []
    for path, law in laws.items():
        if law.depends_on is not None and law.depends_on not in model.model_fields:
            text = f"depends on {law.depends_on!r}, which is no parameter here: {', '.join(model.model_fields)}"
            faults.append((path, f"{dotted(path)}: {text}"))
        elif isinstance(law, Lookup) and not isinstance(laws.get((law.of,), law), Choice | Constant | Lookup):
            faults.append((path, f"{dotted(path)}: looks up {law.of}, which must then be given by choice"))
    if faults:
        raise ParameterFaults(faults)
    ordered: dict[Path, Law] = {}
    waiting = dict(laws)
    while waiting:
        free = [p for p, law in waiting.items() if not any(q[0] == law.depends_on for q in waiting)]
        if not free:
            path = next(iter(waiting))
            raise ParameterFaults([(path, f"{dotted(path)}: depends on itself, through {waiting[path].depends_on!r}")])
        for path in free:
            ordered[path] = waiting.pop(path)
    return ordered


def _ends(model: type[StageParams], values: Mapping[str, Any], laws: Mapping[Path, Law]) -> dict[Path, tuple[Any, ...]]:
    """The ends of every law; those of a law that depends on another follow from its ends."""
    given: dict[str, tuple[Any, ...]] = {}
    for name, field in model.model_fields.items():
        given[name] = (values.get(name, field.default),)
    ends: dict[Path, tuple[Any, ...]] = {}
    for path, law in laws.items():
        try:
            ends[path] = law.ends(given)
        except (TypeError, ValueError) as error:
            raise ParameterFaults(
                [(path, f"{dotted(path)}: does not follow from {law.depends_on!r}: {error}")]
            ) from None
        if len(path) == 1:
            given[str(path[0])] = ends[path]
    return ends
