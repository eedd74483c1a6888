"""A checked chain of steps: symbolic check, run, inverse, trace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, Final
from weakref import WeakSet

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from torch import Tensor

from isp_sim import deviation, registry, severity, strips
from isp_sim.deviation import Deviations
from isp_sim.frame import Frame
from isp_sim.parameters import (
    ParameterFaults,
    Parameters,
    Static,
    as_batch,
    collate,
    dotted,
    frozen,
    is_marked,
    plain,
    ready,
    takes_tensors,
)
from isp_sim.randomness import Randomness, generator
from isp_sim.signal import OPEN, Signal
from isp_sim.stage import Degradation, GeometricStage, Stage, attach, undo

Values = dict[str, dict[str, Any]]
"""What was drawn for one sample: stage id to parameter to plain value."""

_WHOLE: Final[WeakSet[Stage]] = WeakSet()
"""The stages of steps that were found to want the whole frame, as they draw random numbers or change its size."""
Given = Mapping[str, Mapping[str, Tensor]]
"""Tensors that stand in place of drawn values: stage id to parameter to (B, ...)."""


class SignalFault(ValueError):
    """A picture reached a stage that can't take it."""


@dataclass(frozen=True)
class State:
    """What is known at a point of the chain before any pixel is read.

    `facts` are the capture facts that are surely there; None while a file may bring any.
    """

    signal: Signal
    facts: frozenset[str] | None = frozenset()

    def with_facts(self, names: Sequence[str]) -> frozenset[str] | None:
        return None if self.facts is None else self.facts | set(names)


@dataclass(frozen=True)
class Problem:
    """Something wrong with the chain, at the step of this id."""

    step: str
    message: str
    fatal: bool = True


@dataclass(frozen=True)
class Run:
    """How one run draws and what it leaves on the way."""

    seed: int
    view: int = 0
    watch: Callable[[Step, Frame], None] | None = None
    values: list[Values] = field(default_factory=list)
    given: Given = field(default_factory=dict)

    def part(self, indices: Sequence[int]) -> Run:
        """The same run for some of the samples, unwatched: their values end in the same records."""
        given = {id: {name: t[list(indices)] for name, t in own.items()} for id, own in self.given.items()}
        return replace(self, watch=None, values=[self.values[i] for i in indices], given=given)


class Step(ABC):
    """One entry of a recipe's ``stages``: a stage with its parameters, or a combinator of steps."""

    id: str
    name: str

    @property
    def own_id(self) -> str:
        """The id within its own chain, as a recipe writes it."""
        return self.id.rpartition("/")[2]

    @abstractmethod
    def check(self, state: State) -> tuple[State, list[Problem]]:
        """The state after the step, and what is wrong with it. After a fault the chain is checked on, with what the
        fault leaves in doubt unknown."""

    @abstractmethod
    def run(self, frame: Frame, run: Run) -> Frame:
        """Process a batch; append what was drawn to ``run.values``."""

    @abstractmethod
    def resolved(self) -> dict[str, Any]:
        """The step as a recipe would write it with every default explicit."""

    def inner(self) -> Sequence[Sequence[Step]]:
        """The chains inside a combinator."""
        return ()

    def taken(self, seed: int, key: str, view: int) -> Sequence[Step]:
        """The stages that one sample passes here."""
        return (self,)


