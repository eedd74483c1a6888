"""How large a picture may be: files that claim more are refused before memory is taken."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final

from PIL import Image

from isp_sim.formats.reader import InputFault

VARIABLE: Final = "ISP_SIM_MAX_PIXELS"
"""The environment variable that sets the bound. A recipe can't: it may come from whoever made the pictures."""
DEFAULT: Final = 178_956_970
"""Pixels of a picture that is read, which is Pillow's bound too."""
CHANNELS: Final = 4
"""Samples that a pixel is reckoned with; a file of more has room for fewer pixels."""
BYTES: Final = 16
"""Bytes that a file may hold for each pixel of the bound: four samples of 16 bits, twice."""


def most_pixels() -> int:
    """The bound. InputFault if the environment variable holds no whole number from 1."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return DEFAULT
    if not (text.isascii() and text.isdigit() and int(text[:18]) > 0 and len(text) <= 18):
        raise InputFault(f"{VARIABLE} must be a number of pixels, from 1; found {text[:40]!r}")
    return int(text)


def refuse_giant(width: int, height: int, channels: int = 1) -> None:
    """Raise InputFault if a picture has more pixels than the bound, or more samples than `CHANNELS` times as many."""
    most = most_pixels()
    if width * height > most:
        raise InputFault(
            f"too large to be read: {width}x{height} pixels are more than {most}; {VARIABLE} sets the bound"
        )
    if width * height * channels > CHANNELS * most:
        raise InputFault(
            f"too large to be read: {width}x{height} pixels of {channels} samples are more than {CHANNELS} times "
            f"{most} samples; {VARIABLE} sets the bound"
        )


def refuse_giant_file(size: int) -> None:
    """Raise InputFault if a file holds more bytes than a picture can need that is within the bound."""
    most = BYTES * max(most_pixels(), 1 << 20)
    if size > most:
        raise InputFault(f"too large to be read: {size} bytes are more than {most}; {VARIABLE} sets the bound")


_pillow = Lock()


@contextmanager
def opened(file: Any, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """A file opened by Pillow, refused if it is larger than the bound, before its pixels are decoded.

    Naming the formats keeps out decoders that start other programs, as the one for EPS does.
    """
    with _opened(file, formats) as image:
        refuse_giant(image.width, image.height)
        yield image


def _opened(file: Any, formats: tuple[str, ...]) -> Image.Image:
    if most_pixels() <= DEFAULT:
        return Image.open(file, formats=formats)
    with _pillow:  # Pillow's own bound is one for the whole process
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def regular(path: Path) -> Path:
    """A path, if a file lies there: devices and pipes have no end. OSError if not."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():
        raise OSError(0, "it is a device or a pipe, no file")
    return path
