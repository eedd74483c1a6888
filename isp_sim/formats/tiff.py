"""What is missing from a damaged TIFF, which tifffile and LibRaw would rather make up."""

from __future__ import annotations

import math
import struct
from typing import Any

from isp_sim.formats.reader import InputFault


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
