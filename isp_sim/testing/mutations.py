"""Files as a faulty disk, a cut connection or an ill-meaning stranger leaves them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image

from isp_sim import recipe as recipes
from isp_sim.formats.dng import DNG
from isp_sim.formats.files import Files, npy
from isp_sim.formats.images import Images, as_frame
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import InputFault, Item, Reader, Reading
from isp_sim.frame import Capture, Frame
from isp_sim.signal import IMAGE, RAW

HEAD: Final = 256
"""Bytes at the beginning of a file that are changed as often as all others: sizes and counts lie there."""
TELLING: Final = (0, 1, 0x7F, 0x80, 0xFF)
"""Bytes at which numbers change their sign, or are at an end."""


def flipped(data: bytes, rng: Generator, others: Sequence[bytes] = ()) -> bytes:
    """Some bits the other way round."""
    found = bytearray(data)
    for place in _places(data, rng, 8):
        found[place] ^= 1 << int(rng.integers(8))
    return bytes(found)


def overwritten(data: bytes, rng: Generator, others: Sequence[bytes] = ()) -> bytes:
    """Some bytes replaced, by any or by telling ones."""
    found = bytearray(data)
    for place in _places(data, rng, 8):
        found[place] = int(rng.integers(256)) if rng.random() < 0.5 else int(rng.choice(TELLING))
    return bytes(found)


def renumbered(data: bytes, rng: Generator, others: Sequence[bytes] = ()) -> bytes:
    """A number of 16 or 32 bits replaced by one that is small, large, or about the file's length."""
    found = bytearray(data)
    kind = str(rng.choice(["<H", ">H", "<I", ">I"]))
    size = struct.calcsize(kind)
    if len(data) < size:
        return data
    value = int(rng.choice([0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(data), len(data) + 1, 100_000]))
    place = int(rng.integers(min(len(data), HEAD) if rng.random() < 0.5 else len(data)))
    struct.pack_into(kind, found, min(place, len(data) - size), value % (1 << 8 * size))
    return bytes(found)


def truncated(data: bytes, rng: Generator, others: Sequence[bytes] = ()) -> bytes:
    """The end cut off."""
    return data[: int(rng.integers(len(data)))] if data else data


def spliced(data: bytes, rng: Generator, others: Sequence[bytes] = ()) -> bytes:
    """A piece put in, left out or repeated; it may be of another file."""
    source = others[int(rng.integers(len(others)))] if others and rng.random() < 0.7 else data
    piece = source[int(rng.integers(len(source) + 1)) :][: int(rng.integers(1, 200))]
    first = int(rng.integers(len(data) + 1))
    return data[:first] + piece + data[first + int(rng.integers(200)) :]


MUTATIONS: Final[tuple[Callable[[bytes, Generator, Sequence[bytes]], bytes], ...]] = (
    flipped,
    overwritten,
    renumbered,
    truncated,
    spliced,
)


def mutated(data: bytes, rng: Generator, others: Sequence[bytes] = ()) -> bytes:
    """A file changed in one or several of the `MUTATIONS`.

    Parameters
    ----------
    data
        The file.
    rng
        What decides; equal states give equal files.
    others
        Further files, of which pieces are put in.
    """
    for _ in range(1 + int(rng.random() < 0.3)):
        data = MUTATIONS[int(rng.integers(len(MUTATIONS)))](data, rng, others)
    return _checksummed(data) if data[:8] == _PNG and rng.random() < 0.7 else data


_PNG: Final = b"\x89PNG\r\n\x1a\n"


def _checksummed(png: bytes) -> bytes:
    """A PNG whose checksums are right again, so that its decoder does not stop at the first of them."""
    found, at = bytearray(png), len(_PNG)
    while at + 8 <= len(found):
        end = at + 8 + int.from_bytes(found[at : at + 4], "big")
        if end + 4 > len(found):
            break
        struct.pack_into(">I", found, end, zlib.crc32(found[at + 4 : end]))
        at = end + 4
    return bytes(found)


def _places(data: bytes, rng: Generator, most: int) -> list[int]:
    if not data:
        return []
    ends = [min(len(data), HEAD) if rng.random() < 0.5 else len(data) for _ in range(int(rng.integers(1, most + 1)))]
    return [int(rng.integers(end)) for end in ends]


def samples() -> dict[str, bytes]:
    """Small files of the kinds that are read, by a name with its suffix: whole, to be changed."""
    rng = np.random.default_rng(0)
    codes = (128 + 100 * np.sin(np.arange(24 * 32 * 3).reshape(24, 32, 3) / 19) + rng.normal(0, 5, (24, 32, 3))).clip(
        0, 255
    )
    photo = Image.fromarray(codes.astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6

    def pillow(kind: str, image: Image.Image = photo, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    pixels = torch.from_numpy(codes.astype(np.float32).transpose(2, 0, 1)[None].copy()) / 255
    frame = Frame(pixels, IMAGE)
    level, gains = torch.full((1, 1, 2, 2), 256.0), torch.tensor([2.0, 1.0, 1.5]).reshape(1, 3, 1, 1)
    facts = {"black_level": level, "white_level": 64 * level - 1, "wb_gains": gains}
    signal = replace(RAW, cfa="RGGB")
    mosaic = Frame(pixels[:, :1] * 16000 + 256, signal, Capture({**facts, "ccm": torch.eye(3)[None]}))
    return {
        "8.png": pillow("PNG", exif=exif),
        "16.png": Files(Files.Params(bits=16)).encode(frame),
        "palette.png": pillow("PNG", photo.quantize(16)),
        "plain.jpg": pillow("JPEG", quality=90, exif=exif),
        "progressive.jpg": pillow("JPEG", quality=80, progressive=True),
        "deflate.tif": Files(Files.Params(format="tiff")).encode(frame),
        "lzw.tif": pillow("TIFF", compression="tiff_lzw"),
        "jpeg.tif": pillow("TIFF", compression="jpeg"),
        "lossy.webp": pillow("WEBP", quality=80),
        "plain.bmp": pillow("BMP"),
        "plain.npy": Files(Files.Params(format="npy")).encode(frame),
        "mosaic.dng": DNG(DNG.Params()).encode(mosaic),
    }


class Anything(Reader):
    """Reads the `samples`, and recipes, by their suffix; what is no picture comes as a picture of one pixel."""

    signal = IMAGE

    def read(self, item: Item) -> Reading:
        suffix = PurePosixPath(item.path).suffix
        if suffix == ".dng":
            return Raw(Raw.Params()).read(item)
        if suffix not in (".npy", ".yaml"):
            return Images(Images.Params()).read(item)
        if suffix == ".npy":
            npy(item.read_bytes())
        else:
            try:
                recipes.read(item.path)
            except recipes.RecipeError as error:
                raise InputFault(str(error.faults[0])) from None
        return Reading(as_frame(np.zeros((1, 1, 3), np.uint8), item.key))
