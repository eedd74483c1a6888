"""The manifest once more, as a table that data frames read quickly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from isp_sim.render.atomic import atomic
from isp_sim.render.manifest import MANIFEST, Row, rows

TABLE: Final = "manifest.parquet"
GROUP: Final = 10_000
"""Rows that are in memory at once."""
TEXTS: Final = ("key", "status", "reason", "output", "shard", "recipe", "input_sha256")
NUMBERS: Final = ("view", "seed", "height", "width")
NESTED: Final = ("files", "members", "drawn", "capture", "shares", "signals", "notes", "labels", "versions")
"""What differs in form from row to row, as JSON."""


def write_parquet(folder: Path) -> bool:
    """Write ``manifest.parquet`` beside the manifest, if pyarrow is installed; returns whether it is."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return False
    schema = pyarrow.schema(
        [(name, pyarrow.string()) for name in TEXTS]
        + [(name, pyarrow.int64()) for name in NUMBERS]
        + [(name, pyarrow.string()) for name in NESTED]
    )
    with atomic(folder / TABLE) as file, pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(rows(folder / MANIFEST)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
    return True


def _groups(found: Iterator[Row]) -> Iterator[list[Row]]:
    while group := [_flat(row) for row in islice(found, GROUP)]:
        yield group


def _flat(row: Row) -> Row:
    height, width = row.get("size", (None, None))
    flat: dict[str, Any] = {name: row.get(name) for name in (*TEXTS, "view", "seed")}
    flat |= {name: json.dumps(row[name]) for name in NESTED if name in row}
    return {**flat, "key": _text(row["key"]), "output": _text(row.get("output")), "height": height, "width": width}


def _text(name: str | None) -> str | None:
    """A file name as text that is valid: bytes that are none are escaped."""
    return None if name is None else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
