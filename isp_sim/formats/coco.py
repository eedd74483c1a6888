"""Pictures with boxes and outlines of objects, in the folders and the JSON of COCO."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from isp_sim.formats.images import Images
from isp_sim.formats.reader import InputFault, Item, Labels, PathParams, Reading, one_line
from isp_sim.frame import Boxes, Frame, Masks, Points, Target

BOXES: Final = "boxes"
OUTLINES: Final = "outlines"
REGION: Final = "region "
"""Names of the targets: all boxes, the corners of all polygons, and the mask of each object that has one."""
DECIMALS: Final = 4
"""Of a pixel, to which moved coordinates are rounded, so that computing them leaves no trace."""
Annotation = dict[str, Any]
Polygon = list[tuple[float, float]]


class COCO(Images):
    """Reads pictures with COCO's object annotations: ``annotations/instances_SPLIT.json`` and the folder SPLIT.

    Boxes, polygons and uncompressed run lengths go the picture's way, are cut at its edge, and are written beside the
    pictures in the same form; objects that end outside are left out. A picture of view v has its number raised by v
    times the largest number plus 1, and so have its objects. Exif's Orientation is not applied, because annotations do
    not follow it.
    """

    class Params(PathParams):
        split: str | None = Field(None, description="such as val2017; not needed where there is but one")

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._document: dict[str, Any] = {}

    def items(self) -> list[Item]:
        root = self._root("folder that holds annotations/ and the pictures")
        path = self._annotations(root)
        self._document = document = _read(path)
        split = path.stem.removeprefix("instances_")
        folder = next((f for f in (split, f"images/{split}") if (root / f).is_dir()), None)
        if folder is None:
            raise InputFault(f"no folder {root / split}, in which the pictures of {path} should lie")
        objects: dict[int, list[Annotation]] = {}
        for annotation in document["annotations"]:
            objects.setdefault(annotation["image_id"], []).append(_checked(annotation, path))
        found = []
        for image in document["images"]:
            key = f"{folder}/{image['file_name']}"
            if PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
                raise InputFault(f"{path}: the file name {image['file_name']!r} leads out of {folder}")
            about = {"image": image, "objects": sorted(objects.get(image["id"], []), key=lambda a: a["id"])}
            found.append(Item(key, str(root / key), labels=about))
        if not found:
            raise InputFault(f"{path} lists no pictures")
        return sorted(found, key=lambda item: item.key)

    def _annotations(self, root: Path) -> Path:
        folder = root / "annotations"
        if self.params.split is not None:
            path = folder / f"instances_{self.params.split}.json"
            if not path.is_file():
                raise InputFault(f"there is no file {path}")
            return path
        found = sorted(folder.glob("instances_*.json"))
        if len(found) != 1:
            there = ", ".join(p.stem.removeprefix("instances_") for p in found) or "none"
            raise InputFault(f"{folder} must hold one instances_SPLIT.json, or `split` say which; there are: {there}")
        return found[0]

    def read(self, item: Item) -> Reading:
        reading = self.decoded(item, orient=False)
        height, width = reading.frame.size
        image = item.labels["image"]
        if (image["height"], image["width"]) != (height, width):
            raise InputFault(
                f"the picture has {width}x{height} pixels, but is annotated as {image['width']}x{image['height']}"
            )
        targets = _targets(item.labels["objects"], (height, width))
        return replace(reading, frame=replace(reading.frame, targets=targets))

    def labels(self, item: Item, frame: Frame) -> Labels:
        image = {**item.labels["image"], "height": frame.size[0], "width": frame.size[1]}
        return Labels({"image": image, "objects": list(_moved(item.labels, frame))})

    def documents(self, rows: Callable[[], Iterator[Mapping[str, Any]]]) -> Iterator[tuple[str, Iterator[str]]]:
        name = self._annotations(Path(self.params.path)).name
        yield f"annotations/{name}", self._text(rows)

    def _text(self, rows: Callable[[], Iterator[Mapping[str, Any]]]) -> Iterator[str]:
        """The JSON document, piece by piece: there may be more objects than fit into memory."""
        document = self._document
        images = 1 + max(image["id"] for image in document["images"])
        objects = 1 + max((annotation["id"] for annotation in document["annotations"]), default=0)
        kept = {name: value for name, value in document.items() if name not in ("images", "annotations")}
        yield json.dumps(kept, allow_nan=False)[:-1] + (", " if kept else "")
        yield '"images": ['
        yield from _separated(
            {
                **row["labels"]["image"],
                "id": row["labels"]["image"]["id"] + row["view"] * images,
                "file_name": _name(row),
            }
            for row in rows()
            if "labels" in row
        )
        yield '], "annotations": ['
        yield from _separated(
            {**one, "id": one["id"] + row["view"] * objects, "image_id": one["image_id"] + row["view"] * images}
            for row in rows()
            if "labels" in row
            for one in row["labels"]["objects"]
        )
        yield "]}\n"


def _separated(entries: Iterator[Annotation]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield (",\n" if number else "\n") + json.dumps(entry, allow_nan=False)


def _name(row: Mapping[str, Any]) -> str:
    """The picture's file name, from the folder of the split on."""
    folder = len(PurePosixPath(row["key"]).parts) - len(PurePosixPath(row["labels"]["image"]["file_name"]).parts)
    return str(PurePosixPath(*PurePosixPath(row["output"]).parts[folder:]))


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputFault(f"can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputFault(f"{path} is no JSON: {one_line(error)}") from None
    fields = {"images": ("id", "file_name", "height", "width"), "annotations": ("id", "image_id", "bbox")}
    for name, needed in fields.items():
        entries = document.get(name) if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise InputFault(f"{path} has no list of {name}, as COCO's instances have")
        for entry in entries:
            if missing := [n for n in needed if not isinstance(entry, dict) or n not in entry]:
                raise InputFault(f"{path}: one of the {name} has no {missing[0]}")
            whole = [n for n in needed if n not in ("file_name", "bbox")]
            if wrong := [n for n in whole if type(entry[n]) is not int]:
                raise InputFault(f"{path}: {wrong[0]} of one of the {name} is {entry[wrong[0]]!r:.60}, no whole number")
            if not isinstance(entry.get("file_name", ""), str):
                raise InputFault(f"{path}: a file name is {entry['file_name']!r:.60}, no text")
    found: dict[str, Any] = document
    return found


def _checked(annotation: Annotation, path: Path) -> Annotation:
    """An annotation, refused if it holds what can't be carried along."""
    which = f"{path}: annotation {annotation['id']}"
    if "keypoints" in annotation:
        raise InputFault(f"{which} has keypoints, which are not carried along: take the file of instances")
    if not _are_numbers(annotation["bbox"]) or len(annotation["bbox"]) != 4:
        raise InputFault(f"{which} has the box {annotation['bbox']!r:.60}; it must be four numbers")
    shape = annotation.get("segmentation")
    if isinstance(shape, dict):
        counts = shape.get("counts")
        if not isinstance(counts, list):
            raise InputFault(f"{which} has compressed run lengths; write them as a list of counts, as COCO does")
        if not all(type(count) is int and 0 <= count < 1 << 48 for count in counts):
            raise InputFault(f"{which} has run lengths that are no whole numbers from 0")
    if isinstance(shape, list) and not all(_are_numbers(polygon) for polygon in shape):
        raise InputFault(f"{which} has a polygon that is no list of numbers")
    if isinstance(shape, list) and any(len(polygon) < 6 or len(polygon) % 2 for polygon in shape):
        raise InputFault(f"{which} has a polygon of less than three corners")
    return annotation


def _are_numbers(values: Any) -> bool:
    """Whether it is a list of finite numbers that a picture could have for coordinates."""
    return isinstance(values, list) and all(type(v) in (int, float) and abs(v) < 1e12 for v in values)


# -- there and back ------------------------------------------------------------------------------------------------


def _polygons(annotation: Annotation) -> list[list[float]]:
    shape = annotation.get("segmentation")
    return shape if isinstance(shape, list) else []


def _run_lengths(annotation: Annotation) -> Mapping[str, Any] | None:
    shape = annotation.get("segmentation")
    return shape if isinstance(shape, dict) else None


def _targets(objects: Sequence[Annotation], size: tuple[int, int]) -> dict[str, Target]:
    boxes = torch.tensor([one["bbox"] for one in objects], dtype=torch.float64).reshape(-1, 4)
    corners = [corner for one in objects for polygon in _polygons(one) for corner in polygon]
    targets: dict[str, Target] = {
        BOXES: Boxes((torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1),)),
        OUTLINES: Points((torch.tensor(corners, dtype=torch.float64).reshape(-1, 2),)),
    }
    for number, one in enumerate(objects):
        if (runs := _run_lengths(one)) is not None:
            mask = torch.from_numpy(mask_of(runs["counts"], size))
            targets[f"{REGION}{number}"] = Masks(mask[None], outside=0)
    return targets


