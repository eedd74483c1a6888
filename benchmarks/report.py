"""What every benchmark shares: the environment, a table, and JSON of one shape."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("isp-sim", "torch", "numpy", "scipy", "pillow", "imagecodecs", "rawpy", "scikit-image")
PEERS = ("colour-demosaicing", "opencv-python-headless", "kornia", "colour-science")


@dataclass(frozen=True)
class Target:
    """One thing that a benchmark is expected to show.

    `bound` is written as it is read, such as ``<= 0.1``; `value` is None where nothing could be measured.
    """

    name: str
    value: float | None
    bound: str
    met: bool


def at_most(name: str, value: float | None, bound: float) -> Target:
    return Target(name, value, f"<= {bound:g}", value is not None and value <= bound)


def at_least(name: str, value: float | None, bound: float) -> Target:
    return Target(name, value, f">= {bound:g}", value is not None and value >= bound)


def arguments(description: str, *, data: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    if data:
        parser.add_argument("--data", type=Path, required=True, help="folder that holds the test data, at any depth")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    return parser


def environment() -> dict[str, Any]:
    versions = {}
    for name in (*PACKAGES, *PEERS):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    dirty = subprocess.run(
        ["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "machine": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": (git.stdout.strip() or None) if git.returncode == 0 else None,
        "uncommitted_changes": bool(dirty.stdout.strip()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def publish(rows: list[dict[str, Any]], targets: list[Target], file: Path | None, title: str) -> int:
    """Print rows and targets, write the JSON; returns the exit code: 0 if every target is met."""
    console = Console(width=None if Console().is_terminal else 160)
    if rows:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = Table(*map(escape, columns), title=title, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(_text(row.get(column)) for column in columns))
        console.print(table)
    table = Table("target", "value", "bound", "met", box=None, pad_edge=False)
    for target in targets:
        table.add_row(target.name, _text(target.value), target.bound, "yes" if target.met else "NO")
    console.print(table)
    if file is not None:
        result = {"environment": environment(), "rows": rows, "targets": [asdict(target) for target in targets]}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if targets and all(target.met for target in targets) else 1


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
