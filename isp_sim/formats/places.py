"""Where pictures lie: a file, a folder, a list of files, or tar files."""

from __future__ import annotations

import os
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final

from isp_sim.formats.reader import InputFault, Item, one_line

LISTS: Final = (".txt", ".lst")
"""Ends of the names of lists: one path a line."""
TAR: Final = ".tar"


def items(root: Path, suffixes: Sequence[str]) -> list[Item]:
    """The pictures of a place, in order of their keys.

    Parameters
    ----------
    root
        A picture; a folder, of which those files are taken whose names fit and are not hidden, or if there is none, the
        members of its tar files; a list, one path a line, from the list's own folder; or a tar file.
    suffixes
        How names that fit end, in lower case.

    Raises
    ------
    InputFault
        If nothing is there, a list or tar file can't be read, or two pictures have one key.
    """
    if root.is_file():
        if root.suffix.lower() in LISTS:
            found = list(_listed(root))
        elif root.suffix.lower() == TAR:
            found = list(_members(root, "", suffixes))
        else:
            found = [Item(root.name, str(root))]
    elif root.is_dir():
        found = _folder(root, suffixes)
    else:
        kind = "is neither a file nor a folder" if root.exists() else "does not exist"
        raise InputFault(f"input {root} {kind}")
    if not found:
        raise InputFault(f"no pictures in {root}: this reader looks for {', '.join(suffixes)}")
    found.sort(key=lambda item: item.key)
    for one, other in pairwise(found):
        if one.key == other.key:
            raise InputFault(f"{one.path} and {other.path} hold two pictures of the key {one.key}")
    return found


def _folder(root: Path, suffixes: Sequence[str]) -> list[Item]:
    """The pictures below a folder, or if there is none, those in its tar files, under the tar's name."""
    pictures, tars = [], []
    for path in root.rglob("*"):
        kind = path.suffix.lower()
        if kind != TAR and kind not in suffixes:
            continue
        below = path.relative_to(root)
        if any(part.startswith(".") for part in below.parts) or not path.is_file():
            continue
        if kind in suffixes:
            pictures.append(Item(below.as_posix(), str(path)))
        else:
            tars.append((path, below))
    if pictures:
        return pictures
    return [
        item
        for path, below in sorted(tars)
        for item in _members(path, f"{below.with_suffix('').as_posix()}/", suffixes)
    ]


def _listed(path: Path) -> Iterator[Item]:
    """The pictures of a list. The key is the path below the list's folder; of one beyond it, the whole path."""
    folder = Path(os.path.abspath(path.parent))  # noqa: PTH100 - resolve() would follow links, and so change the keys
    for number, line in enumerate(path.read_text("utf-8", "surrogateescape").splitlines(), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        place = Path(os.path.normpath(folder / name))
        if not place.is_file():
            raise InputFault(f"{path}:{number}: there is no file {place}")
        inside = place.is_relative_to(folder)
        yield Item(place.relative_to(folder if inside else place.anchor).as_posix(), str(place))


def _members(path: Path, prefix: str, suffixes: Sequence[str]) -> Iterator[Item]:
    """The pictures in a tar file that is not compressed, so that each can be read where it lies.

    As in all shards, what follows the first dot of a member's name is its kind: ``a.mask.png`` is no picture.
    """
    size, left, last = path.stat().st_size, [], 0
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                tar.members = []  # type: ignore[attr-defined]  # or all of them would be kept
                name = PurePosixPath(os.path.normpath(member.name))
                hidden = any(part.startswith(".") and part != ".." for part in name.parts)
                if not member.isfile() or hidden or name.suffix.lower() not in suffixes:
                    continue
                if member.issparse() or member.size < 0 or member.offset_data + member.size > size:
                    raise InputFault(f"{path} is damaged: it ends within {member.name}")
                if member.offset_data <= last:  # some versions of tarfile go round in circles
                    raise InputFault(f"{path} is damaged: {member.name} lies before what it follows")
                last = member.offset_data
                if "." in name.stem:
                    left.append(str(name))
                else:
                    yield Item(f"{prefix}{name}", str(path), (member.offset_data, member.size))
    except (InputFault, OSError):
        raise
    except Exception as error:  # noqa: BLE001  tarfile raises whatever a damaged header leads it to
        raise InputFault(f"{path} can't be read as a tar file without compression: {one_line(error)}") from None
    if left:
        warnings.warn(
            f"{path}: {len(left)} members are left out, such as {left[0]}: in a tar file, what follows the first dot "
            "of a name is its kind",
            stacklevel=2,
        )
