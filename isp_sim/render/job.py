"""Rendering a recipe's input into its output folder."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from ruamel.yaml import YAML

from isp_sim.recipe import Recipe
from isp_sim.render import lock, stop
from isp_sim.render.atomic import atomic
from isp_sim.render.engine import Engine, Local, Setup
from isp_sim.render.files import FilesOutput
from isp_sim.render.manifest import MANIFEST, OutputFault, Row, rows, versions
from isp_sim.render.output import Identity, Output, open_folder, write_run
from isp_sim.render.parquet import write_parquet
from isp_sim.render.plan import Task, plan
from isp_sim.render.shards import ShardsOutput
from isp_sim.render.stop import Stop, Stopped
from isp_sim.render.worker import Settings


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    rendered: int = 0
    failed: tuple[Row, ...] = ()
    kept: int = 0
    notes: dict[str, int] = field(default_factory=dict)


def render(
    recipe: Recipe,
    *,
    views: int = 1,
    limit: int | None = None,
    workers: int = 1,
    engine: Literal["local", "ray"] = "local",
    overwrite: bool = False,
    settings: Settings | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Render a recipe's input into its output folder.

    The bytes do not depend on `workers`, `engine`, the batch size or an interruption. A picture that fails costs its
    row; with ``settings.strict`` the run.

    Parameters
    ----------
    progress
        Called with the number of pictures done and the number of all.

    Raises
    ------
    InputFault, OutputFault
        If input or output can't be used.
    RenderFault
        If a picture fails in a strict run, or a worker process dies.
    Stopped
        If SIGINT or SIGTERM asked the run to stop, once it has.
    """
    settings = settings or Settings()
    folder = output_folder(recipe)
    tasks, known = plan(recipe, views, limit)
    identity = Identity(recipe.hash, recipe.seed)
    about = {"input": getattr(recipe.reader.params, "path", None), "versions": versions()}
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputFault(f"output {folder} is a file; give a folder with --output")
        folder.mkdir(parents=True, exist_ok=True)
        with lock.held(folder), stop.on_signals() as asked:
            open_folder(folder, identity, resolved_text(recipe), overwrite=overwrite)
            output = output_of(recipe, folder, tasks, known)
            write_run(folder, identity, about)
            try:
                setup = Setup(recipe, folder, settings, output.make)
                summary = _run(_engine(engine, workers), setup, output, asked, progress)
                output.finish()
            finally:
                output.close()
            _write_documents(recipe, folder)
            write_parquet(folder)
            counts = {"pictures": len(tasks), "failed": len(summary.failed)}
            write_run(folder, identity, {**about, "finished": counts})
            return summary
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0)
        reason = "; ".join(filter(None, (error.strerror or str(error), advice)))
        raise OutputFault(f"can't write to output {folder}: {reason}") from None


_GO_ON: Final = "make room there, and the same command goes on where it stopped"
_ADVICE: Final = {
    errno.ENOSPC: _GO_ON,
    errno.EDQUOT: _GO_ON,
    errno.EROFS: "give another --output",
    errno.EACCES: "give another --output",
}
"""What to do about a fault of the system."""


def output_folder(recipe: Recipe) -> Path:
    if recipe.writer.params.path is None:
        raise OutputFault("no output: give a folder with --output, or `path` under the recipe's `output`")
    return Path(recipe.writer.params.path)


def output_of(recipe: Recipe, folder: Path, tasks: Sequence[Task], known: set[str]) -> Output:
    size = recipe.writer.shard_size
    return FilesOutput(folder, tasks, known) if size is None else ShardsOutput(folder, tasks, known, size)


def _engine(name: str, workers: int) -> Engine:
    if name == "local":
        return Local(workers)
    from isp_sim.render.on_ray import OnRay

    return OnRay(workers)


def _run(engine: Engine, setup: Setup, output: Output, asked: Stop, progress: Callable[[int, int], None]) -> Summary:
    total, made = len(output.tasks), 0
    failed: list[Row] = []
    notes: dict[str, int] = {}
    progress(output.kept, total)
    for receipt in engine.run(setup, output.parts(engine.part_size * setup.settings.batch_size), asked):
        output.add(receipt)
        made += receipt.made
        failed += receipt.failed
        for note, count in receipt.notes.items():
            notes[note] = notes.get(note, 0) + count
        progress(min(output.kept + made + len(failed), total), total)
    if asked.number is not None:
        raise Stopped(asked.number)
    return Summary(made, tuple(failed), total - made - len(failed), notes)


def _write_documents(recipe: Recipe, folder: Path) -> None:
    """The label files over all pictures."""
    for path, pieces in recipe.reader.documents(lambda: rows(folder / MANIFEST)):
        with atomic(folder / path) as file:
            for piece in pieces:
                file.write(piece.encode())


def resolved_text(recipe: Recipe) -> str:
    """The recipe with every default explicit, as YAML; without the output, so that a folder may be moved."""
    buffer = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    resolved: dict[str, Any] = recipe.resolved | {"output": recipe.resolved["output"] | {"path": None}}
    yaml.dump(resolved, buffer)
    return buffer.getvalue()
