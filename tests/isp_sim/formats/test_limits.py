"""Tiny files that claim to be giants, of every kind that is read."""

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from isp_sim.formats import limits
from isp_sim.formats.ade20k import ADE20K
from isp_sim.formats.files import npy
from isp_sim.formats.headerless import Headerless
from isp_sim.formats.images import Images
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import InputFault, Item, Reader
from isp_sim.formats.tiff import jpeg_size
from tests.isp_sim.formats.dng import write_dng

GIANT = 100_000
"""Side of what the files claim [px]: ten thousand million pixels."""
SMALL = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)


def pillow(kind: str, **options: object) -> bytearray:
    buffer = io.BytesIO()
    Image.fromarray(SMALL).save(buffer, kind, **options)
    return bytearray(buffer.getvalue())


def giant_png(bits: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", GIANT, GIANT, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def giant_jpeg() -> bytes:
    data = pillow("JPEG")
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 65000, 65000)  # what a JPEG can claim
    return bytes(data)


def giant_bmp() -> bytes:
    data = pillow("BMP")
    struct.pack_into("<ii", data, 18, GIANT, GIANT)
    return bytes(data)


def tiff(array: np.ndarray = SMALL, photometric: str = "rgb", **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric=photometric, metadata=None, **options)
    return buffer.getvalue()


def edited(data: bytes, **values: int) -> bytes:
    """A TIFF with other values in its tags."""
    found = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for name, value in values.items():
            tag = file.pages.first.tags[name]
            struct.pack_into({3: "<H", 4: "<I"}[int(tag.dtype)], found, tag.valueoffset, value)
    return bytes(found)


def tiff_of_a_giant_jpeg() -> bytes:
    """Its tags are modest; the JPEG in its only strip is not, and that is what is decoded."""
    data = bytearray(tiff(photometric="ycbcr", compression="jpeg", subsampling=(1, 1)))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 65000, 65000)
    return bytes(data)


PICTURES = {
    "png8": giant_png(),
    "png16": giant_png(16),
    "png1": giant_png(1, 0),
    "jpeg": giant_jpeg(),
    "bmp": giant_bmp(),
    "tiff": edited(tiff(compression="zlib"), ImageWidth=GIANT, ImageLength=GIANT, RowsPerStrip=GIANT),
    "tiff of huge tiles": edited(tiff(tile=(16, 16), compression="zlib"), TileWidth=65520, TileLength=65520),
    "tiff of many channels": edited(
        tiff(np.zeros((16, 16, 5), np.uint8), compression="zlib", extrasamples=["unspecified"] * 2),
        ImageWidth=13000,
        ImageLength=13000,
        SamplesPerPixel=60000,
    ),
    "tiff of a giant jpeg": tiff_of_a_giant_jpeg(),
}


def refused(reader: Reader, item: Item) -> str:
    """The reason, for which hardly any memory may have been taken."""
    tracemalloc.start()
    before = resident()
    with pytest.raises(InputFault) as caught:
        reader.read(item)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert resident() - before < 60e6
    return str(caught.value)


