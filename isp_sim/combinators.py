"""Steps made of steps: one of several chains, a chain or nothing, a chain in any order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from isp_sim.distributions import pick
from isp_sim.frame import Frame
from isp_sim.parameters import Parameters, StageParams, Static
from isp_sim.pipeline import Problem, Run, State, Step, run_steps
from isp_sim.randomness import generator
from isp_sim.signal import Signal

Chain = tuple[Step, ...]
Parse = Callable[[Any, tuple[str | int, ...]], Chain]
"""Reads a chain from a recipe's list (or single entry), given its path below the combinator."""


@dataclass(frozen=True)
class Combinator(Step):
    """Base: draws for each sample which of its chains to run, and runs each on the samples that drew it."""

    id: str
    name: str
    chains: tuple[Chain, ...]
    parameters: Parameters

    class Params(StageParams):
        """No parameters."""

    nested: ClassVar[str] = "stages"
    """The key under which the recipe holds the chains."""

    @classmethod
    def read(cls, id: str, name: str, node: Any, parse: Parse) -> Combinator:
        """Make the combinator from the value under its name in a recipe: a mapping, or the chains alone."""
        if not isinstance(node, Mapping):
            node = {cls.nested: node}
        if cls.nested not in node:
            raise ValueError(f"{name} needs {cls.nested!r}")
        parameters = Parameters.bind(cls.Params, {k: v for k, v in node.items() if k != cls.nested})
        combinator = cls(id, name, cls.read_chains(node[cls.nested], parse), parameters)
        combinator.complete()
        return combinator

    @classmethod
    def read_chains(cls, node: Any, parse: Parse) -> tuple[Chain, ...]:
        return (parse(node, (cls.nested,)),)

    def complete(self) -> None:
        """Raise ValueError if parameters and chains do not fit."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, p: Any) -> tuple[dict[str, Any], Chain]:
        """What was drawn, for the record, and the chain to run."""

    @abstractmethod
    def possible(self) -> Sequence[Chain]:
        """The chains to check: those whose check covers every draw."""

    def inner(self) -> Sequence[Chain]:
        return self.chains

    def check(self, state: State) -> tuple[State, list[Problem]]:
        problems: list[Problem] = []
        ends: list[State] = []
        for chain in self.possible():
            end = state
            for step in chain:
                end, found = step.check(end)
                problems += [problem for problem in found if problem not in problems]
            ends.append(end)
        if not problems and _unlike([end.signal for end in ends]):
            unlike = "; ".join(dict.fromkeys(str(end.signal) for end in ends))
            problems.append(Problem(self.id, f"{self.name}: its branches must end in equal signals, found {unlike}"))
        facts = [end.facts for end in ends]
        sure = None if any(f is None for f in facts) else frozenset.intersection(*(f for f in facts if f is not None))
        return State(_alike([end.signal for end in ends]), sure), problems

    def drawn(self, seed: int, key: str, view: int) -> tuple[dict[str, Any], Chain]:
        """One sample's draw: the record, and the chain."""
        return self.draw(generator(seed, key, view, self.id, "branch"), self.parameters.constants)

    def taken(self, seed: int, key: str, view: int) -> Sequence[Step]:
        _, chain = self.drawn(seed, key, view)
        return [one for step in chain for one in step.taken(seed, key, view)]

    def run(self, frame: Frame, run: Run) -> Frame:
        groups: dict[tuple[str, ...], tuple[Chain, list[int]]] = {}
        for index, key in enumerate(frame.keys):
            record, chain = self.drawn(run.seed, key, run.view)
            run.values[index][self.id] = record
            groups.setdefault(tuple(step.id for step in chain), (chain, []))[1].append(index)
        parts = [
            (indices, run_steps(chain, frame.select(indices), run.part(indices))) for chain, indices in groups.values()
        ]
        # by the check, not by what this batch happened to draw: a sample's signal does not depend on its batch
        depth = self.check(State(frame.signal, None))[0].signal.bit_depth
        return Frame.join([(i, replace(part, signal=replace(part.signal, bit_depth=depth))) for i, part in parts])

    def resolved(self) -> dict[str, Any]:
        chains = [[step.resolved() for step in chain] for chain in self.chains]
        value = {self.nested: chains if len(chains) > 1 else chains[0], **self.parameters.resolved()}
        return {self.name: value, "id": self.own_id}


