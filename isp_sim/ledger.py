"""The way back through a pipeline, with a ledger: what each stage loses when it is undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import Static, collate, is_marked
from isp_sim.pipeline import Pipeline, Run, StageStep, State, walk
from isp_sim.randomness import Randomness
from isp_sim.signal import OPEN, Signal
from isp_sim.stage import LOST, Recovery, attach

INPUT: Final = "input"
"""What stands for the picture before the first step."""

HALF_A_CODE: Final = 0.5 / 255
"""How far off a pixel may be, as a share of the range, before it counts: half a code of 8 bits."""


@dataclass(frozen=True)
class Loss:
    """How far an undone picture is from the recorded one.

    Attributes
    ----------
    psnr
        Of all samples [dB], against the range from black to white; None if every bit is equal.
    off
        The share of pixels that are further off than the tolerance in any channel.
    """

    psnr: float | None
    off: float

    @classmethod
    def between(cls, found: Frame, expected: Frame, tolerance: float) -> tuple[Loss, Tensor]:
        """The loss, and the mask (B, 1, H, W) of the pixels that are off."""
        span = _span(expected)
        error = (found.pixels.double() - expected.pixels.double()).abs() / span
        mask = ~(error <= tolerance).all(dim=1, keepdim=True)  # what is no number is off
        mean = float(error.square().mean())
        psnr = None if mean == 0 else float(-10 * torch.log10(torch.tensor(mean, dtype=torch.float64)))
        return cls(psnr, float(mask.double().mean())), mask


@dataclass(frozen=True)
class Entry:
    """One line of a ledger: a step on the way back.

    Attributes
    ----------
    step, name
        The step's id, and the stage's name.
    how
        ``exact``, ``approximate``, or ``stop`` where there is nothing to offer.
    by
        What undoes it, in a few words.
    lost
        What does not come back; where it stops, why.
    alone
        Undone from the picture that was recorded after it.
    together
        Undone from what the steps after it left.
    again
        Where nothing was recorded: the stage run again on the undone picture, beside the picture before.
    marked
        The share of pixels that its undoing marks as lost.
    """

    step: str
    name: str
    how: str
    by: str
    lost: str
    alone: Loss | None = None
    together: Loss | None = None
    again: Loss | None = None
    marked: float = 0.0


@dataclass(frozen=True)
class Ledger:
    """The way back for one picture.

    Attributes
    ----------
    entries
        Last step first. An entry that stops ends them.
    frame
        The picture as far back as it went. Its map ``lost`` unites all pixels that were marked on the way.
    reached
        The id of the step after which `frame` is the picture; ``input`` for that before the first.
    off
        (1, 1, H, W), the pixels of `frame` that are further off than the tolerance; None where nothing was recorded.
    """

    entries: tuple[Entry, ...]
    frame: Frame
    reached: str
    off: Tensor | None = field(default=None, repr=False)

    @property
    def stopped(self) -> Entry | None:
        """The entry at which it stopped, if it did."""
        return self.entries[-1] if self.entries and self.entries[-1].how == "stop" else None


def symbolic(pipeline: Pipeline) -> list[Entry]:
    """What can be said before a picture is read, last step first, goes on where a chain would stop. Of a combinator,
    every stage that it may run; of a parameter that is drawn, the first end of its support."""
    stages = [step for step in walk(pipeline.steps) if isinstance(step, StageStep)]
    entries = []
    for step in reversed(stages):
        recovery = _recovery(step, None)
        other = _recovery(step, step.draw("", Run(pipeline.seed))[1])
        drawn = ", at the first end of what is drawn" if other.lost != recovery.lost else ""
        entries.append(_entry(step, replace(recovery, lost=recovery.lost + drawn)))
    return entries


def measure(
    pipeline: Pipeline,
    frame: Frame,
    *,
    view: int = 0,
    to: str = INPUT,
    written: Callable[[Frame], tuple[Entry, Tensor]] | None = None,
    tolerance: float = HALF_A_CODE,
) -> Ledger:
    """Run a pipeline on one picture, then undo it step by step, each beside the picture recorded before it.

    Parameters
    ----------
    frame
        One picture, before the first step.
    view
        Which rendering of it.
    to
        The id of the step after which the picture is asked for.
    written
        Given the picture after the last step, returns what a file kept of it, and the line that says so.
    tolerance
        How far off a pixel may be before it counts, as a share of the range.

    Raises
    ------
    ValueError
        If `frame` holds several pictures, or the picture passes no step of id `to`.
    """
    chain = _single(pipeline, frame, view, to)
    frames = [frame]
    outcome = chain.run(frame, view, watch=lambda step, after: frames.append(after))
    entries: list[Entry] = []
    state = replace(frames[-1], maps={})
    if written is not None:
        entry, pixels = written(frames[-1])
        state = replace(state, pixels=pixels)
        loss, mask = Loss.between(state, frames[-1], tolerance)
        entries.append(replace(entry, alone=loss, together=loss))
    else:
        mask = torch.zeros_like(state.pixels[:, :1], dtype=torch.bool)
    lost, reached = torch.zeros_like(mask), chain.steps[-1].id
    for step, before, after in _backward(chain, frames):
        if step.id == to:
            break
        drawn = outcome.values[0][step.id]
        recovery = _recovery(step, drawn)
        entry = _entry(step, recovery)
        if recovery.undo is None:
            entries.append(entry)
            break
        alone = _undone(step, recovery, replace(after, maps={}), before.signal, drawn)
        state = _undone(step, recovery, replace(state, capture=after.capture, maps={}), before.signal, drawn)
        marked = _united(state.maps.get(LOST), after.maps.get(LOST), before.maps.get(LOST))
        lost = lost if marked is None else lost | marked
        together, mask = Loss.between(state, before, tolerance)
        entries.append(
            replace(
                entry,
                alone=Loss.between(alone, before, tolerance)[0],
                together=together,
                marked=0.0 if marked is None else float(marked.double().mean()),
            )
        )
        reached = _name_before(chain, step)
    return Ledger(tuple(entries), replace(state, maps={LOST: lost}), reached, mask)


def estimate(
    pipeline: Pipeline,
    frame: Frame,
    source: Signal,
    *,
    view: int = 0,
    to: str = INPUT,
    tolerance: float = HALF_A_CODE,
) -> Ledger:
    """Undo a pipeline on one picture of which nothing was recorded, such as a photo.

    Each step is undone with the values that the pipeline draws for the picture's key, and with the facts in its
    capture. Pixels at the top of their range are taken as lost. What a step that is undone exactly makes of the
    undone picture stands beside what it was undone from.

    Parameters
    ----------
    frame
        One picture, taken as what the last step left.
    source
        The signal before the first step, its CFA known if a step needs it.
    view, to, tolerance
        As in `measure`.

    Raises
    ------
    ValueError
        As `measure`, or if a CFA that a step needs is open.
    MissingFact
        If undoing a step takes a fact that the capture does not have.
    """
    chain = _single(pipeline, frame, view, to)
    signals, _ = chain.check(State(source, None))
    after_each = [signal for _, signal in signals]
    before = {step.id: signal for step, signal in zip(chain.steps, [source, *after_each[:-1]], strict=True)}
    state, entries = replace(frame, maps={}), list[Entry]()
    lost = (state.pixels >= (1 if frame.signal.levels == "unit" else torch.inf)).any(dim=1, keepdim=True)
    reached = chain.steps[-1].id
    for step in reversed(chain.steps):
        if step.id == to or not isinstance(step, StageStep):
            break
        _, drawn = step.draw(frame.keys[0], Run(chain.seed, view))
        recovery = _recovery(step, drawn)
        entry = _entry(step, recovery)
        if recovery.undo is None:
            entries.append(entry)
            break
        if OPEN in (before[step.id].layout, before[step.id].cfa):
            raise ValueError(f"undoing {step.id} leads to a mosaic whose CFA a file would tell: say which it is")
        after = state
        state = _undone(step, recovery, after, before[step.id], drawn)
        marked = state.maps.get(LOST)
        lost = lost if marked is None else lost | marked
        again = None
        if recovery.is_exact:
            rng = Randomness(chain.seed, view, step.id, frame.keys)
            redone = replace(after, pixels=_with(step, state, drawn, rng).pixels)
            again = Loss.between(redone, after, tolerance)[0]
        entries.append(replace(entry, again=again, marked=0.0 if marked is None else float(marked.double().mean())))
        state = replace(state, maps={})
        reached = _name_before(chain, step)
    return Ledger(tuple(entries), replace(state, maps={LOST: lost}), reached)


def _single(pipeline: Pipeline, frame: Frame, view: int, to: str) -> Pipeline:
    """The stages that the one picture passes."""
    if frame.batch != 1:
        raise ValueError(f"a ledger is kept for one picture, found {frame.batch}: use frame.select([i])")
    chain = pipeline.taken(frame.keys[0], view)
    ids = [INPUT, *(step.id for step in chain.steps)]
    if to not in ids:
        raise ValueError(f"{frame.keys[0]} passes no step {to!r}; it passes {', '.join(ids)}")
    return chain


def _backward(chain: Pipeline, frames: Sequence[Frame]) -> Iterator[tuple[StageStep, Frame, Frame]]:
    """Each step with the frames before and after it, last first."""
    for step, before, after in zip(reversed(chain.steps), reversed(frames[:-1]), reversed(frames[1:]), strict=True):
        if isinstance(step, StageStep):
            yield step, before, after


def _united(undoing: Tensor | None, after: Tensor | None, before: Tensor | None) -> Tensor | None:
    """What undoing a step marks, and what the step itself had marked: inverses that it ran, as `unprocess` does."""
    own = None if after is before else after
    return undoing if own is None else own if undoing is None else own | undoing


def _name_before(chain: Pipeline, step: StageStep) -> str:
    index = chain.steps.index(step)
    return chain.steps[index - 1].id if index else INPUT


def _recovery(step: StageStep, drawn: Mapping[str, Any] | None) -> Recovery:
    """What a stage offers, for the values that were drawn; errors on top, which nothing undoes, are added."""
    constants = step.parameters.constants
    if drawn is not None:
        own = {name: drawn[name] for name in type(constants).model_fields}
        constants = type(constants).model_construct(None, **own)
    recovery = step.stage.recovery(constants)
    errors = [f"what `{name}` changes" for name in _errors(step) if getattr(constants, name) != _default(step, name)]
    if step.deviations is not None:
        errors.append("what `deviate` changes")
    if recovery.undo is None or not errors:
        return recovery
    return replace(recovery, lost=", ".join([*([recovery.lost] if recovery.lost else []), *errors]))


def _errors(step: StageStep) -> list[str]:
    """The parameters that say of themselves that they are not undone; a fixed one, `Stage.recovery` speaks of."""
    fields = step.parameters.model.model_fields
    extras = {name: field.json_schema_extra for name, field in fields.items() if not is_marked(field, Static)}
    return [name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("undone") is False]


def _default(step: StageStep, name: str) -> Any:
    return step.parameters.model.model_fields[name].get_default()


def _entry(step: StageStep, recovery: Recovery) -> Entry:
    how = "stop" if recovery.undo is None else "exact" if recovery.is_exact else "approximate"
    by = "" if recovery.undo is None else recovery.by or "its inverse"
    return Entry(step.id, step.name, how, by, recovery.lost)


def _values(step: StageStep, frame: Frame, drawn: Mapping[str, Any]) -> Any:
    """The right values, without the record of how they deviate."""
    fields = step.fields([drawn])
    ((_, p),) = collate(fields, [{name: value for name, value in drawn.items() if name in fields}], frame.pixels)
    return p


def _undone(step: StageStep, recovery: Recovery, frame: Frame, before: Signal, drawn: Mapping[str, Any]) -> Frame:
    assert recovery.undo is not None
    result = recovery.undo(frame, _values(step, frame, drawn), before)
    return attach(frame, result, replace(before, bit_depth=None), f"what undoes {step.name}")


def _with(step: StageStep, frame: Frame, drawn: Mapping[str, Any], rng: Randomness) -> Frame:
    return step.apply(frame, _values(step, frame, drawn), rng)


def _span(frame: Frame) -> float:
    """From black to white."""
    if frame.signal.levels == "unit":
        return 1.0
    capture = frame.capture
    return float(capture["white_level"].max() - capture["black_level"].min())
