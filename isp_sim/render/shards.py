"""Output as tar shards in WebDataset's layout: equal bytes for equal input, an index beside each."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from isp_sim.render import manifest
from isp_sim.render.atomic import atomic, sha256_of, write_atomically
from isp_sim.render.files import count_notes
from isp_sim.render.manifest import MANIFEST, OutputFault, Row
from isp_sim.render.output import Make, Output, Part, Receipt
from isp_sim.render.plan import Task
from isp_sim.render.stop import Asked
from isp_sim.render.worker import Rendered, Worker

MTIME: Final = 315532800
"""The first second of 1980, of every member: some programs take 0 for a mistake."""
_NAME: Final = re.compile(r"shard-\d{6,}\.(tar|json)")


def shard_name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def shards_in(folder: Path) -> list[Path]:
    """The shards and indices in a folder."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


# -- the tar file ----------------------------------------------------------------------------------------------


class Shard:
    """A tar file that is being written: neither time, nor user, nor machine leaves a trace in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.size = file, hashlib.sha256(), 0

    def add(self, name: str, data: bytes) -> tuple[int, int]:
        """Append a member; returns where its first byte lies, and their number."""
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = len(data), MTIME, 0o644
        self._write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        first = self.size
        self._write(data)
        self._write(bytes(-len(data) % tarfile.BLOCKSIZE))
        return first, len(data)

    def close(self) -> str:
        """End the tar file; returns its SHA-256."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self.size % tarfile.RECORDSIZE))
        return self._digest.hexdigest()

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)
        self.size += len(data)