def _moved(labels: Mapping[str, Any], frame: Frame) -> Iterator[Annotation]:
    """The annotations of a processed picture; as they were to the digit, where nothing moved."""
    objects, boxes, outlines = labels["objects"], frame.targets[BOXES], frame.targets[OUTLINES]
    resized = frame.size != (labels["image"]["height"], labels["image"]["width"])
    assert isinstance(boxes, Boxes)
    assert isinstance(outlines, Points)
    corners, first = [(float(x), float(y)) for x, y in outlines.xy[0].tolist()], 0
    for number, (one, box) in enumerate(zip(objects, boxes.xyxy[0].tolist(), strict=True)):
        polygons = []
        for polygon in _polygons(one):
            polygons.append(corners[first : first + len(polygon) // 2])
            first += len(polygon) // 2
        target = frame.targets.get(f"{REGION}{number}")
        runs = runs_of(target.labels[0].cpu().numpy()) if isinstance(target, Masks) else None
        if not resized and _is_still(one, box, polygons, runs):
            yield one
        elif (moved := _cut(one, box, polygons, runs, frame.size)) is not None:
            yield moved


def _is_still(one: Annotation, box: Sequence[float], polygons: Sequence[Polygon], runs: Sequence[int] | None) -> bool:
    """Whether an object lies where it lay."""
    x, y, width, height = one["bbox"]
    places = [([x, y, x + width, y + height], box)]
    flat = [[value for corner in polygon for value in corner] for polygon in polygons]
    places += zip(_polygons(one), flat, strict=True)
    still = all(np.allclose(new, old, rtol=0, atol=10**-DECIMALS) for old, new in places)
    return still and (runs is None or list(runs) == (_run_lengths(one) or {}).get("counts"))


def _cut(
    one: Annotation,
    box: Sequence[float],
    polygons: Sequence[Polygon],
    runs: Sequence[int] | None,
    size: tuple[int, int],
) -> Annotation | None:
    """An object in its new place, cut at the picture's edge; None if nothing of it is left."""
    x0, y0, x1, y1 = (min(max(value, 0.0), float(size[i % 2 == 0])) for i, value in enumerate(box))
    moved = dict(one)
    if polygons:
        cut = [polygon for polygon in (clipped(polygon, size) for polygon in polygons) if area(polygon) > 0]
        if not cut:
            return None
        xs, ys = ([corner[axis] for polygon in cut for corner in polygon] for axis in (0, 1))
        x0, y0, x1, y1 = max(x0, min(xs)), max(y0, min(ys)), min(x1, max(xs)), min(y1, max(ys))
        moved["segmentation"] = [[round(v, DECIMALS) for corner in polygon for v in corner] for polygon in cut]
        moved["area"] = round(sum(area(polygon) for polygon in cut), DECIMALS)
    elif runs is not None:
        moved["segmentation"] = {"counts": list(runs), "size": list(size)}
        moved["area"] = int(sum(runs[1::2]))
        if not moved["area"]:
            return None
    if x1 <= x0 or y1 <= y0:
        return None
    if "area" in moved and not polygons and runs is None:
        moved["area"] = round((x1 - x0) * (y1 - y0), DECIMALS)
    moved["bbox"] = [round(v, DECIMALS) for v in (x0, y0, x1 - x0, y1 - y0)]
    return moved


# -- shapes --------------------------------------------------------------------------------------------------------


def clipped(polygon: Polygon, size: tuple[int, int]) -> Polygon:
    """What of a polygon lies in a picture of (height, width): Sutherland and Hodgman's algorithm.

    Examples
    --------
    >>> clipped([(-1, 1), (1, 1), (1, 3), (-1, 3)], (4, 4))
    [(0.0, 1.0), (1, 1), (1, 3), (0.0, 3.0)]
    """
    for axis, bound, sign in ((0, 0, 1), (0, size[1], -1), (1, 0, 1), (1, size[0], -1)):
        inside = [sign * (corner[axis] - bound) >= 0 for corner in polygon]
        kept: Polygon = []
        for i, corner in enumerate(polygon):
            if inside[i] != inside[i - 1]:
                before = polygon[i - 1]
                share = (bound - before[axis]) / (corner[axis] - before[axis])
                crossing = [b + share * (c - b) for b, c in zip(before, corner, strict=True)]
                crossing[axis] = float(bound)
                kept.append((crossing[0], crossing[1]))
            if inside[i]:
                kept.append(corner)
        polygon = kept
    return polygon


def area(polygon: Polygon) -> float:
    """Area of a polygon [px^2].

    Examples
    --------
    >>> area([(0, 0), (3, 0), (0, 2)])
    3.0
    """
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True))) / 2


def mask_of(counts: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask (H, W) of run lengths down the columns, the first of zeros. InputFault if they don't fit the size.

    Examples
    --------
    >>> mask_of([1, 2, 3], (2, 3)).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    if sum(counts) != size[0] * size[1]:
        raise InputFault(f"run lengths of {sum(counts)} pixels in a picture of {size[1]}x{size[0]}")
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    return np.ascontiguousarray(flat.reshape(size[1], size[0]).T)


def runs_of(mask: NDArray[Any]) -> list[int]:
    """The run lengths of a mask: the inverse of `mask_of`."""
    flat = np.asarray(mask.T).reshape(-1) != 0
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *ends.tolist(), flat.size]).tolist()
    return [0, *runs] if flat[0] else runs
