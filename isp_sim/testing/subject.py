"""A stage under test: frames and parameters made for it, and the run, as the engine runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.frame import PERIODIC, Capture, Frame, MissingFact
from isp_sim.parameters import StageParams, collate
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import GeometricStage, Result, Stage, StageFault, attach
from isp_sim.stages.demosaic import interpolated
from isp_sim.testing.cases import Case, cases
from isp_sim.testing.law import Broken, NotApplicable, raised
from isp_sim.testing.pictures import FactMaker, keyed, levels, picture, signals

KEYS: Final = tuple(f"sample {i}" for i in range(37))
"""More samples than a vector register holds numbers, so that a parameter (B, 1, 1, 1) fills some and leaves a rest:
torch's loops over whole vectors and over the rest may round differently."""

SIZES: Final = ((5, 7), (17, 23), (61, 67), (131, 137), (263, 271), (523, 541))
"""Sizes that are tried, smallest first. All are odd, so rows do not fill whole vectors."""

MEDIUM: Final = SIZES[2]
SMALL: Final = SIZES[1]


@dataclass(frozen=True)
class Setting:
    """One way of running a stage: parameters, signal, forward or backward, and the smallest size that it accepts."""

    case: Case
    signal: Signal
    backward: bool = False
    smallest: tuple[int, int] = SIZES[0]

    @property
    def constants(self) -> StageParams:
        return self.case.constants

    @property
    def is_large(self) -> bool:
        """Whether it needs pictures so large that the kit tries fewer of them."""
        return self.smallest > MEDIUM

    def size(self, at_least: tuple[int, int]) -> tuple[int, int]:
        return max(self.smallest[0], at_least[0]), max(self.smallest[1], at_least[1])

    def __str__(self) -> str:
        layout = f"mosaic {self.signal.cfa}" if self.signal.layout == "mosaic" else self.signal.layout
        direction = "the inverse with " if self.backward else ""
        return f"{direction}{self.case.label}, {layout} in {self.signal.levels} levels"


@dataclass(frozen=True)
class Recorded(Randomness):
    """Draws as the engine's, and notes what for."""

    log: list[str] = field(default_factory=list, compare=False)

    def draw(self, purpose: str, sample: Callable[[np.random.Generator], NDArray[Any]]) -> list[NDArray[Any]]:
        self.log.append(purpose)
        return super().draw(purpose, sample)


@dataclass(frozen=True)
class Window(Randomness):
    """The draws for a whole picture, cut to a window of it: what a tile must see."""

    whole: tuple[int, int] = (0, 0)
    window: tuple[int, int, int, int] = (0, 0, 0, 0)

    def _cut(self, like: Tensor, shape: Sequence[int] | None, draw: Callable[[Tensor, list[int]], Tensor]) -> Tensor:
        top, left, height, width = self.window
        size = list(like.shape[1:] if shape is None else shape)
        rows, columns = size[-2:-1] == [height], size[-1:] == [width]
        if rows:
            size[-2] = self.whole[0]
        if columns:
            size[-1] = self.whole[1]
        drawn = draw(like, size)
        drawn = drawn[..., top : top + height, :] if rows else drawn
        return drawn[..., left : left + width] if columns else drawn

    @property
    def _plain(self) -> Randomness:
        return Randomness(self.seed, self.view, self.stage, self.keys)

    def normal(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "normal") -> Tensor:
        return self._cut(like, shape, lambda like, size: self._plain.normal(like, size, purpose))

    def uniform(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "uniform") -> Tensor:
        return self._cut(like, shape, lambda like, size: self._plain.uniform(like, size, purpose))

    def quantiles(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "quantiles") -> Tensor:
        return self._cut(like, shape, lambda like, size: self._plain.quantiles(like, size, purpose))

    def draw(self, purpose: str, sample: Callable[[np.random.Generator], NDArray[Any]]) -> list[NDArray[Any]]:
        raise NotApplicable("it draws by rng.draw, and the kit can't give a tile its part of that")


