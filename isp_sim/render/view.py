"""Any frame as a picture to look at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.signal import FILTERS, cfa_rows
from isp_sim.stages.srgb import srgb_oetf


def viewable(frame: Frame) -> NDArray[np.uint8]:
    """What a frame of one picture holds, for the eye: (H, W, 3), sRGB codes.

    Linear light is encoded for a display, digital numbers are scaled from black to white level, each site of a
    mosaic has its filter's colour. No white balance and no colour matrix is applied: camera colours look as the
    camera sees them.
    """
    pixels = frame.pixels
    if frame.signal.levels == "dn":
        pixels = _scaled(frame)
    if frame.signal.layout == "mosaic":
        pixels = _coloured(pixels, str(frame.signal.cfa))
    if frame.signal.transfer == "linear":
        pixels = srgb_oetf(pixels.clamp(0, 1))
    codes = torch.floor(pixels[0].clamp(0, 1) * 255 + 0.5).to("cpu", torch.uint8)
    return np.ascontiguousarray(codes.permute(1, 2, 0).numpy())


def _scaled(frame: Frame) -> Tensor:
    if "black_level" not in frame.capture:
        return frame.pixels / frame.pixels.amax().clamp_min(1)
    black, white = frame.capture["black_level"], frame.capture["white_level"]
    return (frame.pixels - frame.tiled(black)) / frame.tiled(white - black)


def _coloured(mosaic: Tensor, cfa: str) -> Tensor:
    """Each sample in the channels that its filter lets through; unknown filters are grey."""
    rows = cfa_rows(cfa)
    out = mosaic.new_zeros(mosaic.shape[0], 3, *mosaic.shape[-2:])
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            channels = ["RGB".index(colour) for colour in FILTERS.get(letter, "RGB")]
            out[:, channels, y :: len(rows), x :: len(row)] = mosaic[:, :, y :: len(rows), x :: len(row)]
    return out
