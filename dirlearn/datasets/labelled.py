"""What data sets of photos with labels have in common: a published layout, and what to do where it is not found."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene, data_folder
from dirlearn.datasets.geometry import letterboxed
from dirlearn.datasets.images import SUFFIXES, in_rgb
from dirlearn.targets import IGNORE, SemanticMap
from isp_sim.parameters import StageParams

INVALID: Final = -1
"""In a table of classes: a code that no label may have."""
Side = Annotated[int, Field(ge=16, le=8192)]
Letterbox = tuple[Side, Side] | None
LETTERBOX: Final = "height and width that pictures are fitted into, grey beside them; as they are, if not given [px]"
"""What the parameter `letterbox` of a data set means."""


@dataclass(frozen=True)
class Item:
    """A picture and where its labels are."""

    key: str
    picture: Path
    labels: Any


class Labelled(Dataset):
    """Photos with labels. Pixels are taken as they are stored, because the labels were drawn on them."""

    how: ClassVar[str] = ""
    """How to get it, as a sentence or several."""

    class Params(StageParams):
        path: str = Field(description="the folder, from the working directory or the folder in DIRLEARN_DATA")
        limit: int | None = Field(None, ge=1, description="take only the first so many, by name")
        smallest: int = Field(1, ge=1, le=4096, description="leave out pictures with a shorter side [px]")
        cache: int = Field(1024, ge=0, le=1 << 20, description="decoded scenes that each process keeps [MiB]")
        letterbox: Letterbox = Field(None, description=LETTERBOX)

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.folder = data_folder(params.path)
        if not self.folder.is_dir():
            raise self.missing(f"there is no folder {self.folder}")
        self.items: list[Item] = []
        for item in self.found():
            if len(self.items) == params.limit:
                break
            if params.smallest > 1 and min(self.size_of(item)) < params.smallest:
                self.skipped[f"pictures with a side under {params.smallest} px"] += 1
            else:
                self.items.append(item)
        if not self.items:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
            raise self.missing(f"no picture with labels in {self.folder}" + (f" ({reasons})" if reasons else ""))
        self._cache: dict[int, Scene] = {}

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @abstractmethod
    def found(self) -> Iterable[Item]:
        """What lies in the folder, in order; counts in `skipped` what can't be used."""

    @abstractmethod
    def labels(self, item: Item, height: int, width: int) -> Mapping[str, NDArray[Any]]:
        """The labels of a picture of a size."""

    def missing(self, what: str) -> DatasetFault:
        """A fault with the way to mend it."""
        return DatasetFault(
            f"{self.name}: {what}. {self.how} Then give `path` its folder, or set DIRLEARN_DATA to the parent folder."
        )

    def size_of(self, item: Item) -> tuple[int, int]:
        """Width and height, from the head of the file."""
        try:
            with Image.open(item.picture) as picture:
                return picture.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DatasetFault(f"can't read {item.picture}: {error}") from None

    def __len__(self) -> int:
        return len(self.items)

    def read(self, index: int, epoch: int = 0) -> Scene:
        if index in self._cache:
            return self._cache[index]
        item = self.items[index]
        pixels = self.pixels(index)
        scene = Scene(item.key, pixels, self.labels(item, *pixels.shape[:2]))
        if self.params.letterbox is not None:
            scene = letterboxed(scene, *self.params.letterbox)
        if sum(map(_bytes, self._cache.values())) + _bytes(scene) <= self.params.cache << 20:
            self._cache[index] = scene
        return scene

    def pixels(self, index: int) -> NDArray[np.uint8]:
        if self.params.letterbox is None and index in self._cache:
            return self._cache[index].pixels
        path = self.items[index].picture
        return in_rgb(opened(path), path)

    def size(self, index: int) -> tuple[int, int] | None:
        return self.size_of(self.items[index])


class Maps(Labelled):
    """Photos, each with a picture file of the class of every pixel."""

    gives = frozenset({SemanticMap})
    table: NDArray[np.int16]
    """The class, IGNORE or INVALID, for each of the 256 codes that a label file may hold."""

    def labels(self, item: Item, height: int, width: int) -> Mapping[str, NDArray[Any]]:
        return {"classes": self.class_map(item.labels, height, width)}

    def class_map(self, path: Path, height: int, width: int) -> NDArray[np.uint8]:
        """The class of every pixel, by the codes in a file.

        Raises
        ------
        DatasetFault
            If it can't be read, is no map of codes, has another size, or a code that means nothing.
        """
        file = opened(path)
        codes = np.asarray(file)
        if file.mode not in ("L", "P") or codes.dtype != np.uint8:
            raise DatasetFault(
                f"{self.name}: {path} is a picture of mode {file.mode}; needed is one code for each pixel"
            )
        if codes.shape != (height, width):
            raise DatasetFault(
                f"{self.name}: {path} has {codes.shape[1]}x{codes.shape[0]} pixels, and its picture {width}x{height}"
            )
        found = self.table[codes]
        if (wrong := codes[found == INVALID]).size:
            codes_ = ", ".join(map(str, np.unique(wrong)[:10]))
            raise DatasetFault(
                f"{self.name}: {path} holds {codes_}; known are {_ranges(np.flatnonzero(self.table != INVALID))}"
            )
        classes: NDArray[np.uint8] = found.astype(np.uint8)
        return classes

    def pairs(self, found: Iterable[tuple[str, Path, Path]]) -> Iterable[Item]:
        """Items of which both files are there."""
        for key, picture, labels in found:
            if not labels.is_file():
                self.skipped["pictures without a label file"] += 1
            elif not picture.is_file():
                self.skipped["label files without a picture"] += 1
            else:
                yield Item(key, picture, labels)


def table_of(classes: Mapping[int, int]) -> NDArray[np.int16]:
    """A table from codes to classes; every other code is INVALID."""
    table = np.full(256, INVALID, np.int16)
    for code, number in classes.items():
        table[code] = number
    return table


def in_order(count: int, first: int = 0, ignored: Iterable[int] = ()) -> NDArray[np.int16]:
    """The table for `count` classes whose codes begin at `first`."""
    return table_of({first + number: number for number in range(count)} | dict.fromkeys(ignored, IGNORE))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files right in a folder, by name; none, if it is not there."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def opened(path: Path) -> Image.Image:
    """A picture file, decoded."""
    try:
        with path.open("rb") as file:
            picture = Image.open(file)
            picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetFault(f"can't read {path}: {error}") from None
    return picture


def _bytes(scene: Scene) -> int:
    return scene.pixels.nbytes + sum(array.nbytes for array in scene.labels.values())


def _ranges(codes: NDArray[np.int64]) -> str:
    """0 to 11, 255"""
    runs = np.split(codes, np.flatnonzero(np.diff(codes) > 1) + 1)
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
