"""Reading back what was rendered, for training: pictures by number, from files and from shards alike."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from isp_sim.formats.files import Files, npy
from isp_sim.formats.images import decode, png_codes
from isp_sim.formats.reader import InputFault, Item
from isp_sim.formats.tiff import refuse_bomb
from isp_sim.randomness import generator
from isp_sim.render.manifest import MANIFEST, Row, parsed
from isp_sim.render.plan import KEPT

__all__ = ["InputFault", "KeyedShuffle", "Rendered", "Sample"]

_OK = b'"status":"ok"'


@dataclass(frozen=True)
class Sample:
    """One rendered picture.

    Attributes
    ----------
    key, view
        Which picture it is, and which of its renderings.
    pixels
        What the file holds: codes (H, W, 3), or (H, W) of a mosaic, uint8 or uint16; float32 of a NumPy file.
    labels
        By kind, such as ``annotations``: the label files that go with it, (H, W).
    row
        Its row of the manifest: what was drawn, hashes, boxes.
    """

    key: str
    view: int
    pixels: NDArray[Any]
    labels: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    row: Row = field(default_factory=dict)


class Rendered(Dataset[Any]):
    """The pictures of an output folder by number, in order of key and view. Those that failed are not among them.

    Of each only its place in the manifest is kept in memory. It can be pickled, and opens its files again in every
    process that reads.

    Parameters
    ----------
    folder
        What `isp-sim render` wrote.
    transform
        Makes of a `Sample` what is to be returned, such as a tensor; without it, the sample itself.

    Raises
    ------
    InputFault
        If the folder has no manifest, or the manifest lists no picture; on reading, if a file is gone or damaged.

    Examples
    --------
    >>> pictures = Rendered("out/", transform=lambda s: torch.from_numpy(s.pixels))              # doctest: +SKIP
    >>> order = KeyedShuffle(len(pictures), seed=7, epoch=3, start=1200)                         # doctest: +SKIP
    >>> DataLoader(pictures, batch_size=8, sampler=order, num_workers=4)                         # doctest: +SKIP
    """

    def __init__(self, folder: str | Path, transform: Callable[[Sample], Any] | None = None) -> None:
        self.folder, self.transform = Path(folder), transform
        try:
            self._places = _places(self.folder / MANIFEST)
        except OSError as error:
            raise InputFault(
                f"can't read {self.folder / MANIFEST} ({error.strerror}): give a folder that isp-sim has rendered"
            ) from None
        if not len(self._places):
            raise InputFault(f"{self.folder / MANIFEST} lists no picture")
        self._open: dict[str, BinaryIO] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Any:
        sample = self.read(number)
        return sample if self.transform is None else self.transform(sample)

    def row(self, number: int) -> Row:
        """A picture's row of the manifest, without the picture."""
        first, size = self._places[number]
        try:
            return parsed(self._window(MANIFEST, int(first), int(size)))
        except ValueError as error:
            raise InputFault(f"{self.folder / MANIFEST}: this is no row of a manifest: {error}") from None

    def read(self, number: int) -> Sample:
        """A picture, not transformed."""
        row = self.row(number)
        stem = row["output"][: -len(Path(row["output"]).suffix)]
        kinds = {path: _kind(path, stem, "shard" in row) for path in row["files"] if path != row["output"]}
        labels = {kind: _decoded(self._content(row, path), path) for path, kind in kinds.items() if kind}
        pixels = _decoded(self._content(row, row["output"]), row["output"])
        return Sample(row["key"], row["view"], pixels, labels, row)

    def _content(self, row: Row, path: str) -> bytes:
        try:
            if "shard" not in row:
                return Item(path, str(self.folder / path)).read_bytes()
            return self._window(row["shard"], *row["members"][path])
        except OSError as error:
            raise InputFault(f"can't read {self.folder / path}: {error.strerror}") from None

    def _window(self, name: str, first: int, size: int) -> bytes:
        """Bytes of the manifest or of a shard. Without moving the file's position, which forked processes share."""
        descriptor = self._file(name).fileno()
        data = os.pread(descriptor, min(size, os.fstat(descriptor).st_size), first)
        if len(data) < size:
            raise InputFault(f"{self.folder / name} ends before byte {first + size}: it was cut off")
        return data

    def _file(self, name: str) -> BinaryIO:
        """The manifest or a shard, opened once."""
        if name not in self._open:
            for other in [other for other in self._open if other != MANIFEST][_SHARDS_OPEN - 1 :]:
                self._open.pop(other).close()
            self._open[name] = (self.folder / name).open("rb")
        return self._open[name]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}


