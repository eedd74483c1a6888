"""Windows and mirrors of a scene: its picture and all its labels together. Labels are moved, never interpolated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dirlearn.datasets.dataset import Scene
from dirlearn.targets import IGNORE

Array = NDArray[Any]


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
