"""The conformance kit: does a plugin keep the promises that the engine builds on?

``assert_conforms("my_degradation")`` in a plugin's own tests, or ``isp-sim plugin check my_degradation``, runs a
list of laws on it. Pictures, capture facts and parameters are made up from what the plugin says of itself: from
`Stage.needs`, `Stage.facts_read` and the bounds of its parameters. What can't be made up, a parameter's Field says:

- ``examples=[...]``: values to try where bounds do not tell what is valid, such as the knots of a curve or a name;
- ``json_schema_extra={"unbounded": "why"}``: the reason why a number has no bounds;
- ``json_schema_extra={"undone": False}``: an error on top of a stage, which its inverse leaves alone.

The first law that breaks is often the cause of the others, so laws that can't tell anything more are then reported
as not applicable. The kit needs neither pytest nor hypothesis, draws everything from keyed generators, and leaves
the global generators and the number of threads as they were.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
import pickle
import random
import re
import time
import traceback
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import annotated_types
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from torch import Tensor

from isp_sim import registry
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.frame import PERIODIC, Capture, Frame, MissingFact, Move
from isp_sim.parameters import ParameterFaults, Parameters, StageParams, Static, Structural, collate, is_marked
from isp_sim.randomness import Randomness, generator
from isp_sim.signal import OPEN, Requirement, Signal, cfa_rows
from isp_sim.stage import Degradation, GeometricStage, Stage, StageFault, attach
from isp_sim.stages.mosaic import mosaic

Outcome = Literal["passed", "failed", "not applicable"]
FactMaker = Callable[[np.random.Generator], NDArray[Any]]
"""Makes one sample's value of a capture fact, without the leading batch axis."""

CFAS: Final = ("GRBG", "RGGB", "BGGR", "GBRG", "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", "RRGGRRGGGGBBGGBB")
"""The colour filter arrays that are tried: the four Bayer phases, X-Trans and Quad Bayer."""


# -- the report ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One law and what came of it.

    Attributes
    ----------
    name
        The law's short name.
    outcome
        ``passed``, ``failed`` or ``not applicable``.
    expected
        The law.
    found
        What was found instead; for a law that does not apply, the reason; else a remark, or nothing.
    look_for
        The mistake that breaks this law most often.
    """

    name: str
    outcome: Outcome
    expected: str
    found: str = ""
    look_for: str = ""

    def __str__(self) -> str:
        head = f"{'FAILED' if self.outcome == 'failed' else self.outcome:<15} {self.name}"
        if self.outcome == "failed":
            return f"{head}\n    found     {self.found}\n    expected  {self.expected}\n    look for  {self.look_for}"
        return f"{head}: {self.found}" if self.found else head


@dataclass(frozen=True)
class Report:
    """What the kit found on one plugin: every law by name, in the order in which it was tried.

    Attributes
    ----------
    plugin
        Its name, or that of its class.
    kind
        ``stage``, ``degradation`` or ``demosaicer``.
    checks
        The laws.
    seconds
        How long it took.
    """

    plugin: str
    kind: str
    checks: tuple[Check, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The laws that are broken."""
        return tuple(check for check in self.checks if check.outcome == "failed")

    def __getitem__(self, name: str) -> Check:
        """The law of this name; KeyError if there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def __str__(self) -> str:
        count = {outcome: sum(c.outcome == outcome for c in self.checks) for outcome in typing.get_args(Outcome)}
        counts = ", ".join(f"{number} {outcome}" for outcome, number in count.items())
        lines = [f"{self.kind} {self.plugin}: {counts} ({self.seconds:.1f} s)"]
        return "\n".join(lines + [f"  {line}" for check in self.checks for line in str(check).split("\n")])


def check(plugin: str | type[Stage] | type[Demosaicer], **options: Any) -> Report:
    """Run the kit on a plugin of any kind that it knows.

    Parameters
    ----------
    plugin
        The name of a registered stage, degradation or demosaicer, or a class.
    options
        Passed on to `check_stage` or `check_demosaicer`.

    Raises
    ------
    LookupError
        If no plugin of this name is installed, or it can't be imported.
    TypeError
        If it is a plugin of another kind.
    """
    if isinstance(plugin, str):
        kinds = (registry.STAGE_GROUPS, ("isp_sim.demosaicers",))
        groups = [group for group in kinds if plugin in registry.names(*group)]
        if len(groups) > 1:
            raise LookupError(f"{plugin!r} is a stage and a demosaicer: call check_stage or check_demosaicer")
        if not groups:
            raise registry.UnknownPlugin(plugin, tuple(itertools.chain(*kinds)))
        return (check_demosaicer if groups == [kinds[1]] else check_stage)(plugin, **options)
    if isinstance(plugin, type) and issubclass(plugin, Demosaicer):
        return check_demosaicer(plugin, **options)
    return check_stage(plugin, **options)


def assert_conforms(plugin: str | type[Stage] | type[Demosaicer], **options: Any) -> Report:
    """Raise AssertionError with the whole list if a plugin breaks a law; for a plugin's own tests.

    Takes what `check` takes, and returns its report.
    """
    report = check(plugin, **options)
    if not report.ok:
        raise AssertionError(f"\n{report}")
    return report


def check_stage(
    stage: type[Stage] | str,
    *,
    parameters: Sequence[Mapping[str, Any]] = (),
    facts: Mapping[str, FactMaker] | None = None,
) -> Report:
    """Run the kit on a stage or a degradation.

    Parameters
    ----------
    stage
        The class, or the name that it is registered under.
    parameters
        Parameters to try beyond those that the kit makes up, as a recipe would write them, without distributions.
    facts
        For capture facts that only the plugin knows: how to make one sample's value.

    Raises
    ------
    LookupError
        If no stage of this name is installed, or it can't be imported.
    TypeError
        If it is no stage: combinators are checked by the steps inside them.
    """
    name, plugin = (stage, registry.load(stage, *registry.STAGE_GROUPS)) if isinstance(stage, str) else (None, stage)
    if not (isinstance(plugin, type) and issubclass(plugin, Stage)):
        raise TypeError(f"{name or plugin!r} is no Stage, so there is nothing that the kit could promise of it")
    kind = "degradation" if issubclass(plugin, Degradation) else "stage"
    return _report(name or plugin.__name__, kind, plugin, plugin, _STAGE_LAWS, parameters, facts)


def check_demosaicer(demosaicer: type[Demosaicer] | str) -> Report:
    """Run the kit on a demosaicing algorithm; see `check_stage` for what is raised."""
    name, plugin = (
        (demosaicer, registry.load(demosaicer, "isp_sim.demosaicers"))
        if isinstance(demosaicer, str)
        else (None, demosaicer)
    )
    if not (isinstance(plugin, type) and issubclass(plugin, Demosaicer)):
        raise TypeError(f"{name or plugin!r} is no Demosaicer")

    class Interpolation(_Interpolation):
        algorithm = plugin
        halo = plugin.halo

    return _report(name or plugin.__name__, "demosaicer", plugin, Interpolation, _DEMOSAICER_LAWS, (), None)


def _report(
    name: str,
    kind: str,
    plugin: type,
    stage: type[Stage],
    laws: Sequence[_Law],
    parameters: Sequence[Mapping[str, Any]],
    facts: Mapping[str, FactMaker] | None,
) -> Report:
    start = time.perf_counter()
    checks: dict[str, Check] = {}
    with _unchanged():
        subject = _Subject(name, plugin, stage, tuple(parameters), {**_FACTS, **(facts or {})})
        for law in laws:
            checks[law.name] = _try(law, subject, checks)
    return Report(name, kind, tuple(checks.values()), time.perf_counter() - start)


def _try(law: _Law, subject: _Subject, before: Mapping[str, Check]) -> Check:
    """Test one law, unless one that it builds on did not hold."""
    for name in law.after:
        if name in before and (before[name].outcome == "failed" or name in before[name].found.split("`")):
            return Check(law.name, "not applicable", law.expected, f"tells nothing until `{name}` holds")
    try:
        remark = law.test(subject)
    except _NotApplicable as reason:
        return Check(law.name, "not applicable", law.expected, str(reason))
    except _Broken as fault:
        return Check(law.name, "failed", law.expected, str(fault), law.look_for)
    except Exception as error:  # noqa: BLE001 - whatever the plugin raises belongs into its report
        return Check(law.name, "failed", law.expected, _raised(error), law.look_for)
    return Check(law.name, "passed", law.expected, remark or "")


def _raised(error: BaseException) -> str:
    """The error, with the last place outside torch where it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    at = next((f for f in reversed(frames) if "/torch/" not in f.filename), None)
    where = f" ({Path(at.filename).name}:{at.lineno}: {at.line})" if at is not None else ""
    return f"{type(error).__name__}: {error}{where}"


# -- laws ------------------------------------------------------------------------------------------------------


class _Broken(Exception):
    """A law does not hold; says what was found."""


class _NotApplicable(Exception):
    """A law says nothing about this plugin; gives the reason."""


@dataclass(frozen=True)
class _Law:
    name: str
    expected: str
    look_for: str
    after: tuple[str, ...]
    test: Callable[[_Subject], str | None]


_STAGE_LAWS: Final[list[_Law]] = []
_DEMOSAICER_LAWS: Final[list[_Law]] = []

_RUNS: Final = ("runs", "output")
_BITS: Final = (*_RUNS, "own generators", "repeatable")
"""Laws on equal bits say nothing of a stage whose own two runs differ."""


def _law(
    name: str, expected: str, look_for: str, after: tuple[str, ...] = (), of: Sequence[list[_Law]] = ()
) -> Callable[[Callable[[_Subject], str | None]], Callable[[_Subject], str | None]]:
    """Add a law to the lists `of`; to that of stages unless told otherwise."""

    def add(test: Callable[[_Subject], str | None]) -> Callable[[_Subject], str | None]:
        for laws in of or [_STAGE_LAWS]:
            laws.append(_Law(name, expected, look_for, after, test))
        return test

    return add


_BOTH: Final = (_STAGE_LAWS, _DEMOSAICER_LAWS)


@contextmanager
def _unchanged() -> Iterator[None]:
    """Leave the global generators and the number of threads as they were."""
    threads = torch.get_num_threads()
    states = _global_states()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - the global generator is what is guarded
        random.setstate(states[2])


def _global_states() -> tuple[Tensor, Any, Any]:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - as above