_SHARDS_OPEN = 64
"""Shards that are open at once, at the most."""


def _places(path: Path) -> NDArray[np.int64]:
    """First byte and size of the rows of pictures that did not fail, (N, 2)."""
    found, place = [], 0
    with path.open("rb") as file:
        for line in file:
            if _OK in line and line.endswith(b"\n"):
                found.append((place, len(line)))
            place += len(line)
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _kind(path: str, stem: str, in_shard: bool) -> str | None:
    """Which kind of label file a file is; None for a step that was kept."""
    kind = path[len(stem) + 1 :].rpartition(".")[0] if in_shard else path.partition("/")[0]
    return None if kind.partition(".")[0] == KEPT else kind


def _decoded(data: bytes, name: str) -> NDArray[Any]:
    """The codes that a file of the writer holds, as they are."""
    import tifffile

    suffix = Path(name).suffix
    try:
        if suffix == ".png":
            return png_codes(data)
        if suffix == ".tif":
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                refuse_bomb(file.pages.first, data)
                return np.asarray(file.pages.first.asarray(maxworkers=1))
        if suffix == ".npy":
            return npy(data)
    except InputFault as error:
        raise InputFault(f"{name}: {error}") from None
    except Exception as error:  # noqa: BLE001  decoders raise whatever a damaged file leads them to
        raise InputFault(f"{name} is damaged: {error}") from None
    if suffix == ".jpg":
        return decode(data, orient=False)[0]
    known = ", ".join(Files(Files.Params(format=form)).suffix for form in ("png", "tiff", "jpeg", "npy"))
    raise InputFault(f"{name} can't be read back as a picture: only {known}")


class KeyedShuffle(Sampler[int]):
    """The order of an epoch: a permutation that is a function of seed and epoch alone.

    So it is the same for any number of loader workers, and a training that stopped goes on with the very next sample:
    with the epoch it was in, and as `start` the samples of it that it had used. With several processes, each takes its
    part of what is left; their number may change in between.

    Parameters
    ----------
    count
        Samples of the data set.
    epoch
        Others have other orders.
    start
        Samples of the epoch that all processes together have used already.
    rank, world
        Which process this is, and of how many.
    shuffle
        Whether to mix at all.

    Examples
    --------
    >>> whole = list(KeyedShuffle(5, seed=1))
    >>> list(KeyedShuffle(5, seed=1, start=2)) == whole[2:]
    True
    """

    def __init__(
        self,
        count: int,
        seed: int = 0,
        *,
        epoch: int = 0,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
    ) -> None:
        if not 0 <= start <= count:
            raise ValueError(f"start must lie between 0 and the {count} samples, found {start}")
        if not 0 <= rank < world:
            raise ValueError(f"rank must lie between 0 and world - 1 = {world - 1}, found {rank}")
        self.count, self.seed, self.shuffle = count, seed, shuffle
        self.epoch, self.start, self.rank, self.world = epoch, start, rank, world

    def next_epoch(self) -> None:
        """Go on to the beginning of the next epoch."""
        self.epoch, self.start = self.epoch + 1, 0

    def __len__(self) -> int:
        return len(range(self.start + self.rank, self.count, self.world))

    def __iter__(self) -> Iterator[int]:
        order = np.arange(self.count)
        if self.shuffle:
            order = generator(self.seed, "order", self.epoch, "isp_sim.datasets", "permutation").permutation(self.count)
        yield from order[self.start :][self.rank :: self.world].tolist()
