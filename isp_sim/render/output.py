"""An output folder: whose run it holds, what is done there, and what is left to make."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from isp_sim.render.atomic import remove_parts, write_atomically
from isp_sim.render.lock import LOCK
from isp_sim.render.manifest import MANIFEST, RECIPE, RUN, OutputFault, Row, read_run, rows
from isp_sim.render.plan import Task
from isp_sim.render.stop import Asked
from isp_sim.render.worker import Worker


@dataclass(frozen=True)
class Identity:
    """What must be equal for a run to go on where another stopped."""

    recipe: str
    seed: int


@dataclass(frozen=True)
class Part:
    """What a worker makes in one go: a shard, or a batch of files. A description; pictures stay with the worker."""

    number: int
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Receipt:
    """What a worker says of a part that it has made and written.

    Attributes
    ----------
    made
        Pictures that were written.
    failed
        The rows of those that failed.
    notes
        What was odd, and of how many pictures.
    rows
        Of all of them, in order, where no index beside the pictures holds them.
    """

    made: int
    failed: tuple[Row, ...] = ()
    notes: dict[str, int] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()


class Make:
    """The type of `Output.make`; a class, so that processes can be sent it by its name."""

    def __call__(self, worker: Worker, part: Part, asked: Asked) -> Receipt | None:
        """Make and write a part, or of one that can be split, what is done when a stop is asked for; None if nothing.

        Raises
        ------
        OSError
            If it can't be written. Nothing half-written stays.
        isp_sim.render.worker.RenderFault
            If a picture fails in a strict run.
        """
        raise NotImplementedError


class Output(ABC):
    """How pictures lie in a folder that this run has to itself.

    Raises
    ------
    OutputFault
        On making one, if what lies in the folder does not belong to this run.
    """

    def __init__(self, folder: Path, tasks: Sequence[Task], known: set[str]) -> None:
        self.folder, self.tasks, self.known = folder, tasks, known

    kept: int
    """Pictures of the tasks that were there already."""

    @abstractmethod
    def parts(self, size: int) -> Iterator[Part]:
        """What is left to make; what is no shard has so many pictures."""

    make: ClassVar[Make]
    """Makes a part, in a process that may be another."""

    @abstractmethod
    def add(self, receipt: Receipt) -> None:
        """Take note of a part that was made."""

    @abstractmethod
    def finish(self) -> None:
        """Put the rows of all that was made into the manifest, in order of key and view."""

    def close(self) -> None:  # noqa: B027 - there may be nothing to let go of
        """Let go of what is open, finished or not."""


def open_folder(folder: Path, identity: Identity, recipe_text: str, *, overwrite: bool) -> None:
    """Make a locked folder ready, or take up a run that stopped there.

    Parameters
    ----------
    identity
        Of this run.
    recipe_text
        The resolved recipe, written beside the pictures.
    overwrite
        Whether the pictures of another run may be deleted.

    Raises
    ------
    OutputFault
        If the folder holds anything else than a run of the same recipe and seed.
    """
    remove_parts(folder)
    if any(path.name != LOCK for path in folder.iterdir()) and (reason := _other(folder, identity)):
        if not overwrite:
            raise OutputFault(f"output {folder} {reason}: give another --output, or --overwrite")
        clear(folder)
    if not (folder / RUN).is_file():  # the first of its files, by which whatever follows is known again
        write_run(folder, identity, {})
    write_atomically(folder / RECIPE, recipe_text.encode())


def write_run(folder: Path, identity: Identity, about: dict[str, Any]) -> None:
    """Say whose run it is, and what else there is to say of it."""
    run = {"recipe": identity.recipe, "seed": identity.seed, **about}
    write_atomically(folder / RUN, (json.dumps(run, indent=2) + "\n").encode())


def _other(folder: Path, identity: Identity) -> str | None:
    """Why a folder that is not empty can't be taken up; None if it can."""
    if not (folder / RUN).is_file():
        return "holds files that no run of isp-sim left there"
    try:
        run = read_run(folder)
    except ValueError as error:
        return f"holds a run that can't be read ({error})"
    if run.get("recipe") != identity.recipe:
        return "holds pictures of another recipe"
    if run.get("seed") != identity.seed:
        return f"holds pictures of seed {run.get('seed')}, not {identity.seed}"
    return None


def clear(folder: Path) -> None:
    """Delete what an earlier run left; files of others stay."""
    from isp_sim.render.shards import shards_in

    if (folder / MANIFEST).is_file():
        try:
            for row in rows(folder / MANIFEST):
                for path in row.get("files", {}) if "shard" not in row else ():
                    target = folder / path
                    if target.resolve().is_relative_to(folder.resolve()):
                        target.unlink(missing_ok=True)
        except OutputFault:
            pass  # what it lists up to there is deleted
    for path in shards_in(folder):
        path.unlink(missing_ok=True)
    for name in (MANIFEST, f"{Path(MANIFEST).stem}.parquet", RECIPE, RUN):
        (folder / name).unlink(missing_ok=True)
