"""Image files: PNG, TIFF, JPEG, WebP and BMP, with 8 or 16 bits."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from pydantic import Field

from isp_sim.formats.reader import InputFault, Item, PathParams, Reader, Reading
from isp_sim.frame import Frame
from isp_sim.signal import IMAGE

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

ORIENTATIONS: Final[dict[int, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
"""How to turn the stored rows upright, by the value of Exif's Orientation."""

LARGEST: Final = 1 << 28
"""Pixels of a picture that is read; a larger one is refused before memory is taken."""


class Images(Reader):
    """Reads image files as sRGB pictures in [0, 1]. The first picture of a file that holds several.

    Grey becomes three equal channels, alpha is dropped, the orientation is applied, an ICC profile is converted to
    sRGB; each of these is noted.
    """

    signal = IMAGE
    suffixes = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")

    class Params(PathParams):
        orient: bool = Field(True, description="turn the picture upright, as Exif's Orientation says")

    def read(self, item: Item) -> Reading:
        try:
            data = Path(item.path).read_bytes()
        except OSError as error:
            raise InputFault(f"can't read the file: {error.strerror}") from None
        pixels, notes = decode(data, orient=self.params.orient)
        return Reading(as_frame(pixels, item.key), tuple(notes))


def as_frame(pixels: Pixels, key: str) -> Frame:
    """A frame of one sRGB picture from its codes (H, W, 3)."""
    bits = pixels.dtype.itemsize * 8
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32))
    return Frame(planes / float(2**bits - 1), replace(IMAGE, bit_depth=bits), keys=(key,))


def decode(data: bytes, orient: bool = True) -> tuple[Pixels, list[str]]:
    """Decode an image file to sRGB codes.

    Parameters
    ----------
    data
        The file.
    orient
        Whether to apply Exif's Orientation.

    Returns
    -------
    pixels
        (H, W, 3), uint8 or uint16.
    notes
        What was done besides decoding.

    Raises
    ------
    InputFault
        If it is no image, is damaged, or is too large.
    """
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > LARGEST:
                    raise InputFault(f"{image.width}x{image.height} pixels are more than the {LARGEST} that are read")
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
                profile = image.info.get("icc_profile")
                if getattr(image, "n_frames", 1) > 1:
                    notes.append(f"first of {image.n_frames} pictures taken")
                pixels, mode = _codes(image, data)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputFault(f"too large to be read: {error}") from None
    except UnidentifiedImageError:
        raise InputFault("this is no image file, or of a kind that is not known") from None
    except InputFault:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        RuntimeError,
        struct.error,
        KeyError,
        IndexError,
    ) as error:
        raise InputFault(f"the file is damaged: {error}") from None

    pixels, mode = _without_alpha(pixels, mode, notes)
    pixels = _to_srgb(pixels, mode, profile, notes)
    if orientation in ORIENTATIONS and orientation != 1 and orient:
        pixels = ORIENTATIONS[orientation](pixels)
        notes.append(f"orientation {orientation} applied")
    return pixels, notes


