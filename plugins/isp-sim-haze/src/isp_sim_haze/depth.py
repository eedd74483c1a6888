"""Made-up depth of a scene: far at the top, near at the bottom, with smooth differences."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

WAVES: Final = 4
"""Half periods over the picture of the quickest cosine."""


def depth(size: tuple[int, int], gradient: float, roughness: float, draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Depth of each pixel, (H, W), never below 0: 1 in the mean, but for what roughness adds where it would be below.

    Parameters
    ----------
    size
        (H, W).
    gradient
        Part of the depth that is lost from the middle to the bottom, and gained at the top.
    roughness
        Standard deviation of the smooth noise, in the mean over all draws.
    draws
        Standard normal numbers, (WAVES + 1, WAVES + 1); the first, which would change the mean, does not count.
    """
    down, across = (_cosines(length) for length in size)
    noise = np.zeros(size)
    scale = math.sqrt(sum(_share(i, j) for i in range(WAVES + 1) for j in range(WAVES + 1)))
    for i in range(WAVES + 1):
        # an explicit sum: the last bit of a matrix product depends on its size
        line = np.zeros(size[1])
        for j in range(WAVES + 1):
            line += math.sqrt(_share(i, j)) * draws[i, j] * across[j]
        noise += down[i][:, None] * line
    top_down = 1 - 2 * (np.arange(size[0])[:, None] + 0.5) / size[0]
    return np.asarray(np.maximum(1 + gradient * top_down + roughness * noise / scale, 0))


def _share(i: int, j: int) -> float:
    """Variance of a product of cosines before they are scaled: less for quicker ones, none for a constant."""
    return 0.0 if i == j == 0 else 1 / (i * i + j * j)


def _cosines(length: int) -> list[NDArray[np.float64]]:
    """Of mean square 1 over the picture."""
    place = (np.arange(length) + 0.5) / length
    return [np.cos(math.pi * k * place) * (math.sqrt(2) if k else 1) for k in range(WAVES + 1)]
