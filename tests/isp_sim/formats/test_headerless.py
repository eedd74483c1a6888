import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from isp_sim.formats.headerless import Headerless
from isp_sim.formats.reader import InputFault, Item

DATA = os.environ.get("ISP_SIM_DATA")

ROWS, COLUMNS = 6, 10


def samples(dtype="<u2", top=1023):
    values = np.random.default_rng(0).integers(0, top + 1, (ROWS, COLUMNS))
    assert values.max() > 255 or top == 255
    return values.astype(dtype)


def read(path, data=None, **values):
    if data is not None:
        path.write_bytes(data)
    reader = Headerless(Headerless.Params(**{"width": COLUMNS, "height": ROWS, "bits": 10, **values}))
    reading = reader.read(Item(path.name, str(path)))
    assert reader.facts == set(reading.frame.capture)
    assert reading.frame.signal == reader.signal
    return reading


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("<u2", 10), (">u2", 10), ("<u2", 16)])
@pytest.mark.parametrize("offset", [0, 1, 32])
def test_samples(tmp_path, dtype, bits, offset):
    array = samples(dtype, 2**bits - 1)
    reading = read(tmp_path / "a.raw", b"\xaa" * offset + array.tobytes(), dtype=dtype, bits=bits, offset=offset)
    frame = reading.frame
    assert reading.notes == ()
    assert frame.keys == ("a.raw",)
    assert frame.pixels.shape == (1, 1, ROWS, COLUMNS)
    np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), array.astype(np.float64))
    signal = frame.signal
    assert (signal.layout, signal.levels, signal.transfer, signal.bit_depth) == (
        "mosaic",
        "dn",
        "linear",
        bits,
    )
    assert frame.capture["white_level"].unique().tolist() == [2**bits - 1]
    assert frame.capture["black_level"].unique().tolist() == [0]


@pytest.mark.parametrize("size", [0, 1, 119])
def test_too_short(tmp_path, size):
    with pytest.raises(InputFault) as caught:
        read(tmp_path / "a.raw", bytes(size))
    assert str(caught.value) == f"holds {size} bytes; 10x6 samples of <u2 need 120"
    with pytest.raises(InputFault, match=f"holds {size} bytes; 10x6 samples of <u2 need 127"):
        read(tmp_path / "a.raw", bytes(size), offset=7)


def test_too_long(tmp_path):
    array = samples()
    reading = read(tmp_path / "a.raw", array.tobytes() + b"123")
    assert reading.notes == ("3 bytes after the last sample ignored",)
    np.testing.assert_array_equal(reading.frame.pixels[0, 0].numpy(), array)


def test_samples_that_need_more_bits_are_noted(tmp_path):
    """Mostly a wrong order of bytes."""
    array = samples(">u2")
    swapped = array.view("<u2")
    (note,) = read(tmp_path / "a.raw", array.tobytes(), dtype="<u2").notes
    assert note == f"{(swapped > 1023).sum()} samples need more than 10 bits: are bits, dtype and offset right?"


def test_levels_and_state(tmp_path):
    reading = read(
        tmp_path / "a.raw",
        samples().tobytes(),
        cfa="GBRG",
        black=(60.0, 61.0, 62.5, 63.0),
        white=1000.0,
        wb_gains=(3.0, 1.5, 2.25),
        ccm=((1.5, -0.5, 0.0), (-0.25, 1.5, -0.25), (0.0, -0.5, 1.5)),
    )
    capture = reading.frame.capture
    assert reading.frame.signal.cfa == "GBRG"
    assert capture["black_level"].tolist() == [[[[60.0, 61.0], [62.5, 63.0]]]]
    assert capture["white_level"].tolist() == [[[[1000.0, 1000.0], [1000.0, 1000.0]]]]
    assert capture["wb_gains"].tolist() == [[[[2.0]], [[1.0]], [[1.5]]]]
    assert capture["ccm"].tolist() == [[[1.5, -0.5, 0.0], [-0.25, 1.5, -0.25], [0.0, -0.5, 1.5]]]


