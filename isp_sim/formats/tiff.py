"""What is wrong with a TIFF, which tifffile and LibRaw would rather make up, or take memory for."""

from __future__ import annotations

import math
import struct
from typing import Any, Final

from isp_sim.formats.limits import refuse_giant
from isp_sim.formats.reader import InputFault

JPEG: Final = 7
DECODED: Final = (1, 2, 3, 4, 5, JPEG, 8, 32773, 32946, 34925, 50000)
"""Compressions that are read: none, CCITT's, LZW, JPEG, Deflate, PackBits, LZMA and Zstandard. The decoders of others,
such as JPEG 2000, take their size from data that lies deeper, and memory for it."""


def refuse_bomb(page: Any, data: bytes) -> None:
    """Raise InputFault if a page, or a part of it, claims more than the bound on pictures, or is compressed in a way
    in which that can't be told before it is decoded."""
    refuse_giant(page.imagewidth, page.imagelength * max(1, page.imagedepth), page.samplesperpixel)
    refuse_giant(page.tilewidth, page.tilelength * max(1, page.tiledepth), page.samplesperpixel)
    if page.compression not in DECODED:
        name = getattr(page.compression, "name", page.compression)
        raise InputFault(f"a TIFF compressed as {name}; save it with Deflate, LZW or no compression")
    if page.compression == JPEG:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if (size := jpeg_size(data[offset : offset + count])) is not None:
                refuse_giant(*size)


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a JPEG's first frame header claims; None if there is none before its samples.

    What lies between two markers is passed over, as libjpeg does.
    """
    at = 0
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        kind = data[at + 1]
        if kind == 0xDA:  # the samples begin
            return None
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            if at + 9 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        alone = kind in (0x00, 0x01, 0xFF) or 0xD0 <= kind <= 0xD9
        at += (1 if kind == 0xFF else 2) if alone else 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    return None


def refuse_lost_tags(file: Any, page: Any) -> None:
    """Raise InputFault if tifffile has left out tags of a page that it couldn't read: it goes on without them."""
    file.filehandle.seek(page.offset)
    (declared,) = struct.unpack(file.tiff.tagnoformat, file.filehandle.read(file.tiff.tagnosize))
    if lost := declared - len(page.tags):
        raise InputFault(f"the file is truncated or damaged: {lost} of its {declared} TIFF tags can't be read")


def refuse_lost_segments(page: Any, size: int) -> None:
    """Raise InputFault if strips or tiles of a page do not lie in a file of `size` bytes."""
    needed = math.prod(page.chunked)
    ends = zip(page.dataoffsets, page.databytecounts, strict=False)
    whole = sum(offset > 0 and count > 0 and offset + count <= size for offset, count in ends)
    if whole < needed:
        raise InputFault(f"the file is truncated: {needed - whole} of its {needed} strips or tiles are missing")
