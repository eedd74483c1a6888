import io
import struct
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin
from pydantic import ValidationError

from isp_sim.formats.files import Files, codes
from isp_sim.formats.images import decode
from isp_sim.frame import Frame
from isp_sim.signal import RAW, Signal

SRGB = Signal()
LINEAR = Signal(transfer="linear", reference="scene")
YCBCR = Signal(layout="ycbcr")
UNIT_MOSAIC = Signal(layout="mosaic", cfa="RGGB", transfer="linear", colour="camera", reference="scene")
MOSAIC = replace(RAW, cfa="RGGB")
CAMERA_DN = replace(RAW, layout="rgb", cfa=None)

ROWS, COLUMNS = 19, 23


def writer(**values):
    return Files(Files.Params(**values))


def frame(signal=SRGB, low=0.0, high=1.0, dtype=torch.float32, seed=0):
    channels = 1 if signal.layout == "mosaic" else 3
    values = np.random.default_rng(seed).uniform(low, high, (1, channels, ROWS, COLUMNS))
    return Frame(torch.from_numpy(values).to(dtype), signal)


def of_codes(array, signal=SRGB):
    """A frame whose pixels lie on codes (H, W, 3) or (H, W)."""
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    scale = 1 if signal.levels == "dn" else np.iinfo(array.dtype).max
    return Frame(torch.from_numpy(planes.astype(np.float32))[None] / scale, signal)


def whole(dtype, channels=3):
    shape = (ROWS, COLUMNS, channels) if channels > 1 else (ROWS, COLUMNS)
    array = np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    array.flat[:2] = 0, np.iinfo(dtype).max
    return array


def by_pillow(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def by_tifffile(data):
    return tifffile.imread(io.BytesIO(data))


# -- what is in the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype", "readers"),
    [
        ("png", np.uint8, [by_pillow, imagecodecs.png_decode]),
        ("png", np.uint16, [imagecodecs.png_decode]),
        ("tiff", np.uint8, [by_pillow, by_tifffile]),
        ("tiff", np.uint16, [by_tifffile]),
    ],
)
def test_other_programs_read_the_codes(kind, dtype, readers):
    array = whole(dtype)
    data = writer(format=kind, bits=np.iinfo(dtype).bits).encode(of_codes(array))
    for read in readers:
        found = read(data)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("kind", "readers"), [("png", [by_pillow, imagecodecs.png_decode]), ("tiff", [by_pillow, by_tifffile])]
)
@pytest.mark.parametrize("signal", [MOSAIC, UNIT_MOSAIC], ids=["dn", "unit"])
def test_mosaics_have_one_channel_of_16_bits(kind, readers, signal):
    array = whole(np.uint16, 1)
    data = writer(format=kind).encode(of_codes(array, signal))
    for read in readers:
        np.testing.assert_array_equal(read(data), array)


def test_digital_numbers_are_written_as_they_are():
    array = whole(np.uint16) // 16
    data = writer(format="png").encode(of_codes(array, CAMERA_DN))
    np.testing.assert_array_equal(imagecodecs.png_decode(data), array)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_our_own_reader_gives_the_codes_back(kind, dtype):
    array = whole(dtype)
    found, notes = decode(writer(format=kind, bits=np.iinfo(dtype).bits).encode(of_codes(array)))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)
    assert notes == []


@pytest.mark.parametrize("signal", [SRGB, MOSAIC, YCBCR], ids=["rgb", "mosaic", "ycbcr"])
def test_numpy_files_hold_the_pixels(signal):
    pictures = frame(signal, low=-3, high=70000)
    found = np.load(io.BytesIO(writer(format="npy").encode(pictures)))
    assert found.dtype == np.float32
    assert found.shape == ((ROWS, COLUMNS) if signal.layout == "mosaic" else (ROWS, COLUMNS, 3))
    np.testing.assert_array_equal(found.reshape(ROWS, COLUMNS, -1), np.moveaxis(pictures.pixels[0].numpy(), 0, -1))


@pytest.mark.parametrize(
    ("quality", "subsampling", "factors"),
    [(95, "4:4:4", (1, 1)), (40, "4:2:0", (2, 2)), (80, "4:2:2", (2, 1))],
)
def test_jpeg(quality, subsampling, factors):
    y, x = np.mgrid[0:64, 0:80]
    smooth = np.stack([x * 3, y * 3, 255 - x - y], axis=-1).astype(np.uint8)
    data = writer(format="jpeg", quality=quality, subsampling=subsampling).encode(of_codes(smooth))
    with Image.open(io.BytesIO(data)) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        assert image.layer[0][1:3] == factors
        # the table of the standard's Annex K begins with 16, and is scaled by the quality
        scale = 200 - 2 * quality if quality >= 50 else 5000 / quality
        assert image.quantization[0][0] == max(1, int((16 * scale + 50) / 100))
        found = np.asarray(image)
    assert np.abs(found.astype(int) - smooth).mean() < 3


@given(st.integers(0, 2**16 - 1), st.sampled_from([8, 16]))
def test_every_code_comes_back(code, bits):
    top = 2**bits - 1
    pixel = torch.full((1, 3, 1, 1), float(min(code, top))) / top
    assert codes(Frame(pixel, SRGB), bits).tolist() == [[[min(code, top)] * 3]]