@dataclass(frozen=True)
class StageStep(Step):
    """A stage with its parameters, and how they deviate."""

    id: str
    name: str
    stage: Stage
    parameters: Parameters
    deviations: Deviations | None = None

    @classmethod
    def read(cls, id: str, name: str, stage: type[Stage], node: Mapping[str, Any] | None = None) -> StageStep:
        """Make the step from the value under its name in a recipe: parameters, severity and deviations.

        Raises
        ------
        ParameterFaults
            With everything that is wrong.
        """
        node = dict(node or {})
        own = stage.Params.model_fields
        deviate = node.pop(deviation.KEY, None) if deviation.KEY not in own else None
        expanded = severity.expanded(stage, node) if severity.KEY in node and severity.KEY not in own else node
        try:
            parameters = Parameters.bind(stage.Params, expanded)
        except ParameterFaults as error:
            if expanded is node:
                raise
            raise ParameterFaults(
                [(p if p[:1] and p[0] in node else (severity.KEY,), text) for p, text in error.faults]
            ) from None
        made = stage()
        deviations = None if deviate is None else Deviations.bind(made, parameters, deviate)
        return cls(id, name, made, parameters, deviations)

    def resolved(self) -> dict[str, Any]:
        parameters = self.parameters.resolved()
        if self.deviations is not None:
            parameters[deviation.KEY] = self.deviations.resolved()
        return {self.name: parameters, "id": self.own_id}

    def check(self, state: State) -> tuple[State, list[Problem]]:
        p = self.parameters.constants
        facts = state.with_facts(self.stage.facts_written(p))
        if faults := self.stage.requirement(p).faults(state.signal):
            needs = " and ".join(f"{name} {' or '.join(map(str, accepted))}" for name, _, accepted in faults)
            found = " and ".join(str(value) for _, value, _ in faults)
            hint = _who_gives(self.name, [(name, accepted) for name, _, accepted in faults])
            unknown = {name for name, _, _ in faults} | set(self.stage.gives)
            return State(_opened(state.signal, unknown), facts), [
                Problem(self.id, f"{self.name} needs {needs}, found {found}{hint}")
            ]
        try:
            after = self.output_signal(state.signal)
            reasons = (self.stage.refuses(state.signal, q) for q in self.parameters.alternatives())
            reason = next(filter(None, reasons), None)
        except (ValueError, TypeError) as error:
            after, reason = _opened(state.signal, set(self.stage.gives)), f"can't run here: {error}"
        if reason:
            return State(after, facts), [Problem(self.id, f"{self.name} {reason}")]
        if state.facts is not None and (missing := sorted(set(self.stage.facts_read(p)) - state.facts)):
            message = (
                f"{self.name} takes {' and '.join(missing)} from the capture, and nothing before it gives that: "
                "give the value here, read RAW files that have it, or start with unprocess"
            )
            return State(after, facts), [Problem(self.id, message)]
        return State(after, facts), []

    def output_signal(self, signal: Signal) -> Signal:
        after = self.stage.output_signal(signal, self.parameters.constants)
        if isinstance(self.stage, Degradation) and replace(after, bit_depth=signal.bit_depth) != signal:
            raise TypeError(
                f"{self.name} is a degradation and must leave the signal as it was: {signal} became {after}"
            )
        return after

    def draw(self, key: str, run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
        """What this step draws for one sample: the values to run with, and the record, which has right values and
        deviations apart."""

        def rng(purpose: str) -> Any:
            return generator(run.seed, key, run.view, self.id, purpose)

        values = self.parameters.draw(rng)
        if further := self.stage.further(values):
            values |= further.draw(rng)
        record = self.recorded(values)
        if self.deviations is not None:
            values, record[deviation.KEY] = self.deviations.draw(values, rng)
        return values, record

    def recorded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The drawn values without the data of a profile that never varies."""
        own = self.parameters.model.model_fields
        further = self.stage.further(values)
        more = further.model.model_fields if further else {}
        return {name: v for name, v in values.items() if name in own or not is_marked(more[name], Static)}

    def random(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the drawn values that a law drew, by their dotted paths."""
        further = self.stage.further(values)
        drawn = {}
        for path in (*self.parameters.laws, *(further.laws if further else ())):
            value: Any = values
            for part in path:
                value = value[part]
            drawn[dotted(path)] = value
        if self.deviations is not None:
            for entry in self.deviations.entries:
                drawn[f"{entry.name} {entry.mode}"] = values[deviation.KEY][entry.name][entry.mode]
        return drawn

    def drawn(self, frame: Frame, run: Run) -> list[tuple[list[int], SimpleNamespace]]:
        """Draw for every sample, and group samples by their plain values."""
        drawn, records = map(list, zip(*(self.draw(key, run) for key in frame.keys), strict=True))
        given = run.given.get(self.id, {})
        self.replace(drawn, given)
        for own, record, values in zip(run.values, records, drawn, strict=True):
            own[self.id] = record | {name: values[name] for name in given}
        groups = collate(self.fields(drawn), drawn, frame.pixels)
        for indices, p in groups:
            vars(p).update({name: ready(tensor[indices]) for name, tensor in given.items()})
        return groups

    def fields(self, drawn: Sequence[Mapping[str, Any]]) -> dict[str, FieldInfo]:
        """The fields of its parameters, those of deviations and of drawn profiles included."""
        fields = dict(self.parameters.model.model_fields)
        if self.deviations is not None:
            fields |= self.deviations.fields
        for values in drawn:
            if further := self.stage.further(values):
                fields |= further.model.model_fields
        return fields

    def as_given(self, given: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        """Tensors in place of drawn values, each as (B, ...). ValueError for what can't be given."""
        constants = self.parameters.constants
        fields = self.fields([{name: getattr(constants, name) for name in type(constants).model_fields}])
        tensors = {}
        for name, tensor in given.items():
            if name not in fields:
                raise ValueError(f"values: {self.id} has no parameter {name!r}; it has {', '.join(fields) or 'none'}")
            try:
                if reason := takes_tensors(fields[name]):
                    raise ValueError(reason)
                tensors[name] = as_batch(fields[name], tensor, like)
            except ValueError as error:
                raise ValueError(f"values: {self.id}.{name}: {error}") from None
        return tensors

    def replace(self, drawn: Sequence[dict[str, Any]], given: Mapping[str, Tensor]) -> None:
        """Put what given tensors hold in place of what was drawn, by the rules that a recipe's values obey."""
        for name, tensor in given.items():
            for values, value in zip(drawn, plain(tensor), strict=True):
                values[name] = frozen(value)
        for values in drawn if given else ():
            further = self.stage.further(values)
            for model in (self.parameters.model, *([further.model] if further else [])):
                try:
                    model.model_validate({name: values[name] for name in model.model_fields})
                except ValidationError as error:
                    wrong = error.errors()[0]
                    path = dotted((self.id, *wrong["loc"]))
                    raise ValueError(f"values: {path}: {wrong['input']!r}: {wrong['msg']}") from None

    def run(self, frame: Frame, run: Run) -> Frame:
        return self.run_groups(frame, run, self.drawn(frame, run))

    def run_groups(self, frame: Frame, run: Run, groups: list[tuple[list[int], SimpleNamespace]]) -> Frame:
        """Process a batch with what was drawn for it."""
        parts = []
        for indices, p in groups:
            part = frame.select(indices)
            parts.append((indices, self.apply(part, p, self.randomness(run, part.keys))))
        return Frame.join(parts)

    def randomness(self, run: Run, keys: tuple[str, ...]) -> Randomness:
        return Randomness(run.seed, run.view, self.id, keys)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Frame:
        """Run the stage on a batch of equal plain values and attach the new signal."""
        constants = self.parameters.constants
        for name, found, accepted in self.stage.requirement(constants).faults(frame.signal):
            raise SignalFault(f"{self.name} needs {name} {' or '.join(map(str, accepted))}, found {found}")
        if reason := self.stage.refuses(frame.signal, constants):
            raise SignalFault(f"{self.name} {reason}")
        if isinstance(self.stage, GeometricStage):
            return frame.moved(self.stage.move(frame, p))
        facts = {} if self.deviations is None else self.deviations.deviated(frame, p)
        seen = replace(frame, capture=frame.capture.with_facts(facts)) if facts else frame
        after = attach(seen, self.stage.apply(seen, p, rng), self.output_signal(frame.signal), self.name)
        # the capture keeps what is right, unless the stage itself sets it anew
        written = self.stage.facts_written(constants)
        kept = {name: frame.capture[name] for name in facts if name not in written}
        return replace(after, capture=after.capture.with_facts(kept)) if kept else after


@dataclass(frozen=True)
class Outcome:
    """What a pipeline made of a batch.

    Attributes
    ----------
    frame
        The last frame.
    values
        For each sample, what was drawn: stage id, parameter, plain value.
    signals
        The id of each top-level step with the signal after it.
    """

    frame: Frame
    values: list[Values]
    signals: list[tuple[str, Signal]]


@dataclass(frozen=True)
class Pipeline:
    """A chain of steps with a seed."""

    steps: tuple[Step, ...]
    seed: int = 0

    def check(self, state: State) -> tuple[list[tuple[str, Signal]], list[Problem]]:
        """The signal after each step, and everything that is wrong, before a pixel is read."""
        signals: list[tuple[str, Signal]] = []
        problems: list[Problem] = []
        for step in self.steps:
            state, found = step.check(state)
            problems += found
            signals.append((step.id, state.signal))
        names = [step.name for step in self.steps]
        for i, step in enumerate(self.steps):
            if isinstance(step, StageStep):
                remarks = step.stage.remarks(step.parameters.constants, names[i + 1 :])
                problems += [Problem(step.id, f"{step.name}: {remark}", fatal=False) for remark in remarks]
        return signals, problems

    def run(
        self,
        frame: Frame,
        view: int = 0,
        watch: Callable[[Step, Frame], None] | None = None,
        values: Given | None = None,
    ) -> Outcome:
        """Process a batch.

        Parameters
        ----------
        frame
            The batch; it is not changed.
        view
            Which rendering of the samples; an epoch is a view.
        watch
            Called with each step and the frame after it: the trace.
        values
            By step id and parameter, tensors in place of what the recipe says, such as those that a gradient is
            wanted for: of the parameter's own shape, () or (n,) or (n, m), or with one more axis for the samples.

        Raises
        ------
        SignalFault
            If a frame reaches a stage that can't take it, which the symbolic check could not foresee.
        ValueError
            If `values` names no step or parameter, or a recipe could not say the same.
        """
        run = Run(self.seed, view, watch, [{} for _ in frame.keys], self._given(values or {}, frame))
        signals: list[tuple[str, Signal]] = []
        frame = run_steps(self.steps, frame, run, signals)
        return Outcome(frame, run.values, signals)

    def _given(self, values: Given, frame: Frame) -> Given:
        """Tensors with a leading axis for the samples, where a combinator will part them."""
        steps = {step.id: step for step in walk(self.steps)}
        given: dict[str, dict[str, Tensor]] = {}
        for id, own in values.items():
            step = steps.get(id)
            if not isinstance(step, StageStep):
                known = ", ".join(id for id, step in steps.items() if isinstance(step, StageStep))
                raise ValueError(f"values: no stage has the id {id!r}; there are {known}")
            given[id] = step.as_given(own, frame.pixels)
        return given

    def inverse(self, frame: Frame, values: Sequence[Values] | None = None) -> Frame:
        """Undo the chain, last step first, with the values that the frame's capture holds.

        Parameters
        ----------
        frame
            The batch after the chain.
        values
            What was drawn, as `Outcome.values` has it; if not given, the recipe's constants are taken.

        Raises
        ------
        NotInvertible
            If a step has no inverse.
        """
        for step in reversed(self.steps):
            if not isinstance(step, StageStep):
                raise SignalFault(f"{step.name} is drawn anew for every sample, so it has no inverse")
            drawn = None if values is None else [one[step.id] for one in values]
            frame = undo(step.name, step.stage, frame, step.parameters.constants, drawn)
        return frame

    def taken(self, key: str, view: int = 0) -> Pipeline:
        """The pipeline that one sample passes: its combinators resolved as the sample draws them."""
        return replace(self, steps=tuple(one for step in self.steps for one in step.taken(self.seed, key, view)))


def walk(steps: Sequence[Step]) -> Iterator[Step]:
    """Every step, those inside combinators included."""
    for step in steps:
        yield step
        for chain in step.inner():
            yield from walk(chain)


def run_steps(steps: Sequence[Step], frame: Frame, run: Run, signals: list[tuple[str, Signal]] | None = None) -> Frame:
    """Run steps one after the other; those that may, together in strips."""
    position = 0
    while position < len(steps):
        if run.watch is None and strips.worthwhile(frame):
            frame, done = _run_strips(steps[position:], frame, run, signals)
            position += done
            if done:
                continue
        step = steps[position]
        frame = step.run(frame, run)
        if signals is not None:
            signals.append((step.id, frame.signal))
        if run.watch is not None:
            run.watch(step, frame)
        position += 1
    return frame


def _run_strips(
    steps: Sequence[Step], frame: Frame, run: Run, signals: list[tuple[str, Signal]] | None
) -> tuple[Frame, int]:
    """Run as many of the first steps as may run in strips. Returns the frame after them and their number."""
    links: list[strips.Link] = []
    after: list[tuple[str, Signal]] = []
    signal = frame.signal
    for step in steps:
        if not isinstance(step, StageStep) or step.stage in _WHOLE or isinstance(step.stage, GeometricStage):
            break
        ((_, parameters), *more) = step.drawn(frame, run)
        reach = step.stage.reach(parameters)
        tensors = [value for value in vars(parameters).values() if isinstance(value, Tensor)]
        if more or reach is None or any(tensor.requires_grad for tensor in tensors):
            break
        links.append(strips.Link(step.apply, parameters, strips.NoDraws(run.seed, run.view, step.id, ()), reach))
        signal = step.output_signal(signal)
        after.append((step.id, signal))
    while links:
        try:
            frame = strips.run(frame, links)
            break
        except strips.WantsWhole as wants:
            whole = [step_id for step_id, _ in after].index(wants.stage)
            step = steps[whole]
            if isinstance(step, StageStep):
                _WHOLE.add(step.stage)
            del links[whole:], after[whole:]
    if signals is not None:
        signals += after
    return frame, len(links)


def _opened(signal: Signal, names: set[str]) -> Signal:
    """The signal with some fields unknown: one mistake is reported once, not again by each stage after it."""
    return signal.changed(dict.fromkeys(names | ({"cfa"} if "layout" in names else set()), OPEN))


def _who_gives(asking: str, faults: list[tuple[str, tuple[object, ...]]]) -> str:
    """A hint: the stages whose `gives` would set the fields as needed."""
    found: dict[str, None] = {}
    for name in registry.names(*registry.STAGE_GROUPS):
        try:
            stage = registry.load(name, *registry.STAGE_GROUPS)
        except LookupError:
            continue
        given = {field: (value,) for field, value in getattr(stage, "gives", {}).items()}
        given |= getattr(stage, "can_give", {})
        if name != asking and any(set(given.get(field, ())) & set(accepted) for field, accepted in faults):
            found[name] = None
    return f"; {' and '.join(found)} would give that" if found else ""
