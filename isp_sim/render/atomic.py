"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final, cast

PART: Final = ".part"
"""End of the names of files that are being written; they begin with a dot."""
BLOCK: Final = 1 << 20
"""Bytes that are read at once."""


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name once it is whole and on the disk, even if the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # not the process's number, which a process on another machine may have as well
    part = path.with_name(f".{path.name}.{secrets.token_hex(3)}{PART}")
    try:
        with part.open("wb") as file:
            yield cast(BinaryIO, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_parts(folder: Path) -> None:
    """Delete what processes that were killed left half-written."""
    for part in folder.rglob(f".*{PART}"):
        part.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, even if the power fails."""
    with atomic(path) as file:
        file.write(data)


def append(file: FileIO, data: bytes) -> int:
    """Write to the end of an unbuffered file, all of it or nothing, and return where it begins."""
    place = file.seek(0, os.SEEK_END)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except BaseException:
        file.truncate(place)
        raise
    return place


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_of(path: Path) -> str:
    """The hash of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
