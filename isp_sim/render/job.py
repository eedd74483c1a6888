"""Rendering a folder: what to do, who does it, what is left when it stops."""

from __future__ import annotations

import io
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import torch
from ruamel.yaml import YAML

from isp_sim.formats.files import png
from isp_sim.formats.reader import InputFault, Item, Reading
from isp_sim.frame import Frame
from isp_sim.pipeline import Outcome, Step
from isp_sim.recipe import Recipe
from isp_sim.render.manifest import (
    Identity,
    OutputFault,
    Row,
    open_folder,
    sha256,
    versions,
    write_atomically,
)
from isp_sim.render.view import viewable

KEPT: Final = "kept"
STAGES: Final = "stages"
MOST_FACTS: Final = 64
"""Numbers of a capture fact that a row holds at the most."""


class RenderFault(RuntimeError):
    """A picture that failed, in a run that stops at the first."""


@dataclass(frozen=True)
class Task:
    """One picture to make: an input, a view, and the name of the output without its suffix."""

    item: Item
    view: int
    stem: str


@dataclass(frozen=True)
class Settings:
    """How to render, without a bearing on the result."""

    device: str = "cpu"
    stages: bool = False
    strict: bool = False


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    rendered: int = 0
    failed: tuple[Row, ...] = ()
    kept: int = 0
    notes: dict[str, int] = field(default_factory=dict)


def plan(recipe: Recipe, views: int = 1, limit: int | None = None) -> tuple[list[Task], set[str]]:
    """The pictures to make, in order, and the keys of the whole input.

    Raises
    ------
    InputFault
        If there is no input, or two inputs would share an output's name.
    """
    items = recipe.reader.items()
    folder = None if recipe.writer.params.path is None else Path(recipe.writer.params.path).resolve()
    root = Path(getattr(recipe.reader.params, "path", None) or ".").resolve()
    if folder is not None and root in folder.parents:  # an output that lies below the input is no input
        items = [item for item in items if folder not in Path(item.path).resolve().parents]
    tasks = [
        Task(item, view, stem_of(item.key, view))
        for item in (items[:limit] if limit else items)
        for view in range(views)
    ]
    inputs, taken = {Path(item.path).resolve() for item in items}, dict[str, Task]()
    for task in tasks:
        name = task.stem + recipe.writer.suffix
        other = taken.setdefault(name.casefold(), task)
        if other is not task:
            raise InputFault(
                f"{other.item.key} and {task.item.key} would both be written to {name}: "
                "rename one of them, or render them into different folders"
            )
        if folder is not None and folder / name in inputs:
            raise InputFault(f"{task.item.key} would be overwritten: give an --output other than the input")
    return tasks, {item.key for item in items}


def stem_of(key: str, view: int) -> str:
    """The output's name without suffix: the key's, with the view if it is not the first."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts:
        raise InputFault(f"{key!r} leads out of the output folder")
    return str(path.with_suffix("")) + (f".view{view}" if view else "")


def render(
    recipe: Recipe,
    *,
    views: int = 1,
    limit: int | None = None,
    workers: int = 1,
    batch_size: int = 1,
    overwrite: bool = False,
    settings: Settings | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Render a recipe's input into its output folder.

    The bytes do not depend on `workers`, `batch_size` or an interruption. A picture that fails costs its row;
    with ``settings.strict`` the run.

    Parameters
    ----------
    progress
        Called with the number of pictures done and the number of all.

    Raises
    ------
    InputFault, OutputFault
        Before anything is rendered, if input or output can't be used.
    RenderFault
        If a picture fails in a strict run, or a worker process dies.
    """
    settings = settings or Settings()
    if recipe.writer.params.path is None:
        raise OutputFault("no output: give a folder with --output, or `path` under the recipe's `output`")
    folder = Path(recipe.writer.params.path)
    tasks, known = plan(recipe, views, limit)
    identity = Identity(recipe.hash, recipe.seed)
    about = {"input": getattr(recipe.reader.params, "path", None), "versions": versions()}
    manifest = open_folder(folder, identity, about, resolved_text(recipe), overwrite=overwrite, known=known)
    open_tasks = [task for task in tasks if (task.item.key, task.view) not in manifest.rows]
    kept = len(tasks) - len(open_tasks)
    chunks = [open_tasks[i : i + batch_size] for i in range(0, len(open_tasks), batch_size)]
    done, failed, notes = kept, [], dict[str, int]()
    finished = False
    progress(done, len(tasks))
    try:
        for rows in _rows(recipe, folder, settings, chunks, workers):
            manifest.add(rows)
            done += len(rows)
            failed += [row for row in rows if row["status"] == "failed"]
            for row in rows:
                for note in row.get("notes", ()):
                    notes[note] = notes.get(note, 0) + 1
            progress(done, len(tasks))
            if settings.strict and failed:
                raise RenderFault(f"{failed[0]['key']}: {failed[0]['reason']}")
        finished = True
    except OSError as error:
        raise OutputFault(f"can't write to output {folder}: {error.strerror or error}") from None
    finally:
        manifest.close(finished=finished)
    return Summary(len(open_tasks) - len(failed), tuple(failed), kept, notes)


