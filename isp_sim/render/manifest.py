"""The manifest: one JSON row a picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Final

from isp_sim.formats.reader import Item

MANIFEST: Final = "manifest.jsonl"
RUN: Final = "run.json"
RECIPE: Final = "recipe.yaml"
LARGEST: Final = 64 << 20
"""Bytes of a row, and of the other JSON beside the pictures, that are read at the most."""

Row = dict[str, Any]
Name = tuple[str, int]
"""Key and view: which picture a row is about."""


class OutputFault(ValueError):
    """The output folder can't be used."""


@cache
def versions() -> dict[str, str]:
    """The versions that decide the bits of a picture."""
    from PIL import features

    packages = {name: version(name) for name in ("isp-sim", "torch", "numpy", "pillow", "imagecodecs", "rawpy")}
    return packages | {"libjpeg-turbo": str(features.version_feature("libjpeg_turbo"))}


def name(row: Row) -> Name:
    return row["key"], row["view"]


def line(row: Row) -> bytes:
    """A row as one line of JSON, equal for equal rows. In ASCII, because file names need not be valid text."""
    return (json.dumps(row, separators=(",", ":"), allow_nan=False) + "\n").encode("ascii")


def rows(path: Path) -> Iterator[Row]:
    """The rows of a manifest, one after the other. A last line that was cut off is left out.

    Raises
    ------
    OutputFault
        If another line is no row.
    """
    with path.open("rb") as file:
        for number, text in enumerate(iter(lambda: file.readline(LARGEST + 1), b""), 1):
            if text == b"\n":
                continue
            if len(text) > LARGEST:
                raise OutputFault(f"{path}:{number}: the row holds more than {LARGEST} bytes, which are not read")
            try:
                row = parsed(text)
            except ValueError as error:
                if not text.endswith(b"\n"):
                    return  # the line that was being written when the run was killed
                raise OutputFault(f"{path}:{number}: this is no row of a manifest: {error}") from None
            yield row


def parsed(text: bytes) -> Row:
    """A row from its line. A manifest may come from anyone, so nothing in it reaches beyond its folder.

    Raises
    ------
    ValueError
        If it is no row, or names a file that lies elsewhere.
    """
    row = json_object(text)
    if not isinstance(row.get("key"), str) or not isinstance(row.get("view"), int):
        raise ValueError("it has no key and view")
    if row.get("status") != "ok":
        return row
    files, members = row.get("files"), row.get("members", {})
    if not isinstance(files, dict) or row.get("output") not in files:
        raise ValueError("it has no files, or its output is none of them")
    if not isinstance(members, dict) or ("shard" in row and not members.keys() >= files.keys()):
        raise ValueError("it does not say where in its shard the files lie")
    for path in (*files, *members, *([row["shard"]] if "shard" in row else [])):
        refuse_outside(path)
    for window in members.values():
        if not (isinstance(window, list) and len(window) == 2 and all(type(n) is int and n >= 0 for n in window)):
            raise ValueError(f"a file lies at {window!r:.60}; it must be the first byte and their number")
    return row


def refuse_outside(path: object) -> None:
    """Raise ValueError unless a path leads to somewhere below the folder that it is for."""
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError(f"{path!r:.200} is no name of a file")
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or (os.sep != "/" and os.sep in path):
        raise ValueError(f"{path!r:.200} leads out of the folder")


def json_object(text: bytes) -> dict[str, Any]:
    """A JSON object of bounded size and depth; ValueError if it is none."""
    if len(text) > LARGEST:
        raise ValueError(f"it holds {len(text)} bytes; at most {LARGEST} are read")
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def read_run(folder: Path) -> dict[str, Any]:
    """What ``run.json`` says. OSError if it is not there, ValueError if it is none."""
    with (folder / RUN).open("rb") as file:
        run = json_object(file.read(LARGEST + 1))
    if not isinstance(run.get("finished", {}), dict):
        raise ValueError("it does not say what was finished")
    return run


def read(path: Path) -> list[Row]:
    """All rows of a manifest, as `rows` gives them."""
    return list(rows(path))


def content(folder: Path, row: Row, path: str) -> bytes:
    """The bytes of one of a row's files, wherever it lies: in the folder, or in a shard."""
    if "shard" not in row:
        return Item(path, str(folder / path)).read_bytes()
    first, size = row["members"][path]
    with (folder / row["shard"]).open("rb") as file:
        if first + size > os.fstat(file.fileno()).st_size:
            raise OSError(0, f"{row['shard']} ends within {path}")
        file.seek(first)
        data: bytes = file.read(size)
        return data
