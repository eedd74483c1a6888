"""JPEG compression by libjpeg-turbo."""

from __future__ import annotations

import io
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation

SUBSAMPLING: Final = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def compress(image: NDArray[np.uint8], quality: int, subsampling: str) -> bytes:
    """A baseline JPEG file of image (H, W, 3), sRGB code values.

    Parameters
    ----------
    quality
        IJG quality factor, 1 to 100.
    subsampling
        Of chroma: ``4:4:4``, ``4:2:2`` or ``4:2:0``.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=SUBSAMPLING[subsampling])
    return buffer.getvalue()


def decompress(data: bytes) -> NDArray[np.uint8]:
    """The picture (H, W, 3) in a JPEG file: integer inverse DCT, smooth chroma upsampling."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))


class JPEG(Degradation):
    """Compresses and decompresses with libjpeg-turbo, through Pillow. sRGB code values in [0, 1]; clips.

    Pixels are rounded to 8 bits first, as an encoder must. On another version of libjpeg-turbo, or with libjpeg 7
    or later, single code values may differ.
    """

    needs = Signal.where(layout="rgb", levels="unit", transfer="srgb")
    gives = Signal.change(bit_depth=8)
    differentiable = False
    source = "ITU-T T.81 [T81]; libjpeg-turbo [libjpegturbo]"

    class Params(StageParams):
        quality: int = Field(75, ge=1, le=100, description="quality factor of the IJG [1]")
        subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = Field("4:2:0", description="chroma subsampling")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        codes = torch.floor(frame.pixels.clamp(0, 1) * 255 + 0.5).to("cpu", torch.uint8).permute(0, 2, 3, 1)
        decoded = np.stack(
            [
                decompress(compress(np.ascontiguousarray(image), int(quality), p.subsampling))
                for image, quality in zip(codes.numpy(), p.quality.flatten().tolist(), strict=True)
            ]
        )
        return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(frame.pixels) / 255
