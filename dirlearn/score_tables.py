"""What heads found, as tables of the report."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any


def score_tables(results: Mapping[str, Any]) -> Iterable[str]:
    """For each test set and degradation with labels: the figures of every method, then the main one of every class."""
    rows = [row for row in results["rows"] if row.get("scores")]
    for place in dict.fromkeys((row["set"], row["degradation"]) for row in rows):
        here = [row for row in rows if (row["set"], row["degradation"]) == place]
        yield f"<h3>{html.escape(', '.join(place))}</h3>"
        yield from _table("%", {row["method"]: row["scores"] for row in here})
        yield "<details><summary>by class</summary>"
        yield from _table("%", _transposed({row["method"]: row["classes"] for row in here}))
        yield "</details>"


def _transposed(cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = dict.fromkeys(name for row in cells.values() for name in row)
    return {name: {method: row.get(name) for method, row in cells.items()} for name in names}


def _table(corner: str, cells: dict[str, dict[str, Any]]) -> Iterable[str]:
    columns = list(dict.fromkeys(name for row in cells.values() for name in row))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    yield f"<table><tr><th>{corner}</th>{head}</tr>"
    for name, row in cells.items():
        values = "".join(f"<td>{_percent(row.get(column))}</td>" for column in columns)
        yield f"<tr><td>{html.escape(name)}</td>{values}</tr>"
    yield "</table>"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
