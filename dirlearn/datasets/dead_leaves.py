"""Scenes of textured leaves that hide each other: endless pictures with natural statistics, and labels for free."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dirlearn.datasets.dataset import Dataset, Scene
from dirlearn.targets import IGNORE, Boxes, Masks, SemanticMap
from isp_sim.parameters import StageParams
from isp_sim.randomness import generator

CLASSES: Final = ("disc", "square", "triangle", "star")
"""Shapes of leaves: their classes, from 0."""
Array = NDArray[Any]
CORNERS: Final = np.array([0, 4, 3, 5])
DEPTH: Final = np.array([0.0, 1.0, 1.0, 0.45])
"""How far the middle of a side lies from that of a regular polygon, as a part; a star's sides are drawn in."""


class DeadLeaves(Dataset):
    """Discs, squares, triangles and stars of power-law sizes, each with a colour, shading and texture of its own.

    The dead-leaves model has the scale invariance and the edges of photos. Every scene is a function of the seed and of
    its index, and, if `endless`, of the epoch. Labels: ``classes`` and ``instances`` of every pixel, the ground between
    the leaves being of no class; ``boxes``, ``box_classes`` and ``box_instances`` of all leaves of which at least
    `visible` pixels can be seen.
    """

    gives = frozenset({SemanticMap, Boxes, Masks})
    classes = CLASSES

    source = "Lee et al. 2001 [Lee2001]"

    class Params(StageParams):
        count: int = Field(256, ge=1, le=1 << 24, description="scenes in an epoch")
        size: int = Field(192, ge=8, le=4096, description="side of a scene [px]")
        leaves: int = Field(300, ge=1, le=20000, description="leaves in a scene, hidden ones included")
        smallest: float = Field(0.02, gt=0, le=1, description="radius of the smallest leaves, part of the side")
        largest: float = Field(0.45, gt=0, le=2, description="radius of the largest leaves, part of the side")
        visible: int = Field(16, ge=1, le=1 << 20, description="boxes are given for leaves with so many visible [px]")
        seed: int = Field(0, ge=0, description="other seeds give other scenes")
        endless: bool = Field(False, description="new scenes in every epoch, in place of keeping the first in memory")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.endless = params.endless  # type: ignore[misc]  # here it is the recipe's choice
        self._cache: dict[int, Scene] = {}

    def __len__(self) -> int:
        count: int = self.params.count
        return count

    def read(self, index: int, epoch: int = 0) -> Scene:
        if self.endless:
            return self.make(f"dead_leaves/{self.params.seed}/{epoch}/{index}")
        if index not in self._cache:
            self._cache[index] = self.make(f"dead_leaves/{self.params.seed}/{index}")
        return self._cache[index]

    def make(self, key: str) -> Scene:
        """The scene of a key."""
        p = self.params
        rng = generator(p.seed, key, 0, "dead_leaves", "scene")
        # twice the size, averaged down: leaves have soft edges, as behind a lens
        leaves = _draw_leaves(rng, p.leaves, 2 * p.size, p.smallest, p.largest)
        top = _cover(leaves, 2 * p.size)
        picture = _colour(rng, leaves, top)
        picture = picture.reshape(p.size, 2, p.size, 2, 3).mean(axis=(1, 3))
        instances = np.ascontiguousarray(top[::2, ::2])
        kinds = np.append(leaves["kind"], IGNORE)
        boxes, owners = _boxes(instances, p.leaves, p.visible)
        labels: dict[str, Array] = {
            "instances": instances,
            "classes": kinds[instances].astype(np.uint8),
            "boxes": boxes,
            "box_classes": kinds[owners].astype(np.int64),
            "box_instances": owners,
        }
        return Scene(key, np.floor(picture * 255 + 0.5).clip(0, 255).astype(np.uint8), labels)


def _draw_leaves(rng: np.random.Generator, count: int, size: int, smallest: float, largest: float) -> dict[str, Array]:
    """Places, sizes (density proportional to r^-3, which makes the scenes scale invariant) and shapes."""
    low, high = sorted((smallest, largest))
    u = rng.random(count)
    radius = size / np.sqrt(u / low**2 + (1 - u) / high**2)
    return {
        "x": rng.uniform(-0.1, 1.1, count) * size,
        "y": rng.uniform(-0.1, 1.1, count) * size,
        "radius": radius,
        "angle": rng.uniform(0, 2 * math.pi, count),
        "kind": rng.integers(0, len(CLASSES), count),
    }


