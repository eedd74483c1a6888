"""Stage and Degradation: what a plugin author writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final

from torch import Tensor

from isp_sim.frame import Frame, Move, Warp
from isp_sim.parameters import Parameters, StageParams, collate
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal

SEVERITIES: Final = 5
"""How many severities a table has."""


@dataclass(frozen=True)
class Result:
    """What `Stage.apply` returns when it does more than change pixels.

    Attributes
    ----------
    pixels
        (B, C, H, W).
    capture
        Facts that the stage sets, each with leading size B.
    maps
        What it leaves beside the picture, (B, n, H, W) each. The share of True in a boolean map is recorded.
    warp
        How the stage changed the picture's size or shape: the older maps and the labels follow.
    """

    pixels: Tensor
    capture: Mapping[str, Tensor] = field(default_factory=dict)
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    warp: Warp | None = None


@dataclass(frozen=True)
class Recovery:
    """How far a stage can be undone: what `Stage.recovery` returns.

    Attributes
    ----------
    undo
        Takes a frame after the stage, the parameters ready to broadcast and the signal before the stage; returns the
        pixels before it, or a Result, in which the boolean map ``lost`` (B, 1, H, W) marks pixels that can't be known.
        None if there is nothing to offer.
    by
        What stands in place of the inverse, in a few words; empty if it is the inverse.
    lost
        What does not come back, in a few words; empty if everything does. Where `undo` is None, the reason.
    """

    undo: Callable[[Frame, Any, Signal], Tensor | Result] | None = None
    by: str = ""
    lost: str = ""

    @property
    def is_exact(self) -> bool:
        return self.undo is not None and not self.lost


def as_it_is(frame: Frame, p: Any, before: Signal) -> Tensor:
    """The best guess at the picture before a degradation that can't be undone: the picture after it."""
    return frame.pixels


class Stage(ABC):
    """One step of a camera's processing. It holds no state: everything is in the frame and the parameters.

    A subclass says what it needs and gives, declares its parameters, and computes pixels in `apply`. The engine
    checks the signal, draws the parameters, splits batches, and attaches the new signal.
    """

    needs: ClassVar[Requirement] = Signal.where()
    """The signals it accepts."""
    gives: ClassVar[Mapping[str, object]] = Signal.change()
    """The fields of the signal that it sets."""
    can_give: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    """Values that it can set in fields that its static parameters decide: for the hints of error messages."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Facts of the capture that it can't do without."""
    writes: ClassVar[tuple[str, ...]] = ()
    """Facts of the capture that it sets."""
    differentiable: ClassVar[bool] = True
    """Whether gradients flow from the output to the pixels; see `is_differentiable`."""
    keeps_codes: ClassVar[bool] = False
    """Whether quantised pixels stay on their codes."""
    halo: ClassVar[int | None] = None
    """How many pixels around it a pixel depends on: 0 for a pointwise stage, None for the whole picture."""
    soft_gap: ClassVar[float | None] = None
    """Of a stage with the modes ``exact`` and ``soft``: how far apart they are at most, with default parameters, as the
    mean absolute difference on pictures in [0, 1]."""
    source: ClassVar[str] = ""
    """BibTeX key or title of the paper or standard."""

    class Params(StageParams):
        """No parameters."""

    @abstractmethod
    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor | Result:
        """Compute the new pixels (B, C, H, W) without changing the old ones.

        Parameters
        ----------
        frame
            A batch that meets the requirement.
        p
            The drawn parameters, ready to broadcast (see `Parameters.collate`).
        rng
            Draws keyed to each sample.
        """

    def inverse(self, frame: Frame, p: Any) -> Tensor | Result:
        """Undo `apply` for the values that the capture holds; errors on top of them are never undone."""
        raise NotInvertible(f"{type(self).__name__} can't be undone")

    @classmethod
    def is_invertible(cls) -> bool:
        return cls.inverse is not Stage.inverse

    def recovery(self, p: StageParams) -> Recovery:
        """How far it can be undone with these parameters, and what is lost: its line in a ledger of losses.

        By its inverse, unless it says otherwise; a `Degradation` without one is undone by the picture as it is.
        """
        if not self.is_invertible():
            return Recovery(lost="it has no inverse")
        return Recovery(lambda frame, values, before: self.inverse(frame, values))

    def requirement(self, p: StageParams) -> Requirement:
        """What it needs, where that depends on the static parameters."""
        return self.needs

    def refuses(self, signal: Signal, p: StageParams) -> str | None:
        """Why a signal that meets the requirement can't be processed all the same; None if it can."""
        return None

    def output_signal(self, signal: Signal, p: StageParams) -> Signal:
        """The signal after the stage, by the static parameters."""
        depth = signal.bit_depth if self.keeps_codes else None
        return signal.changed({"bit_depth": depth, **self.gives})

    def input_signal(self, signal: Signal, p: StageParams) -> Signal:
        """The signal before the stage, when it is undone: what `needs` says of the fields that it sets."""
        accepted = self.requirement(p).accepted
        known = {name: accepted[name][0] for name in self.gives if name in accepted and name != "bit_depth"}
        return signal.changed({"bit_depth": None, **known})

    def is_differentiable(self, p: StageParams) -> bool:
        """Whether gradients flow from the output to the pixels, where that depends on the parameters."""
        return self.differentiable

    def reach(self, p: Any) -> int | None:
        """The halo, where that depends on the parameters as `apply` gets them."""
        return self.halo

    def facts_read(self, p: StageParams) -> tuple[str, ...]:
        """The facts it can't do without, where that depends on the parameters."""
        return self.reads

    def facts_written(self, p: StageParams) -> tuple[str, ...]:
        """The facts it sets, where that depends on the parameters."""
        return self.writes

    def remarks(self, p: StageParams, later: Sequence[str]) -> list[str]:
        """What is odd, though not wrong, given the names of the steps that come after."""
        return []

    def further(self, values: Mapping[str, Any]) -> Parameters | None:
        """More parameters, drawn with the others, that the values of the others bring: a camera profile's."""
        return None


