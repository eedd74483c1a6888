"""COCO's panoptic labels, and any data set in their layout, as maps of classes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dirlearn.datasets.dataset import DatasetFault
from dirlearn.datasets.labelled import LETTERBOX, Item, Labelled, Letterbox, opened
from dirlearn.targets import IGNORE, SemanticMap
from isp_sim.parameters import StageParams

VOID: Final = 0
"""The number in a picture of segments where there is none."""
FOLDER: Final = r"^[\w.-]+(/[\w.-]+)*$"


class COCOPanoptic(Labelled):
    """COCO panoptic: ``PART/*.jpg``, ``annotations/panoptic_PART.json`` and ``annotations/panoptic_PART/*.png``.

    The class of every pixel, things and stuff alike: categories become classes from 0 in the order of their numbers,
    133 in COCO. Segments are numbered in the PNG files as R + 256 G + 65536 B; what belongs to none does not count.
    Regions of crowds have their category.
    """

    source = "Kirillov et al. 2019 [Kirillov2019]; pictures: Lin et al. 2014 [Lin2014]"
    gives = frozenset({SemanticMap})
    how: ClassVar[str] = (
        "Get http://images.cocodataset.org/zips/train2017.zip (18 GB), val2017.zip (1 GB) and "
        "http://images.cocodataset.org/annotations/panoptic_annotations_trainval2017.zip, and unpack them into one "
        "folder; then unpack the archives panoptic_train2017.zip and panoptic_val2017.zip in its folder annotations."
    )

    class Params(StageParams):
        path: str = Field("coco", description="folder that holds the parts and annotations")
        part: str = Field("train2017", pattern=r"^[\w-]+$", description="which part")
        pictures: str | None = Field(None, pattern=FOLDER, description="folder of the pictures; PART if not given")
        segments: str | None = Field(
            None, pattern=FOLDER, description="folder of the PNG files; annotations/panoptic_PART if not given"
        )
        annotations: str | None = Field(
            None, pattern=FOLDER, description="the JSON file; annotations/panoptic_PART.json if not given"
        )
        limit: int | None = Field(None, ge=1, description="take only the first so many, by number")
        smallest: int = Field(1, ge=1, le=4096, description="leave out pictures with a shorter side [px]")
        cache: int = Field(0, ge=0, le=1 << 20, description="decoded scenes that each process keeps [MiB]")
        letterbox: Letterbox = Field(None, description=LETTERBOX)

    def found(self) -> Iterable[Item]:
        part = self.params.part
        path = self.folder / (self.params.annotations or f"annotations/panoptic_{part}.json")
        if not path.is_file():
            raise self.missing(f"there is no {path}")
        try:
            data = json.loads(path.read_bytes())
            pictures = {p["id"]: str(p["file_name"]) for p in data["images"]}
            categories = sorted(data["categories"], key=lambda c: int(c["id"]))
            maps = {a["image_id"]: (str(a["file_name"]), a["segments_info"]) for a in data["annotations"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetFault(
                f"coco_panoptic: {path} is not of COCO's panoptic format: {type(error).__name__}: {error}"
            ) from None
        if len(categories) > IGNORE:
            raise DatasetFault(f"coco_panoptic: {path} lists {len(categories)} categories; at most {IGNORE} are read")
        self.classes = tuple(str(c["name"]) for c in categories)
        numbers = {c["id"]: number for number, c in enumerate(categories)}
        photos = self.folder / (self.params.pictures or part)
        segments = self.folder / (self.params.segments or f"annotations/panoptic_{part}")
        for key in sorted(pictures):
            photo = photos / pictures[key]
            if key not in maps or not (file := segments / maps[key][0]).is_file():
                self.skipped["pictures without a label file"] += 1
            elif not photo.is_file():
                self.skipped["label files without a picture"] += 1
            else:
                known = _segments(maps[key][1], numbers, f"coco_panoptic: {path}: picture {key}")
                yield Item(f"{part}/{Path(pictures[key]).stem}", photo, (file, *known))

    def labels(self, item: Item, height: int, width: int) -> Mapping[str, NDArray[Any]]:
        path, known, classes = item.labels
        file = opened(path)
        if file.mode != "RGB":
            raise DatasetFault(
                f"coco_panoptic: {path} is a picture of mode {file.mode}; numbers of segments are written in R, G, B"
            )
        if file.size != (width, height):
            raise DatasetFault(
                f"coco_panoptic: {path} has {file.width}x{file.height} pixels, and its picture {width}x{height}"
            )
        written = numbers_of(np.asarray(file))
        place = np.searchsorted(known, written).clip(max=len(known) - 1)
        if (wrong := written[known[place] != written]).size:
            found = ", ".join(map(str, np.unique(wrong)[:10]))
            raise DatasetFault(f"coco_panoptic: {path} holds the segments {found}, which its list does not")
        return {"classes": classes[place]}


def numbers_of(codes: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The number of the segment at every pixel (H, W), by its colour (H, W, 3).

    >>> int(numbers_of(np.array([[[1, 2, 3]]], np.uint8))[0, 0])
    197121
    """
    red, green, blue = np.moveaxis(codes.astype(np.uint32), -1, 0)
    numbers: NDArray[np.uint32] = red + 256 * green + 65536 * blue
    return numbers


def _segments(listed: Any, numbers: Mapping[Any, int], which: str) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Numbers of segments in order, `VOID` among them, and the class of each."""
    classes = {VOID: IGNORE}
    try:
        for segment in listed:
            number = int(segment["id"])
            if segment["category_id"] not in numbers:
                raise DatasetFault(
                    f"{which}: segment {number} is of category {segment['category_id']!r}, which the file does not list"
                )
            if not 0 < number < 1 << 24:
                raise DatasetFault(f"{which}: a segment has the number {number}; they are 1 to {(1 << 24) - 1}")
            if classes.setdefault(number, numbers[segment["category_id"]]) != numbers[segment["category_id"]]:
                raise DatasetFault(f"{which}: segment {number} is listed twice, of two categories")
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetFault(f"{which}: segments_info can't be read: {type(error).__name__}: {error}") from None
    ordered = sorted(classes)
    return np.array(ordered, np.uint32), np.array([classes[number] for number in ordered], np.uint8)