def resident() -> int:
    """The most memory that this process has held so far, native libraries included [bytes]."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("kind", PICTURES)
def test_a_giant_picture_is_refused_before_memory_is_taken(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(PICTURES[kind])
    assert path.stat().st_size < 5000
    assert refused(Images(Images.Params()), Item("a.png", str(path))).startswith("too large to be read: ")


def test_a_giant_dng_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng", np.zeros((64, 64), np.uint16), compression="jpeg", tile=(16, 32),
                     compressionargs={"lossless": True, "bitspersample": 16})  # fmt: skip
    data = path.read_bytes()
    path.write_bytes(edited(data, ImageWidth=60000, ImageLength=60000))
    reason = refused(Raw(Raw.Params()), Item("a.dng", str(path)))
    assert "too large" in reason or "are missing" in reason


def test_a_dng_over_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_dng(tmp_path / "a.dng", np.full((48, 62), 9, np.uint16))
    reader, item = Raw(Raw.Params()), Item("a.dng", str(path))
    monkeypatch.setenv(limits.VARIABLE, str(48 * 62))
    assert reader.read(item).frame.size == (48, 62)
    monkeypatch.setenv(limits.VARIABLE, str(48 * 62 - 1))
    assert refused(reader, item).startswith("too large to be read: 62x48 pixels")


def test_a_headerless_giant_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(100))
    reader = Headerless(Headerless.Params(width=65536, height=65536, bits=12))
    assert refused(reader, Item("a.raw", str(path))).startswith("too large to be read: ")
    reader = Headerless(Headerless.Params(width=10000, height=10000, bits=12))
    assert refused(reader, Item("a.raw", str(path))).startswith("holds 100 bytes")


def test_a_giant_label_map_is_refused(tmp_path: Path) -> None:
    for folder in ("images", "annotations"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(bytes(pillow("JPEG")))
    (tmp_path / "annotations" / "a.png").write_bytes(giant_png(8, 0))
    reader = ADE20K(ADE20K.Params(path=str(tmp_path)))
    (item,) = reader.items()
    assert "too large" in refused(reader, item) or "exceeds limit" in refused(reader, item)


def numpy_file(header: str) -> bytes:
    text = header.encode().ljust(118 - 10) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(60)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 100000, 3)}", "too large to be read"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2, 1000000000)}", "too large to be read"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1000, 3)}", "the file is truncated"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -5)}", "the file is damaged"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", "no plain numbers"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}", "no plain numbers"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getpid(),)}", "the file is damaged"),
        ("(" * 90, "the file is damaged"),
    ],
)
def test_a_numpy_file_that_claims_too_much_is_refused(header: str, reason: str) -> None:
    tracemalloc.start()
    with pytest.raises(InputFault, match=reason):
        npy(numpy_file(header))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("array", [SMALL, np.asfortranarray(SMALL.astype(np.float32)), np.empty((0, 3)), np.array(7)])
def test_numpy_files_are_read_as_numpy_does(array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    found = npy(buffer.getvalue())
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


def test_a_file_without_an_end_is_refused(tmp_path: Path) -> None:
    sparse = tmp_path / "a.png"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    assert "bytes are more than" in refused(Images(Images.Params()), Item("a.png", str(sparse)))
    assert "bytes are more than" in refused(Raw(Raw.Params()), Item("a.png", str(sparse)))
    for endless in ("/dev/zero", os.fspath(tmp_path / "pipe")):
        if endless.endswith("pipe"):
            os.mkfifo(endless)
        assert "a device or a pipe" in refused(Images(Images.Params()), Item("a.png", endless))
        assert "a device or a pipe" in refused(Raw(Raw.Params()), Item("a.png", endless))


def test_a_larger_bound_than_pillows_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "a.png"
    path.write_bytes(bytes(pillow("PNG")))
    reader, item = Images(Images.Params()), Item("a.png", str(path))
    assert "exceeds limit" in refused(reader, item)
    monkeypatch.setenv(limits.VARIABLE, str(limits.DEFAULT + 1))
    assert reader.read(item).frame.size == (16, 24)
    assert Image.MAX_IMAGE_PIXELS == 100, "Pillow's own bound is put back"


@pytest.mark.parametrize("text", ["0", "-5", "1e9", "many", "9" * 19, "²"])
def test_a_bound_that_is_no_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(limits.VARIABLE, text)
    with pytest.raises(InputFault, match="must be a number of pixels"):
        limits.most_pixels()


def test_compressions_that_hide_their_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for name in ("webp", "jpeg2000", "jpegxl", "png"):
        path.write_bytes(tiff(compression=name))
        assert f"compressed as {name.upper()}" in refused(Images(Images.Params()), Item("a.tif", str(path)))


def test_the_size_of_a_jpeg_is_found_as_libjpeg_finds_it() -> None:
    for options in ({}, {"progressive": True}, {"quality": 30, "comment": b"\xff\xc0" + bytes(20)}):
        assert jpeg_size(bytes(pillow("JPEG", **options))) == (24, 16)
    data = bytes(pillow("JPEG"))
    assert jpeg_size(data[:2] + b"garbage\xff\xff" + data[3:]) == (24, 16), "fill bytes and garbage are passed over"
    assert jpeg_size(data[: data.index(b"\xff\xc0") + 6]) is None
    assert jpeg_size(b"") is None
