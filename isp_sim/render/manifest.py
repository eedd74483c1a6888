"""The manifest: one JSON row a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "manifest.jsonl"
RUN: Final = "run.json"
RECIPE: Final = "recipe.yaml"

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
        for number, text in enumerate(file, 1):
            if text == b"\n":
                continue
            try:
                row = parsed(text)
            except ValueError as error:
                if not text.endswith(b"\n"):
                    return  # the line that was being written when the run was killed
                raise OutputFault(f"{path}:{number}: this is no row of a manifest: {error}") from None
            yield row


def parsed(text: bytes) -> Row:
    """A row from its line; ValueError if it is none."""
    row = json.loads(text)
    if not isinstance(row, dict) or not isinstance(row.get("key"), str) or not isinstance(row.get("view"), int):
        raise ValueError("it has no key and view")
    return row


def read(path: Path) -> list[Row]:
    """All rows of a manifest, as `rows` gives them."""
    return list(rows(path))


def content(folder: Path, row: Row, path: str) -> bytes:
    """The bytes of one of a row's files, wherever it lies: in the folder, or in a shard."""
    if "shard" not in row:
        return (folder / path).read_bytes()
    first, size = row["members"][path]
    with (folder / row["shard"]).open("rb") as file:
        file.seek(first)
        data: bytes = file.read(size)
        return data