# -- the index -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    """What a shard holds: written after the shard, so what has an index is whole.

    Attributes
    ----------
    shard, sha256, size
        Name, hash and size of the tar file.
    samples
        Of each task, in order: ``key``, ``view``, and ``members``, name to first byte and size; of one that failed its
        row in place of the members.
    """

    shard: str
    sha256: str
    size: int
    samples: tuple[Row, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(sample["failed"] for sample in self.samples if "failed" in sample)

    def write(self, folder: Path) -> None:
        about = {"shard": self.shard, "sha256": self.sha256, "size": self.size}
        lines = ",\n".join(json.dumps(sample, separators=(",", ":"), allow_nan=False) for sample in self.samples)
        text = f'{json.dumps(about)[:-1]}, "samples": [\n{lines}\n]}}\n'
        write_atomically(folder / _index_name(self.shard), text.encode("ascii"))


def _index_name(shard: str) -> str:
    return str(Path(shard).with_suffix(".json"))


def read_index(folder: Path, shard: str) -> Index | None:
    """A shard's index; None if it is not there or not whole."""
    try:
        found = json.loads((folder / _index_name(shard)).read_bytes())
        index = Index(found["shard"], found["sha256"], found["size"], tuple(found["samples"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return index if index.shard == shard else None


def index_rows(folder: Path, index: Index) -> Iterator[Row]:
    """The rows of a shard's pictures, each with where its files lie."""
    with (folder / index.shard).open("rb") as file:
        for sample in index.samples:
            if "failed" in sample:
                yield sample["failed"]
                continue
            members = dict(sample["members"])
            first, size = members.pop(sample["row"])
            file.seek(first)
            yield manifest.parsed(file.read(size)) | {"shard": index.shard, "members": members}


# -- the output ------------------------------------------------------------------------------------------------


class MakeShard(Make):
    """Writes one shard, then its index."""

    def __call__(self, worker: Worker, part: Part, asked: Asked) -> Receipt | None:
        folder, name, size = worker.folder, shard_name(part.number), worker.settings.batch_size
        if (failed := _fails_again(worker, part)) is not None:
            return Receipt(0, failed)
        (folder / _index_name(name)).unlink(missing_ok=True)  # of a shard that was cut off or damaged
        samples: list[Row] = []
        notes: dict[str, int] = {}
        try:
            with atomic(folder / name) as file:
                shard = Shard(file)
                for first in range(0, len(part.tasks), size):
                    if asked():
                        raise _Asked
                    for one in worker.render(part.tasks[first : first + size]):
                        samples.append(_added(shard, one))
                        if isinstance(one, Rendered):
                            for path, data in one.views.items():
                                write_atomically(folder / path, data)
                            count_notes(one.row, notes)
                digest = shard.close()
        except _Asked:
            return None
        index = Index(name, digest, shard.size, tuple(samples))
        index.write(folder)
        _sync(folder)
        return Receipt(len(samples) - len(index.failed), index.failed, notes)


class _Asked(Exception):
    """A stop was asked for."""


def _added(shard: Shard, one: Rendered | Row) -> Row:
    """What the index says of a picture, once it is in the shard."""
    if not isinstance(one, Rendered):
        return {"key": one["key"], "view": one["view"], "failed": one}
    name = f"{one.row['output'].rpartition('.')[0]}.json"
    members = {path: shard.add(path, data) for path, data in one.files.items()}
    members[name] = shard.add(name, manifest.line(one.row))
    return {"key": one.row["key"], "view": one.row["view"], "row": name, "members": members}


def _fails_again(worker: Worker, part: Part) -> tuple[Row, ...] | None:
    """The rows of the pictures that a finished shard lacks, if all of them fail as before; None if it is to be made."""
    index = read_index(worker.folder, shard_name(part.number))
    if index is None or not _is_whole(worker.folder, index) or not _fits(index, part.tasks):
        return None
    for task, sample in zip(part.tasks, index.samples, strict=True):
        if "failed" in sample and worker.render([task]) != [sample["failed"]]:
            return None
    return index.failed


def _is_whole(folder: Path, index: Index) -> bool:
    try:
        return sha256_of(folder / index.shard) == index.sha256
    except OSError:
        return False


def _fits(index: Index, tasks: Sequence[Task]) -> bool:
    """Whether a shard holds exactly these pictures."""
    return [(s["key"], s["view"]) for s in index.samples] == [(task.item.key, task.view) for task in tasks]


def _sync(folder: Path) -> None:
    """See that new names in a folder outlast a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ShardsOutput(Output):
    """A folder of shards. A shard with an index that fits is done; of the others nothing is kept."""

    make = MakeShard()

    def __init__(self, folder: Path, tasks: Sequence[Task], known: set[str], size: int) -> None:
        super().__init__(folder, tasks, known)
        self._size, self._count = size, -(-len(tasks) // size)
        self._refuse_others()
        self._open, self.kept = [], 0
        for number in range(self._count):
            index = read_index(folder, shard_name(number))
            own = self._tasks(number)
            if index is None or not _fits(index, own) or not _is_whole(folder, index):
                self._open.append(number)
            else:
                self.kept += len(own) - len(index.failed)
                if index.failed:
                    self._open.append(number)

    def _tasks(self, number: int) -> Sequence[Task]:
        return self.tasks[number * self._size : (number + 1) * self._size]

    def _refuse_others(self) -> None:
        """Refuse to mix with shards of other pictures, and remove what a run that was killed left without an index. A
        shard that holds only the first of its pictures was cut by a limit."""
        for path in shards_in(self.folder):
            number = int(path.stem.partition("-")[2])
            index = read_index(self.folder, shard_name(number))
            if index is None:
                path.unlink()
                continue
            own = self._tasks(number)
            if not _fits(index, own[: len(index.samples)]) or not own:
                raise OutputFault(
                    f"output {self.folder} holds shards of other inputs or views, such as {index.shard}: "
                    "give another --output, or --overwrite"
                )

    def parts(self, size: int) -> Iterator[Part]:
        for number in self._open:
            yield Part(number, tuple(self._tasks(number)))

    def add(self, receipt: Receipt) -> None:
        """The index beside the shard says it all."""

    def finish(self) -> None:
        with atomic(self.folder / MANIFEST) as file:
            for number in range(self._count):
                index = read_index(self.folder, shard_name(number))
                if index is None:
                    raise OutputFault(f"{self.folder / shard_name(number)} has lost its index; run the command again")
                for row in index_rows(self.folder, index):
                    file.write(manifest.line(row))