class NotInvertible(TypeError):
    """A stage without an inverse was asked to undo."""


class StageFault(RuntimeError):
    """A stage returned what no stage may return."""


class Degradation(Stage):
    """A stage that makes a picture worse and leaves what its numbers mean as it was, bit depth excepted."""

    severities: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """What ``severity: 1`` to ``severity: 5`` stands for in a recipe: five values of each parameter concerned, from
    mild to strong. Those of the first differ from each other."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if changed := sorted(set(cls.gives) - {"bit_depth"}):
            raise TypeError(
                f"{cls.__name__} is a Degradation, so it can't set {', '.join(changed)}; derive it from Stage"
            )
        for i, (name, values) in enumerate(cls.severities.items()):
            if name not in cls.Params.model_fields:
                raise TypeError(f"{cls.__name__}.severities names {name!r}, which is no parameter of it")
            if not isinstance(values, tuple) or len(values) != SEVERITIES:
                raise TypeError(f"{cls.__name__}.severities[{name!r}] must be a tuple of {SEVERITIES} values")
            if i == 0 and any(value in values[:k] for k, value in enumerate(values)):
                raise TypeError(
                    f"{cls.__name__}.severities[{name!r}], the first, must hold {SEVERITIES} different values"
                )

    def recovery(self, p: StageParams) -> Recovery:
        if self.is_invertible():
            return super().recovery(p)
        return Recovery(as_it_is, "the picture as it is", "what it has done")


class GeometricStage(Stage):
    """A stage that moves pixels. It returns the move; CFA phase, maps and labels are moved along by the engine.

    Parameters of the move are marked Structural, so `p` holds plain values.
    """

    keeps_codes = True

    @abstractmethod
    def move(self, frame: Frame, p: Any) -> Move:
        """The move of a frame's pixels. It must leave the CFA phase as `output_signal` says."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return self.move(frame, p).pixels(frame.pixels)

    def recovery(self, p: StageParams) -> Recovery:
        return Recovery(lost="what it has moved out of the picture")


def attach(frame: Frame, result: Tensor | Result, signal: Signal, name: str) -> Frame:
    """Attach what a stage returned to the frame it got, under the new signal.

    Raises
    ------
    StageFault
        If the stage broke a rule: another type, another dtype, a wrong shape.
    """
    if isinstance(result, Tensor):
        result = Result(result)
    if not isinstance(result, Result):
        raise StageFault(f"{name} returned {type(result).__name__}; a stage returns a tensor or a Result")
    if result.pixels.dtype != frame.pixels.dtype:
        raise StageFault(f"{name} turned {frame.pixels.dtype} pixels into {result.pixels.dtype}")
    if result.pixels.shape[-2:] != (frame.size if result.warp is None else result.warp.output):
        raise StageFault(
            f"{name} made {'x'.join(map(str, result.pixels.shape[-2:]))} pixels of {frame.size[0]}x{frame.size[1]}; "
            "what moves pixels is a GeometricStage or returns a warp, so that CFA phase, maps and labels move along"
        )
    if result.warp is not None:
        if frame.signal.layout == "mosaic" == signal.layout:
            raise StageFault(f"{name} warps a mosaic, which has no CFA afterwards")
        frame = frame.warped(result.warp)
    try:
        return replace(
            frame,
            pixels=result.pixels,
            signal=signal,
            capture=frame.capture.with_facts(result.capture) if result.capture else frame.capture,
            maps={**frame.maps, **result.maps},
        )
    except ValueError as error:
        raise StageFault(f"{name} returned a frame that is none: {error}") from None


LOST: Final = "lost"
"""The map in which what undoes a stage marks the pixels that can't be known."""


def undo(
    name: str,
    stage: Stage,
    frame: Frame,
    constants: StageParams,
    values: Sequence[Mapping[str, Any]] | None = None,
) -> Frame:
    """Run a stage's inverse, with the values that the frame's capture holds.

    `values` are the plain values of each sample's parameters, where they were drawn. The map ``lost`` unites what
    this inverse and those before it mark.
    """
    fields = type(constants).model_fields
    plain = {field: getattr(constants, field) for field in fields}
    own = [plain] * frame.batch if values is None else [{n: one[n] for n in fields} for one in values]
    signal = stage.input_signal(frame.signal, constants)
    parts = []
    for indices, p in collate(fields, own, frame.pixels):
        part = frame.select(indices)
        undone = attach(part, stage.inverse(part, p), signal, f"the inverse of {name}")
        if LOST in part.maps and undone.maps[LOST] is not part.maps[LOST]:
            undone = replace(undone, maps={**undone.maps, LOST: undone.maps[LOST] | part.maps[LOST]})
        parts.append((indices, undone))
    return Frame.join(parts)


def redo(name: str, stage: Stage, frame: Frame) -> Frame:
    """Run a stage with its default parameters, and so with the values that the frame's capture holds."""
    constants = stage.Params()
    fields = type(constants).model_fields
    values = {field: getattr(constants, field) for field in fields}
    ((_, p),) = collate(fields, [values] * frame.batch, frame.pixels)
    result = stage.apply(frame, p, Randomness(0, 0, name, frame.keys))
    return attach(frame, result, stage.output_signal(frame.signal, constants), name)
