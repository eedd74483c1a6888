"""COCO, and any data set in its layout: objects with boxes and masks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dirlearn.datasets.dataset import DatasetFault
from dirlearn.datasets.labelled import LETTERBOX, Item, Labelled, Letterbox
from dirlearn.targets import Boxes, Masks
from isp_sim.parameters import StageParams

Annotation = Mapping[str, Any]


class COCO(Labelled):
    """COCO: ``PART/*.jpg`` and ``annotations/instances_PART.json``.

    Categories, whose numbers have gaps, become classes from 0 in the order of their numbers: 80 in COCO. Pictures
    without objects are kept. Crowd regions are marked; boxes without area are left out and counted.
    """

    source = "Lin et al. 2014 [Lin2014]"
    how: ClassVar[str] = (
        "Get http://images.cocodataset.org/zips/train2017.zip (18 GB), val2017.zip (1 GB) and "
        "http://images.cocodataset.org/annotations/annotations_trainval2017.zip, and unpack them into one folder, "
        "which then holds train2017, val2017 and annotations."
    )

    class Params(StageParams):
        path: str = Field("coco", description="folder that holds the parts and annotations")
        part: str = Field("train2017", pattern=r"^[\w-]+$", description="which part")
        masks: bool = Field(False, description="masks of the objects too, which heads for instances need")
        limit: int | None = Field(None, ge=1, description="take only the first so many, by number")
        smallest: int = Field(1, ge=1, le=4096, description="leave out pictures with a shorter side [px]")
        cache: int = Field(0, ge=0, le=1 << 20, description="decoded scenes that each process keeps [MiB]")
        letterbox: Letterbox = Field(None, description=LETTERBOX)

    def __init__(self, params: Any) -> None:
        self.gives = frozenset({Boxes, Masks} if params.masks else {Boxes})
        super().__init__(params)

    def found(self) -> Iterable[Item]:
        path = self.folder / "annotations" / f"instances_{self.params.part}.json"
        if not path.is_file():
            raise self.missing(f"there is no {path}")
        try:
            data = json.loads(path.read_bytes())
            pictures = {p["id"]: p for p in data["images"]}
            categories = sorted(data["categories"], key=lambda c: int(c["id"]))
            annotations = data.get("annotations", [])
            self._sizes = {key: (int(p["width"]), int(p["height"])) for key, p in pictures.items()}
            names = {key: str(p["file_name"]) for key, p in pictures.items()}
            self.classes = tuple(str(c["name"]) for c in categories)
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetFault(f"coco: {path} is not of COCO's format: {type(error).__name__}: {error}") from None
        numbers = {c["id"]: number for number, c in enumerate(categories)}
        objects: dict[Any, list[Annotation]] = {key: [] for key in pictures}
        for annotation in annotations:
            if not isinstance(annotation, dict):
                raise DatasetFault(f"coco: {path}: an annotation is a mapping; found {str(annotation)[:40]!r}")
            try:
                self._take(annotation, numbers, objects, path)
            except TypeError as error:  # a list or a mapping where a number should be
                which = f"coco: {path}: annotation {annotation.get('id')}"
                raise DatasetFault(f"{which} can't be read: {error}") from None
        folder = self.folder / self.params.part
        there = {p.name for p in folder.iterdir()} if folder.is_dir() else set[str]()
        for key in sorted(pictures):
            name = names[key]
            if name in there or ("/" in name and (folder / name).is_file()):
                yield Item(f"{self.params.part}/{Path(name).stem}", folder / name, (key, objects[key]))
            else:
                self.skipped["pictures of the list without a file"] += 1

    def _take(
        self, annotation: Annotation, numbers: Mapping[Any, int], objects: dict[Any, list[Annotation]], path: Path
    ) -> None:
        """Keep what is needed of an annotation, if it can be used."""
        which = f"coco: {path}: annotation {annotation.get('id')}"
        if annotation.get("category_id") not in numbers:
            raise DatasetFault(
                f"{which} is of category {annotation.get('category_id')!r}, which the file does not list"
            )
        if annotation.get("image_id") not in objects:
            raise DatasetFault(f"{which} is of picture {annotation.get('image_id')!r}, which the file does not list")
        box = annotation.get("bbox")
        if not (isinstance(box, list) and len(box) == 4 and all(_finite(v) for v in box)):
            raise DatasetFault(f"{which}: bbox must be left, upper edge, width and height; found {box!r}")
        if box[2] <= 0 or box[3] <= 0:
            self.skipped["boxes without area"] += 1
            return
        area = annotation.get("area", box[2] * box[3])
        if not _finite(area):
            raise DatasetFault(f"{which}: area must be a number of pixels; found {area!r}")
        kept = {
            "bbox": box,
            "class": numbers[annotation["category_id"]],
            "crowd": bool(annotation.get("iscrowd", 0)),
            "area": float(area),
        }
        if self.params.masks:
            kept["segmentation"] = annotation.get("segmentation")
            kept["id"] = annotation.get("id")
        objects[annotation["image_id"]].append(kept)

    def size_of(self, item: Item) -> tuple[int, int]:
        return self._sizes[item.labels[0]]

    def labels(self, item: Item, height: int, width: int) -> Mapping[str, NDArray[Any]]:
        key, objects = item.labels
        if self._sizes[key] != (width, height):
            told = "x".join(map(str, self._sizes[key]))
            raise DatasetFault(f"coco: {item.picture} has {width}x{height} pixels, and {told} by the annotations")
        corners = np.array([o["bbox"] for o in objects], np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        labels: dict[str, NDArray[Any]] = {
            "boxes": corners,
            "box_classes": np.array([o["class"] for o in objects], np.int64),
            "box_crowd": np.array([o["crowd"] for o in objects], bool),
            "box_areas": np.array([o["area"] for o in objects], np.float64),
        }
        if self.params.masks:
            masks = [decode(o["segmentation"], height, width, f"{item.key}, annotation {o['id']}") for o in objects]
            labels["masks"] = np.stack(masks, axis=-1) if masks else np.zeros((height, width, 0), np.uint8)
        return labels


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def decode(segmentation: Any, height: int, width: int, which: str) -> NDArray[np.uint8]:
    """The mask (H, W) of polygons or of run lengths, by the rasterisation of COCO's own tools."""
    try:
        from faster_coco_eval import mask as tools
    except ModuleNotFoundError:
        raise DatasetFault("coco: masks need faster-coco-eval: pip install 'isp-sim[tasks]'") from None
    try:
        if isinstance(segmentation, list):
            runs = tools.merge(tools.frPyObjects(segmentation, height, width))
        elif isinstance(segmentation["counts"], list):
            runs = tools.frPyObjects(segmentation, height, width)
        else:
            runs = segmentation
        mask: NDArray[np.uint8] = tools.decode(runs)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise DatasetFault(f"coco: {which}: no segmentation that can be read: {error}") from None
    if mask.shape != (height, width):
        raise DatasetFault(f"coco: {which}: a mask of {mask.shape[1]}x{mask.shape[0]} for {width}x{height} pixels")
    return mask
