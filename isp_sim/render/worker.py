"""From tasks to pictures in memory, each with its row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from isp_sim.formats.files import png
from isp_sim.formats.isolated import Bounds, Isolated
from isp_sim.formats.reader import InputFault, Item, Reading
from isp_sim.frame import Frame
from isp_sim.pipeline import Outcome, Step
from isp_sim.recipe import Recipe
from isp_sim.render.atomic import sha256
from isp_sim.render.manifest import Row, versions
from isp_sim.render.plan import Task, names_of
from isp_sim.render.view import viewable

STAGES: Final = "stages"
MOST_FACTS: Final = 64
"""Numbers of a capture fact that a row holds at the most."""


class RenderFault(RuntimeError):
    """A picture that failed, in a run that stops at the first."""


@dataclass(frozen=True)
class Settings:
    """How to render, without a bearing on the result."""

    device: str = "cpu"
    stages: bool = False
    strict: bool = False
    batch_size: int = 1
    isolate: Bounds | None = None
    """What reading a picture may cost in a process of its own; None reads in the worker's."""


@dataclass(frozen=True)
class Rendered:
    """One picture in memory.

    Attributes
    ----------
    files
        The picture, steps kept and label files, by their name below the output folder or in the shard.
    views
        What is there to look at, by its path below the output folder.
    row
        Its row of the manifest.
    """

    files: dict[str, bytes]
    views: dict[str, bytes]
    row: Row


class Worker:
    """Renders tasks; one in each process."""

    def __init__(self, recipe: Recipe, folder: Path, settings: Settings | None = None) -> None:
        self.recipe, self.folder, self.settings = recipe, folder, settings or Settings()
        self.names = names_of(recipe)
        bounds = self.settings.isolate
        self.source = recipe.reader if bounds is None else Isolated(recipe.reader, bounds)

    def render(self, tasks: Sequence[Task]) -> list[Rendered | Row]:
        """Each task's picture, in order, or the row that says why it failed.

        Raises
        ------
        RenderFault
            At the first that failed, in a strict run.
        """
        done: dict[Task, Rendered | Row] = {}
        for group in self._groups(tasks, done):
            for task, result in self._attempt(group):
                done[task] = result if isinstance(result, Rendered) else self._failed(task, result)
        if self.settings.strict:
            for one in done.values():
                if not isinstance(one, Rendered):
                    raise RenderFault(f"{one['key']}: {one['reason']}")
        return [done[task] for task in tasks]

    def _groups(self, tasks: Sequence[Task], done: dict[Task, Rendered | Row]) -> list[list[tuple[Task, Reading]]]:
        """Tasks that can share a batch; those whose input can't be read get their rows at once."""
        readings: dict[Item, Reading | InputFault] = {}
        groups: dict[Any, list[tuple[Task, Reading]]] = {}
        for task in tasks:
            if task.item not in readings:
                try:
                    readings[task.item] = self.source.read(task.item)
                except InputFault as fault:
                    readings[task.item] = fault
                except Exception as error:  # noqa: BLE001 - a reader's own fault costs its picture, not the run
                    readings[task.item] = InputFault(f"{type(error).__name__}: {error}")
            reading = readings[task.item]
            if isinstance(reading, InputFault):
                done[task] = self._failed(task, reading)
                continue
            frame = reading.frame
            facts = tuple((name, tuple(fact.shape[1:])) for name, fact in sorted(frame.capture.items()))
            alike = (task.view, frame.signal, frame.size, facts, tuple(sorted(frame.targets)))
            groups.setdefault(alike, []).append((task, reading))
        return list(groups.values())

    def _attempt(self, group: Sequence[tuple[Task, Reading]]) -> Iterator[tuple[Task, Rendered | Exception]]:
        """Render a group as one batch; if that fails, each picture alone, so that one costs only itself."""
        try:
            yield from zip([task for task, _ in group], self.batch(group), strict=True)
        except Exception as error:  # noqa: BLE001 - a stage's fault costs its picture, not the run
            if len(group) == 1:
                yield group[0][0], error
            else:
                for one in group:
                    yield from self._attempt([one])

    def batch(self, group: Sequence[tuple[Task, Reading]]) -> list[Rendered]:
        """Render pictures of one size and signal, and encode them."""
        frame = Frame.join([([i], reading.frame) for i, (_, reading) in enumerate(group)])
        keep = self.recipe.writer.params.keep
        trace: list[tuple[str, Frame]] = [("input", frame)] if self.settings.stages or "input" in keep else []

        def watch(step: Step, after: Frame) -> None:
            if self.settings.stages or step.id in keep:
                trace.append((step.id, after))

        outcome = self.recipe.pipeline.run(frame.to(self.settings.device), group[0][0].view, watch)
        return [self._rendered(i, task, reading, outcome, trace) for i, (task, reading) in enumerate(group)]

    def _rendered(
        self, i: int, task: Task, reading: Reading, outcome: Outcome, trace: Sequence[tuple[str, Frame]]
    ) -> Rendered:
        writer, names = self.recipe.writer, self.names
        frame = outcome.frame.select([i])
        output = task.stem + writer.suffix
        labels = self.recipe.reader.labels(task.item, frame)
        files = {output: writer.encode(frame)}
        files |= {names.label(kind, task.stem): data for kind, data in labels.files.items()}
        views = {}
        for number, (id, after) in enumerate(trace):
            if id in writer.params.keep:
                files[names.kept(id, task.stem, writer.suffix)] = writer.encode(after.select([i]))
            if self.settings.stages:
                views[f"{STAGES}/{task.stem}/{number:02d}_{id}.png"] = png(viewable(after.select([i])))
        row = {
            **self._about(task),
            "status": "ok",
            "output": output,
            "files": {path: sha256(data) for path, data in files.items()},
            "size": list(frame.size),
            "recipe": self.recipe.hash,
            "seed": self.recipe.seed,
            "drawn": outcome.values[i],
            "capture": {n: f[0].tolist() for n, f in frame.capture.items() if f[0].numel() <= MOST_FACTS},
            "shares": _shares(frame),
            "signals": [
                {"id": id, **signal.to_dict()} for id, signal in [("input", reading.frame.signal), *outcome.signals]
            ],
            "notes": list(reading.notes),
            "versions": versions(),
        }
        if labels.row is not None:
            row["labels"] = labels.row
        return Rendered(files, views, row)

    def _about(self, task: Task) -> Row:
        digest = sha256(task.item.read_bytes()) if Path(task.item.path).is_file() else None
        return {"key": task.item.key, "view": task.view, "input_sha256": digest}

    def _failed(self, task: Task, error: Exception) -> Row:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        about = {"key": task.item.key, "view": task.view}
        return {
            **about,
            "status": "failed",
            "reason": reason.strip() or type(error).__name__,
            "versions": versions(),
        }


def _shares(frame: Frame) -> dict[str, float]:
    """The share of True in each boolean map, and of samples outside [0, 1], which codes can't hold."""
    shares = {name: float(value.double().mean()) for name, value in frame.maps.items() if value.dtype == torch.bool}
    if frame.signal.levels == "unit":
        outside = (frame.pixels < 0) | (frame.pixels > 1)
        shares["outside_0_1"] = float(outside.double().mean())
    return shares
