"""Boxes as YOLO's tools write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dirlearn.datasets.dataset import DatasetFault
from dirlearn.datasets.labelled import Item, Labelled, pictures_in
from dirlearn.targets import Boxes

LARGEST: Final = 1 << 20
"""Bytes of the YAML file with the names, at the most."""
FOLDER: Final = r"^[\w.-]+(/[\w.-]+)*$"


class YOLO(Labelled):
    """A folder of pictures and one of text files of the same names, a line an object: class, then centre x, centre y,
    width and height as shares of the picture's. The names of classes stand in a YAML file under ``names``.

    A picture without a text file has no labels, and is left out; an empty file says that there is no object.
    """

    source = "Redmon et al. 2016 [Redmon2016]; the layout of its later implementations"
    gives = frozenset({Boxes})
    how = (
        "Give `pictures`, `boxes` and `names` as they lie in it, for example images/train, labels/train and data.yaml."
    )

    class Params(Labelled.Params):
        path: str = Field(description="the folder, from the working directory or the folder in DIRLEARN_DATA")
        pictures: str = Field("images", pattern=FOLDER, description="folder of the pictures")
        boxes: str = Field("labels", pattern=FOLDER, description="folder of the text files")
        names: str = Field("data.yaml", pattern=FOLDER, description="the YAML file")

    def __init__(self, params: Any) -> None:
        self._boxes: dict[str, Mapping[str, NDArray[Any]]] = {}
        super().__init__(params)

    def found(self) -> Iterable[Item]:
        self.classes = self._names(self.folder / self.params.names)
        for picture in pictures_in(self.folder / self.params.pictures):
            place = self.folder / self.params.boxes / f"{picture.stem}.txt"
            if not place.is_file():
                self.skipped["pictures without a text file"] += 1
                continue
            yield Item(picture.stem, picture, self._read(place))

    def _names(self, path: Path) -> tuple[str, ...]:
        if not path.is_file():
            raise self.missing(f"there is no {path}")
        if path.stat().st_size > LARGEST:
            raise DatasetFault(f"yolo: {path} holds more than the {LARGEST} bytes that are read")
        try:
            data = YAML(typ="safe", pure=True).load(path)
        except (YAMLError, UnicodeDecodeError) as error:
            raise DatasetFault(f"yolo: can't read {path}: {error}") from None
        names = data.get("names") if isinstance(data, dict) else None
        if isinstance(names, dict) and set(names) == set(range(len(names))):
            names = [names[number] for number in range(len(names))]
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise DatasetFault(f"yolo: {path} has no list `names` of the classes, from 0")
        return tuple(names)

    def _read(self, path: Path) -> NDArray[np.float64]:
        """Rows of class, centre, width and height."""
        try:
            rows = [[float(word) for word in line.split()] for line in path.read_text().splitlines() if line.strip()]
            found = np.array(rows, np.float64).reshape(-1, 5)
        except (OSError, ValueError) as error:
            raise DatasetFault(f"yolo: can't read {path}: {error}; a line is class, x, y, width, height") from None
        if not np.isfinite(found).all() or ((found[:, 1:] < 0) | (found[:, 1:] > 1)).any():
            raise DatasetFault(f"yolo: {path} holds a box that is no share of the picture: numbers lie in [0, 1]")
        wrong = found[(found[:, 0] % 1 != 0) | (found[:, 0] < 0) | (found[:, 0] >= len(self.classes)), 0]
        if wrong.size:
            raise DatasetFault(f"yolo: {path} holds class {wrong[0]:g}; there are {len(self.classes)}, from 0")
        return found

    def labels(self, item: Item, height: int, width: int) -> Mapping[str, NDArray[Any]]:
        centre, half = item.labels[:, 1:3], item.labels[:, 3:5] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1).clip(0, 1) * [width, height, width, height]
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return {"boxes": boxes[kept], "box_classes": item.labels[kept, 0].astype(np.int64)}
