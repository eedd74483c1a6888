"""Structural similarity, in RGB and in Y."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from dirlearn.metrics.luma import luma
from dirlearn.metrics.picture_metric import PictureMetric

SIDE: Final = 11
"""Of the window [px]."""
DEVIATION: Final = 1.5
"""Of its Gaussian [px]."""
STABLE: Final = (0.01**2, 0.03**2)
"""The constants C1 and C2 for a range of 1."""


def ssim(x: Tensor, y: Tensor) -> float:
    """Structural similarity of a picture of [0, 1], in RGB, edges mirrored [Wang2004]."""
    from torchmetrics.functional.image import structural_similarity_index_measure as measure

    return float(measure(x, y, data_range=1.0))  # type: ignore[arg-type]  # its stub knows no plain call


def structure(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity, and its part of contrast and structure, of windows that lie inside; means over channels and places.

    Parameters
    ----------
    x, y
        (B, C, H, W) of [0, 1], float64, each side at least `SIDE`.

    Returns
    -------
    (B,) and (B,).
    """
    one, two = STABLE
    a, b = _windowed(x), _windowed(y)
    variance_x, variance_y = _windowed(x * x) - a * a, _windowed(y * y) - b * b
    covariance = _windowed(x * y) - a * b
    contrast = (2 * covariance + two) / (variance_x + variance_y + two)
    whole = (2 * a * b + one) / (a * a + b * b + one) * contrast
    return whole.mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))


def _windowed(x: Tensor) -> Tensor:
    """Means under the Gaussian window, where all of it lies inside."""
    away = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    weights = (-0.5 * (away / DEVIATION) ** 2).exp()
    weights = weights / weights.sum()
    for dim in (-2, -1):
        count = x.shape[dim] - SIDE + 1
        sums = torch.zeros_like(x.narrow(dim, 0, count))
        for shift, weight in enumerate(weights.tolist()):
            sums.add_(x.narrow(dim, shift, count), alpha=weight)
        x = sums
    return x


class SSIM(PictureMetric):
    """In RGB: 11x11 Gaussian windows of deviation 1.5, mean over channels; at the edges the picture is mirrored."""

    label = "SSIM"
    smallest = 6
    source = "Wang et al. 2004 [Wang2004]"

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        return ssim(picture, clean)


class SSIMY(PictureMetric):
    """In Y of BT.601 in the limited range, against a range of 255 codes, as papers on restoration have it.

    Only windows that lie inside the picture count.
    """

    label = "SSIM in Y"
    smallest = SIDE
    source = "Wang et al. 2004 [Wang2004]"

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        return float(structure(luma(picture), luma(clean))[0])
