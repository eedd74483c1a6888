"""What is to be made of a recipe's input, and under which names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Final

from isp_sim.formats.reader import InputFault, Item
from isp_sim.recipe import Recipe

KEPT: Final = "kept"
LONGEST_NAME: Final = 224
"""Bytes of a name: file systems take 255, of which view, step and the mark of a file being written need some."""
LONGEST_PATH: Final = 2048
"""Bytes of a key: systems take paths of 4096, or less."""
IMAGES: Final = "images"
"""First folder of a picture beside which label files have a folder of their own."""


@dataclass(frozen=True, slots=True)
class Task:
    """One picture to make: an input, a view, and the name of the output without its suffix."""

    item: Item
    view: int
    stem: str


class Names:
    """Names below the output folder, where every picture is a file of its own."""

    @staticmethod
    def stem(key: str, view: int) -> str:
        """The output's name without suffix: the key's, with the view if it is not the first."""
        return str(_inside(key).with_suffix("")) + (f".view{view}" if view else "")

    @staticmethod
    def kept(id: str, stem: str, suffix: str) -> str:
        """Of the picture after a step."""
        return f"{KEPT}/{id}/{stem}{suffix}"

    @staticmethod
    def label(kind: str, stem: str) -> str:
        """Of a label file: in a folder of its kind, in the place of the folder ``images`` if there is one."""
        parts = PurePosixPath(stem).parts
        return str(PurePosixPath(kind, *(parts[1:] if parts[0] == IMAGES else parts))) + ".png"


class MemberNames(Names):
    """Names within a shard: up to the first dot, everything of a picture has the same."""

    @staticmethod
    def stem(key: str, view: int) -> str:
        path = _inside(key)
        return str(path.with_name(path.stem.replace(".", "_") + (f"_view{view}" if view else "")))

    @staticmethod
    def kept(id: str, stem: str, suffix: str) -> str:
        return f"{stem}.{KEPT}.{id}{suffix}"

    @staticmethod
    def label(kind: str, stem: str) -> str:
        return f"{stem}.{kind}.png"


def _inside(key: str) -> PurePosixPath:
    """The path of a key, which data may name: below the output folder, and such as every file system takes."""
    path = PurePosixPath(key)
    if path.is_absolute() or ".." in path.parts or (os.sep != "/" and os.sep in key):
        raise InputFault(f"{key!r:.200} leads out of the output folder")
    if not path.name or "\0" in key:
        raise InputFault(f"{key!r:.200} is no name of a file")
    longest, whole = max(len(os.fsencode(part)) for part in path.parts), len(os.fsencode(key))
    if longest > LONGEST_NAME or whole > LONGEST_PATH:
        raise InputFault(
            f"{key!r:.200} is too long for the name of a file: it has up to {longest} bytes between two slashes, "
            f"{whole} in all; {LONGEST_NAME} and {LONGEST_PATH} are taken"
        )
    return path


def names_of(recipe: Recipe) -> type[Names]:
    return Names if recipe.writer.shard_size is None else MemberNames


def plan(recipe: Recipe, views: int = 1, limit: int | None = None) -> tuple[list[Task], set[str]]:
    """The pictures to make, in order of key and view, and the keys of the whole input.

    Raises
    ------
    InputFault
        If there is no input, or two inputs would share an output's name.
    """
    items = recipe.reader.items()
    folder = None if recipe.writer.params.path is None else Path(recipe.writer.params.path).resolve()
    root = Path(getattr(recipe.reader.params, "path", None) or ".").resolve()
    if folder is not None and root in folder.parents:  # an output that lies below the input is no input
        items = [item for item in items if not _resolved(item.path).is_relative_to(folder)]
        if not items:
            raise InputFault(f"no pictures in {root} but those of the output {folder}")
    names = names_of(recipe)
    tasks = [
        Task(item, view, names.stem(item.key, view))
        for item in (items[:limit] if limit else items)
        for view in range(views)
    ]
    _refuse_clashes(tasks, items, recipe.writer.suffix, folder if names is Names else None)
    return tasks, {item.key for item in items}


def _refuse_clashes(tasks: Iterable[Task], items: Iterable[Item], suffix: str, folder: Path | None) -> None:
    """Refuse two pictures of one name, and pictures that would replace an input."""
    inputs = set() if folder is None else {p for i in items if (p := _resolved(i.path)).is_relative_to(folder)}
    taken: dict[str, Task] = {}
    for task in tasks:
        name = task.stem + suffix
        other = taken.setdefault(name.casefold(), task)
        if other is not task:
            raise InputFault(
                f"{other.item.key} and {task.item.key} would both be written to {name}: "
                "rename one of them, or render them into different folders"
            )
        if folder is not None and inputs and folder / name in inputs:
            raise InputFault(f"{task.item.key} would be overwritten: give an --output other than the input")


def _resolved(path: str) -> Path:
    """A path without links. Folders are asked for only once, which counts where there are a million files."""
    folder, name = os.path.split(path)
    whole = _resolved_folder(folder) / name
    return whole.resolve() if whole.is_symlink() else whole


@lru_cache(maxsize=4096)
def _resolved_folder(folder: str) -> Path:
    return Path(folder).resolve()
