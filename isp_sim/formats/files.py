"""One file a picture: PNG, TIFF, JPEG or NumPy."""

from __future__ import annotations

import io
import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.degradations.jpeg import compress
from isp_sim.formats.images import decode
from isp_sim.formats.limits import refuse_giant
from isp_sim.formats.reader import InputFault, one_line
from isp_sim.formats.writer import OutputParams, Writer
from isp_sim.frame import Frame
from isp_sim.signal import OPEN, Signal


class Files(Writer):
    """Writes one file a picture, under the name of its input.

    PNG, TIFF and JPEG hold codes: [0, 1] is rounded to the nearest of them and clipped; digital numbers are
    rounded and written as they are, with 16 bits. NumPy files hold float32, (H, W, 3), or (H, W) for a mosaic,
    neither rounded nor clipped.
    """

    class Params(OutputParams):
        format: Literal["png", "tiff", "jpeg", "npy"] = Field("png", description="kind of file")
        bits: Literal[8, 16] | None = Field(
            None,
            description="bits a sample [bit]; if not given, 16 for TIFF, DN, mosaics and linear light, else 8",
        )
        quality: int = Field(95, ge=1, le=100, description="quality factor of JPEG files [1]")
        subsampling: Literal["4:4:4", "4:2:2", "4:2:0"] = Field("4:4:4", description="chroma subsampling of JPEG files")

        @model_validator(mode="after")
        def _fits(self) -> Files.Params:
            if self.format == "jpeg" and self.bits == 16:
                raise ValueError("JPEG files have 8 bits a sample; write png or tiff for 16")
            if self.format == "npy" and self.bits is not None:
                raise ValueError("NumPy files hold float32; bits are for png and tiff")
            return self

    @property
    def suffix(self) -> str:
        return {"png": ".png", "tiff": ".tif", "jpeg": ".jpg", "npy": ".npy"}[self.params.format]

    def bits(self, signal: Signal) -> int:
        """Bits a sample for a picture of this signal."""
        if self.params.bits is not None:
            return int(self.params.bits)
        wide = (
            self.params.format == "tiff"
            or signal.levels == "dn"
            or signal.layout == "mosaic"
            or signal.transfer == "linear"
        )
        return 16 if wide and self.params.format != "jpeg" else 8

    def refuses(self, signal: Signal) -> str | None:
        if self.params.format == "npy":
            return None
        if signal.layout == "ycbcr":
            return f"{self.params.format} files hold RGB or a mosaic; found layout ycbcr"
        if signal.levels == "dn" and self.bits(signal) == 8:
            return "digital numbers need 16 bits: write png or tiff with bits: 16, or put normalise into the recipe"
        if signal.layout == "mosaic" and self.params.format == "jpeg":
            return "a mosaic does not survive JPEG: write png, tiff or npy"
        return None

    def remarks(self, signal: Signal) -> list[str]:
        found = []
        if self.params.format != "npy" and signal.layout == "rgb":
            if signal.transfer not in ("srgb", OPEN):
                found.append(f"the pictures are {signal.transfer}; viewers take them as sRGB and show them too dark")
            if signal.colour not in ("srgb", "camera", OPEN):
                found.append(
                    f"the pictures are in {signal.colour}, which the files do not say; viewers take them as sRGB"
                )
        return found

    def encode(self, frame: Frame) -> bytes:
        if self.params.format == "npy":
            return _npy(frame)
        image = codes(frame, self.bits(frame.signal))
        if self.params.format == "jpeg":
            return compress(image, self.params.quality, self.params.subsampling)
        return png(image) if self.params.format == "png" else _tiff(image)

    def decode(self, data: bytes, frame: Frame) -> Tensor:
        rows, top = _read(data, self.params.format)
        if frame.signal.layout == "mosaic" and rows.ndim == 3:  # grey files are read as three equal channels
            rows = rows[..., 0]
        planes = rows[None] if rows.ndim == 2 else rows.transpose(2, 0, 1)
        if planes.shape != frame.pixels.shape[1:]:
            raise InputFault(
                f"the file holds {'x'.join(map(str, planes.shape))} samples, the picture it is of "
                f"{'x'.join(map(str, frame.pixels.shape[1:]))}"
            )
        pixels = torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))[None]
        return (pixels if frame.signal.levels == "dn" else pixels / top).to(frame.pixels)


def _read(data: bytes, form: str) -> tuple[NDArray[Any], float]:
    """Rows of a file, and the number that stands for 1 in it."""
    if form == "npy":
        return npy(data), 1.0
    rows, _ = decode(data, orient=False)
    return rows, float(np.iinfo(rows.dtype).max)


def npy(data: bytes) -> NDArray[Any]:
    """The array of a NumPy file, as it is.

    Raises
    ------
    InputFault
        If the file is no such array of numbers, or its header claims more than the file holds, or than the bound on
        pictures.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = header(file)
    except Exception as error:  # noqa: BLE001  NumPy parses the header as Python's literals, which may fail anyhow
        raise InputFault(f"the file is damaged: {one_line(error)}") from None
    if dtype.kind not in "bufi":
        raise InputFault(f"holds {dtype} and no plain numbers")
    if any(side < 0 for side in shape):
        raise InputFault(f"the file is damaged: an array of {shape}")
    refuse_giant(math.prod(shape[:2]), 1, math.prod(shape[2:]))
    count, left = math.prod(shape), len(data) - file.tell()
    if count * dtype.itemsize > left:
        raise InputFault(f"the file is truncated: {left} of {count * dtype.itemsize} bytes are left")
    if not count:
        return np.empty(shape, dtype)
    flat = np.frombuffer(data, dtype, count, file.tell()).copy()
    return flat.reshape(shape, order="F" if columns_first else "C")


def codes(frame: Frame, bits: int) -> NDArray[Any]:
    """The first picture's codes, (H, W, 3), or (H, W) for a mosaic, as uint8 or uint16.

    [0, 1] becomes 0 to 2^bits - 1, digital numbers stay as they are; halves are rounded upwards, the rest clipped.
    Raises ValueError if a pixel is NaN.
    """
    top = 2**bits - 1
    pixels = frame.pixels[:1].to(torch.promote_types(frame.pixels.dtype, torch.float32))
    if bool(pixels.isnan().any()):
        raise ValueError("the picture holds pixels that are no number (NaN)")
    scaled = pixels if frame.signal.levels == "dn" else pixels * top
    rounded = torch.floor(scaled + 0.5).clamp(0, top).to("cpu").numpy()
    return _rows(rounded.astype(np.uint8 if bits == 8 else np.uint16))


def _rows(planes: NDArray[Any]) -> NDArray[Any]:
    """(1, C, H, W) as (H, W, C), or (H, W) where C is 1."""
    return np.ascontiguousarray(planes[0, 0] if planes.shape[1] == 1 else planes[0].transpose(1, 2, 0))


def _npy(frame: Frame) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _rows(frame.pixels[:1].to("cpu", torch.float32).numpy()))
    return buffer.getvalue()


def png(image: NDArray[Any]) -> bytes:
    """A PNG file of codes (H, W) or (H, W, 3), uint8 or uint16."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(image, level=5))


def _tiff(image: NDArray[Any]) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    tifffile.imwrite(
        buffer,
        image,
        photometric=photometric,
        compression="zlib",
        predictor=True,
        metadata=None,
        software=False,
    )
    return buffer.getvalue()
