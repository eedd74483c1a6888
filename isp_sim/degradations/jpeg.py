"""JPEG compression: by libjpeg-turbo, by whole numbers in torch that round as it does, or differentiable."""

from __future__ import annotations

import io
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor

from isp_sim.degradations import jpeg_transform
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Recovery, as_it_is

SUBSAMPLING: Final = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}

Step = Annotated[int, Field(ge=1, le=255)]
Table = Annotated[tuple[Step, ...], Field(min_length=64, max_length=64)]


def compress(
    image: NDArray[np.uint8], quality: int, subsampling: str, tables: jpeg_transform.Tables | None = None
) -> bytes:
    """A baseline JPEG file of image (H, W, 3), sRGB code values.

    Parameters
    ----------
    quality
        IJG quality factor, 1 to 100.
    subsampling
        Of chroma: ``4:4:4``, ``4:2:2`` or ``4:2:0``.
    tables
        Quantisation steps of luma and chroma in place of those of the quality: 64 each, row by row.
    """
    buffer = io.BytesIO()
    # with both, Pillow scales the tables by the quality
    steps: dict[str, Any] = {"quality": quality} if tables is None else {"qtables": list(tables)}
    Image.fromarray(image).save(buffer, "JPEG", subsampling=SUBSAMPLING[subsampling], **steps)
    return buffer.getvalue()


def decompress(data: bytes) -> NDArray[np.uint8]:
    """The picture (H, W, 3) in a JPEG file: integer inverse DCT, smooth chroma upsampling."""
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))


class JPEG(Degradation):
    """Compresses and decompresses, once or again and again. sRGB code values in [0, 1]; clips.

    Mode ``exact`` is libjpeg-turbo itself, through Pillow, on the CPU. Mode ``rounding`` gives the same bits on any
    device, a whole batch at once. Both round pixels to 8 bits before and after, as a codec must. On another version
    of libjpeg-turbo, or with libjpeg 7 or later, single code values of ``exact`` may differ.

    Mode ``soft`` is differentiable: floating point, where nothing rounds but the quantisation of the coefficients,
    and that by `isp_sim.degradations.jpeg_transform.smooth_rounding`. On photos its PSNR against ``exact`` is about
    37 dB at quality 10, 43 dB at 75 and 47 dB at 95.
    """

    needs = Signal.where(layout="rgb", levels="unit", transfer="srgb")
    differentiable = False
    soft_gap = 0.02
    source = "ITU-T T.81 [T81]; libjpeg-turbo [libjpegturbo]; Loeffler, Ligtenberg and Moschytz 1989 [Loeffler1989]"
    severities: ClassVar = {"quality": (60, 30, 15, 8, 4)}

    class Params(StageParams):
        quality: int = Field(
            75, ge=1, le=100, description="quality factor of the IJG [1]; no effect if tables are given"
        )
        subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = Field("4:2:0", description="chroma subsampling")
        mode: Annotated[Literal["exact", "rounding", "soft"], Static] = Field(
            "exact", description="exact: libjpeg-turbo; rounding: its bits, in torch; soft: differentiable"
        )
        tables: Annotated[tuple[Table, Table] | None, Static] = Field(
            None, description="quantisation steps of luma and chroma, 64 each, row by row [code value]"
        )
        generations: Annotated[int, Structural] = Field(
            1, ge=1, le=50, examples=[2, 3], description="how often the picture is compressed [1]"
        )
        sharpness: Annotated[int, Structural] = Field(
            4, ge=0, le=20, description="of mode soft: order of the smooth rounding, 0 for none [1]"
        )

    def is_differentiable(self, p: Any) -> bool:
        return bool(p.mode == "soft")

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return signal.changed({"bit_depth": None if p.mode == "soft" else 8})

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = frame.pixels.clamp(0, 1) * jpeg_transform.TOP
        if p.mode == "exact":
            return _by_codec(torch.floor(x + 0.5), p) / jpeg_transform.TOP
        if p.tables is None:
            tables = jpeg_transform.quality_tables(p.quality)
        else:
            tables = jpeg_transform.custom_tables(p.tables, frame.batch, x.device)
        rounding = partial(jpeg_transform.smooth_rounding, order=p.sharpness)
        x = x if p.mode == "soft" else torch.floor(x + 0.5).to(torch.int32)
        for _ in range(p.generations):
            x = jpeg_transform.jpeg(x, tables, p.subsampling, rounding)
        return x.to(frame.pixels.dtype) / jpeg_transform.TOP

    def recovery(self, p: Any) -> Recovery:
        quality = "by its own tables" if p.tables else f"at quality {p.quality}"
        return Recovery(as_it_is, "the picture as it is", f"the detail that JPEG rounds away {quality}")


def _by_codec(codes: Tensor, p: Any) -> Tensor:
    """Code values (B, 3, H, W) after libjpeg-turbo, one picture after the other."""
    images = np.ascontiguousarray(codes.detach().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy())
    pictures = np.empty_like(images)
    for i, quality in enumerate(p.quality.flatten().tolist()):
        picture = images[i]
        for _ in range(p.generations):
            picture = decompress(compress(picture, int(quality), p.subsampling, p.tables))
        pictures[i] = picture
    return torch.from_numpy(pictures).to(codes.device).permute(0, 3, 1, 2).to(codes.dtype)
