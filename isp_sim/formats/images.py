"""Image files: PNG, TIFF, JPEG, WebP and BMP, with 8 or 16 bits."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from pydantic import Field

from isp_sim.formats.limits import opened, refuse_giant
from isp_sim.formats.reader import InputFault, Item, PathParams, Reader, Reading, one_line
from isp_sim.formats.tiff import refuse_bomb, refuse_lost_segments, refuse_lost_tags
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
        return self.decoded(item, self.params.orient)

    def decoded(self, item: Item, orient: bool) -> Reading:
        """Read one picture, upright or as its rows lie."""
        try:
            data = item.read_bytes()
        except OSError as error:
            raise InputFault(f"can't read the file: {error.strerror}") from None
        pixels, notes = decode(data, orient=orient)
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
    if not data:
        raise InputFault("the file is empty")
    notes: list[str] = []
    try:
        stored = _by_tifffile(data, notes) if data[:4] in _TIFF else _by_pillow(data, notes)
    except InputFault:
        raise
    except UnidentifiedImageError:
        raise InputFault("this is no PNG, TIFF, JPEG, WebP or BMP file, or its beginning is damaged") from None
    except Image.DecompressionBombError as error:
        raise InputFault(f"too large to be read: {one_line(error)}") from None
    except MemoryError:
        raise InputFault("there is not enough memory to decode it") from None
    except Exception as error:  # noqa: BLE001  decoders raise whatever a damaged file leads them to
        raise InputFault(f"the file is damaged, or of a kind that is not read: {one_line(error)}") from None
    pixels = _to_srgb(stored, notes)
    if orient and stored.orientation in ORIENTATIONS and stored.orientation != 1:
        pixels = ORIENTATIONS[stored.orientation](pixels)
        notes.append(f"orientation {stored.orientation} applied")
    return pixels, notes


class _Stored(NamedTuple):
    """What a file holds: codes (H, W) of mode L, (H, W, 3) of RGB or (H, W, 4) of CMYK, 0 being no ink."""

    codes: Pixels
    mode: str
    orientation: int
    profile: bytes | None


_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _by_pillow(data: bytes, notes: list[str]) -> _Stored:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with opened(io.BytesIO(data), ("PNG", "JPEG", "WEBP", "BMP")) as image:
            if (frames := getattr(image, "n_frames", 1)) > 1:
                notes.append(f"first of {frames} pictures taken")
            has_16_bits = image.format == "PNG" and data[24] == 16
            codes, mode = _png_codes(data) if has_16_bits else _pillow_codes(image)
            if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
                notes.append("alpha dropped")
            # After the pixels: Pillow may have to decode them to find Exif.
            return _Stored(codes, mode, _orientation(image, notes), _profile(image, notes))


def _pillow_codes(image: Image.Image) -> tuple[Pixels, str]:
    mode = image.mode if image.mode == "CMYK" else "L" if image.mode in ("1", "L", "LA") else "RGB"
    return np.asarray(image.convert(mode)), mode


def _png_codes(data: bytes) -> tuple[Pixels, str]:
    """Codes of a PNG with 16 bits, which Pillow would cut down to 8."""
    codes: Pixels = png_codes(data)
    codes = codes.reshape(*codes.shape[:2], -1)
    return (codes[..., :3], "RGB") if codes.shape[2] > 2 else (codes[..., 0], "L")


def png_codes(data: bytes) -> NDArray[Any]:
    """The codes of a PNG as they are, (H, W) or (H, W, n). InputFault if it claims more pixels than the bound."""
    import imagecodecs

    if len(data) >= 24:
        refuse_giant(*struct.unpack_from(">II", data, 16))
    return np.asarray(imagecodecs.png_decode(data))


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001  the picture is whole; a damaged Exif block costs no more than a note
        notes.append("Exif can't be read: orientation not known")
        return 1
    return value if isinstance(value, int) else 1


def _profile(image: Image.Image, notes: list[str]) -> bytes | None:
    profile: bytes | None = image.info.get("icc_profile")
    gamma = image.info.get("gamma")
    if gamma is not None and profile is None and "srgb" not in image.info and abs(gamma - 1 / 2.2) > 0.01:
        notes.append(f"the PNG's gamma of {gamma:g} ignored: taken as sRGB")
    return profile


def _by_tifffile(data: bytes, notes: list[str]) -> _Stored:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if len(file.pages) > 1:
            notes.append(f"first of {len(file.pages)} pictures taken")
        refuse_bomb(page, data)
        refuse_lost_tags(file, page)
        refuse_lost_segments(page, len(data))
        codes, mode = _tiff_codes(page, notes)
        orientation = page.tags.valueof(274, 1)
        return _Stored(codes, mode, orientation if isinstance(orientation, int) else 1, page.iccprofile)


def _tiff_codes(page: Any, notes: list[str]) -> tuple[Pixels, str]:
    import tifffile

    kinds = tifffile.PHOTOMETRIC
    modes = {kinds.MINISBLACK: "L", kinds.MINISWHITE: "L", kinds.PALETTE: "L"}
    modes |= {kinds.RGB: "RGB", kinds.YCBCR: "RGB", kinds.SEPARATED: "CMYK"}
    decoded_to_rgb = page.photometric != kinds.YCBCR or page.compression == tifffile.COMPRESSION.JPEG
    mode = modes.get(page.photometric) if decoded_to_rgb else None
    if mode is None:
        raise InputFault(f"a TIFF with photometric {kinds(page.photometric).name}; save it as RGB or grey")
    bits = page.bitspersample
    if page.dtype is None or page.dtype.kind not in "ub" or bits not in (1, 2, 4, 8, 16):
        found = f"{bits}-bit {page.dtype}" if page.dtype is not None else f"{bits} bits"
        raise InputFault(f"holds samples of {found}; a picture has unsigned whole numbers of 8 or 16 bits")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise InputFault(f"a TIFF with axes {page.axes}; a picture has rows, columns and channels")
    codes = page.asarray(maxworkers=1)
    codes = np.moveaxis(codes, 0, -1) if page.axes == "SYX" else codes.reshape(*codes.shape[:2], -1)
    if page.photometric == kinds.PALETTE:
        return (np.asarray(page.colormap) >> 8).astype(np.uint8).T[codes[..., 0]], "RGB"
    if bits < 8:
        codes = codes.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    if page.photometric == kinds.MINISWHITE:
        codes = np.iinfo(codes.dtype).max - codes
    colours = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    if codes.shape[2] < colours:
        raise InputFault(f"a TIFF with photometric {kinds(page.photometric).name} and {codes.shape[2]} channels")
    if codes.shape[2] > colours:
        notes.append("alpha dropped" if page.extrasamples and page.extrasamples[0] else "further channels dropped")
        if page.extrasamples and page.extrasamples[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:
            notes.append("colours divided by alpha")
            codes = _divided(codes[..., :colours], codes[..., colours : colours + 1])
    return (codes[..., 0] if mode == "L" else codes[..., :colours]), mode


def _divided(codes: Pixels, alpha: Pixels) -> Pixels:
    """Codes that alpha had been multiplied into, as they were before; 0 where alpha is 0."""
    return _rounded(codes / np.maximum(alpha, 1), codes)


def _rounded(values: NDArray[np.float64], like: Pixels) -> Pixels:
    """[0, 1] as codes of the same type; halves upwards, clipped."""
    top = np.iinfo(like.dtype).max
    return cast("Pixels", np.floor(np.clip(values, 0, 1) * top + 0.5).astype(like.dtype))


def _to_srgb(stored: _Stored, notes: list[str]) -> Pixels:
    """Codes (H, W, 3) in sRGB."""
    codes, mode, _, profile = stored
    if mode == "L":
        notes.append("grey repeated in three channels")
        # Grey pictures come with profiles of either kind.
        if profile is None or profile[16:20] == b"RGB ":
            codes, mode = _repeated(codes), "RGB"
    if profile is not None and (converted := _by_profile(codes, mode, profile, notes)) is not None:
        return converted
    if mode == "CMYK":
        notes.append("CMYK without a usable profile, converted by (1 - ink)(1 - black)")
        light = 1 - codes / np.iinfo(codes.dtype).max
        return _rounded(light[..., :3] * light[..., 3:], codes)
    return _repeated(codes) if mode == "L" else codes


def _repeated(grey: Pixels) -> Pixels:
    return cast("Pixels", np.stack([grey, grey, grey], axis=-1))


def _by_profile(codes: Pixels, mode: str, profile: bytes, notes: list[str]) -> Pixels | None:
    """Codes (H, W, 3) converted to sRGB by the ICC profile; None if they are sRGB, or it can't be used."""
    try:
        if mode == "L":
            # One exact table of all greys, equal in all channels.
            greys: Any = np.arange(np.iinfo(codes.dtype).max + 1, dtype=codes.dtype)
            table: Pixels = _transformed(greys[None], mode, profile, exact=True)[0, :, 1]
            converted = _repeated(table[codes])
        elif mode == "RGB" and _is_srgb(profile):
            return None
        else:
            converted = _transformed(codes, mode, profile, exact=codes.dtype == np.uint16)
    except (RuntimeError, ValueError, TypeError) as error:
        notes.append(f"ICC profile {_name(profile)!r} can't be used ({one_line(error)})")
        return None
    notes.append(f"ICC profile {_name(profile)!r} converted to sRGB")
    return converted