def _codes(image: Image.Image, data: bytes) -> tuple[Pixels, str]:
    """Codes (H, W) or (H, W, n) and the mode, one of L, LA, RGB, RGBA and CMYK."""
    if image.format == "PNG" and data[24:25] == b"\x10":
        import imagecodecs

        pixels = imagecodecs.png_decode(data)
        return pixels, {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[1 if pixels.ndim == 2 else pixels.shape[2]]
    if image.format == "TIFF" and _has_16_bits(image):
        return _tiff_codes(data)
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        return np.asarray(image).astype(np.uint16), "L"
    if image.mode == "F":
        raise InputFault("holds floating-point numbers, whose range is not known; save it with 8 or 16 bits")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return np.asarray(image), image.mode


def _has_16_bits(image: Image.Image) -> bool:
    bits = getattr(image, "tag_v2", {}).get(258, (8,))
    return max(bits if isinstance(bits, tuple) else (bits,)) > 8


def _tiff_codes(data: bytes) -> tuple[Pixels, str]:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        pixels = page.asarray()
        if pixels.dtype != np.uint16:
            raise InputFault(f"holds samples of type {pixels.dtype}; a picture has 8 or 16 bits")
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = 65535 - pixels
        if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
            return pixels, "CMYK"
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels not in (1, 2, 3, 4):
        raise InputFault(f"has {channels} channels; a picture has 1 to 4")
    return pixels.reshape(*pixels.shape[:2], channels) if channels > 1 else pixels.reshape(pixels.shape[:2]), {
        1: "L",
        2: "LA",
        3: "RGB",
        4: "RGBA",
    }[channels]


def _without_alpha(pixels: Pixels, mode: str, notes: list[str]) -> tuple[Pixels, str]:
    if mode == "LA":
        notes.append("alpha dropped")
        return pixels[..., 0], "L"
    if mode == "RGBA":
        notes.append("alpha dropped")
        return pixels[..., :3], "RGB"
    return pixels, mode


def _to_srgb(pixels: Pixels, mode: str, profile: bytes | None, notes: list[str]) -> Pixels:
    """Codes (H, W, 3) in sRGB."""
    if mode == "CMYK":
        converted = _by_profile(pixels, profile, "CMYK", notes) if profile else None
        if converted is None:
            notes.append("CMYK without a usable profile, converted by (1 - ink)(1 - black)")
            top = np.iinfo(pixels.dtype).max
            ink = 1 - pixels.astype(np.float64) / top
            light = ink[..., :3] * ink[..., 3:]
            return np.floor(light * top + 0.5).astype(pixels.dtype)
        return converted
    if mode == "L":
        notes.append("grey repeated in three channels")
        pixels = np.repeat(pixels[..., None], 3, axis=2)
        if profile:
            notes.append("ICC profile of a grey picture ignored: taken as sRGB")
        return pixels
    if profile:
        converted = _by_profile(pixels, profile, "RGB", notes)
        return pixels if converted is None else converted
    return pixels


def _by_profile(pixels: Pixels, profile: bytes, mode: str, notes: list[str]) -> Pixels | None:
    """Codes converted to sRGB by the ICC profile; None if it can't be used."""
    import imagecodecs

    name = _profile_name(profile)
    try:
        if mode == "RGB" and _is_srgb(profile):
            return pixels
        converted: Pixels = imagecodecs.cms_transform(
            np.ascontiguousarray(pixels),
            profile,
            _srgb_profile(),
            colorspace=mode,
            outcolorspace="RGB",
            outdtype=pixels.dtype,
            intent=1,
            flags=_NO_CACHE | _BLACK_POINT,
        )
    except (RuntimeError, ValueError, TypeError) as error:
        notes.append(f"ICC profile {name!r} can't be used ({error}): taken as {'sRGB' if mode == 'RGB' else mode}")
        return None
    notes.append(f"ICC profile {name!r} converted to sRGB")
    return converted


_NO_CACHE: Final = 0x0040
_BLACK_POINT: Final = 0x2000


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    import imagecodecs

    profile: bytes = imagecodecs.cms_profile("srgb")
    return profile


@lru_cache(maxsize=32)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile moves no colour of a grid by more than one code of 8 bits."""
    import imagecodecs

    levels = np.linspace(0, 65535, 9).astype(np.uint16)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(27, 27, 3)
    moved = imagecodecs.cms_transform(
        grid, profile, _srgb_profile(), colorspace="RGB", outcolorspace="RGB", outdtype=np.uint16, intent=1
    )
    return bool(np.abs(moved.astype(np.int64) - grid).max() <= 257)


def _profile_name(profile: bytes) -> str:
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.getProfileDescription(opened).strip() or "without a name"
    except (OSError, ImageCms.PyCMSError):
        return "unreadable"
