"""Y, in which papers on restoration measure."""

from __future__ import annotations

from torch import Tensor


def luma(picture: Tensor) -> Tensor:
    """Y (B, 1, H, W) of pictures (B, 3, H, W) of [0, 1]: BT.601 in the limited range, 16/255 to 235/255, float64.

    Not rounded to codes.

    >>> import torch
    >>> [round(float(255 * luma(torch.full((1, 3, 1, 1), v))), 3) for v in (0.0, 1.0)]
    [16.0, 235.0]
    """
    red, green, blue = picture.double().unbind(dim=1)
    y = (16 + 65.481 * red + 128.553 * green + 24.966 * blue) / 255
    return y[:, None]