def resolved_text(recipe: Recipe) -> str:
    """The recipe with every default explicit, as YAML; without the output, so that a folder may be moved."""
    buffer = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    resolved = recipe.resolved | {"output": recipe.resolved["output"] | {"path": None}}
    yaml.dump(resolved, buffer)
    return buffer.getvalue()


def _rows(
    recipe: Recipe, folder: Path, settings: Settings, chunks: Sequence[list[Task]], workers: int
) -> Iterator[list[Row]]:
    """The rows of each chunk, in order."""
    if workers <= 1 or len(chunks) <= 1:
        worker = Worker(recipe, folder, settings)
        for chunk in chunks:
            yield worker.render(chunk)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(workers, len(chunks)), context, initializer=_start_worker, initargs=(recipe, folder, settings)
    )
    try:
        waiting: deque[Future[list[Row]]] = deque()
        upcoming = iter(chunks)
        for chunk in upcoming:
            waiting.append(pool.submit(_render, chunk))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise RenderFault(
            "a worker process died, perhaps for want of memory; the same command goes on where it stopped"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: Worker | None = None


def _start_worker(recipe: Recipe, folder: Path, settings: Settings) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to stop
    torch.set_num_threads(1)
    _worker = Worker(recipe, folder, settings)


def _render(chunk: list[Task]) -> list[Row]:
    assert _worker is not None
    return _worker.render(chunk)


@dataclass(frozen=True)
class Rendered:
    """One picture in memory: its files by their path below the output folder, and its row."""

    files: dict[str, bytes]
    views: dict[str, bytes]
    row: Row


class Worker:
    """Renders chunks of tasks; one in each process."""

    def __init__(self, recipe: Recipe, folder: Path, settings: Settings | None = None) -> None:
        self.recipe, self.folder, self.settings = recipe, folder, settings or Settings()

    def render(self, chunk: Sequence[Task]) -> list[Row]:
        """Render and write a chunk; its rows in order. OSError if a file can't be written."""
        rows: dict[Task, Row] = {}
        for group in self._groups(chunk, rows):
            for task, result in self._attempt(group):
                if isinstance(result, Rendered):
                    for path, data in (result.files | result.views).items():
                        write_atomically(self.folder / path, data)
                    rows[task] = result.row
                else:
                    rows[task] = self._failed(task, result)
        return [rows[task] for task in chunk]

    def _groups(self, chunk: Sequence[Task], rows: dict[Task, Row]) -> list[list[tuple[Task, Reading]]]:
        """Tasks that can share a batch; those whose input can't be read get their rows at once."""
        readings: dict[Item, Reading | InputFault] = {}
        groups: dict[Any, list[tuple[Task, Reading]]] = {}
        for task in chunk:
            if task.item not in readings:
                try:
                    readings[task.item] = self.recipe.reader.read(task.item)
                except InputFault as fault:
                    readings[task.item] = fault
                except Exception as error:  # noqa: BLE001 - a reader's own fault costs its picture, not the run
                    readings[task.item] = InputFault(f"{type(error).__name__}: {error}")
            reading = readings[task.item]
            if isinstance(reading, InputFault):
                rows[task] = self._failed(task, reading)
                continue
            frame = reading.frame
            facts = tuple((name, tuple(fact.shape[1:])) for name, fact in sorted(frame.capture.items()))
            groups.setdefault((task.view, frame.signal, frame.size, facts), []).append((task, reading))
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
        writer = self.recipe.writer
        frame = outcome.frame.select([i])
        files = {task.stem + writer.suffix: writer.encode(frame)}
        views = {}
        for number, (id, after) in enumerate(trace):
            if id in writer.params.keep:
                files[f"{KEPT}/{id}/{task.stem}{writer.suffix}"] = writer.encode(after.select([i]))
            if self.settings.stages:
                views[f"{STAGES}/{task.stem}/{number:02d}_{id}.png"] = png(viewable(after.select([i])))
        row = {
            **self._about(task),
            "status": "ok",
            "output": task.stem + writer.suffix,
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
        return Rendered(files, views, row)

    def _about(self, task: Task) -> Row:
        path = Path(task.item.path)
        digest = sha256(path.read_bytes()) if path.is_file() else None
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
