"""Where a pixel lies in the picture."""

from __future__ import annotations

import torch
from torch import Tensor


def offsets(like: Tensor, centre_y: Tensor | float = 0.0, centre_x: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
    """Distances of the pixels from the optical centre, in half diagonals of the picture.

    Parameters
    ----------
    like
        (B, C, H, W): size, dtype and device.
    centre_y, centre_x
        The optical centre, from the middle of the picture [half diagonals], downwards and to the right; numbers, or
        (B, 1, 1, 1).

    Returns
    -------
    tuple
        Vertical (B or 1, 1, H, 1 or W) and horizontal distance; in a centred picture the corners' outer edges are at 1.
    """
    height, width = like.shape[-2:]
    half_diagonal = (height**2 + width**2) ** 0.5 / 2
    # pixel centres lie at 1/2, 3/2, ...; the distances are whole halves, so both sides are mirror images to the bit
    y = (torch.arange(height, dtype=like.dtype, device=like.device) - (height - 1) / 2) / half_diagonal
    x = (torch.arange(width, dtype=like.dtype, device=like.device) - (width - 1) / 2) / half_diagonal
    return y.reshape(1, 1, height, 1) - centre_y, x.reshape(1, 1, 1, width) - centre_x
