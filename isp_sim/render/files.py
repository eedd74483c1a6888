"""Output as one file a picture, with rows appended to the manifest as they are made."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from isp_sim.render import manifest
from isp_sim.render.atomic import append, atomic, sha256_of, write_atomically
from isp_sim.render.manifest import MANIFEST, Name, OutputFault, Row
from isp_sim.render.output import Make, Output, Part, Receipt
from isp_sim.render.plan import Task
from isp_sim.render.stop import Asked
from isp_sim.render.worker import Rendered, Worker


class MakeFiles(Make):
    """Writes pictures under their names."""

    def __call__(self, worker: Worker, part: Part, asked: Asked) -> Receipt | None:
        size = worker.settings.batch_size
        rows, failed, notes = list[Row](), list[Row](), dict[str, int]()
        for first in range(0, len(part.tasks), size):
            if asked():
                break
            for one in worker.render(part.tasks[first : first + size]):
                if isinstance(one, Rendered):
                    for path, data in (one.files | one.views).items():
                        write_atomically(worker.folder / path, data)
                    count_notes(one.row, notes)
                else:
                    failed.append(one)
                rows.append(one.row if isinstance(one, Rendered) else one)
        if not rows:
            return None
        return Receipt(len(rows) - len(failed), tuple(failed), notes, tuple(rows))


def count_notes(row: Row, notes: dict[str, int]) -> None:
    for note in row["notes"]:
        notes[note] = notes.get(note, 0) + 1


class FilesOutput(Output):
    """A folder of pictures. Of each row only its place in the manifest is kept in memory."""

    make = MakeFiles()

    def __init__(self, folder: Path, tasks: Sequence[Task], known: set[str]) -> None:
        super().__init__(folder, tasks, known)
        self._path = folder / MANIFEST
        self._numbers = {(task.item.key, task.view): number for number, task in enumerate(tasks)}
        self._places = array("q", [-1]) * len(tasks)
        self._others: dict[Name, int] = {}
        """Pictures that are done, though they are none of the tasks."""
        self._take_up()
        self.kept = sum(place >= 0 for place in self._places)
        self._file = self._path.open("ab", buffering=0)

    def _take_up(self) -> None:
        """Keep the rows of earlier runs whose files are there with the right content."""
        old = manifest.rows(self._path) if self._path.is_file() else iter(())
        with atomic(self._path) as file:
            for row in old:
                if row["key"] not in self.known:
                    raise OutputFault(
                        f"output {self.folder} holds pictures of inputs that are not there now, such as {row['key']}: "
                        "give another --output, or --overwrite"
                    )
                if self._is_whole(row) and not self._is_noted(row):
                    self._note(row, file.tell())
                    file.write(manifest.line(row))

    def _is_whole(self, row: Row) -> bool:
        if row.get("status") != "ok":
            return False
        try:
            return all(sha256_of(self.folder / path) == digest for path, digest in row["files"].items())
        except OSError:
            return False

    def _is_noted(self, row: Row) -> bool:
        number = self._numbers.get(manifest.name(row))
        return manifest.name(row) in self._others if number is None else self._places[number] >= 0

    def _note(self, row: Row, place: int) -> None:
        number = self._numbers.get(manifest.name(row))
        if number is None:
            self._others[manifest.name(row)] = place
        else:
            self._places[number] = place

    def parts(self, size: int) -> Iterator[Part]:
        waiting = [number for number, place in enumerate(self._places) if place < 0]
        for number, first in enumerate(range(0, len(waiting), size)):
            yield Part(number, tuple(self.tasks[i] for i in waiting[first : first + size]))

    def add(self, receipt: Receipt) -> None:
        lines = [manifest.line(row) for row in receipt.rows]
        place = append(self._file, b"".join(lines))
        for row, line in zip(receipt.rows, lines, strict=True):
            self._note(row, place)
            place += len(line)

    def finish(self) -> None:
        places = [((task.item.key, task.view), place) for task, place in zip(self.tasks, self._places, strict=True)]
        places += self._others.items()
        with self._path.open("rb") as rows, atomic(self._path) as file:
            for _, place in sorted(places):
                rows.seek(place)
                file.write(rows.readline())

    def close(self) -> None:
        self._file.close()
