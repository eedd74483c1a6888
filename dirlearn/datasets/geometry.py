"""Windows, mirrors and fittings of a scene: its picture and all its labels. Labels are moved, never interpolated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dirlearn.datasets.dataset import Scene
from dirlearn.targets import IGNORE

Array = NDArray[Any]
GREY: Final = 114
"""Code of the edges beside a fitted picture, as detectors have it since YOLO."""


def window(scene: Scene, top: int, left: int, height: int, width: int) -> Scene:
    """A window of a scene. Boxes are cut off at its edges; objects of which less than a pixel is left are dropped."""
    if (top, left, height, width) == (0, 0, *scene.pixels.shape[:2]):
        return scene

    def boxes(xyxy: Array) -> tuple[Array, NDArray[np.bool_]]:
        moved = xyxy - np.array([left, top, left, top], xyxy.dtype)
        cut = np.clip(moved, 0, np.array([width, height, width, height], xyxy.dtype))
        whole = (cut == moved).all(axis=1)
        return cut, whole | ((cut[:, 2:] - cut[:, :2]) >= 1).all(axis=1)

    return _moved(scene, lambda a: a[top : top + height, left : left + width], boxes)


def turned(scene: Scene, vertical: bool, horizontal: bool, diagonal: bool) -> Scene:
    """A scene, turned upside down, then left to right, then about its diagonal."""
    height, width = scene.pixels.shape[:2]

    def array(a: Array) -> Array:
        if vertical:
            a = a[::-1]
        if horizontal:
            a = a[:, ::-1]
        return a.swapaxes(0, 1) if diagonal else a

    def boxes(xyxy: Array) -> tuple[Array, NDArray[np.bool_]]:
        x0, y0, x1, y1 = xyxy.T
        if vertical:
            y0, y1 = height - y1, height - y0
        if horizontal:
            x0, x1 = width - x1, width - x0
        if diagonal:
            x0, y0, x1, y1 = y0, x0, y1, x1
        return np.stack([x0, y0, x1, y1], axis=1), np.ones(len(xyxy), bool)

    return _moved(scene, array, boxes)


def resampled(scene: Scene, source: NDArray[np.int64], corners: Array) -> Scene:
    """The labels of a scene whose pixels have come from elsewhere; its own pixels stay as they are.

    Parameters
    ----------
    source
        (H, W): which pixel of the old picture, counted row by row, each new one shows; -1 for none. What shows none is
        of no class and of no object.
    corners
        (N, 4): the scene's boxes as they have moved. They are cut off at the edges, and dropped as in `window`.
    """
    height, width = source.shape
    outside = source < 0

    def boxes(_: Array) -> tuple[Array, NDArray[np.bool_]]:
        cut = np.clip(corners, 0, np.array([width, height, width, height], corners.dtype))
        whole = (cut == corners).all(axis=1)
        return cut, whole | ((cut[:, 2:] - cut[:, :2]) >= 1).all(axis=1)

    def array(a: Array) -> Array:
        moved: Array = a.reshape(-1, *a.shape[2:])[source]
        return moved

    found = _moved(scene, array, boxes)
    nothing = {"classes": IGNORE, "instances": -1}
    labels = dict(found.labels)
    for name in ("classes", "instances", "masks"):
        if name in labels and outside.any():
            values = labels[name] if name != "instances" else labels[name].astype(np.int64)
            values[outside] = nothing.get(name, 0)
            labels[name] = values
    return Scene(scene.key, scene.pixels, labels)


@dataclass(frozen=True)
class Fit:
    """Where a picture of one size lies in the middle of another, as large as it fits with its sides in proportion.

    Attributes
    ----------
    height, width
        Of the picture [px].
    inner
        Height and width that it gets [px]: rounded, so the two scales differ by less than a pixel over a side.
    corner
        Row and column of its upper left pixel.
    """

    height: int
    width: int
    inner: tuple[int, int]
    corner: tuple[int, int]

    @classmethod
    def into(cls, height: int, width: int, outer: tuple[int, int]) -> Fit:
        scale = min(outer[0] / height, outer[1] / width)
        high, wide = (max(1, min(round(n * scale), o)) for n, o in zip((height, width), outer, strict=True))
        return cls(height, width, (high, wide), ((outer[0] - high) // 2, (outer[1] - wide) // 2))

    @property
    def scale(self) -> Array:
        """By x, y, x, y."""
        x, y = self.inner[1] / self.width, self.inner[0] / self.height
        return np.array([x, y, x, y])

    @property
    def _origin(self) -> Array:
        top, left = self.corner
        return np.array([left, top, left, top])

    def boxes(self, xyxy: Array) -> Array:
        """Boxes of the picture where they lie in the other, (N, 4) [px], float64."""
        moved: Array = xyxy.astype(np.float64) * self.scale + self._origin
        return moved

    def undone(self, xyxy: Array) -> Array:
        """The inverse of `boxes`."""
        found: Array = (xyxy.astype(np.float64) - self._origin) / self.scale
        return found

    def nearest(self, array: Array, outer: tuple[int, int], beside: int) -> Array:
        """An array of the picture's size by its nearest pixels, in an array of the other with a value beside it."""
        places = (
            (2 * np.arange(count) + 1) * size // (2 * count)
            for count, size in zip(self.inner, (self.height, self.width), strict=True)
        )
        whole = np.full((*outer, *array.shape[2:]), beside, array.dtype)
        self.within(whole)[...] = array[np.ix_(*places)]
        return whole

    def within(self, array: Array) -> Array:
        """The part of an array of the other that the picture takes up."""
        (top, left), (high, wide) = self.corner, self.inner
        found: Array = array[top : top + high, left : left + wide]
        return found