class Subject:
    """A stage under test.

    Parameters
    ----------
    plugin
        The class that the report is on.
    stage
        The same, or what stands for it: a demosaicer is run as a stage.
    given
        Parameters that the author wants to be tried.
    makers
        How to make capture facts.
    """

    def __init__(
        self,
        name: str,
        plugin: type,
        stage: type[Stage],
        given: Sequence[Mapping[str, Any]],
        makers: Mapping[str, FactMaker],
    ) -> None:
        self.name = name
        self.plugin = plugin
        self.type = stage
        self.given = given
        self.makers = makers
        self.undeclared: set[str] = set()
        """Facts that it asked for without saying so; it gets them, so that the other laws can be tested."""

    def anew(self, stage: Stage | None = None) -> Subject:
        """The same with a new instance of the stage."""
        other = Subject(self.name, self.plugin, self.type, self.given, self.makers)
        other.undeclared = self.undeclared
        other.stage = self.type() if stage is None else stage
        return other

    @property
    def model(self) -> type[StageParams]:
        return self.type.Params

    @cached_property
    def stage(self) -> Stage:
        return self.type()

    @property
    def moves(self) -> bool:
        return issubclass(self.type, GeometricStage)

    def scale(self, signal: Signal) -> int:
        """How many pixels make one, down and across: more than 1 for some demosaicers."""
        return self.plugin.scale(str(signal.cfa)) if issubclass(self.plugin, Demosaicer) else 1

    @cached_property
    def cases(self) -> list[Case]:
        return cases(self.model, self.given)

    # -- settings ----------------------------------------------------------------------------------------------

    @cached_property
    def settings(self) -> list[Setting]:
        """What the laws are tested on: the first case on every layout, the others on one; forward and backward.

        Of those that need large pictures, the first three.

        Raises
        ------
        Broken
            If there is no setting, or if one does not run.
        """
        found = []
        for i, case in enumerate(self.cases):
            for usual, *_ in signals(self.stage, case.constants)[: None if i == 0 else 1]:
                found.append(Setting(case, usual))
                if self.type.is_invertible():
                    found.append(Setting(case, self.stage.output_signal(usual, case.constants), backward=True))
        if not found:
            raise Broken("no signal that the kit can make up meets what it needs, with any of its parameters")
        fitted = [self.fitted(setting) for setting in found]
        large = [setting for setting in fitted if setting.is_large]
        return [setting for setting in fitted if setting not in large[3:]]

    def fitted(self, setting: Setting) -> Setting:
        """The setting with the smallest size that the stage does not refuse by a ValueError."""
        refused: ValueError = ValueError()
        for size in SIZES:
            sized = replace(setting, smallest=size)
            try:
                self._run_with_facts(sized)
            except ValueError as error:
                refused = error
            except StageFault:
                return sized  # the law on the output tells more
            except Exception as error:
                raise error if isinstance(error, Broken) else Broken(f"{sized}: {raised(error)}") from error
            else:
                return sized
        largest = "x".join(map(str, SIZES[-1]))
        raise Broken(f"{setting}: it refuses every size up to {largest}: {raised(refused)}")

    def _run_with_facts(self, setting: Setting) -> None:
        """Run; where that fails for want of a fact, remember the fact and run again."""
        while True:
            try:
                self.run(setting, KEYS[:2])
            except MissingFact as error:
                self._check_makeable(error.name)
                self.undeclared.add(error.name)
            else:
                return

    # -- frames and values -------------------------------------------------------------------------------------

    def frame(
        self,
        setting: Setting,
        names: Sequence[str],
        size: tuple[int, int] | None = None,
        dtype: torch.dtype = torch.float32,
        inside: bool = False,
        keys: Sequence[str] | None = None,
    ) -> Frame:
        """A new batch. The sample of a name has the same pixels and facts in every batch, whatever its key.

        Pixels and facts are numbers that float32 has, in either dtype.
        """
        size = size or setting.smallest
        wanted = {*self.stage.facts_read(setting.constants), *self.undeclared}
        if setting.backward:
            wanted |= {*self.stage.facts_written(setting.constants)}

        def stacked(arrays: list[NDArray[Any]]) -> Tensor:
            return torch.from_numpy(np.stack(arrays).astype(np.float32)).to(dtype)

        return Frame(
            stacked([picture(setting.signal, size, name, inside) for name in names]),
            setting.signal,
            Capture({fact: stacked([self._fact(fact, setting, name) for name in names]) for fact in sorted(wanted)}),
            tuple(keys or names),
            {"before": stacked([keyed("map", name).random((1, *size)) for name in names])},
        )

    def _check_makeable(self, fact: str) -> None:
        if fact not in self.makers and fact not in PERIODIC:
            raise Broken(f"it needs the capture's {fact!r}, which the kit can't make up: pass facts={{{fact!r}: ...}}")

    def _fact(self, fact: str, setting: Setting, name: str) -> NDArray[Any]:
        self._check_makeable(fact)
        if fact in PERIODIC:
            return levels(setting.signal, name)[fact == "white_level"]
        return self.makers[fact](keyed(f"fact {fact}", name))

    def values(self, setting: Setting, names: Sequence[str], **others: Any) -> list[dict[str, Any]]:
        """Each sample's plain values; `others` replace some of them."""
        return [setting.case.values(name) | others for name in names]

    # -- running -----------------------------------------------------------------------------------------------

    def apply(
        self,
        setting: Setting,
        frame: Frame,
        values: Sequence[Mapping[str, Any]],
        rng: Callable[[tuple[str, ...]], Randomness] | None = None,
        given: Mapping[str, Tensor] | None = None,
    ) -> Frame:
        """What the engine makes of a batch once its parameters are drawn; `given` tensors replace some of them.

        Only that a Degradation leaves the signal is not enforced here, because it is a law of its own.
        """
        parts = []
        for indices, part, p in self._parts(frame, values):
            vars(p).update({name: tensor[indices] for name, tensor in (given or {}).items()})
            parts.append((indices, self._apply(setting, part, p, (rng or self._rng)(part.keys))))
        return Frame.join(parts)

    def _parts(
        self, frame: Frame, values: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[list[int], Frame, SimpleNamespace]]:
        """The parts of a batch that are computed together: positions, frame, parameters."""
        fields = dict(self.model.model_fields)
        drawn = []
        for key, plain in zip(frame.keys, values, strict=True):
            drawn.append(dict(plain))
            if more := self.stage.further(plain):
                drawn[-1] |= more.draw(partial(keyed, key=key))
                fields |= more.model.model_fields
        for indices, p in collate(fields, drawn, frame.pixels):
            yield indices, frame.select(indices), p

    def reach(self, setting: Setting) -> int | None:
        """How far a pixel of the result depends on its surroundings; None for the whole picture."""
        names = KEYS[:2]
        frame = self.frame(setting, names)
        found = [self.stage.reach(p) for _, _, p in self._parts(frame, self.values(setting, names))]
        return None if None in found else max(reach for reach in found if reach is not None)

    def results(
        self, setting: Setting, frame: Frame, values: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[list[int], Frame, Tensor | Result]]:
        """What the stage itself returns for each part of a batch, forward: positions, frame, result."""
        for indices, part, p in self._parts(frame, values):
            yield indices, part, self.stage.apply(part, p, self._rng(part.keys))

    def floating(self, frame: Frame, values: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """The parameters that reach the stage as floating tensors; of a batch of equal plain values."""
        ((_, _, p),) = self._parts(frame, values)
        return {n: v for n, v in vars(p).items() if isinstance(v, Tensor) and v.is_floating_point()}

    def _rng(self, keys: tuple[str, ...]) -> Randomness:
        return Randomness(0, 0, self.name, keys)

    def _apply(self, setting: Setting, frame: Frame, p: Any, rng: Randomness) -> Frame:
        stage, constants = self.stage, setting.constants
        if setting.backward:
            signal = stage.input_signal(frame.signal, constants)
            return attach(frame, stage.inverse(frame, p), signal, f"the inverse of {self.name}")
        if isinstance(stage, GeometricStage):
            return frame.moved(stage.move(frame, p))
        return attach(frame, stage.apply(frame, p, rng), stage.output_signal(frame.signal, constants), self.name)

    def recovered(self, setting: Setting, before: Frame, after: Frame, values: Sequence[Mapping[str, Any]]) -> Frame:
        """What `Stage.recovery` offers, run on the frame after the stage."""
        recovery = self.stage.recovery(setting.constants)
        assert recovery.undo is not None
        parts = []
        for indices, part, p in self._parts(after, values):
            signal = replace(before.signal, bit_depth=None)
            result = recovery.undo(part, p, before.signal)
            parts.append((indices, attach(part, result, signal, f"what undoes {self.name}")))
        return Frame.join(parts)

    def run(self, setting: Setting, names: Sequence[str], size: tuple[int, int] | None = None, **options: Any) -> Frame:
        """Make a frame and run the stage on it."""
        return self.apply(setting, self.frame(setting, names, size, **options), self.values(setting, names))

    def drawn_by(self, setting: Setting) -> list[str]:
        """What the stage draws while it runs, by purpose."""
        log: list[str] = []
        frame, values = self.frame(setting, KEYS[:2]), self.values(setting, KEYS[:2])
        self.apply(setting, frame, values, lambda keys: Recorded(0, 0, self.name, keys, log))
        return log


class Interpolation(Stage):
    """A demosaicer as a stage, so that laws of stages can be tested on it."""

    needs = Signal.where(layout="mosaic", transfer="linear", levels="unit", bit_depth=None)
    gives = Signal.change(layout="rgb", cfa=None)
    algorithm: type[Demosaicer]

    def refuses(self, signal: Signal, p: Any) -> str | None:
        return None if self.algorithm.accepts(str(signal.cfa)) else f"does not know the CFA {signal.cfa}"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return interpolated(self.algorithm(), frame)