def _seed_globals(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - as above
    random.seed(seed)


# -- pictures and facts to try ---------------------------------------------------------------------------------


def _rng(purpose: str, key: str) -> np.random.Generator:
    return generator(0, key, 0, "isp_sim.testing", purpose)


def _curve(rng: np.random.Generator) -> NDArray[Any]:
    y = np.array([0.0, 0.3, 0.6, 0.85, 1.0]) + np.pad(rng.uniform(-0.08, 0.08, 3), 1)
    return np.stack([np.array([0.0, 0.2, 0.45, 0.7, 1.0]), y], axis=1)


def _matrix(rng: np.random.Generator) -> NDArray[Any]:
    matrix = np.eye(3) * 1.6 + rng.uniform(-0.3, 0.3, (3, 3))
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def _gains(rng: np.random.Generator) -> NDArray[Any]:
    gains = rng.uniform([1.4, 1.0, 1.2], [2.6, 1.0, 2.2])
    return gains.reshape(3, 1, 1)


_FACTS: Final[Mapping[str, FactMaker]] = {
    "wb_gains": _gains,
    "ccm": _matrix,
    "tone_curve": _curve,
    "noise_profile": lambda rng: rng.uniform([[1e-4, 1e-6]], [[1e-2, 1e-4]]),
    "iso": lambda rng: rng.uniform(100, 6400, (1, 1, 1)),
    "exposure_time": lambda rng: rng.uniform(1e-3, 1, (1, 1, 1)),
}
"""Black and white level are not among them: their shape follows from the signal."""

_TAILS: Final[Mapping[str, tuple[int | None, ...]]] = {
    "black_level": (None, None, None),
    "white_level": (None, None, None),
    "wb_gains": (3, 1, 1),
    "ccm": (3, 3),
    "tone_curve": (None, 2),
    "noise_profile": (None, 2),
    "iso": (1, 1, 1),
    "exposure_time": (1, 1, 1),
}
"""Shapes of the facts that the engine knows, without the batch; None for any length."""


def _period(signal: Signal) -> tuple[int, int]:
    rows = cfa_rows(str(signal.cfa)) if signal.layout == "mosaic" else ("-",)
    return len(rows), len(rows[0])


def _levels(signal: Signal, key: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Black and white level of one sample, (C, h, w), whole numbers."""
    shape = (1 if signal.layout == "mosaic" else 3, *_period(signal))
    rng = _rng("levels", key)
    return rng.integers(50, 80, shape).astype(float), rng.integers(1000, 1024, shape).astype(float)


def _picture(signal: Signal, size: tuple[int, int], key: str, inside: bool) -> NDArray[Any]:
    """One sample's pixels (C, H, W): random, mostly in range, some at 0 and 1 and some beyond; as float32 has them.

    With `inside`, all are well within the range, where functions are smooth.
    """
    rng = _rng("pixels", key)
    shape = (1 if signal.layout == "mosaic" else 3, *size)
    x = rng.uniform(0.05, 0.95, shape) if inside else rng.uniform(-0.05, 1.1, shape)
    if not inside:
        x = np.where(rng.random(shape) < 0.05, np.round(np.clip(x, 0, 1)), x)
    if signal.levels == "dn":
        black, white = (
            np.tile(level, (1, -(-size[0] // level.shape[1]), -(-size[1] // level.shape[2])))[:, : size[0], : size[1]]
            for level in _levels(signal, key)
        )
        x = black + (white - black) * x
        x = x if signal.bit_depth is None else np.round(np.maximum(x, 0))
    elif signal.bit_depth is not None:
        top = 2.0 ** int(signal.bit_depth) - 1
        x = np.round(np.clip(x, 0, 1) * top) / top
    return x.astype(np.float32)


_BASES: Final = {
    "rgb": Signal(),
    "mosaic": Signal(
        layout="mosaic", cfa=CFAS[0], colour="camera", white_balanced=False, transfer="linear", reference="scene"
    ),
    "ycbcr": Signal(layout="ycbcr"),
}
_ANY: Final[Mapping[str, tuple[object, ...]]] = {
    "cfa": CFAS,
    "levels": ("unit", "dn"),
    "colour": ("srgb", "camera"),
    "white_balanced": (True, False),
    "transfer": ("srgb", "linear"),
    "reference": ("display", "scene"),
    "bit_depth": (None, 8),
}
"""What is tried where a stage does not say what it needs."""


def _signals(stage: Stage, constants: StageParams) -> list[list[Signal]]:
    """For each layout that a stage accepts: the signals to try, the usual one first, then others in one field."""
    accepted = stage.requirement(constants).accepted

    def takes(signal: Signal) -> bool:
        if stage.requirement(constants).faults(signal) or stage.refuses(signal, constants):
            return False
        try:
            stage.output_signal(signal, constants)
        except (ValueError, TypeError):  # the way in which a stage says so before a picture is read
            return False
        return True

    found = []
    for layout in accepted.get("layout", ("rgb", "mosaic")):
        base = _BASES[str(layout)]
        options = {
            name: tuple(dict.fromkeys(accepted.get(name, (getattr(base, name), *others))))
            for name, others in _ANY.items()
            if name != "cfa" or layout == "mosaic"
        }
        tried = (
            replace(base, **dict(zip(options, values, strict=True))) for values in itertools.product(*options.values())
        )
        first = next((signal for signal in itertools.islice(tried, 1024) if takes(signal)), None)
        if first is not None:
            others = (replace(first, **{name: value}) for name, values in options.items() for value in values)
            found.append(list(dict.fromkeys([first, *(signal for signal in others if takes(signal))])))
    return found


# -- parameters to try -----------------------------------------------------------------------------------------


class _NoValue(ValueError):
    """Nothing can be made up for a parameter."""


def _constraints(metadata: Sequence[Any]) -> Iterator[Any]:
    for entry in metadata:
        if isinstance(entry, FieldInfo):
            yield from _constraints(entry.metadata)
        elif isinstance(entry, annotated_types.GroupedMetadata):
            yield from _constraints(list(entry))
        else:
            yield entry


@dataclass(frozen=True)
class _Range:
    """The bounds of a number. An open end is moved inside by a millionth, since float32 would round onto it."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    @classmethod
    def of(cls, metadata: Sequence[Any]) -> _Range:
        low, high, low_open, high_open = -math.inf, math.inf, False, False
        for entry in _constraints(metadata):
            if isinstance(entry, annotated_types.Ge | annotated_types.Gt):
                value = float(getattr(entry, "ge", getattr(entry, "gt", None)))  # type: ignore[arg-type]
                if value >= low:
                    low, low_open = value, isinstance(entry, annotated_types.Gt)
            if isinstance(entry, annotated_types.Le | annotated_types.Lt):
                value = float(getattr(entry, "le", getattr(entry, "lt", None)))  # type: ignore[arg-type]
                if value <= high:
                    high, high_open = value, isinstance(entry, annotated_types.Lt)
        return cls(low, high, low_open, high_open)

    @property
    def ends(self) -> tuple[float, float]:
        inset = (self.high - self.low) * 1e-6 if math.isfinite(self.high - self.low) else 1e-6
        return self.low + inset * self.low_open, self.high - inset * self.high_open

    @property
    def whole_ends(self) -> tuple[float, float]:
        return (
            math.floor(self.low) + 1 if self.low_open and math.isfinite(self.low) else self.low,
            math.ceil(self.high) - 1 if self.high_open and math.isfinite(self.high) else self.high,
        )


def _number(metadata: Sequence[Any], whole: bool, rng: np.random.Generator, end: int | None) -> float | int:
    """A number within its bounds, or its lower (0) or upper (1) end."""
    span = _Range.of(metadata)
    low, high = span.whole_ends if whole else span.ends
    if end is not None:
        if not math.isfinite((low, high)[end]):
            raise _NoValue("has no bound on this side")
        return int((low, high)[end]) if whole else (low, high)[end]
    if not math.isfinite(low):
        low = min(high, 0.0) - 2 if math.isfinite(high) else -2.0
    if not math.isfinite(high):
        high = low + (16 if whole else 4)
    step = next((float(m.multiple_of) for m in _constraints(metadata) if isinstance(m, annotated_types.MultipleOf)), 0)  # type: ignore[arg-type]
    value: float = int(rng.integers(int(low), int(high), endpoint=True)) if whole else float(rng.uniform(low, high))
    if step:
        value = math.floor(value / step) * step
    return int(value) if whole else float(np.float32(value)) if low <= np.float32(value) <= high else value


def _made_up(annotation: Any, metadata: Sequence[Any], rng: np.random.Generator, end: int | None = None) -> Any:
    """A value of this type within its bounds; with `end`, all its numbers at their lower (0) or upper (1) end."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _made_up(arguments[0], [*metadata, *arguments[1:]], rng, end)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        return _made_up(inner[0], metadata, rng, end)
    if origin is Literal:
        return arguments[int(rng.integers(len(arguments)))]
    if annotation is bool:
        return bool(rng.integers(2))
    if annotation in (int, float):
        return _number(metadata, annotation is int, rng, end)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            least = max(
                (m.min_length for m in _constraints(metadata) if isinstance(m, annotated_types.MinLen)), default=1
            )
            most = min(
                (m.max_length for m in _constraints(metadata) if isinstance(m, annotated_types.MaxLen)), default=least
            )
            # one length for all, so that a batch of different draws is one batch
            return tuple(_made_up(arguments[0], [], rng, end) for _ in range(max(least, min(most, least + 2))))
        return tuple(_made_up(argument, [], rng, end) for argument in arguments)
    raise _NoValue(f"is of type {annotation}")


def _holds_number(annotation: Any) -> bool:
    if typing.get_origin(annotation) is Literal:
        return False
    return annotation in (int, float) or any(_holds_number(argument) for argument in typing.get_args(annotation))


def _extra(info: FieldInfo, name: str) -> Any:
    return info.json_schema_extra.get(name) if isinstance(info.json_schema_extra, dict) else None


def _may_be_none(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


_DRAWN: Final = object()
"""Stands where each sample gets a value of its own."""


@dataclass(frozen=True)
class _Case:
    """Parameters to try: some fixed for the whole batch, the others drawn for each sample."""

    label: str
    model: type[StageParams]
    fixed: Mapping[str, Any]
    drawn: tuple[str, ...]

    def values(self, key: str, **others: Any) -> dict[str, Any]:
        """One sample's plain values, which the model accepts.

        Raises
        ------
        _NoValue
            If the model refuses whatever is tried.
        """
        rng = _rng(f"values of {self.label}", key)
        for attempt in range(60):
            tried = dict(self.fixed)
            for name in self.drawn:
                info = self.model.model_fields[name]
                if attempt >= 30 and info.get_default() is not None and rng.random() < 0.5:
                    continue  # the default, in case two draws do not go together
                tried[name] = _drawn(info, rng)
            try:
                valid = self.model.model_validate({**tried, **others})
            except ValidationError:
                continue
            return {name: getattr(valid, name) for name in self.model.model_fields}
        raise _NoValue(f"with {self.label}, the model refuses everything that was tried")

    @cached_property
    def constants(self) -> StageParams:
        """A valid instance: what decides the signal is the same for every sample."""
        return self.model.model_validate(self.values(_KEYS[0]))


def _drawn(info: FieldInfo, rng: np.random.Generator) -> Any:
    if info.examples:
        return _tuples(info.examples[int(rng.integers(len(info.examples)))])
    return _made_up(info.annotation, info.metadata, rng)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _options(info: FieldInfo) -> list[Any]:
    """What a parameter may be in a case, its default state first."""
    numeric = _holds_number(info.annotation)
    plain = is_marked(info, Static, Structural) or not numeric
    options: list[Any] = []
    if plain or info.get_default() is None:
        options = [] if info.is_required() else [info.get_default()]
    if not plain:
        return [*options, _DRAWN]
    options += [_tuples(example) for example in info.examples or ()]
    if typing.get_origin(info.annotation) is Literal:
        options += typing.get_args(info.annotation)
    elif info.annotation is bool:
        options += [False, True]
    elif not info.examples:
        rng = _rng("options", str(info.annotation))
        for end in (0, 1, None):
            try:
                options.append(_made_up(info.annotation, info.metadata, rng, end))
            except _NoValue:
                continue
    return [option for i, option in enumerate(options) if option not in options[:i]]


def _cases(model: type[StageParams], parameters: Sequence[Mapping[str, Any]]) -> list[_Case]:
    """The defaults, every number drawn, each choice in turn, and what the author gave."""
    options = {name: _options(info) for name, info in model.model_fields.items()}
    first = {name: values[0] for name, values in options.items() if values}
    chosen: list[tuple[str, dict[str, Any]]] = []
    if not any(info.is_required() for info in model.model_fields.values()):
        chosen.append(("the defaults", {}))
    chosen.append(("every number drawn", first))
    others = [(name, value) for name, values in options.items() for value in values[1:]]
    chosen += [(_named(name, value), {**first, name: value}) for name, value in others]
    joint = {name: values[1] for name, values in options.items() if len(values) > 1}
    if len(joint) > 1:
        chosen.append((" and ".join(_named(name, value) for name, value in joint.items()), {**first, **joint}))
    cases = []
    for label, choice in chosen:
        drawn = tuple(name for name, value in choice.items() if value is _DRAWN)
        cases.append(_Case(label, model, {n: v for n, v in choice.items() if v is not _DRAWN}, drawn))
    for i, given in enumerate(parameters):
        fixed = {name: _tuples(value) for name, value in given.items()}
        cases.append(_Case(f"parameters[{i}]", model, fixed, ()))
    return [case for case in dict.fromkeys(_Hashed(case) for case in cases) if case.valid()]


def _named(name: str, value: Any) -> str:
    return f"{name} drawn" if value is _DRAWN else f"{name} {value}"


class _Hashed(_Case):
    """A case that is equal to another of the same choices, whatever its label."""

    def __init__(self, case: _Case) -> None:
        super().__init__(case.label, case.model, case.fixed, case.drawn)

    def __hash__(self) -> int:
        return hash((self.drawn, str(sorted(self.fixed.items(), key=str))))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and (self.drawn, dict(self.fixed)) == (other.drawn, dict(other.fixed))

    def valid(self) -> bool:
        try:
            self.values(_KEYS[0])
        except (_NoValue, ValidationError):
            return False
        return True


# -- running a stage -------------------------------------------------------------------------------------------

_KEYS: Final = tuple(f"sample {i}" for i in range(37))
"""As many samples as a small batch has: more than a vector register holds, since torch's loops for whole vectors and
for the rest of them may round differently."""

_SIZES: Final = ((5, 7), (17, 23), (61, 67), (131, 137), (263, 271), (523, 541))
"""Odd sizes that are tried, smallest first; two thirds of them do not fill whole vectors."""


@dataclass(frozen=True)
class _Setting:
    """One way of running a stage: parameters, signal, forward or backward, and the smallest size that it accepts."""

    case: _Case
    signal: Signal
    backward: bool = False
    smallest: tuple[int, int] = _SIZES[0]

    @property
    def constants(self) -> StageParams:
        return self.case.constants

    def size(self, at_least: tuple[int, int]) -> tuple[int, int]:
        return max(self.smallest[0], at_least[0]), max(self.smallest[1], at_least[1])

    def __str__(self) -> str:
        layout = f"mosaic {self.signal.cfa}" if self.signal.layout == "mosaic" else self.signal.layout
        return (
            f"{'the inverse with ' if self.backward else ''}{self.case.label}, {layout} in {self.signal.levels} levels"
        )


@dataclass(frozen=True)
class _Recorded(Randomness):
    """Draws as the engine's, and notes what for."""

    log: list[str] = field(default_factory=list, compare=False)

    def draw(
        self, purpose: str, sample: Callable[[np.random.Generator], NDArray[np.generic]]
    ) -> list[NDArray[np.generic]]:
        self.log.append(purpose)
        return super().draw(purpose, sample)


@dataclass(frozen=True)
class _Window(Randomness):
    """The draws of a whole picture, cut to a window of it: what a tile must see."""

    whole: tuple[int, int] = (0, 0)
    window: tuple[int, int, int, int] = (0, 0, 0, 0)

    def _cut(
        self, like: Tensor, shape: Sequence[int] | None, draw: Callable[[Tensor, Sequence[int], str], Tensor], purpose: str
    ) -> Tensor:
        top, left, height, width = self.window
        size = list(like.shape[1:] if shape is None else shape)
        rows = len(size) > 1 and size[-2] == height
        columns = len(size) > 0 and size[-1] == width
        if rows:
            size[-2] = self.whole[0]
        if columns:
            size[-1] = self.whole[1]
        drawn = draw(like, size, purpose)
        if rows:
            drawn = drawn[..., top : top + height, :]
        return drawn[..., left : left + width] if columns else drawn

    def _plain(self) -> Randomness:
        return Randomness(self.seed, self.view, self.stage, self.keys)

    def normal(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "normal") -> Tensor:
        return self._cut(like, shape, self._plain().normal, purpose)

    def uniform(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "uniform") -> Tensor:
        return self._cut(like, shape, self._plain().uniform, purpose)

    def draw(self, purpose: str, sample: Callable[[np.random.Generator], NDArray[Any]]) -> list[NDArray[Any]]:
        raise _NotApplicable("it draws by rng.draw, so the kit can't give a tile its part of the draws")


class _Subject:
    """A stage under test: makes frames and parameters for it, and runs it as the engine does."""

    def __init__(
        self,
        name: str,
        plugin: type,
        stage: type[Stage],
        parameters: Sequence[Mapping[str, Any]],
        facts: Mapping[str, FactMaker],
    ) -> None:
        self.name = name
        self.plugin = plugin
        self.type = stage
        self.given = parameters
        self.makers = facts
        self.undeclared: set[str] = set()
        """Facts that it asked for without saying so; they are given to it, so that the other laws can be tested."""

    @property
    def model(self) -> type[StageParams]:
        return self.type.Params

    @cached_property
    def stage(self) -> Stage:
        return self.type()

    @property
    def moves(self) -> bool:
        return issubclass(self.type, GeometricStage)

    @cached_property
    def cases(self) -> list[_Case]:
        return list(_cases(self.model, self.given))

    @cached_property
    def settings(self) -> list[_Setting]:
        """What the laws are tested on: the first case on every layout, the others on one, forward and backward."""
        found = []
        for i, case in enumerate(self.cases):
            for signals in _signals(self.stage, case.constants)[: None if i == 0 else 1]:
                found.append(_Setting(case, signals[0]))
                if self.type.is_invertible():
                    found.append(_Setting(case, self.stage.output_signal(signals[0], case.constants), True))
        if not found:
            raise _Broken("no signal that the kit can make up meets what it needs, with any of its parameters")
        return [self._fitted(setting) for setting in found]

    def _fitted(self, setting: _Setting) -> _Setting:
        """The setting with the smallest size that the stage does not refuse by a ValueError."""
        refused: ValueError | None = None
        for size in _SIZES:
            sized = replace(setting, smallest=size)
            for _ in range(8):
                try:
                    self.run(sized, _KEYS[:2])
                except MissingFact as error:
                    if error.name in self.undeclared or not self._can_make(error.name):
                        raise _Broken(
                            f"{setting}: it reads the capture's {error.name!r}, which the kit can't make up; "
                            "pass facts={...} to check_stage"
                        ) from None
                    self.undeclared.add(error.name)
                    continue
                except ValueError as error:
                    refused = error
                    break
                except StageFault:
                    return sized  # the law on the output tells more
                except Exception as error:
                    raise _Broken(f"{sized}, {_written(size)}: {_raised(error)}") from error
                return sized
        raise _Broken(
            f"{setting}: it refuses every size up to {_written(_SIZES[-1])}: {_raised(refused or ValueError())}"
        )

    def _can_make(self, name: str) -> bool:
        return name in self.makers or name in PERIODIC

    def frame(
        self,
        setting: _Setting,
        names: Sequence[str],
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.float32,
        inside: bool = False,
        keys: Sequence[str] | None = None,
    ) -> Frame:
        """A batch whose sample `names[i]` is the same in every batch, under a key of its own unless given."""
        signal, size = setting.signal, size or setting.smallest
        pixels = np.stack([_picture(signal, size, name, inside) for name in names])
        wanted = {*self.stage.facts_read(setting.constants), *self.undeclared}
        if setting.backward:
            wanted |= set(self.stage.facts_written(setting.constants))
        facts = {}
        for fact in sorted(wanted):
            if not self._can_make(fact):
                raise _Broken(
                    f"it needs the capture's {fact!r}, which the kit can't make up; pass facts={{...}} to check_stage"
                )
            made = [self._fact(fact, signal, name) for name in names]
            facts[fact] = torch.from_numpy(np.stack(made).astype(np.float32)).to(dtype)
        before = torch.from_numpy(np.stack([_rng("map", name).random((1, *size)) for name in names])).to(dtype)
        return Frame(
            torch.from_numpy(pixels).to(dtype), signal, Capture(facts), tuple(keys or names), {"before": before}
        )

    def _fact(self, fact: str, signal: Signal, name: str) -> NDArray[Any]:
        if fact in PERIODIC:
            return _levels(signal, name)[fact == "white_level"]
        return self.makers[fact](_rng(f"fact {fact}", name))

    def apply(
        self,
        setting: _Setting,
        frame: Frame,
        values: Sequence[Mapping[str, Any]],
        make: Callable[[tuple[str, ...]], Randomness] | None = None,
    ) -> Frame:
        """What the engine makes of a batch, once its parameters are drawn. Only a Degradation's signal is not
        checked, because that is a law of its own."""
        make = make or (lambda keys: Randomness(0, 0, self.name, keys))
        fields = dict(self.model.model_fields)
        drawn = []
        for key, plain in zip(frame.keys, values, strict=True):
            more = self.stage.further(plain)
            drawn.append(dict(plain) | (more.draw(lambda purpose, key=key: _rng(purpose, key)) if more else {}))  # type: ignore[misc]
            fields |= more.model.model_fields if more else {}
        parts = []
        for indices, p in collate(fields, drawn, frame.pixels):
            part = frame.select(indices)
            parts.append((indices, self._apply(setting, part, p, make(part.keys))))
        return Frame.join(parts)

    def _apply(self, setting: _Setting, frame: Frame, p: Any, rng: Randomness) -> Frame:
        stage, constants = self.stage, setting.constants
        if setting.backward:
            signal = stage.input_signal(frame.signal, constants)
            return attach(frame, stage.inverse(frame, p), signal, f"the inverse of {self.name}")
        if isinstance(stage, GeometricStage):
            return frame.moved(stage.move(frame, p))
        return attach(frame, stage.apply(frame, p, rng), stage.output_signal(frame.signal, constants), self.name)

    def run(
        self, setting: _Setting, names: Sequence[str], size: tuple[int, int] | None = None, **options: Any
    ) -> Frame:
        """Make a frame and run the stage on it."""
        return self.apply(setting, self.frame(setting, names, size, **options), self.values(setting, names))

    def values(self, setting: _Setting, names: Sequence[str], **others: Any) -> list[dict[str, Any]]:
        return [setting.case.values(name, **others) for name in names]

    @cached_property
    def draws(self) -> bool:
        """Whether any setting asks for random numbers while it runs."""
        return any(self.drawn_by(setting) for setting in self.settings)

    def drawn_by(self, setting: _Setting) -> list[str]:
        """What for, in one setting."""
        log: list[str] = []
        names = _KEYS[:2]
        frame, values = self.frame(setting, names), self.values(setting, names)
        self.apply(setting, frame, values, lambda keys: _Recorded(0, 0, self.name, keys, log))
        return log


class _Interpolation(Stage):
    """A demosaicer as a stage, so that the laws of stages can be tested on it."""

    needs = Signal.where(layout="mosaic", transfer="linear", levels="unit", bit_depth=None)
    gives = Signal.change(layout="rgb", cfa=None)
    algorithm: type[Demosaicer]

    def refuses(self, signal: Signal, p: Any) -> str | None:
        return None if self.algorithm.accepts(str(signal.cfa)) else f"does not know the CFA {signal.cfa}"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        algorithm = self.algorithm()
        if min(frame.size) < algorithm.smallest:
            raise ValueError(f"needs at least {algorithm.smallest}x{algorithm.smallest}")
        return algorithm.demosaic(frame.pixels, str(frame.signal.cfa))


# -- comparing -------------------------------------------------------------------------------------------------


def _written(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _bits(x: Tensor) -> Tensor:
    """The bits of each number; every NaN counts as the same."""
    if not x.is_floating_point():
        return x
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return torch.where(x.isnan(), torch.full_like(x, math.nan), x).contiguous().view(whole)


def _other_bits(found: Tensor, expected: Tensor) -> str | None:
    """How two tensors differ, if they do in a single bit."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"{found.dtype} {tuple(found.shape)} where {expected.dtype} {tuple(expected.shape)} was expected"
    unequal = _bits(found) != _bits(expected)
    if not unequal.any():
        return None
    at = tuple(int(i) for i in unequal.nonzero()[0])
    gap = (found.double() - expected.double()).abs().nan_to_num(math.inf).max()
    return f"{int(unequal.sum())} of {unequal.numel()} numbers differ, by at most {gap:.2g}, the first at {at}"


def _other_frame(found: Frame, expected: Frame) -> str | None:
    """How two frames differ in pixels, facts or maps, if they do in a single bit."""
    if text := _other_bits(found.pixels, expected.pixels):
        return f"in the pixels {text}"
    for what, ours, theirs in (
        ("fact", found.capture, expected.capture),
        ("map", found.maps, expected.maps),
    ):
        if set(ours) != set(theirs):
            return f"{what}s {sorted(ours)} where {sorted(theirs)} were expected"
        for name in ours:
            if text := _other_bits(ours[name], theirs[name]):
                return f"in the {what} {name!r} {text}"
    return None


def _all_finite(frame: Frame) -> str | None:
    for what, values in (("pixels", {"": frame.pixels}), ("fact", frame.capture), ("map", frame.maps)):
        for name, value in values.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                number = int((~value.isfinite()).sum())
                return f"{number} of {value.numel()} numbers in the {what} {name}".rstrip() + " are NaN or infinite"
    return None


def _beyond(found: Tensor, expected: Tensor, bound: float, outliers: float) -> str | None:
    """How far two tensors are apart, if more than a share of them are further than the bound."""
    gap = (found.double() - expected.double()).abs().nan_to_num(math.inf)
    if float((gap > bound).double().mean()) <= outliers:
        return None
    return f"{int((gap > bound).sum())} of {gap.numel()} numbers differ by more than {bound:.2g}, at most by {gap.max():.2g}"


# -- laws on what a plugin says of itself ----------------------------------------------------------------------


@_law(
    "docstring",
    "the class says in its docstring what it does, in one line, then domain, range and whether it clips",
    "a missing docstring; the one of the base class does not count",
    of=_BOTH,
)
def _docstring(s: _Subject) -> str | None:
    if not (vars(s.plugin).get("__doc__") or "").strip():
        raise _Broken(f"{s.plugin.__name__} has none")
    return None


@_law(
    "documented",
    "every parameter has a description, and one that is a number names its unit in brackets, such as [px] or [1]",
    "a Field without description=, or without [unit]",
)
def _documented(s: _Subject) -> str | None:
    faults = []
    for name, info in s.model.model_fields.items():
        if not (info.description or "").strip():
            faults.append(f"{name} has no description")
        elif _holds_number(info.annotation) and not re.search(r"\[[^\[\]]+\]", info.description or ""):
            faults.append(f"{name} is a number without a unit: {info.description!r}")
    if faults:
        raise _Broken("; ".join(faults))
    return None


@_law(
    "bounded",
    "every number has a lower and an upper bound, or the reason in json_schema_extra={'unbounded': 'why'}",
    "a Field without ge= or gt=, or without le= or lt=: a distribution would be cut off nowhere",
)
def _bounded(s: _Subject) -> str | None:
    faults = []

    def look(name: str, annotation: Any, metadata: Sequence[Any]) -> None:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            look(name, arguments[0], [*metadata, *arguments[1:]])
        elif origin is tuple:
            for argument in dict.fromkeys(argument for argument in arguments if argument is not Ellipsis):
                look(name, argument, [])
        elif origin in (typing.Union, types.UnionType):
            for argument in arguments:
                look(name, argument, metadata)
        elif annotation in (int, float):
            span = _Range.of(metadata)
            missing = [side for side, end in (("below", span.low), ("above", span.high)) if not math.isfinite(end)]
            if missing:
                faults.append(f"{name} has no bound {' and '.join(missing)}")

    for name, info in s.model.model_fields.items():
        if not _extra(info, "unbounded"):
            look(name, info.annotation, info.metadata)
    if faults:
        raise _Broken("; ".join(dict.fromkeys(faults)))
    return None


@_law(
    "class facts",
    "needs is made by Signal.where, gives by Signal.change, reads and writes are tuples of names, halo is None or a "
    "whole number from 0",
    "a string in place of a tuple of one string, such as reads = ('iso')",
)
def _class_facts(s: _Subject) -> str | None:
    stage, faults = s.type, []
    if not isinstance(stage.needs, Requirement):
        faults.append(f"needs is {stage.needs!r}")
    if not isinstance(stage.gives, Mapping):
        faults.append(f"gives is {stage.gives!r}")
    for name in ("reads", "writes"):
        value = getattr(stage, name)
        if not (isinstance(value, tuple) and all(isinstance(entry, str) and entry for entry in value)):
            faults.append(f"{name} is {value!r}")
    if not (stage.halo is None or (isinstance(stage.halo, int) and stage.halo >= 0)):
        faults.append(f"halo is {stage.halo!r}")
    if not (isinstance(stage.Params, type) and issubclass(stage.Params, StageParams)):
        faults.append(f"Params is {stage.Params!r}, which is not derived from StageParams")
    if faults:
        raise _Broken("; ".join(faults))
    return None


@_law(
    "recipe",
    "the defaults and all values in bounds are valid as a recipe writes them, a distribution may stand in place of "
    "each number that is not Static, and Params has a JSON schema",
    "a list[...] type (a recipe's lists become tuples), a default outside its own bounds, or a type that JSON "
    "does not know",
    after=("class facts",),
)
def _recipe(s: _Subject) -> str | None:
    json.dumps(s.model.model_json_schema())
    defaults = {n: info.get_default() for n, info in s.model.model_fields.items() if not info.is_required()}
    if len(defaults) == len(s.model.model_fields):
        try:
            Parameters.bind(s.model, {name: _lists(value) for name, value in defaults.items()})
        except ParameterFaults as error:
            raise _Broken(f"its defaults: {error}") from None
    for case in s.cases:
        values = case.values(_KEYS[0])
        try:
            bound = Parameters.bind(s.model, json.loads(json.dumps({n: _lists(v) for n, v in values.items()})))
        except (ParameterFaults, TypeError) as error:
            raise _Broken(f"{case.label}: {error}") from None
        again = {name: getattr(bound.constants, name) for name in s.model.model_fields}
        if again != values:
            raise _Broken(f"{case.label}: written {values}, read {again}")
    for name, info in s.model.model_fields.items():
        if is_marked(info, Static):
            continue
        for case in s.cases:
            values = case.values(_KEYS[0])
            if (law := _law_around(values[name])) is None:
                continue
            try:
                drawn = Parameters.bind(s.model, {n: _lists(v) for n, v in values.items()} | {name: law})
                drawn.draw(lambda purpose: _rng(purpose, "recipe"))
            except (ParameterFaults, ValueError, TypeError) as error:
                raise _Broken(f"{name} in place of {law}: {error}") from None
    return None


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _law_around(value: Any) -> Any:
    """A distribution in place of a number, or of the first number of a tuple."""
    if isinstance(value, tuple) and value:
        first = _law_around(value[0])
        return None if first is None else [first, *_lists(value[1:])]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return {"choice": [value]} if isinstance(value, int) else {"uniform": [value, value]}


@_law(
    "values",
    "the kit finds values other than the default for every number, and some value for every parameter",
    "a validator that bounds do not tell of: give the Field examples=[...], or loosen the validator",
    after=("class facts",),
)
def _values(s: _Subject) -> str | None:
    faults, untried = [], []
    for name, info in s.model.model_fields.items():
        seen = [case.values(key)[name] for case in s.cases for key in _KEYS[:2]]
        if not seen:
            faults.append(f"nothing valid was found for {name}")
        elif not info.is_required() and all(value == info.get_default() for value in seen):
            (faults if _holds_number(info.annotation) else untried).append(f"{name} was tried with its default alone")
    if faults:
        raise _Broken("; ".join(faults))
    return "; ".join(untried)


@_law(
    "signal",
    "the signal after the stage is known before a picture is read, also where a file will tell the CFA and the bit "
    "depth; it is as `gives` says; a Degradation changes nothing but the bit depth",
    "an output_signal that changes what `gives` does not name, or that computes with a field that is still open; a "
    "Degradation that changes what the numbers mean must be a Stage",
    after=("class facts",),
)
def _signal(s: _Subject) -> str | None:
    for case in s.cases:
        for signal in itertools.chain(*_signals(s.stage, case.constants)):
            after = s.stage.output_signal(signal, case.constants)
            if isinstance(s.stage, Degradation) and replace(after, bit_depth=signal.bit_depth) != signal:
                raise _Broken(f"{case.label}: a Degradation turned [{signal}] into [{after}]")
            for name, value in s.stage.gives.items():
                if OPEN not in (value, getattr(after, name)) and getattr(after, name) != value:
                    raise _Broken(f"{case.label}: gives says {name} {value}, output_signal {getattr(after, name)}")
            opened = replace(signal, bit_depth=OPEN, cfa=OPEN if signal.layout == "mosaic" else None)
            try:
                s.stage.refuses(opened, case.constants)
                s.stage.output_signal(opened, case.constants)
            except Exception as error:
                raise _Broken(f"{case.label}: a signal with open CFA and bit depth raised {_raised(error)}") from error
    return None


# -- laws on one run -------------------------------------------------------------------------------------------


@_law(
    "runs",
    "it runs on the signals that it needs, with the facts that it reads and the parameters that it accepts; a "
    "picture too small is refused by a ValueError that says so",
    "parameters used as plain numbers, while they come as (B, 1, 1, 1), (B, n, 1, 1) or (B, n, m)",
    after=("class facts",),
    of=_BOTH,
)
def _runs(s: _Subject) -> str | None:
    return f"in {len(s.settings)} settings"


@_law(
    "output",
    "pixels come back in the size, dtype and on the device that they had, with the channels of the signal after the "
    "stage; maps are (B, n, H, W)",
    "a tensor made without dtype= and device=, such as torch.zeros or torch.tensor; a reduction without keepdim",
    after=("runs",),
    of=_BOTH,
)
def _output(s: _Subject) -> str | None:
    for setting in s.settings:
        for dtype in (torch.float32, torch.float64):
            frame = s.frame(setting, _KEYS[:3], dtype=dtype)
            try:
                out = s.apply(setting, frame, s.values(setting, _KEYS[:3]))
            except StageFault as error:
                raise _Broken(f"{setting}: {error}") from None
            if not s.moves and out.size != frame.size:
                raise _Broken(f"{setting}: {_written(frame.size)} became {_written(out.size)}; use a GeometricStage")
            for name, value in out.maps.items():
                if value.ndim != 4 or value.shape[0] != 3 or tuple(value.shape[-2:]) != out.size:
                    raise _Broken(
                        f"{setting}: the map {name!r} is {tuple(value.shape)} for (3, n, {out.size[0]}, {out.size[1]})"
                    )
    return None


@_law(
    "finite",
    "finite pixels stay finite, also somewhat below 0 and above 1, where noise and bright light put them",
    "a square root, logarithm or power of a negative number, or a division by one that may be 0",
    after=_RUNS,
    of=_BOTH,
)
def _finite(s: _Subject) -> str | None:
    for setting in s.settings:
        if text := _all_finite(s.run(setting, _KEYS[:3], setting.size((17, 23)))):
            raise _Broken(f"{setting}: {text}")
    return None


@_law(
    "ends",
    "it runs at both ends of every parameter, with a finite result",
    "a bound that includes the value at which a formula breaks down: use gt= and lt=, or a tighter bound",
    after=(*_RUNS, "finite"),
)
def _ends(s: _Subject) -> str | None:
    tried = 0
    for name, info in s.model.model_fields.items():
        if not _holds_number(info.annotation) or info.examples:
            continue
        for end in (0, 1):
            try:
                value = _made_up(info.annotation, info.metadata, _rng("ends", name), end)
            except _NoValue:
                continue
            for setting in s.settings:
                case = setting.case
                with_end = _Case(
                    f"{name} {value}", s.model, {**case.fixed, name: value}, tuple(n for n in case.drawn if n != name)
                )
                try:
                    values = with_end.values(_KEYS[0])
                except _NoValue:
                    continue  # the model's own validator refuses it beside these other values
                tried += 1
                at_end = s._fitted(replace(setting, case=with_end))
                try:
                    frame = s.apply(at_end, s.frame(at_end, _KEYS[:1]), [values])
                except Exception as error:
                    raise _Broken(f"{at_end}: {_raised(error)}") from error
                if text := _all_finite(frame):
                    raise _Broken(f"{at_end}: {text}")
    if not tried:
        raise _NotApplicable("it has no number with bounds")
    return None


@_law(
    "signals",
    "it runs on every signal that it accepts",
    "a `needs` that names too little, or a branch on the signal that forgets a case",
    after=_RUNS,
    of=_BOTH,
)
def _every_signal(s: _Subject) -> str | None:
    number = 0
    for case in s.cases[:1]:
        for signal in itertools.chain(*_signals(s.stage, case.constants)):
            setting = s._fitted(_Setting(case, signal))
            out = s.run(setting, _KEYS[:2])
            number += 1
            if text := _all_finite(out):
                raise _Broken(f"[{signal}]: {text}")
            after = s.stage.output_signal(signal, case.constants)
            if s.moves and out.signal != after:
                raise _Broken(f"[{signal}]: the move leaves [{out.signal}], output_signal says [{after}]")
    return f"on {number} signals"


@_law(
    "sizes",
    "it takes pictures of any size, odd ones too, from the smallest that it does not refuse by a ValueError",
    "an even size taken for granted; padding wider than the picture",
    after=_RUNS,
    of=_BOTH,
)
def _any_size(s: _Subject) -> str | None:
    sizes = [(1, 1), (1, 6), (6, 1), (2, 2), (3, 3), (2, 7), (4, 8), (5, 5), (8, 8), (9, 14), (14, 9), (33, 32)]
    for setting in s.settings:
        ran: list[tuple[int, int]] = [setting.smallest]
        for size in [
            *sizes,
            (setting.smallest[0] + 1, setting.smallest[1]),
            (setting.smallest[0], setting.smallest[1] + 1),
        ]:
            try:
                out = s.run(setting, _KEYS[:2], size)
            except ValueError as error:
                if smaller := next((r for r in ran if r[0] <= size[0] and r[1] <= size[1]), None):
                    raise _Broken(
                        f"{setting}: refuses {_written(size)}, though it takes {_written(smaller)}: {_raised(error)}"
                    ) from error
                continue
            except Exception as error:
                raise _Broken(f"{setting}, {_written(size)}: {_raised(error)}") from error
            ran.append(size)
            if not s.moves and out.size != size:
                raise _Broken(f"{setting}: {_written(size)} became {_written(out.size)}")
    return None


@_law(
    "codes",
    "where the signal after the stage has a bit depth, the pixels lie on the codes of that many bits",
    "a bit depth in `gives` or keeps_codes = True without the rounding that belongs to it",
    after=_RUNS,
)
def _codes(s: _Subject) -> str | None:
    tried = 0
    for case in s.cases:
        for signal in itertools.chain(*_signals(s.stage, case.constants)):
            depth = s.stage.output_signal(signal, case.constants).bit_depth
            if depth in (None, OPEN):
                continue
            tried += 1
            out = s.run(s._fitted(_Setting(case, signal)), _KEYS[:2]).pixels.double()
            codes = out * (2.0 ** int(str(depth)) - 1) if signal.levels == "unit" else out
            off = (codes - codes.round()).abs().max()
            if off > 2**-8:  # what float32 leaves of a 16 bit code
                raise _Broken(f"{case.label}, [{signal}]: a pixel lies {off:.3g} codes of {depth} bit off")
    if not tried:
        raise _NotApplicable("its pixels are not quantised")
    return None


@_law(
    "capture facts",
    "it reads only the facts that facts_read names, and sets exactly those that facts_written names, each in its "
    "documented shape with a leading batch",
    "frame.capture['...'] without its name in `reads`, or Result(capture=...) without its name in `writes`",
    after=_RUNS,
)
def _capture_facts(s: _Subject) -> str | None:
    if s.undeclared:
        raise _Broken(f"it reads {', '.join(sorted(s.undeclared))}, which facts_read does not name")
    for setting in s.settings:
        if setting.backward:
            continue
        frame = s.frame(setting, _KEYS[:3])
        out = s.apply(setting, frame, s.values(setting, _KEYS[:3]))
        written = {n for n in out.capture if n not in frame.capture or out.capture[n] is not frame.capture[n]}
        declared = set(s.stage.facts_written(setting.constants))
        if s.moves:
            written -= set(PERIODIC)
        if undeclared := written - declared:
            raise _Broken(f"{setting}: it sets {', '.join(sorted(undeclared))}, which facts_written does not name")
        if missing := declared - set(out.capture):
            raise _Broken(f"{setting}: it does not set {', '.join(sorted(missing))}, which facts_written names")
        for name in written & set(_TAILS):
            shape, tail = tuple(out.capture[name].shape), _TAILS[name]
            fits = len(shape) == len(tail) + 1 and all(t in (None, n) for n, t in zip(shape[1:], tail, strict=True))
            if not fits:
                raise _Broken(f"{setting}: it sets {name} of shape {shape}; see isp_sim.frame.FACTS")
    return None


@_law(
    "input untouched",
    "the frame that goes in is the same, bit for bit, after the run: pixels, facts and maps",
    "an operation in place on frame.pixels or on a view of it: add_, clamp_, out=, x[...] = ...",
    after=_RUNS,
    of=_BOTH,
)
def _input_untouched(s: _Subject) -> str | None:
    for setting in s.settings:
        frame, untouched = s.frame(setting, _KEYS[:2]), s.frame(setting, _KEYS[:2])
        s.apply(setting, frame, s.values(setting, _KEYS[:2]))
        if text := _other_frame(frame, untouched):
            raise _Broken(f"{setting}: {text}")
    return None


# -- laws on equal bits ----------------------------------------------------------------------------------------


@_law(
    "own generators",
    "the global generators of torch, NumPy and Python are neither read nor advanced: all draws come from `rng`",
    "torch.rand, torch.normal, np.random.*, random.*, or a dropout; draw by rng.normal or rng.uniform",
    after=_RUNS,
    of=_BOTH,
)
def _own_generators(s: _Subject) -> str | None:
    for setting in s.settings:
        runs = []
        for seed in (1, 2):
            _seed_globals(seed)
            before = _global_states()
            runs.append(s.run(setting, _KEYS[:2]))
            after = _global_states()
            advanced = [
                name
                for name, same in (
                    ("torch", torch.equal(before[0], after[0])),
                    ("numpy.random", all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))),
                    ("random", before[2] == after[2]),
                )
                if not same
            ]
            if advanced:
                raise _Broken(f"{setting}: the generator of {' and '.join(advanced)} was advanced")
        if text := _other_frame(runs[1], runs[0]):
            raise _Broken(f"{setting}: under another global seed {text}")
    return None


@_law(
    "repeatable",
    "the same key, view and parameters give the same bits again, from the same instance and from a new one",
    "a generator seeded by time or by nothing, state kept on self, or hash() of a text, which differs by process",
    after=(*_RUNS, "own generators"),
    of=_BOTH,
)
def _repeatable(s: _Subject) -> str | None:
    for setting in s.settings:
        first, again = (s.run(setting, _KEYS[:3]) for _ in range(2))
        if text := _other_frame(again, first):
            raise _Broken(f"{setting}: run again, {text}")
        fresh = _Subject(s.name, s.plugin, s.type, s.given, s.makers)
        fresh.undeclared = s.undeclared
        if text := _other_frame(fresh.run(setting, _KEYS[:3]), first):
            raise _Broken(f"{setting}: from a new instance, {text}")
    return None


@_law(
    "keyed noise",
    "what a stage draws depends on the sample's key, on the view, on the recipe's seed and on the stage's id",
    "a generator of the stage's own that is seeded by part of these; draw by rng.normal or rng.uniform",
    after=_BITS,
)
def _keyed_noise(s: _Subject) -> str | None:
    names = _KEYS[:1] * 4
    drew = differed = False
    for setting in s.settings:
        log: list[str] = []

        def run(
            keys: Sequence[str],
            seed: int = 0,
            view: int = 0,
            id: str = "a",
            into: list[str] = log,
            at: _Setting = setting,
        ) -> Frame:
            frame = s.frame(at, names, at.size((17, 23)), keys=keys)
            make = lambda group: _Recorded(seed, view, id, group, into)  # noqa: E731
            return s.apply(at, frame, s.values(at, names), make)

        keys = _KEYS[:4]
        base = run(keys)
        changes = {
            "key": any(_other_bits(base.pixels[i], base.pixels[0]) for i in range(1, 4)),
            "view": bool(_other_bits(run(keys, view=1).pixels, base.pixels)),
            "seed": bool(_other_bits(run(keys, seed=1).pixels, base.pixels)),
            "stage id": bool(_other_bits(run(keys, id="b").pixels, base.pixels)),
        }
        if s.stage.further(s.values(setting, names)[0]) is not None:
            del changes["key"]  # its parameters are drawn by key, so that says nothing of `apply`
        drew |= bool(log)
        if any(changes.values()):
            differed = True
            if unmoved := [name for name, moved in changes.items() if not moved]:
                raise _Broken(f"{setting}: another {' or '.join(unmoved)} gives the same noise")
    if not differed:
        raise _NotApplicable("it draws, but nothing comes of it here" if drew else "it draws nothing while it runs")
    return None


@_law(
    "samples apart",
    "each sample of a batch gets the bits that it would get alone, whatever the order of the batch",
    "a statistic over the batch (x.mean(), x.amax()), the first sample's parameter used for all, or a function whose "
    "last bit depends on the length of a tensor: torch.pow, exp2, log2, sigmoid, atan2, a convolution "
    "(isp_sim.elementary has a power that does not)",
    after=_BITS,
    of=_BOTH,
)
def _samples_apart(s: _Subject) -> str | None:
    for setting in s.settings:
        for number, size, dtype in (
            (37, setting.smallest, torch.float32),
            (37, setting.smallest, torch.float64),
            (3, setting.size((61, 67)), torch.float32),
            (3, setting.size((61, 67)), torch.float64),
        ):
            names = _KEYS[:number]
            whole = s.run(setting, names, size, dtype=dtype)
            for i, name in enumerate(names):
                if text := _other_frame(s.run(setting, [name], size, dtype=dtype), whole.select([i])):
                    raise _Broken(f"{setting}, {_written(size)}, {dtype}: sample {i} of {number}, run alone: {text}")
            backwards = list(reversed(range(number)))
            turned = s.run(setting, [names[i] for i in backwards], size, dtype=dtype)
            if text := _other_frame(turned, whole.select(backwards)):
                raise _Broken(f"{setting}, {_written(size)}, {dtype}: in reversed order {text}")
    return None


def _strided(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The same numbers in other places of memory."""
    yield "channels_last", x.contiguous(memory_format=torch.channels_last)
    yield "transposed", x.transpose(-1, -2).contiguous().transpose(-1, -2)
    apart = torch.full((*x.shape[:-1], x.shape[-1] * 2), 7.0, dtype=x.dtype)
    apart[..., ::2] = x
    yield "every second column of a wider picture", apart[..., ::2]
    larger = torch.full((*x.shape[:-2], x.shape[-2] + 3, x.shape[-1] + 5), 7.0, dtype=x.dtype)
    larger[..., 1:-2, 3:-2] = x
    yield "a window of a larger picture", larger[..., 1:-2, 3:-2]


@_law(
    "strided",
    "a picture that does not lie in one piece of memory (a crop, a transpose, channels_last) gives the same bits",
    "view, as_strided or data_ptr on pixels that need not be contiguous; torch.pow and the like, which round "
    "differently by stride",
    after=_BITS,
    of=_BOTH,
)
def _strides(s: _Subject) -> str | None:
    for setting in s.settings:
        for size, dtype in itertools.product(
            (setting.smallest, setting.size((61, 67))), (torch.float32, torch.float64)
        ):
            names = _KEYS[:3]
            frame, values = s.frame(setting, names, size, dtype), s.values(setting, names)
            expected = s.apply(setting, s.frame(setting, names, size, dtype), values)
            for layout, pixels in _strided(frame.pixels):
                where = f"{setting}, {_written(size)}, {dtype}, {layout}"
                try:
                    out = s.apply(setting, replace(frame, pixels=pixels), values)
                except Exception as error:
                    raise _Broken(f"{where}: {_raised(error)}") from error
                if text := _other_frame(out, expected):
                    raise _Broken(f"{where}: {text}")
    return None


@_law(
    "threads",
    "one thread gives the bits of two",
    "a sum over a whole picture, torch.pow, or interpolate: torch splits them by the number of threads",
    after=_BITS,
    of=_BOTH,
)
def _threads(s: _Subject) -> str | None:
    for setting in s.settings:
        for dtype in (torch.float32, torch.float64):
            size = setting.size((181, 183))  # beyond the 32768 numbers below which torch uses one thread
            outs = []
            for number in (1, 2):
                torch.set_num_threads(number)
                outs.append(s.run(setting, _KEYS[:2], size, dtype=dtype))
            if text := _other_frame(outs[1], outs[0]):
                raise _Broken(f"{setting}, {_written(size)}, {dtype}: {text}")
    return None


@_law(
    "tile",
    "a tile with a margin of `halo` pixels gives the bits of the whole picture inside it",
    "a halo too small, or a result that depends on the position in the picture or on its size: then halo = None",
    after=_BITS,
    of=_BOTH,
)
def _tile(s: _Subject) -> str | None:
    halo = s.stage.halo
    if halo is None:
        raise _NotApplicable("halo is None: a pixel may depend on the whole picture")
    if s.moves:
        raise _NotApplicable("it moves pixels")
    left_out: _NotApplicable | None = None
    checked = 0
    for setting in s.settings:
        try:
            _tiles_like_whole(s, setting, halo)
            checked += 1
        except _NotApplicable as reason:
            left_out = reason
    if left_out is not None and not checked:
        raise left_out
    return f"in {checked} of {len(s.settings)} settings: {left_out}" if left_out is not None else None


def _tiles_like_whole(s: _Subject, setting: _Setting, halo: int) -> None:
    py, px = _period(setting.signal)
    size = setting.size((2 * halo + 6 * py + 29, 2 * halo + 6 * px + 31))
    height, width = 2 * py + 7, 2 * px + 9
    places = {
        "the top left corner": (0, 0),
        "the middle": ((halo + py) // py * py + py, (halo + px) // px * px + px),
        "the bottom right corner": (size[0] - height, size[1] - width),
    }
    names = _KEYS[:2]
    values = s.values(setting, names)
    for dtype in (torch.float32, torch.float64):
        whole = s.run(setting, names, size, dtype=dtype)
        frame = s.frame(setting, names, size, dtype)
        for place, (y, x) in places.items():
            # cut on full periods of the CFA, so that the pattern stays
            top, left = max(0, y - halo) // py * py, max(0, x - halo) // px * px
            bottom, right = min(size[0], y + height + halo), min(size[1], x + width + halo)
            window = (top, left, bottom - top, right - left)
            make = lambda keys, w=window: _Window(0, 0, s.name, keys, size, w)  # noqa: E731
            tile = s.apply(setting, frame.crop(*window), values, make)
            inner = tile.moved(Move(tile.size, window=(y - top, x - left, height, width)))
            expected = whole.moved(Move(whole.size, window=(y, x, height, width)))
            if text := _other_frame(inner, expected):
                raise _Broken(f"{setting}, {dtype}, a tile in {place}: {text}")


# -- laws on numbers -------------------------------------------------------------------------------------------


def _sensitivity(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """How far the result moves when the picture is rounded to float32."""
    sign = torch.from_numpy(_rng("sign", "").choice([-1.0, 1.0], size=tuple(x.shape))).to(x)
    return float((run(x * (1 + 2.0**-24 * sign)) - run(x)).abs().max())


@_law(
    "precision",
    "float32 and float64 agree within 1e-5 of the largest number plus a hundred times what rounding the picture to "
    "float32 makes; for a stage that draws, all but one number in a thousand",
    "a detour through half, bfloat16 or 8 bit codes, or a difference of two large numbers",
    after=_BITS,
    of=_BOTH,
)
def _precision(s: _Subject) -> str | None:
    checked = 0
    for setting in s.settings:
        if setting.backward is False and s.stage.output_signal(setting.signal, setting.constants).bit_depth is not None:
            continue  # a last bit may decide which code is nearest
        checked += 1
        names, size = _KEYS[:3], setting.size((17, 23))
        single = s.run(setting, names, size).pixels
        frame, values = s.frame(setting, names, size, torch.float64), s.values(setting, names)

        def run(x: Tensor, at: _Setting = setting, frame: Frame = frame, values: Any = values) -> Tensor:
            return s.apply(at, replace(frame, pixels=x), values).pixels

        double = run(frame.pixels)
        bound = 1e-5 * max(1.0, float(double.abs().max())) + 100 * _sensitivity(run, frame.pixels)
        if text := _beyond(single, double, bound, 1e-3 if s.draws else 0.0):
            raise _Broken(f"{setting}: {text}")
    if not checked:
        raise _NotApplicable("it quantises, so a last bit may decide the nearest code")
    return None


@_law(
    "gradient",
    "a differentiable stage has the gradient of what it computes, finite everywhere and not zero everywhere; one "
    "that draws may have that of its mean; one that says differentiable = False, or is_differentiable says so of its "
    "parameters, has none",
    "detach, .data, NumPy or rounding on the way; a square root or power at 0, whose infinite slope turns into NaN; "
    "differentiable = False forgotten, or left over",
    after=_BITS,
    of=_BOTH,
)
def _gradient(s: _Subject) -> str | None:
    sloped = [setting for setting in s.settings if s.stage.is_differentiable(setting.constants)]
    for setting in s.settings:
        if setting in sloped:
            continue
        out, slope = _slope(s, setting, inside=True)
        if slope is not None and bool((slope != 0).any()):
            raise _Broken(f"{setting}: differentiable is False, yet a gradient of up to {slope.abs().max():.3g} flows")
    if not sloped:
        return "none flows, as declared"
    flat, in_the_mean, checked = True, False, 0
    for setting in sloped:
        for inside in (True, False):
            out, slope = _slope(s, setting, inside)
            if slope is None:
                raise _Broken(f"{setting}: no gradient flows from the output back to the pixels")
            if not bool(slope.isfinite().all()):
                where = "within the range" if inside else "in a picture with numbers at 0, below 0 and above 1"
                raise _Broken(
                    f"{setting}: {int((~slope.isfinite()).sum())} of {slope.numel()} slopes are NaN or infinite, {where}"
                )
            flat &= not bool((slope != 0).any())
        if setting.smallest[0] > _SIZES[1][0]:
            continue
        checked += 1
        text = _unlike_differences(s, setting)
        if text and s.drawn_by(setting):
            text, in_the_mean = _unlike_mean(s, setting), True
        if text:
            raise _Broken(f"{setting}: {text}")
    if flat:
        raise _Broken("the gradient is zero everywhere; if that is so by nature, say differentiable = False")
    if not checked:
        return "finite; not compared with differences, because it needs large pictures"
    return "of the mean in a setting that draws" if in_the_mean else None


def _projected(s: _Subject, setting: _Setting, frame: Frame, values: Any, x: Tensor) -> Tensor:
    """One number that every pixel of the result has a part in."""
    out = s.apply(setting, replace(frame, pixels=x), values).pixels
    weights = torch.from_numpy(_rng("projection", "").uniform(-1, 1, tuple(out.shape))).to(out)
    return (out * weights).sum()


def _slope(s: _Subject, setting: _Setting, inside: bool) -> tuple[Tensor | None, Tensor | None]:
    names = _KEYS[:2]
    frame = s.frame(setting, names, dtype=torch.float64, inside=inside)
    leaf = frame.pixels.clone().requires_grad_()
    # a stage that works in place has its own law; on a leaf, torch would refuse it
    out = _projected(s, setting, frame, s.values(setting, names), leaf * 1)
    if not out.requires_grad:
        return out, None
    (slope,) = torch.autograd.grad(out, leaf, allow_unused=True)
    return out.detach(), slope


def _unlike_differences(s: _Subject, setting: _Setting) -> str | None:
    """Compare the slope with central differences along random directions and single pixels."""
    names = _KEYS[:2]
    frame, values = s.frame(setting, names, dtype=torch.float64, inside=True), s.values(setting, names)
    slope = _slope(s, setting, inside=True)[1]
    assert slope is not None
    rng = _rng("directions", "")
    step = 1e-6 * float(frame.pixels.abs().max())
    largest = float(slope.abs().max())
    for i in range(20):
        if i % 2:
            direction = torch.from_numpy(rng.uniform(-1, 1, tuple(slope.shape)))
        else:
            direction = torch.zeros_like(slope)
            direction.view(-1)[int(rng.integers(slope.numel()))] = 1.0
        with torch.no_grad():
            ahead, behind = (
                float(_projected(s, setting, frame, values, frame.pixels + sign * step * direction)) for sign in (1, -1)
            )
        measured, claimed = (ahead - behind) / (2 * step), float((slope * direction).sum())
        scale = max(abs(measured), abs(claimed))
        rounding = 1e-15 * (abs(ahead) + abs(behind)) * math.sqrt(slope.numel()) / step
        if abs(measured - claimed) > 1e-4 * scale + 1e-6 * largest * float(direction.norm()) + rounding:
            what = "along a random direction" if i % 2 else "at one pixel"
            return f"{what} the slope is {claimed:.6g}, central differences give {measured:.6g}"
    return None


def _unlike_mean(s: _Subject, setting: _Setting) -> str | None:
    """Compare the slope of the mean over many draws with a difference of means, by its standard error."""
    size, names = (41, 43), _KEYS[:1] * 8
    keys = _KEYS[:8]
    frame = s.frame(setting, names, size, torch.float64, inside=True, keys=keys)
    values = s.values(setting, names)
    step = 0.02 * float(frame.pixels.abs().max())

    def mean(x: Tensor) -> Tensor:
        return s.apply(setting, replace(frame, pixels=x), values).pixels

    leaf = frame.pixels.clone().requires_grad_()
    (slope,) = torch.autograd.grad(mean(leaf * 1).sum(), leaf)
    claimed = float(slope.mean())
    with torch.no_grad():
        each = (mean(frame.pixels + step) - mean(frame.pixels - step)) / (2 * step)
    measured, error = float(each.mean()), float(each.std() / math.sqrt(each.numel()))
    if abs(measured - claimed) > 5 * error + 1e-3 * abs(claimed):
        return f"the slope of the mean is {claimed:.6g}, differences of means give {measured:.6g} +- {error:.2g}"
    return None


@_law(
    "inverse",
    "inverse(apply(x)) is x within 1e-6 of the largest number, plus a hundred times what rounding the picture in "
    "between makes, in float64 and in float32",
    "a second formula that is not the inverse of the first, a forgotten parameter, or values that the stage clips; a "
    "parameter that is an error on top says json_schema_extra={'undone': False}",
    after=_BITS,
)
def _inverse(s: _Subject) -> str | None:
    if not s.type.is_invertible():
        raise _NotApplicable("it has no inverse")
    kept = {n: info.get_default() for n, info in s.model.model_fields.items() if _extra(info, "undone") is False}
    for setting in s.settings:
        if setting.backward:
            continue
        back = replace(setting, backward=True)
        for dtype in (torch.float64, torch.float32):
            names, size = _KEYS[:3], setting.size((17, 23))
            frame = s.frame(setting, names, size, dtype, inside=True)
            values = s.values(setting, names, **kept)
            out = s.apply(setting, s.frame(setting, names, size, dtype, inside=True), values)

            def undo(y: Tensor, back: _Setting = back, out: Frame = out, values: Any = values) -> Tensor:
                return s.apply(back, replace(out, pixels=y), values).pixels

            rounded = 1.0 if dtype == torch.float32 else 2.0**-29
            bound = 1e-6 * float(frame.pixels.abs().max()) + 100 * rounded * _sensitivity(undo, out.pixels)
            if text := _beyond(undo(out.pixels), frame.pixels, bound, 0.0):
                raise _Broken(f"{setting}, {dtype}: {text}")
    return f"with {', '.join(kept)} as by default" if kept else None


@_law(
    "inverse signal",
    "the signal before, found from the signal after, is one that the stage accepts and that leads to the same signal "
    "after it",
    "an input_signal of its own that forgets a field, or a field in `gives` that `needs` does not name",
    after=("signal",),
)
def _inverse_signal(s: _Subject) -> str | None:
    if not s.type.is_invertible():
        raise _NotApplicable("it has no inverse")
    for case in s.cases:
        for signal in itertools.chain(*_signals(s.stage, case.constants)):
            after = s.stage.output_signal(signal, case.constants)
            before = s.stage.input_signal(after, case.constants)
            where = f"{case.label}: [{signal}] became [{after}], and undone [{before}]"
            if s.stage.requirement(case.constants).faults(replace(before, bit_depth=signal.bit_depth)):
                raise _Broken(f"{where}, which it does not accept")
            again = s.stage.output_signal(before, case.constants)
            if replace(again, bit_depth=None) != replace(after, bit_depth=None):
                raise _Broken(f"{where}, which leads to [{again}]")
    return None


@_law(
    "pickles",
    "the class and an instance can be pickled, as a pool of processes needs, and give the same bits afterwards",
    "an open file, a lambda or a lock kept on self, or a class defined inside a function",
    after=_BITS,
    of=_BOTH,
)
def _pickles(s: _Subject) -> str | None:
    if s.plugin is not s.type:
        pickle.loads(pickle.dumps(s.plugin()))
        return None
    copy = _Subject(s.name, s.plugin, s.type, s.given, s.makers)
    copy.undeclared = s.undeclared
    copy.__dict__["stage"] = pickle.loads(pickle.dumps(s.stage))
    setting = s.settings[0]
    if text := _other_frame(copy.run(setting, _KEYS[:2]), s.run(setting, _KEYS[:2])):
        raise _Broken(f"after a round trip through pickle {text}")
    return None


@_law(
    "cuda",
    "a CUDA device gives what the CPU gives, within 1e-5 of the largest number plus a hundred times what rounding the "
    "picture makes, on that device; all but one number in a thousand where a stage draws or quantises",
    "a tensor made on the CPU in `apply`, or a draw on the device",
    after=_BITS,
    of=_BOTH,
)
def _cuda(s: _Subject) -> str | None:
    if not torch.cuda.is_available():
        raise _NotApplicable("there is no CUDA device here")
    worst = 0.0
    for setting in s.settings:
        names, size = _KEYS[:3], setting.size((61, 67))
        frame, values = s.frame(setting, names, size), s.values(setting, names)

        def run(x: Tensor, at: _Setting = setting, frame: Frame = frame, values: Any = values) -> Tensor:
            return s.apply(at, replace(frame, pixels=x), values).pixels

        expected = run(frame.pixels)
        found = s.apply(setting, frame.to("cuda"), values)
        tensors = {"pixels": found.pixels, **found.maps, **found.capture}
        if stray := [name for name, tensor in tensors.items() if tensor.device.type != "cuda"]:
            raise _Broken(f"{setting}: {', '.join(stray)} came back on the CPU")
        bound = 1e-5 * max(1.0, float(expected.abs().max())) + 100 * _sensitivity(run, frame.pixels)
        codes = s.stage.output_signal(setting.signal, setting.constants).bit_depth is not None
        if text := _beyond(found.pixels.cpu(), expected, bound, 1e-3 if s.draws or codes else 0.0):
            raise _Broken(f"{setting}: {text}")
        worst = max(worst, float((found.pixels.cpu() - expected).abs().max()))
    return f"at most {worst:.2g} apart"


# -- laws on demosaicers ---------------------------------------------------------------------------------------


def _algorithm(s: _Subject) -> Demosaicer:
    return s.plugin()  # type: ignore[no-any-return]


def _phases(s: _Subject) -> list[str]:
    return [cfa for cfa in CFAS if s.plugin.accepts(cfa)]  # type: ignore[attr-defined]


def _mosaic(size: tuple[int, int], key: str, number: int = 1) -> Tensor:
    return torch.from_numpy(_rng("mosaic", key).uniform(-0.1, 1.2, (number, 1, *size)).astype(np.float32))


@_law(
    "algorithm facts",
    "border is described, smallest is a whole number from 1, halo is None or a whole number from 0, and it accepts a "
    "CFA",
    "a class fact left at its default",
    of=[_DEMOSAICER_LAWS],
)
def _algorithm_facts(s: _Subject) -> str | None:
    plugin: Any = s.plugin
    faults = [] if plugin.border.strip() else ["border is empty: say how the picture goes on beyond its edge"]
    if not (isinstance(plugin.smallest, int) and plugin.smallest >= 1):
        faults.append(f"smallest is {plugin.smallest!r}")
    if not (plugin.halo is None or (isinstance(plugin.halo, int) and plugin.halo >= 0)):
        faults.append(f"halo is {plugin.halo!r}")
    if not _phases(s):
        faults.append(f"it accepts none of {', '.join(CFAS)}")
    if faults:
        raise _Broken("; ".join(faults))
    return f"accepts {', '.join(_phases(s))}"


@_law(
    "constants",
    "a picture of one colour, whose channels differ, comes back to the last bit, at the border too, for every phase",
    "a border that breaks the phase of the CFA (pad by reflection, not by repetition), the channels of a phase mixed "
    "up, or weights whose sum is 1 only up to rounding: order the sums so that equal samples cancel",
    after=_RUNS,
    of=[_DEMOSAICER_LAWS],
)
def _constants(s: _Subject) -> str | None:
    algorithm = _algorithm(s)
    for cfa in _phases(s):
        for size in ((algorithm.smallest, algorithm.smallest + 1), (13, 14), (14, 13)):
            size = (max(size[0], algorithm.smallest), max(size[1], algorithm.smallest))
            for key in _KEYS[:4]:
                colour = torch.from_numpy(_rng("colour", key).uniform(0, 1, (1, 3, 1, 1)).astype(np.float32))
                flat = colour.expand(1, 3, *size).contiguous()
                if text := _other_bits(algorithm.demosaic(mosaic(flat, cfa), cfa), flat):
                    raise _Broken(
                        f"{cfa}, {_written(size)}, colour {[round(v, 4) for v in colour.flatten().tolist()]}: {text}"
                    )
    return f"for {', '.join(_phases(s))}"


@_law(
    "samples kept",
    "mosaic(demosaic(m)) is m to the last bit",
    "an interpolation that also smooths: then say preserves_samples = False; or an even and an odd row mixed up",
    after=_RUNS,
    of=[_DEMOSAICER_LAWS],
)
def _samples_kept(s: _Subject) -> str | None:
    algorithm = _algorithm(s)
    if not algorithm.preserves_samples:
        raise _NotApplicable("preserves_samples is False")
    for cfa in _phases(s):
        for size in ((14, 16), (13, 15)):
            m = _mosaic((max(size[0], algorithm.smallest), max(size[1], algorithm.smallest)), cfa)
            if text := _other_bits(mosaic(algorithm.demosaic(m, cfa), cfa), m):
                raise _Broken(f"{cfa}, {_written(size)}: {text}")
    return None


@_law(
    "linear",
    "demosaic(a m + b n) is a demosaic(m) + b demosaic(n), within 1e-12",
    "a clip, a median, or a choice between directions: then say linear = False",
    after=_RUNS,
    of=[_DEMOSAICER_LAWS],
)
def _linear(s: _Subject) -> str | None:
    algorithm = _algorithm(s)
    if not algorithm.linear:
        raise _NotApplicable("linear is False")
    for cfa in _phases(s):
        m, n = (
            _mosaic((max(14, algorithm.smallest), max(15, algorithm.smallest)), f"{cfa} {i}").double() for i in range(2)
        )
        joint = algorithm.demosaic(1.5 * m - 0.7 * n, cfa)
        apart = 1.5 * algorithm.demosaic(m, cfa) - 0.7 * algorithm.demosaic(n, cfa)
        if text := _beyond(joint, apart, 1e-12, 0.0):
            raise _Broken(f"{cfa}: {text}")
    return None


@_law(
    "smallest",
    "pictures of `smallest` sites in height or width, and of one more, are interpolated in full",
    "a `smallest` below what the border rule can mirror",
    after=_RUNS,
    of=[_DEMOSAICER_LAWS],
)
def _smallest(s: _Subject) -> str | None:
    algorithm = _algorithm(s)
    least = algorithm.smallest
    for cfa in _phases(s):
        for height, width in itertools.product((least, least + 1, least + 7), repeat=2):
            try:
                out = algorithm.demosaic(_mosaic((height, width), cfa), cfa)
            except Exception as error:
                raise _Broken(f"{cfa}, {height}x{width}: {_raised(error)}") from error
            if tuple(out.shape) != (1, 3, height, width):
                raise _Broken(f"{cfa}: a mosaic of {height}x{width} became {tuple(out.shape)}")
            if not bool(out.isfinite().all()):
                raise _Broken(f"{cfa}, {height}x{width}: NaN or infinite numbers")
    return None


@_law(
    "flips",
    "a mirrored or transposed mosaic, with the phase that it then has, gives the mirrored or transposed picture, within "
    "1e-9",
    "a filter that is not symmetric, rows and columns mixed up in one phase, or a border treated on one side only",
    after=_RUNS,
    of=[_DEMOSAICER_LAWS],
)
def _flips(s: _Subject) -> str | None:
    algorithm = _algorithm(s)
    for cfa in _phases(s):
        for size in ((14, 16), (13, 15), (14, 15)):
            size = (max(size[0], algorithm.smallest), max(size[1], algorithm.smallest))
            frame = Frame(_mosaic(size, cfa).double(), replace(_BASES["mosaic"], cfa=cfa))
            whole = algorithm.demosaic(frame.pixels, cfa)
            for transpose, mirror_x, mirror_y in itertools.product((False, True), repeat=3):
                move = Move(size, transpose, mirror_x, mirror_y)
                moved = frame.moved(move)
                phase = str(moved.signal.cfa)
                if not algorithm.accepts(phase):
                    continue
                if text := _beyond(algorithm.demosaic(moved.pixels, phase), move.pixels(whole), 1e-9, 0.0):
                    names = [
                        n
                        for n, on in (
                            ("transposed", transpose),
                            ("mirrored in x", mirror_x),
                            ("mirrored in y", mirror_y),
                        )
                        if on
                    ]
                    raise _Broken(f"{cfa} of {_written(size)}, {' and '.join(names)} to {phase}: {text}")
    return None