def letterboxed(scene: Scene, height: int, width: int) -> Scene:
    """A scene in a picture of a size: resized with antialiasing to fit, grey beside it.

    Pixels beside it don't count: their class is `IGNORE`, no mask holds them. Labels of pixels are those of the nearest
    pixel; boxes and areas of objects are scaled with the picture. All objects are kept, however small they become.
    """
    size, outer = scene.pixels.shape[:2], (height, width)
    if size == outer:
        return scene
    fit = Fit.into(size[0], size[1], outer)
    picture = Image.fromarray(scene.pixels)
    if fit.inner != size:
        picture = picture.resize(fit.inner[::-1], Image.Resampling.BILINEAR)
    pixels = np.full((*outer, 3), GREY, np.uint8)
    fit.within(pixels)[...] = np.asarray(picture)
    beside = {"classes": IGNORE, "masks": 0}
    labels = dict(scene.labels)
    for name, value in scene.labels.items():
        if name == "boxes":
            labels[name] = fit.boxes(value)
        elif name == "box_areas":
            labels[name] = value * (fit.scale[0] * fit.scale[1])
        elif not name.startswith("box_") and value.shape[:2] == size:
            labels[name] = fit.nearest(value, outer, beside.get(name, -1))
    return Scene(scene.key, pixels, labels)


def _moved(
    scene: Scene, array: Callable[[Array], Array], boxes: Callable[[Array], tuple[Array, NDArray[np.bool_]]]
) -> Scene:
    size, labels = scene.pixels.shape[:2], dict[str, Array]()
    objects: Sequence[str] = [name for name in scene.labels if name.startswith("box_")]
    for name, value in scene.labels.items():
        if name != "boxes" and name not in objects and value.shape[:2] == size:
            labels[name] = np.ascontiguousarray(array(value))
    if "boxes" in scene.labels:
        moved, kept = boxes(scene.labels["boxes"])
        labels["boxes"] = moved[kept]
        labels |= {name: scene.labels[name][kept] for name in objects}
        if "masks" in labels:
            labels["masks"] = labels["masks"][..., kept]
    degraded = None if scene.degraded is None else array(scene.degraded)
    return Scene(scene.key, array(scene.pixels), labels, degraded)