def _cover(leaves: dict[str, Array], size: int) -> NDArray[np.int32]:
    """The uppermost leaf at every pixel; the number of leaves where there is none."""
    count = len(leaves["x"])
    top = np.full((size, size), count, np.int32)
    grid = np.arange(size, dtype=np.float32) + 0.5
    for i in range(count):  # later leaves lie above
        x, y, r, kind = (float(leaves[name][i]) for name in ("x", "y", "radius", "kind"))
        x0, x1 = max(int(x - r), 0), min(int(x + r) + 2, size)
        y0, y1 = max(int(y - r), 0), min(int(y + r) + 2, size)
        if x0 >= x1 or y0 >= y1:
            continue
        dx, dy = grid[None, x0:x1] - np.float32(x), grid[y0:y1, None] - np.float32(y)
        inside = dx * dx + dy * dy <= _reach(dx, dy, r, int(kind), float(leaves["angle"][i])) ** 2
        top[y0:y1, x0:x1][inside] = i
    return top


def _reach(dx: Array, dy: Array, radius: float, kind: int, angle: float) -> Any:
    """Radius of a shape in each direction."""
    if kind == 0:
        return radius
    sector = 2 * math.pi / CORNERS[kind]
    turn = np.abs((np.arctan2(dy, dx) - angle) % sector - sector / 2)  # 0 in the middle of a side
    apothem = math.cos(sector / 2) * DEPTH[kind]
    # the straight side through the corner (radius, sector / 2) and the middle (apothem, 0), in polar form
    normal = math.atan2(math.cos(sector / 2) - apothem, math.sin(sector / 2))
    return radius * apothem * math.cos(normal) / np.cos(turn + normal)


def _colour(rng: np.random.Generator, leaves: dict[str, Array], top: NDArray[np.int32]) -> Array:
    """Colours in [0, 1]: for each leaf a base, a gradient, a grating, and a patch of 1/f noise."""
    size, count = len(top), len(leaves["x"]) + 1
    base = rng.beta(1.2, 1.2, (count, 1)) + rng.normal(0, 0.12, (count, 3))
    slope = rng.normal(0, 0.25, (count, 2)) / size
    pitch = 2 * math.pi / np.exp(rng.uniform(math.log(4), math.log(size / 4), count))
    turn, phase = rng.uniform(0, math.pi, count), rng.uniform(0, 2 * math.pi, count)
    grating = rng.normal(0, 0.12, count) * (rng.random(count) < 0.4)
    roughness = np.abs(rng.normal(0, 0.12, count))
    shift = rng.integers(0, size, (count, 2))
    tint = rng.normal(1, 0.3, (count, 3))

    y, x = np.mgrid[:size, :size]
    noise = _pink(rng, size)[(y + shift[top, 0]) % size, (x + shift[top, 1]) % size]
    waves = np.sin(pitch[top] * (np.cos(turn[top]) * x + np.sin(turn[top]) * y) + phase[top])
    shade = slope[top, 0] * (x - size / 2) + slope[top, 1] * (y - size / 2)
    detail = (roughness[top] * noise + grating[top] * waves)[..., None] * tint[top]
    picture: Array = np.clip(base[top] + shade[..., None] + detail, 0, 1)
    return picture


def _pink(rng: np.random.Generator, size: int) -> Array:
    """Noise with a 1/f amplitude spectrum, periodic, of unit variance."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) / frequency, (size, size))
    scaled: Array = noise / noise.std()
    return scaled


def _boxes(instances: NDArray[np.int32], ground: int, visible: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes around what can be seen of each instance, and their numbers; not of the ground."""
    present, inverse, counts = np.unique(instances, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(instances.shape)
    ends = []
    for place in np.indices(instances.shape)[::-1]:
        low, high = np.full(len(present), 1 << 30), np.zeros(len(present), np.int64)
        np.minimum.at(low, inverse.ravel(), place.ravel())
        np.maximum.at(high, inverse.ravel(), place.ravel() + 1)
        ends.append((low, high))
    boxes = np.stack([ends[0][0], ends[1][0], ends[0][1], ends[1][1]], axis=1).astype(np.float32)
    kept = (counts >= visible) & (present != ground)
    return boxes[kept], present[kept].astype(np.int64)
