"""What a reader is: it lists pictures, and reads one as a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.signal import Signal


class InputFault(ValueError):
    """A picture, or a place where pictures should be, can't be read."""


def one_line(error: BaseException) -> str:
    """What a decoder says is wrong, as one line; with the kind of error where its text alone says little."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__} {text}".rstrip()


@dataclass(frozen=True)
class Item:
    """One picture to read.

    Attributes
    ----------
    key
        Its identity: the POSIX path below the input, with extension.
    path
        Where it lies; for a reader without files, its name.
    """

    key: str
    path: str


@dataclass(frozen=True)
class Reading:
    """A picture as read: a batch of one, and what was done to it on the way."""

    frame: Frame
    notes: tuple[str, ...] = ()


class PathParams(StageParams):
    """Parameters of a reader of files."""

    path: str | None = Field(None, description="file or folder, from the working directory; `--input` replaces it")


class Reader(ABC):
    """Reads pictures of one kind."""

    signal: Signal
    """What every picture is, with OPEN where the file decides."""
    facts: frozenset[str] | None = frozenset()
    """Facts of the capture that every picture has; None if the file decides."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """The file names that it looks for in a folder, in lower case."""

    class Params(PathParams):
        """Where to look."""

    def __init__(self, params: Any) -> None:
        self.params = params

    def items(self) -> list[Item]:
        """The pictures, in order of their keys: a file, or those below a folder whose names fit and are not hidden.

        Raises InputFault if there is none.
        """
        if self.params.path is None:
            raise InputFault("no input: give a file or folder with --input, or `path` under the recipe's `input`")
        root = Path(self.params.path)
        try:
            found = self._found(root)
        except OSError as error:
            raise InputFault(f"can't look into {root}: {error.strerror or error}") from None
        return sorted(found, key=lambda item: item.key)

    def _found(self, root: Path) -> list[Item]:
        if root.is_file():
            return [Item(root.name, str(root))]
        if not root.is_dir():
            kind = "is neither a file nor a folder" if root.exists() else "does not exist"
            raise InputFault(f"input {root} {kind}")
        found = [
            Item(path.relative_to(root).as_posix(), str(path))
            for path in root.rglob("*")
            if path.suffix.lower() in self.suffixes
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
            and path.is_file()
        ]
        if not found:
            raise InputFault(f"no pictures in {root}: this reader looks for {', '.join(self.suffixes)}")
        return found

    @abstractmethod
    def read(self, item: Item) -> Reading:
        """Read one picture, float32. Raises InputFault, with the reason, if it can't be read."""