_NO_CACHE: Final = 0x0040
_NO_OPTIMISATION: Final = 0x0100
_BLACK_POINT: Final = 0x2000


def _transformed(codes: Pixels, mode: str, profile: bytes, exact: bool) -> Pixels:
    """Codes in sRGB, (H, W, 3), relative colorimetric with black point compensation.

    Little CMS prepares a table unless it is to be exact, which takes ten times as long. With 8 bits the table is
    right to a code; with 16 bits it is wrong by up to 4000 of 65535 near black.
    """
    import imagecodecs

    converted = imagecodecs.cms_transform(
        codes.reshape(*codes.shape[:2], -1),
        profile,
        _srgb_profile(),
        colorspace={"L": "GRAY"}.get(mode, mode),
        outcolorspace="RGB",
        outdtype=codes.dtype,
        intent=1,
        flags=_NO_CACHE | _BLACK_POINT | (_NO_OPTIMISATION if exact else 0),
    )
    return cast("Pixels", converted.reshape(*codes.shape[:2], 3))


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    import imagecodecs

    profile: bytes = imagecodecs.cms_profile("srgb")
    return profile


@lru_cache(maxsize=32)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile moves no colour of a grid by more than one code of 8 bits."""
    levels = np.linspace(0, 65535, 16).astype(np.uint16)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(64, 64, 3)
    moved = _transformed(grid, "RGB", profile, exact=True)
    return bool(np.abs(moved.astype(np.int64) - grid).max() <= 257)


def _name(profile: bytes) -> str:
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return " ".join(ImageCms.getProfileDescription(opened).split()) or "without a name"
    except (OSError, ValueError, ImageCms.PyCMSError):
        return "unreadable"