def _alike(signals: Sequence[Signal]) -> Signal:
    """The signal of branches that may differ in bit depth alone: on the codes only if all are."""
    first = signals[0]
    same = all(signal.bit_depth == first.bit_depth for signal in signals)
    return first if same else replace(first, bit_depth=None)


def _unlike(signals: Sequence[Signal]) -> bool:
    """Whether signals differ in more than bit depth."""
    return len({replace(signal, bit_depth=None) for signal in signals}) > 1


class OneOf(Combinator):
    """Runs one of its branches, drawn for each sample.

    ``one_of: [stage, [stage, stage]]`` or ``one_of: {branches: [...], weights: [...]}``. The branches must end
    in equal signals, bit depth excepted.
    """

    nested = "branches"

    class Params(StageParams):
        weights: Annotated[tuple[float, ...] | None, Static] = Field(
            None, description="relative weight of each branch; equal if not given"
        )

        @model_validator(mode="after")
        def _positive(self) -> OneOf.Params:
            if self.weights is not None and (min(self.weights, default=0) < 0 or sum(self.weights) <= 0):
                raise ValueError("weights must not be negative and must not all be 0")
            return self

    @classmethod
    def read_chains(cls, node: Any, parse: Parse) -> tuple[Chain, ...]:
        if not isinstance(node, list | tuple) or len(node) < 2:
            raise ValueError("one_of needs a list of at least two branches; for one branch or nothing, use maybe")
        return tuple(parse(branch, (cls.nested, i)) for i, branch in enumerate(node))

    def complete(self) -> None:
        constants: Any = self.parameters.constants
        weights = constants.weights
        if weights is not None and len(weights) != len(self.chains):
            raise ValueError(f"one_of has {len(self.chains)} branches and {len(weights)} weights")

    def draw(self, rng: np.random.Generator, p: Any) -> tuple[dict[str, Any], Chain]:
        branch = pick(rng, p.weights or (1.0,) * len(self.chains))
        return {"branch": branch}, self.chains[branch]

    def possible(self) -> Sequence[Chain]:
        return self.chains


class Maybe(Combinator):
    """Runs its chain with probability p, else leaves the picture as it is: ``maybe: {p: 0.5, stages: [...]}``."""

    class Params(StageParams):
        p: Annotated[float, Static] = Field(0.5, ge=0, le=1, description="probability of running the chain")

    def draw(self, rng: np.random.Generator, p: Any) -> tuple[dict[str, Any], Chain]:
        taken = bool(rng.random() < p.p)
        return {"taken": taken}, self.chains[0] if taken else ()

    def possible(self) -> Sequence[Chain]:
        return (self.chains[0], ())


class Shuffle(Combinator):
    """Runs its steps in an order drawn for each sample: ``shuffle: [stage, stage, stage]``."""

    def draw(self, rng: np.random.Generator, p: Any) -> tuple[dict[str, Any], Chain]:
        order = [int(i) for i in rng.permutation(len(self.chains[0]))]
        return {"order": order}, tuple(self.chains[0][i] for i in order)

    def possible(self) -> Sequence[Chain]:
        # each step must leave the signal as it was, so any order is as good as the one written; backwards, each step
        # comes once before each other one, and must not need a fact that the other gives
        return (self.chains[0], tuple(reversed(self.chains[0])))

    def check(self, state: State) -> tuple[State, list[Problem]]:
        end, problems = super().check(state)
        alone = [(step, step.check(state)[0].signal) for step in self.chains[0]]
        if not problems:
            problems = [
                Problem(
                    step.id, f"{self.name}: {step.name} can't stand in any order, it changes {state.signal} to {after}"
                )
                for step, after in alone
                if _unlike([state.signal, after])
            ]
        return State(_alike([end.signal, *(after for _, after in alone)]), end.facts), problems