@pytest.mark.parametrize(("cfa", "shape"), [("RGGB", (2, 2)), ("RGB/GBR", (2, 3)), ("RG/GB/RG", (3, 2)), ("X", (1, 1))])
@pytest.mark.parametrize("single", [64.0, (64.0,)])
def test_one_black_level_for_all_sites(tmp_path, cfa, shape, single):
    capture = read(tmp_path / "a.raw", samples().tobytes(), cfa=cfa, black=single).frame.capture
    assert capture["black_level"].shape == (1, 1, *shape)
    assert capture["black_level"].unique().tolist() == [64]


def test_black_level_of_each_site_reaches_its_site(tmp_path):
    """Where every sample is its site's black level, nothing is left of the picture."""
    from isp_sim.frame import Capture, Frame
    from isp_sim.stages.levels import Normalise

    black = np.arange(36.0).reshape(6, 6) + 64
    data = np.tile(black, (1, 2))[:ROWS, :COLUMNS].astype("<u2").tobytes()
    frame = read(tmp_path / "a.raw", data, cfa="GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", black=tuple(black.ravel())).frame
    assert isinstance(frame, Frame)
    assert isinstance(frame.capture, Capture)
    assert not Normalise().apply(frame, Normalise.Params(), None).any()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"bits": 10, "dtype": "u1"}, "a sample of dtype u1 has 8 bits; 10 do not fit into it"),
        ({"bits": 17}, "less than or equal to 16"),
        ({"black": (1.0, 2.0)}, "black has 2 levels; the CFA RGGB has 4 sites"),
        ({"black": 1023.0}, "white level 1023 must lie above black level 1023, up to 1023"),
        ({"black": 5.0, "white": 5.0}, "white level 5 must lie above black level 5"),
        ({"white": 1024.0}, "white level 1024 must lie above black level 0, up to 1023"),
        ({"cfa": "RGB"}, "no square"),
        ({"cfa": "RG/G"}, "different lengths"),
        ({"width": 0}, "greater than or equal to 1"),
        ({"offset": -1}, "greater than or equal to 0"),
        ({"dtype": "<u4"}, "'<u2'"),
        ({"wb_gains": (1.0, 0.0, 1.0)}, "greater than"),
    ],
)
def test_wrong_descriptions_are_refused(values, reason):
    with pytest.raises(ValidationError, match=reason.replace("(", r"\(")):
        Headerless.Params(**{"width": COLUMNS, "height": ROWS, "bits": 10, **values})


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(["u1", "<u2", ">u2"]), st.integers(0, 9))
def test_any_size(tmp_path_factory, width, height, dtype, offset):
    array = np.random.default_rng(width * 31 + height).integers(0, 256, (height, width)).astype(dtype)
    path = tmp_path_factory.getbasetemp() / "any.raw"
    reading = read(
        path, bytes(offset) + array.tobytes(), width=width, height=height, dtype=dtype, bits=8, offset=offset
    )
    np.testing.assert_array_equal(reading.frame.pixels[0, 0].numpy(), array)


@pytest.mark.skipif(not DATA, reason="ISP_SIM_DATA is not set")
@pytest.mark.parametrize("name", ["fastopenisp_test_1920x1080.RAW", "isp_DSC_1339_768x512_rggb.raw"])
def test_real_files(name):
    folder = Path(str(DATA)) / "raw"
    if not (folder / name).exists():
        pytest.skip(f"{name} is not among the data")
    described = json.loads((folder / "headerless.json").read_text())[name]
    values = {key: described[key] for key in ("width", "height", "bits", "dtype", "cfa")}
    values |= {key: float(described[key]) for key in ("black", "white") if key in described}
    reading = read(folder / name, **values)
    pixels = reading.frame.pixels
    assert pixels.shape == (1, 1, described["height"], described["width"])
    np.testing.assert_array_equal(
        pixels.numpy().ravel(),
        np.frombuffer((folder / name).read_bytes(), described["dtype"]).astype(np.float32),
    )
    assert reading.notes == ()
    # a photo: greens are alike, and neighbours of one colour too
    sites = pixels[0, 0].numpy()
    assert np.corrcoef(sites[0::2, 1::2].ravel(), sites[1::2, 0::2].ravel())[0, 1] > 0.95
    # what is described as the other end of the bytes would be no photo, and is noticed
    other = read(folder / name, **{**values, "dtype": ">u2"})
    assert "need more than" in other.notes[0]
