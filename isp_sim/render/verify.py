"""Whether an output folder holds what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from isp_sim.formats.limits import regular
from isp_sim.formats.reader import InputFault
from isp_sim.render.atomic import PART, sha256, sha256_of
from isp_sim.render.manifest import MANIFEST, RUN, Name, OutputFault, Row, content, name, read_run, rows
from isp_sim.render.shards import read_index


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes
    ----------
    pictures, failed, files
        Rows of pictures and of failures, and files and members that were compared with their hash.
    faults
        What is wrong, one line each.
    """

    pictures: int
    failed: int
    files: int
    faults: tuple[str, ...]


def verify(folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Verdict:
    """Compare every row with its files, and every shard with its index.

    Raises
    ------
    OutputFault
        If the folder holds no run, or its manifest can't be read.
    """
    try:
        run = read_run(folder)
    except (OSError, ValueError) as error:
        raise OutputFault(f"{folder} holds no run of isp-sim: {error}") from None
    faults = []
    if "finished" not in run:
        faults.append("the run has not finished: the same command goes on")
    faults += [f"{path.relative_to(folder)}: left by a run that was killed" for path in folder.rglob(f".*{PART}")]
    total = run.get("finished", {}).get("pictures", 0)
    if type(total) is not int:
        raise OutputFault(f"{folder} holds no run of isp-sim: {RUN} says that {total!r:.60} pictures are finished")
    pictures = failed = files = 0
    seen: set[Name] = set()
    shards: set[str] = set()
    if (folder / MANIFEST).is_file():
        for number, row in enumerate(rows(folder / MANIFEST), 1):
            where = f"row {number} ({row['key']}, view {row['view']})"
            if name(row) in seen:
                faults.append(f"{where}: there is a row of it already")
            seen.add(name(row))
            progress(number, max(total, number))
            if row.get("status") != "ok":
                failed += 1
                continue
            pictures, files = pictures + 1, files + len(row["files"])
            if row.get("recipe") != run.get("recipe") or row.get("seed") != run.get("seed"):
                faults.append(f"{where}: rendered by another recipe or seed than the others")
            if "shard" in row and row["shard"] not in shards:
                shards.add(row["shard"])
                faults += _shard_faults(folder, row["shard"])
            faults += [f"{where}: {reason}" for reason in _file_faults(folder, row)]
    if "finished" in run and pictures + failed < total:
        faults.append(f"{MANIFEST} has {pictures + failed} rows of {total} pictures")
    return Verdict(pictures, failed, files, tuple(faults))


def _shard_faults(folder: Path, shard: str) -> Iterator[str]:
    index = read_index(folder, shard)
    if index is None:
        yield f"{shard}: its index is missing or damaged"
        return
    try:
        if sha256_of(regular(folder / shard)) != index.sha256:
            yield f"{shard}: other bytes than its index says"
    except OSError as error:
        yield f"{shard}: {error.strerror}"


def _file_faults(folder: Path, row: Row) -> Iterator[str]:
    for path, digest in row["files"].items():
        try:
            if sha256(content(folder, row, path)) != digest:
                yield f"{path} has other bytes than the manifest says"
        except OSError as error:
            yield f"{path}: {error.strerror}"
        except InputFault as error:
            yield f"{path}: {error}"