@pytest.mark.parametrize(
    ("pixel", "bits", "expected"),
    [
        (0.5, 8, 128),
        (0.5, 16, 32768),
        (0.4999, 8, 127),
        (-0.25, 8, 0),
        (1.25, 8, 255),
        (float("inf"), 16, 65535),
        (float("-inf"), 8, 0),
        (0.499 / 255, 8, 0),
        (0.501 / 255, 8, 1),
        (254.499 / 255, 8, 254),
        (254.501 / 255, 8, 255),
    ],
)
def test_rounding_and_clipping(pixel, bits, expected):
    assert codes(Frame(torch.full((1, 3, 1, 1), pixel), SRGB), bits).tolist() == [[[expected] * 3]]


@pytest.mark.parametrize(("number", "expected"), [(0.5, 1), (1.5, 2), (2.5, 3), (2.49, 2), (-7, 0), (70000, 65535)])
def test_halves_of_digital_numbers_are_rounded_upwards(number, expected):
    assert codes(Frame(torch.full((1, 1, 2, 2), float(number)), MOSAIC), 16).tolist() == [[expected] * 2] * 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions(dtype):
    """Half precision has no 65535: it would overflow."""
    pixels = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=dtype).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert codes(Frame(pixels, SRGB), 16)[..., 0].tolist() == [[0, 16384], [32768, 65535]]
    assert np.load(io.BytesIO(writer(format="npy").encode(Frame(pixels, SRGB)))).dtype == np.float32


def test_pixels_that_are_no_number_are_refused():
    """Their code would differ from machine to machine."""
    pictures = frame()
    pictures.pixels[0, 1, 3, 4] = float("nan")
    for kind in ("png", "tiff", "jpeg"):
        with pytest.raises(ValueError, match="no number"):
            writer(format=kind).encode(pictures)
    assert np.isnan(np.load(io.BytesIO(writer(format="npy").encode(pictures)))).sum() == 1


# -- the same bytes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "tiff", "jpeg", "npy"])
def test_the_same_picture_gives_the_same_bytes(kind):
    pictures = frame()
    first = writer(format=kind).encode(pictures)
    assert writer(format=kind).encode(pictures) == first
    for layout in (
        pictures.pixels.contiguous(memory_format=torch.channels_last),
        torch.stack([pictures.pixels, pictures.pixels + 1], dim=-1)[..., 0],
        pictures.pixels.transpose(2, 3).contiguous().transpose(2, 3),
    ):
        assert writer(format=kind).encode(replace(pictures, pixels=layout)) == first
    assert writer(format=kind).encode(frame(seed=1)) != first


def test_nothing_in_a_file_tells_when_or_by_what_it_was_written():
    png, place, chunks = writer(format="png").encode(frame()), 8, []
    while place < len(png):
        (size,) = struct.unpack(">I", png[place : place + 4])
        chunks.append(png[place + 4 : place + 8])
        place += 12 + size
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    with tifffile.TiffFile(io.BytesIO(writer(format="tiff").encode(frame()))) as file:
        assert not {"DateTime", "Software", "ImageDescription"} & {tag.name for tag in file.pages.first.tags}


# -- which files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "suffix"), [("png", ".png"), ("tiff", ".tif"), ("jpeg", ".jpg"), ("npy", ".npy")])
def test_suffix(kind, suffix):
    assert writer(format=kind).suffix == suffix


@pytest.mark.parametrize(
    ("values", "signal", "bits"),
    [
        ({}, SRGB, 8),
        ({}, LINEAR, 16),
        ({}, MOSAIC, 16),
        ({}, UNIT_MOSAIC, 16),
        ({}, CAMERA_DN, 16),
        ({"bits": 8}, UNIT_MOSAIC, 8),
        ({"bits": 16}, SRGB, 16),
        ({"format": "tiff"}, SRGB, 16),
        ({"format": "tiff", "bits": 8}, SRGB, 8),
        ({"format": "jpeg"}, SRGB, 8),
        ({"format": "jpeg"}, LINEAR, 8),
    ],
)
def test_bits(values, signal, bits):
    assert writer(**values).bits(signal) == bits
    assert writer(**values).refuses(signal) is None
    picture = decode(writer(**values).encode(frame(signal)))[0]
    assert picture.dtype.itemsize * 8 == bits


@pytest.mark.parametrize(
    ("values", "signal", "reason"),
    [
        ({}, YCBCR, "png files hold RGB or a mosaic; found layout ycbcr"),
        ({"format": "tiff"}, YCBCR, "tiff files hold RGB"),
        ({"format": "jpeg"}, YCBCR, "jpeg files hold RGB"),
        ({"bits": 8}, MOSAIC, "digital numbers need 16 bits"),
        ({"format": "jpeg"}, CAMERA_DN, "digital numbers need 16 bits"),
        ({"format": "jpeg"}, UNIT_MOSAIC, "a mosaic does not survive JPEG"),
    ],
)
def test_refusals(values, signal, reason):
    assert reason in writer(**values).refuses(signal)
    assert writer(format="npy").refuses(signal) is None


def test_linear_pictures_are_remarked():
    (remark,) = writer().remarks(LINEAR)
    assert "linear" in remark
    (remark,) = writer().remarks(SRGB.changed({"colour": "rec2020"}))
    assert "in rec2020, which the files do not say" in remark
    assert writer().remarks(SRGB) == []
    assert writer().remarks(MOSAIC) == []
    assert writer(format="npy").remarks(LINEAR) == []


@pytest.mark.parametrize(
    "values",
    [
        {"format": "jpeg", "bits": 16},
        {"format": "npy", "bits": 8},
        {"bits": 12},
        {"format": "gif"},
        {"quality": 0},
        {"quality": 101},
        {"subsampling": "4:1:1"},
        {"compression": 9},
    ],
    ids=str,
)
def test_parameters_that_do_not_fit_are_refused(values):
    with pytest.raises(ValidationError):
        Files.Params(**values)
