"""One row of a manifest, rendered again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from isp_sim import recipe as recipes
from isp_sim.formats.reader import InputFault
from isp_sim.render.manifest import RECIPE, OutputFault, Row, read, versions
from isp_sim.render.plan import Task
from isp_sim.render.worker import Worker


@dataclass(frozen=True)
class Replay:
    """A picture rendered again, and in what it differs from its row."""

    key: str
    view: int
    data: bytes
    differences: tuple[str, ...]


def replay(manifest: Path, row: int, input: str | None = None) -> Replay:
    """Render one row again, alone, from the resolved recipe beside the manifest.

    Parameters
    ----------
    manifest
        The ``manifest.jsonl``.
    row
        Its line, from 1.
    input
        Where the inputs are now, if they have moved.

    Raises
    ------
    OutputFault
        If the manifest can't be read, or has no such row, or the row is of a picture that failed.
    InputFault
        If the input is not there.
    isp_sim.recipe.RecipeError
        If the recipe beside the manifest is not valid, for want of a plugin for instance.
    """
    try:
        rows = read(manifest)
    except OSError as error:
        raise OutputFault(f"can't read {manifest}: {error.strerror}") from None
    if not 1 <= row <= len(rows):
        raise OutputFault(f"{manifest} has rows 1 to {len(rows)}, not {row}")
    old = rows[row - 1]
    if old.get("status") != "ok":
        raise OutputFault(f"row {row} is of a picture that failed: {old.get('reason')}")
    recipe = recipes.read(manifest.parent / RECIPE).with_places(input=input, seed=old["seed"])
    item = next((item for item in recipe.reader.items() if item.key == old["key"]), None)
    if item is None:
        raise InputFault(f"the input holds no {old['key']}; say with --input where it is now")
    worker = Worker(recipe, manifest.parent)
    stem = str(Path(old["output"]).with_suffix(""))
    reading = recipe.reader.read(item)
    (rendered,) = worker.batch([(Task(item, old["view"], stem), reading)])
    return Replay(old["key"], old["view"], rendered.files[old["output"]], tuple(_differences(old, rendered.row)))


def _differences(old: Row, new: Row) -> list[str]:
    """In what a row differs from the old one; nothing if the pictures are bit-equal."""
    differences = [
        f"{path}: other bytes than the manifest says (sha256 {new['files'].get(path, 'none')[:12]}, was {digest[:12]})"
        for path, digest in old["files"].items()
        if new["files"].get(path) != digest
    ]
    if not differences:
        return []
    if old.get("input_sha256") != new["input_sha256"]:
        differences.append("the input has changed since")
    if json.loads(json.dumps(new["drawn"])) != old["drawn"]:
        differences.append("other values were drawn")
    changed = [
        f"{name} {old.get('versions', {}).get(name)}, now {v}"
        for name, v in versions().items()
        if old.get("versions", {}).get(name) != v
    ]
    return differences + [f"made with {text}" for text in changed]
