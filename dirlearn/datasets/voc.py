"""PASCAL VOC: twenty kinds of objects, as maps of classes or as boxes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dirlearn.datasets.dataset import DatasetFault
from dirlearn.datasets.labelled import Item, Labelled, Maps, in_order
from dirlearn.targets import IGNORE, Boxes, SemanticMap

OBJECTS: Final = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VOC(Maps):
    """PASCAL VOC, from the folder that holds JPEGImages.

    As ``maps``: class 0 is the background, the border of objects does not count. As ``boxes``: class 0 is the first
    kind of object; objects marked difficult neither count nor are learnt.
    """

    source = "Everingham et al. 2010 [Everingham2010]"
    how = (
        "Get http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar (2 GB) and unpack it: it holds "
        "VOCdevkit/VOC2012."
    )
    table = in_order(1 + len(OBJECTS), ignored=(IGNORE,))

    class Params(Labelled.Params):
        path: str = Field("VOCdevkit/VOC2012", description="folder that holds JPEGImages, ImageSets and the labels")
        part: Literal["train", "val", "trainval", "test"] = Field("train", description="which part")
        labels: Literal["maps", "boxes"] = Field("maps", description="maps of classes, or boxes")

    def __init__(self, params: Any) -> None:
        as_maps = params.labels == "maps"
        self.gives = frozenset({SemanticMap if as_maps else Boxes})
        self.classes = ("background", *OBJECTS) if as_maps else OBJECTS
        self._boxes: dict[str, Mapping[str, NDArray[Any]]] = {}
        super().__init__(params)
        if not as_maps:
            self._boxes = {item.key: self._read_boxes(item) for item in self.items}

    def found(self) -> Iterable[Item]:
        as_maps = self.params.labels == "maps"
        kind, place, suffix = (
            ("Segmentation", "SegmentationClass", "png") if as_maps else ("Main", "Annotations", "xml")
        )
        listed = self.folder / "ImageSets" / kind / f"{self.params.part}.txt"
        if not listed.is_file():
            raise self.missing(f"there is no list {listed}")
        names = [line.split()[0] for line in listed.read_text().splitlines() if line.strip()]
        return self.pairs(
            (name, self.folder / "JPEGImages" / f"{name}.jpg", self.folder / place / f"{name}.{suffix}")
            for name in names
        )

    def labels(self, item: Item, height: int, width: int) -> Mapping[str, NDArray[Any]]:
        if self.params.labels == "maps":
            return super().labels(item, height, width)
        return self._boxes[item.key]

    def _read_boxes(self, item: Item) -> Mapping[str, NDArray[Any]]:
        found = [_object(node, item.labels) for node in _tree(item.labels).iter("object")]
        boxes = np.array([box for box, *_ in found], np.float64).reshape(-1, 4)
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        if not kept.all():
            self.skipped["boxes without area"] += int((~kept).sum())
        return {
            "boxes": boxes[kept],
            "box_classes": np.array([number for _, number, _ in found], np.int64)[kept],
            "box_crowd": np.array([difficult for *_, difficult in found], bool)[kept],
        }


def _tree(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError) as error:
        raise DatasetFault(f"voc: can't read {path}: {error}") from None


def _object(node: ElementTree.Element, path: Path) -> tuple[list[float], int, bool]:
    """Box, class and whether it is difficult. VOC counts pixels from 1, both ends included."""
    name = node.findtext("name", "")
    if name not in OBJECTS:
        raise DatasetFault(f"voc: {path} holds the object {name!r}; there are {', '.join(OBJECTS)}")
    try:
        x0, y0, x1, y1 = (float(node.findtext(f"bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax"))
    except ValueError:
        raise DatasetFault(f"voc: {path} holds the object {name!r} without a whole bndbox") from None
    return [x0 - 1, y0 - 1, x1, y1], OBJECTS.index(name), node.findtext("difficult", "0").strip() == "1"
