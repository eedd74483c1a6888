"""Peak signal-to-noise ratio, in RGB and in Y."""

from __future__ import annotations

import torch
from torch import Tensor

from dirlearn.metrics.luma import luma
from dirlearn.metrics.picture_metric import PictureMetric


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture of [0, 1], over all of its channels [dB]; of equal ones 100."""
    return -10 * torch.log10(((x - y).double() ** 2).mean(dim=(1, 2, 3)).clamp_min(1e-10))


class PSNR(PictureMetric):
    """Over all of RGB, peak 1; equal pictures count as 100 dB."""

    label = "PSNR [dB]"
    digits = 2

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        return float(psnr(picture, clean))


class PSNRY(PictureMetric):
    """In Y of BT.601 in the limited range, against a peak of 255 codes, as papers on restoration have it.

    Y is not rounded. Papers on super-resolution leave out as many pixels at the edge as the factor says: `border`.
    """

    label = "PSNR in Y [dB]"
    digits = 2

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        return float(psnr(luma(picture), luma(clean)))
