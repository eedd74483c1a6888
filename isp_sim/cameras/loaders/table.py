"""What the loaders share: the fault, size limits, and the choice of one camera of many."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

LARGEST: Final = 64 << 20
"""Bytes of a table that are read at the most."""

T = TypeVar("T")


class LoaderFault(ValueError):
    """A file that can't be read as what it was taken for."""


def contents(path: Path) -> bytes:
    """The bytes of a file. Raises LoaderFault if it is not there or too large."""
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise LoaderFault(f"{path} holds {size} bytes; at most {LARGEST} are read")
        return path.read_bytes()
    except OSError as error:
        raise LoaderFault(f"can't read {path}: {error.strerror or error}") from None


def json_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    try:
        data = json.loads(contents(path))
    except (ValueError, RecursionError) as error:
        raise LoaderFault(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise LoaderFault(f"{path} holds no JSON object")
    return data


def chosen(cameras: Mapping[str, T], wanted: str | None, path: Path) -> tuple[str, T]:
    """One camera by its name, in any case; the only one if none is named.

    Raises
    ------
    LoaderFault
        If there is none of this name, or if there are several and none is named.
    """
    if wanted is None:
        if len(cameras) == 1:
            return next(iter(cameras.items()))
        some = ", ".join(sorted(cameras)[:5])
        raise LoaderFault(f"{path} holds {len(cameras)} cameras; name one with --camera, such as {some}")
    names = {name.casefold(): name for name in cameras}
    if (name := names.get(wanted.casefold())) is not None:
        return name, cameras[name]
    close = [names[key] for key in difflib.get_close_matches(wanted.casefold(), names, n=3, cutoff=0.4)]
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise LoaderFault(f"{path} holds no camera {wanted!r}{hint}")


def number(value: Any, what: str, path: Path) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise LoaderFault(f"{path}: {what} must be a number; found {value!r}")
    return float(value)


def numbers(value: Any, what: str, path: Path, length: int | None = None) -> list[float]:
    """A list of finite numbers."""
    if not isinstance(value, Sequence) or isinstance(value, str) or (length is not None and len(value) != length):
        wanted = "a list of numbers" if length is None else f"{length} numbers"
        raise LoaderFault(f"{path}: {what} must be {wanted}; found {str(value)[:60]}")
    return [number(item, what, path) for item in value]
