"""What every data set does."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from dirlearn.targets import Target
from isp_sim.parameters import StageParams


class DatasetFault(Exception):
    """A data set can't be used; the message says why and what to do."""


@dataclass(frozen=True)
class Scene:
    """One picture and what is known of it.

    Attributes
    ----------
    key
        Its identity within the data set: the same key is the same picture.
    pixels
        (H, W, 3), uint8, sRGB.
    labels
        Arrays of the picture's size: ``classes``, ``instances``, ``masks`` (H, W, N). And lists of objects: ``boxes``,
        (N, 4) as x0, y0, x1, y1 in pixels, and what is known of each, (N,): ``box_classes``, ``box_crowd``,
        ``box_areas``, ``box_instances``. `dirlearn.targets` makes them what heads take.
    degraded
        The scene as a camera gave it, of the same form as `pixels`, its reference; None where it is to be simulated.
    """

    key: str
    pixels: NDArray[np.uint8]
    labels: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))
    degraded: NDArray[np.uint8] | None = None

    @property
    def digest(self) -> str:
        """Hash of the pixels: equal pictures have equal digests, whatever their files are called."""
        return digest(self.pixels)


def digest(pixels: NDArray[np.uint8]) -> str:
    """Hash of a picture's size and pixels."""
    head = f"{pixels.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(pixels).tobytes()).hexdigest()


class Dataset(ABC):
    """Pictures by index. An endless data set has other pictures in every epoch; others ignore it."""

    source: ClassVar[str] = ""
    endless: ClassVar[bool] = False
    paired: bool = False
    """Whether its scenes are degraded already, by a real camera."""
    gives: frozenset[type[Target]] = frozenset()
    """Kinds of targets that can be made of its labels."""
    classes: tuple[str, ...] = ()
    """Names of the classes of its labels, from 0."""

    class Params(StageParams):
        """No parameters."""

    def __init__(self, params: Any) -> None:
        self.params = params
        self.skipped = Counter[str]()
        """What was left out because it can't be used, and how many times."""

    @abstractmethod
    def __len__(self) -> int:
        """Pictures in an epoch."""

    @abstractmethod
    def read(self, index: int, epoch: int = 0) -> Scene:
        """One picture."""

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """One picture without its labels, as it is stored: by these, equal pictures are found in two data sets."""
        return self.read(index).pixels

    def size(self, index: int) -> tuple[int, int] | None:
        """Height and width of a picture as stored, or the other way round, where that is known without reading it."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Without the pictures that were kept: worker processes keep their own."""
        return {name: type(value)() if name == "_cache" else value for name, value in self.__dict__.items()}


class Joined(Dataset):
    """Several data sets, one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        super().__init__(None)
        self.parts = tuple(parts)
        if len({part.classes for part in parts}) == 1:
            self.classes = parts[0].classes
            self.gives = frozenset.intersection(*(part.gives for part in parts))
        self.paired = all(part.paired for part in parts)
        self.skipped = sum((part.skipped for part in parts), Counter[str]())

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def read(self, index: int, epoch: int = 0) -> Scene:
        number, within = self._place(index)
        scene = self.parts[number].read(within, epoch)
        # two folders may hold files of one name
        return replace(scene, key=f"{number}/{scene.key}")

    def pixels(self, index: int) -> NDArray[np.uint8]:
        number, within = self._place(index)
        return self.parts[number].pixels(within)

    def size(self, index: int) -> tuple[int, int] | None:
        number, within = self._place(index)
        return self.parts[number].size(within)

    def _place(self, index: int) -> tuple[int, int]:
        """Which part holds a picture, and where."""
        for number, part in enumerate(self.parts):
            if index < len(part):
                return number, index
            index -= len(part)
        raise IndexError(index)


def data_folder(path: str) -> Path:
    """A folder that a recipe names: from the working directory, or below the folder in DIRLEARN_DATA."""
    # a recipe may come from strangers: where data lie is said outside of it, and nothing in it is expanded
    return Path(os.environ.get("DIRLEARN_DATA", "")) / path


def build_dataset(node: Any) -> Dataset:
    """The data set that a recipe names, or several of them joined."""
    from dirlearn.component import build

    if isinstance(node, list | tuple):
        return Joined([cast(Dataset, build("dirlearn.datasets", part)) for part in node])
    return cast(Dataset, build("dirlearn.datasets", node))
