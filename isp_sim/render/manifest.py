"""The manifest: one JSON row a picture, and which pictures of an output folder are done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.jsonl"
RUN: Final = "run.json"
RECIPE: Final = "recipe.yaml"
PART: Final = ".part"
"""End of the names of files that are being written."""

Row = dict[str, Any]
Name = tuple[str, int]
"""Key and view: which picture a row is about."""


class OutputFault(ValueError):
    """The output folder can't be used."""


@dataclass(frozen=True)
class Identity:
    """What must be equal for a run to go on where another stopped."""

    recipe: str
    seed: int


@cache
def versions() -> dict[str, str]:
    """The versions that decide the bits of a picture."""
    from PIL import features

    packages = {name: version(name) for name in ("isp-sim", "torch", "numpy", "pillow", "imagecodecs", "rawpy")}
    return packages | {"libjpeg-turbo": str(features.version_feature("libjpeg_turbo"))}


def name(row: Row) -> Name:
    return row["key"], row["view"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def line(row: Row) -> str:
    """A row as one line of JSON, equal for equal rows. In ASCII, because file names need not be valid text."""
    return json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n"


def read(path: Path) -> list[Row]:
    """The rows of a manifest. A last line that was cut off is left out.

    Raises
    ------
    OutputFault
        If another line is no row.
    """
    rows = []
    lines = path.read_bytes().split(b"\n")
    for number, text in enumerate(lines, 1):
        if not text:
            continue
        try:
            row = json.loads(text)
            if not isinstance(row, dict) or not isinstance(row.get("key"), str) or not isinstance(row.get("view"), int):
                raise ValueError("it has no key and view")
        except ValueError as error:
            if number == len(lines):
                break  # the line that was being written when the run was killed
            raise OutputFault(f"{path}:{number}: this is no row of a manifest: {error}") from None
        rows.append(row)
    return rows


class Manifest:
    """The manifest of one output folder while it is being rendered."""

    def __init__(self, folder: Path, done: Iterable[Row]) -> None:
        self.folder = folder
        self.rows = {name(row): row for row in done}
        self._write_sorted()
        self._file = (folder / MANIFEST).open("a", encoding="utf-8")

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows; they are on their way to the disk when this returns."""
        for row in rows:
            self.rows[name(row)] = row
            self._file.write(line(row))
        self._file.flush()

    def close(self, *, finished: bool) -> None:
        """Close the file; of a finished run, the rows are put in order of key and view."""
        self._file.close()
        if finished:
            self._write_sorted()

    def _write_sorted(self) -> None:
        text = "".join(line(self.rows[key]) for key in sorted(self.rows))
        write_atomically(self.folder / MANIFEST, text.encode())


def open_folder(
    folder: Path,
    identity: Identity,
    about: dict[str, Any],
    recipe_text: str,
    *,
    overwrite: bool,
    known: set[str],
) -> Manifest:
    """Make an output folder ready, or take up a run that stopped there.

    Parameters
    ----------
    identity
        Of this run.
    about
        What else ``run.json`` says.
    recipe_text
        The resolved recipe, written beside the pictures.
    overwrite
        Whether the pictures of another run may be deleted.
    known
        The keys of the input. A run is taken up only if it has no others.

    Raises
    ------
    OutputFault
        If the folder can't be made, or holds anything else than a run of the same recipe and seed.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputFault(f"output {folder} is a file; give a folder with --output")
        folder.mkdir(parents=True, exist_ok=True)
        done: list[Row] = []
        if any(folder.iterdir()):
            reason = _other(folder, identity, known)
            if reason is None:
                done = [row for row in read(folder / MANIFEST) if _is_whole(folder, row)]
            elif overwrite:
                _clear(folder)
            else:
                raise OutputFault(f"output {folder} {reason}: give another --output, or --overwrite")
        for part in folder.rglob(f".*{PART}"):
            part.unlink(missing_ok=True)
        run = {"recipe": identity.recipe, "seed": identity.seed, **about}
        write_atomically(folder / RUN, (json.dumps(run, indent=2) + "\n").encode())
        write_atomically(folder / RECIPE, recipe_text.encode())
        return Manifest(folder, done)
    except OSError as error:
        raise OutputFault(f"can't write to output {folder}: {error.strerror or error}") from None


def _other(folder: Path, identity: Identity, known: set[str]) -> str | None:
    """Why a folder that is not empty can't be taken up; None if it can."""
    if not (folder / RUN).is_file() or not (folder / MANIFEST).is_file():
        return "holds files that no run of isp-sim left there"
    try:
        run = json.loads((folder / RUN).read_text("utf-8"))
        rows = read(folder / MANIFEST)
    except ValueError as error:
        return f"holds a run that can't be read ({error})"
    if not isinstance(run, dict) or run.get("recipe") != identity.recipe:
        return "holds pictures of another recipe"
    if run.get("seed") != identity.seed:
        return f"holds pictures of seed {run.get('seed')}, not {identity.seed}"
    if strange := [row["key"] for row in rows if row["key"] not in known]:
        return f"holds pictures of inputs that are not there now, such as {strange[0]}"
    return None


def _is_whole(folder: Path, row: Row) -> bool:
    """Whether the files of a row are there with the right content."""
    if row.get("status") != "ok":
        return False
    try:
        return all(sha256((folder / path).read_bytes()) == digest for path, digest in row["files"].items())
    except OSError:
        return False


def _clear(folder: Path) -> None:
    """Delete what an earlier run left; files of others stay."""
    if (folder / MANIFEST).is_file():
        try:
            rows = read(folder / MANIFEST)
        except OutputFault:
            rows = []
        for row in rows:
            for path in row.get("files", {}):
                target = folder / path
                if target.resolve().is_relative_to(folder.resolve()):
                    target.unlink(missing_ok=True)
    for path in (MANIFEST, RUN, RECIPE):
        (folder / path).unlink(missing_ok=True)
