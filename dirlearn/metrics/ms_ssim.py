"""Structural similarity at several scales."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from dirlearn.metrics.picture_metric import PictureMetric
from dirlearn.metrics.ssim import SIDE, structure

EXPONENTS: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""From the whole size to a sixteenth; contrast and structure count at every scale, luminance at the last."""


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Of each picture (B, C, H, W) of [0, 1], mean over channels at every scale; float64.

    Only windows that lie inside count. A scale on which pictures are opposed counts as 0: the power of a negative
    number is none.
    """
    x, y = x.double(), y.double()
    product = torch.ones(len(x), dtype=torch.float64, device=x.device)
    for number, exponent in enumerate(EXPONENTS):
        if number:
            x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        whole, contrast = structure(x, y)
        part = whole if number == len(EXPONENTS) - 1 else contrast
        product = product * part.clamp_min(0) ** exponent
    return product


class MSSSIM(PictureMetric):
    """In RGB, over five scales, each by half of the one before; 11x11 Gaussian windows inside the picture."""

    label = "MS-SSIM"
    smallest = SIDE << (len(EXPONENTS) - 1)
    source = "Wang et al. 2003 [Wang2003]"

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        return float(ms_ssim(picture, clean))
