"""What a reader is: it lists pictures, and reads one as a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
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


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to read.

    Attributes
    ----------
    key
        Its identity: the POSIX path below the input, with extension.
    path
        Where it lies; for a reader without files, its name.
    window
        Of a member of a tar file at `path`: its first byte and their number. None if the picture is the whole file.
    labels
        What its reader knows of it besides; it travels along to where the picture is read.
    """

    key: str
    path: str
    window: tuple[int, int] | None = None
    labels: Any = field(default=None, compare=False, repr=False)

    def read_bytes(self) -> bytes:
        """The whole file.

        Raises
        ------
        OSError
            If it can't be read, is no file but a device or a pipe, or the tar file ends before the member does.
        InputFault
            If it is larger than any picture that is read.
        """
        from isp_sim.formats import limits  # which knows this module

        path = limits.regular(Path(self.path))
        if self.window is None:
            limits.refuse_giant_file(path.stat().st_size)
            return path.read_bytes()
        first, size = self.window
        limits.refuse_giant_file(size)
        with path.open("rb") as file:
            file.seek(first)
            data = file.read(size)
        if len(data) < size:
            raise OSError(0, f"{self.path} ends within {self.key}")
        return data

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A path of it, for decoders that take no bytes; a member of a tar file is unpacked as long as that lasts."""
        from isp_sim.formats import limits

        if self.window is None:
            path = limits.regular(Path(self.path))
            limits.refuse_giant_file(path.stat().st_size)
            yield path
            return
        with TemporaryDirectory(prefix="isp-sim-") as folder:
            path = Path(folder) / f"picture{Path(self.key).suffix}"
            path.write_bytes(self.read_bytes())
            yield path


@dataclass(frozen=True)
class Reading:
    """A picture as read: a batch of one, and what was done to it on the way."""

    frame: Frame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labels:
    """What is written of a picture's labels, after they went the picture's way.

    Attributes
    ----------
    row
        What the picture's row says, as JSON.
    files
        Label files of its own: kind, such as ``annotations``, to the content of a PNG.
    """

    row: Any = None
    files: Mapping[str, bytes] = field(default_factory=dict)


class PathParams(StageParams):
    """Parameters of a reader of files."""

    path: str | None = Field(
        None, description="picture, folder, list (.txt) or tar file, from the working directory; `--input` replaces it"
    )


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
        """The pictures, in order of their keys: see `isp_sim.formats.places`. Raises InputFault if there is none."""
        from isp_sim.formats import places

        root = self._root("file or folder")
        try:
            return places.items(root, self.suffixes)
        except OSError as error:
            raise InputFault(f"can't look into {root}: {error.strerror or error}") from None

    def _root(self, kind: str) -> Path:
        if self.params.path is None:
            raise InputFault(f"no input: give a {kind} with --input, or `path` under the recipe's `input`")
        return Path(self.params.path)

    @abstractmethod
    def read(self, item: Item) -> Reading:
        """Read one picture, float32. Raises InputFault, with the reason, if it can't be read."""

    def labels(self, item: Item, frame: Frame) -> Labels:
        """What is to be written of the labels that `read` put into the frame's targets, once it was processed."""
        return Labels()

    def documents(self, rows: Callable[[], Iterator[Mapping[str, Any]]]) -> Iterator[tuple[str, Iterator[str]]]:
        """Label files over all pictures, by their path below the output folder, each as pieces of text.

        Called once all is rendered, on the reader whose `items` were rendered. `rows` starts over the rows of the
        manifest, sorted, whenever it is called.
        """
        return iter(())
