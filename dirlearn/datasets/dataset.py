"""What every data set does."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

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
        Arrays of the picture's size (``classes``, ``instances``), or lists of objects (``boxes``: (N, 4) as x0, y0, x1,
        y1 in pixels, ``box_classes``: (N,)).
    """

    key: str
    pixels: NDArray[np.uint8]
    labels: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def digest(self) -> str:
        """Hash of the pixels: equal pictures have equal digests, whatever their files are called."""
        head = f"{self.pixels.shape}".encode()
        return hashlib.sha256(head + np.ascontiguousarray(self.pixels).tobytes()).hexdigest()


class Dataset(ABC):
    """Pictures by index. An endless data set has other pictures in every epoch; others ignore it."""

    source: ClassVar[str] = ""
    endless: ClassVar[bool] = False

    class Params(StageParams):
        """No parameters."""

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def __len__(self) -> int:
        """Pictures in an epoch."""

    @abstractmethod
    def read(self, index: int, epoch: int = 0) -> Scene:
        """One picture."""

    def size(self, index: int) -> tuple[int, int] | None:
        """Height and width of a picture, or the other way round, where that is known without reading it."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Without the pictures that were kept: worker processes keep their own."""
        return {name: type(value)() if name == "_cache" else value for name, value in self.__dict__.items()}


class Joined(Dataset):
    """Several data sets, one after the other."""

    def __init__(self, parts: Sequence[Dataset]) -> None:
        super().__init__(None)
        self.parts = tuple(parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def read(self, index: int, epoch: int = 0) -> Scene:
        for number, part in enumerate(self.parts):
            if index < len(part):
                scene = part.read(index, epoch)
                # two folders may hold files of one name
                return Scene(f"{number}/{scene.key}", scene.pixels, scene.labels)
            index -= len(part)
        raise IndexError(index)

    def size(self, index: int) -> tuple[int, int] | None:
        for part in self.parts:
            if index < len(part):
                return part.size(index)
            index -= len(part)
        raise IndexError(index)


def build_dataset(node: Any) -> Dataset:
    """The data set that a recipe names, or several of them joined."""
    from dirlearn.component import build

    if isinstance(node, list | tuple):
        return Joined([cast(Dataset, build("dirlearn.datasets", part)) for part in node])
    return cast(Dataset, build("dirlearn.datasets", node))
