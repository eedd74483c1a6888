import os
from itertools import product
from pathlib import Path

import colour
import numpy as np
import pytest
import rawpy
import tifffile
import torch
from PIL import Image
from scipy import ndimage

import isp_sim
from isp_sim.formats.files import codes
from isp_sim.formats.opcodes import FixVignetteRadial, GainMap, build
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import InputFault, Item
from isp_sim.frame import Capture, Frame
from isp_sim.signal import cfa_rows
from isp_sim.stages.colour_matrix import XYZ_FROM_SRGB
from isp_sim.stages.lens_shading import LensShading
from isp_sim.stages.levels import Normalise
from tests.isp_sim.formats.dng import DAYLIGHT_MATRIX, NEUTRAL, rationals, write_dng

RECIPE = Path(__file__).parents[3] / "recipes" / "develop_raw.yaml"
DATA = os.environ.get("ISP_SIM_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="ISP_SIM_DATA is not set")

BAYER = (("RG", "GB"), ("BG", "GR"), ("GR", "BG"), ("GB", "RG"))
LOSSLESS_JPEG = {
    "compression": "jpeg",
    "compressionargs": {"lossless": True, "bitspersample": 16},
    "tile": (16, 32),
}
"""How cameras and converters compress a DNG."""
XTRANS = ("GBGGRG", "RGRBGB", "GBGGRG", "GRGGBG", "BGBRGR", "GRGGBG")
QUAD = ("RRGG", "RRGG", "GGBB", "GGBB")

ROWS, COLUMNS = 48, 62
AREAS = [None, (2, 4, 44, 60), (3, 4, 44, 60), (2, 5, 45, 61), (3, 5, 46, 59), (1, 1, 47, 61)]


def read(path, orient=False):
    reader = Raw(Raw.Params(orient=orient))
    reading = reader.read(Item(path.name, str(path)))
    assert set(reading.frame.capture) - {"placement", "camera_calibrations", "forward_matrices"} == reader.facts
    assert reading.frame.keys == (path.name,)
    return reading


def refused(path):
    """The reason why a file is refused: one line."""
    with pytest.raises(InputFault) as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def tiled(tile, shape, area=None):
    """A pattern that starts at the active area's top-left pixel, over all of the samples."""
    top, left = (area or (0, 0))[:2]
    tile = np.asarray(tile)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    return tile[(y - top) % tile.shape[0], (x - left) % tile.shape[1]]


def letters_of(cfa, shape, area=None):
    return tiled([list(row) for row in cfa], shape, area)


def noise(shape=(ROWS, COLUMNS), low=1000, high=60000):
    return np.random.default_rng(0).integers(low, high, shape).astype(np.uint16)


def coloured(cfa, area=None):
    """Samples that tell their colour: R below 10000, G below 20000, B below 30000."""
    letters = letters_of(cfa, (ROWS, COLUMNS), area)
    return (noise(high=9000) + 10000 * np.vectorize("RGB".index)(letters)).astype(np.uint16)


def assert_colours(frame):
    """Every sample has the colour that its frame's CFA says it has."""
    samples = frame.pixels[0, 0].numpy()
    letters = letters_of(cfa_rows(frame.signal.cfa), samples.shape)
    np.testing.assert_array_equal(np.array(list("RGB"))[(samples // 10000).astype(int)], letters)


def visible(area, even):
    """What LibRaw shows of an active area: with a Bayer pattern it begins at an even row and column."""
    top, left, bottom, right = area or (0, 0, ROWS, COLUMNS)
    if even:
        top, left = top + top % 2, left + left % 2
    return slice(top, bottom), slice(left, right)


# -- samples and their colours -------------------------------------------------------------------------------


@pytest.mark.parametrize("cfa", BAYER, ids="".join)
@pytest.mark.parametrize("area", AREAS)
def test_bayer_phase(tmp_path, cfa, area):
    samples = coloured(cfa, area)
    path = write_dng(tmp_path / "a.dng", samples, cfa, area=area)
    reading = read(path)
    frame = reading.frame
    np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), samples[visible(area, even=True)])
    assert_colours(frame)
    assert len(frame.signal.cfa) == 4
    assert reading.notes == ()
    with rawpy.imread(str(path)) as raw:
        colours = np.array(list("RGBG"))[raw.raw_colors_visible]
    np.testing.assert_array_equal(letters_of(cfa_rows(frame.signal.cfa), colours.shape), colours)


@pytest.mark.parametrize("area", [*AREAS, (6, 6, 47, 61), (9, 8, 47, 61), (13, 25, 47, 61)])
def test_xtrans_phase(tmp_path, area):
    samples = coloured(XTRANS, area)
    path = write_dng(tmp_path / "a.dng", samples, XTRANS, area=area)
    frame = read(path).frame
    np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), samples[visible(area, even=False)])
    assert_colours(frame)
    assert len(frame.signal.cfa) == 36
    if area is None or max(area[:2]) <= 6:
        # beyond, rawpy's own arrays hold what lies beside the pattern in memory
        with rawpy.imread(str(path)) as raw:
            colours = np.array(list("RGBG"))[raw.raw_colors_visible]
        np.testing.assert_array_equal(letters_of(cfa_rows(frame.signal.cfa), colours.shape), colours)


@pytest.mark.parametrize("cfa", [QUAD, ("GGRR", "GGRR", "BBGG", "BBGG"), ("RGB", "GBR", "BRG")], ids="".join)
@pytest.mark.parametrize("area", AREAS)
def test_phase_of_patterns_that_only_the_file_knows(tmp_path, cfa, area):
    """LibRaw gives their samples, and makes up a pattern out of every fourth site."""
    samples = coloured(cfa, area)
    frame = read(write_dng(tmp_path / "a.dng", samples, cfa, area=area)).frame
    np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), samples[visible(area, even=True)])
    assert_colours(frame)
    assert len(frame.signal.cfa) == len(cfa) ** 2


def test_a_bayer_pattern_written_twice_is_one(tmp_path):
    assert read(write_dng(tmp_path / "a.dng", noise(), ("GRGR", "BGBG") * 2)).frame.signal.cfa == "GRBG"


@pytest.mark.parametrize("cfa", [XTRANS, QUAD], ids=["X-Trans", "Quad Bayer"])
def test_other_patterns_are_developed(tools, tmp_path, cfa):
    """Away from the border, where weighted means look to one side only, a smooth scene comes back."""
    path = expose(tmp_path / "a.dng", cfa, matrix=MATRICES["sRGB"], high=0.9)
    frame = read(path).frame
    for name in ("normalise", "white_balance"):
        frame = tools.run_stage(name, frame)
    found = tools.run_stage("demosaic", frame, {"method": "directional_kriging"}).pixels[0].permute(1, 2, 0).numpy()
    expected = scene((120, 160), 0, 0.03, 0.9)
    assert np.abs(found - expected)[8:-8, 8:-8].max() < 0.01


@pytest.mark.parametrize(
    ("dtype", "white"), [(np.uint8, 255), (np.uint16, 1023), (np.uint16, 16383), (np.uint16, 60000)]
)
def test_signal_and_white_level(tmp_path, dtype, white):
    samples = noise(low=0, high=white + 1).astype(dtype)
    frame = read(write_dng(tmp_path / "a.dng", samples, white=white)).frame
    signal = frame.signal
    assert (signal.layout, signal.levels, signal.colour, signal.white_balanced) == (
        "mosaic",
        "dn",
        "camera",
        False,
    )
    assert (signal.transfer, signal.reference) == ("linear", "scene")
    assert signal.bit_depth == {255: 8, 1023: 10, 16383: 14, 60000: 16}[white]
    assert frame.capture["white_level"].tolist() == [[[[white] * 2] * 2]]
    assert frame.pixels.dtype == torch.float32
    np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), samples)


@pytest.mark.parametrize("options", [LOSSLESS_JPEG, {"tile": (16, 16)}, {"byteorder": ">"}, {"rowsperstrip": 7}])
def test_other_ways_to_store_samples(tmp_path, options):
    samples = noise()
    frame = read(write_dng(tmp_path / "a.dng", samples, **options)).frame
    np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), samples)


def test_frame_outlives_the_file(tmp_path):
    """LibRaw's memory is gone when the file is closed."""
    samples = noise()
    frames = [read(write_dng(tmp_path / f"{i}.dng", samples + np.uint16(i))).frame for i in range(20)]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), samples + i)


def test_oblong_pixels_are_noted(tmp_path):
    path = write_dng(tmp_path / "a.dng", noise(), more=[(50718, "2I", 2, [2, 1, 1, 1], True)])
    assert read(path).notes == ("pixels are not square: aspect 2",)


@pytest.mark.parametrize("options", [{}, LOSSLESS_JPEG], ids=["strip", "JPEG tiles"])
def test_linearization_table_has_been_applied(tmp_path, options):
    """LibRaw looks the samples up; were the capture to hold the table, `linearise` would do so again."""
    codes = noise(low=0, high=600)
    table = np.round(np.arange(512) ** 1.5).astype(np.uint16)
    more = [(50712, "H", table.size, table.tolist(), True)]
    frame = read(write_dng(tmp_path / "a.dng", codes, white=int(table[-1]), more=more, **options)).frame
    np.testing.assert_array_equal(frame.pixels[0, 0].numpy(), table[np.minimum(codes, 511)])
    assert "linearization_table" not in frame.capture


# -- black level ---------------------------------------------------------------------------------------------


def assert_black(frame):
    """Samples that are their sites' black level come to exactly 0."""
    assert frame.pixels.unique().numel() > 1
    assert not Normalise().apply(frame, Normalise.Params(), None).any()


@pytest.mark.parametrize("cfa", BAYER, ids="".join)
@pytest.mark.parametrize("area", AREAS)
def test_black_level_of_each_site(tmp_path, cfa, area):
    black = (256, 300, 410, 512)
    samples = tiled(np.reshape(black, (2, 2)), (ROWS, COLUMNS), area).astype(np.uint16)
    path = write_dng(tmp_path / "a.dng", samples, cfa, area=area, black=black, black_dim=(2, 2))
    frame = read(path).frame
    assert frame.capture["black_level"].shape == (1, 1, 2, 2)
    assert sorted(frame.capture["black_level"].flatten().tolist()) == list(black)
    assert_black(frame)


@pytest.mark.parametrize("area", [None, (2, 4, 44, 60)])
def test_black_level_is_librawss_where_libraw_is_right(tmp_path, area):
    path = write_dng(tmp_path / "a.dng", noise(), ("GB", "RG"), area=area, black=(7, 30, 200, 1000), black_dim=(2, 2))
    with rawpy.imread(str(path)) as raw:
        expected = np.array(raw.black_level_per_channel)[raw.raw_colors_visible[:2, :2]]
    np.testing.assert_array_equal(read(path).frame.capture["black_level"][0, 0].numpy(), expected)


@pytest.mark.parametrize(
    ("cfa", "dim"),
    [
        (BAYER[0], (1, 2)),
        (BAYER[1], (2, 1)),
        (BAYER[2], (4, 4)),
        (BAYER[3], (3, 5)),
        (XTRANS, (6, 6)),
        (XTRANS, (2, 2)),
        (XTRANS, (1, 1)),
    ],
)
@pytest.mark.parametrize("area", [None, (3, 5, 46, 59), (9, 8, 47, 61)])
def test_black_level_of_other_periods(tmp_path, cfa, dim, area):
    """LibRaw keeps such patterns to itself; only the least level comes out."""
    black = np.random.default_rng(1).permutation(np.arange(64, 164))[: dim[0] * dim[1]]
    samples = tiled(black.reshape(dim), (ROWS, COLUMNS), area).astype(np.uint16)
    path = write_dng(tmp_path / "a.dng", samples, cfa, area=area, black=black.tolist(), black_dim=dim)
    frame = read(path).frame
    assert (frame.pixels == frame.tiled(frame.capture["black_level"])).all()


def test_one_black_level(tmp_path):
    frame = read(write_dng(tmp_path / "a.dng", noise(), black=(512,))).frame
    assert frame.capture["black_level"].tolist() == [[[[512, 512], [512, 512]]]]
    frame = read(write_dng(tmp_path / "a.dng", noise(), black=None)).frame
    assert not frame.capture["black_level"].any()


def test_black_level_of_demosaiced_channels(tmp_path):
    samples = np.stack([noise()] * 3, axis=-1)
    frame = read(write_dng(tmp_path / "a.dng", samples, None, black=(100, 200, 300))).frame
    assert frame.capture["black_level"].tolist() == [[[[100]], [[200]], [[300]]]]


@pytest.mark.parametrize(("black", "white"), [(1000, 1000), (60000, 4095)])
def test_levels_in_the_wrong_order_are_refused(tmp_path, black, white):
    path = write_dng(tmp_path / "a.dng", noise(), black=(black,), white=white)
    assert refused(path) == f"its white level {white} does not lie above its black level {black}"


# -- gains and matrix ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("neutral", [NEUTRAL, (1.0, 0.5, 0.25), (1.0, 1.0, 1.0), (0.8, 0.4, 1.0)])
def test_as_shot_gains(tmp_path, neutral):
    reading = read(write_dng(tmp_path / "a.dng", noise(), neutral=neutral))
    gains = reading.frame.capture["wb_gains"]
    assert gains.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(gains[0, :, 0, 0], max(neutral) / np.array(neutral), rtol=1e-6)
    assert gains.min() == 1
    assert reading.notes == ()


def test_without_as_shot_gains(tmp_path):
    reading = read(write_dng(tmp_path / "a.dng", noise(), neutral=None))
    assert reading.notes == ("no as-shot white balance: daylight gains taken",)
    # the camera's answer to the white of sRGB
    white = np.array(DAYLIGHT_MATRIX) @ colour.xy_to_XYZ(colour.RGB_COLOURSPACES["sRGB"].whitepoint)
    np.testing.assert_allclose(reading.frame.capture["wb_gains"][0, :, 0, 0], white.max() / white, rtol=1e-3)


def test_without_gains_or_matrix(tmp_path):
    reading = read(write_dng(tmp_path / "a.dng", noise(), neutral=None, matrix=None))
    assert reading.notes == (
        "no as-shot white balance: gains of 1 taken",
        "no colour matrix: the camera's primaries are taken as sRGB's",
    )
    assert reading.frame.capture["wb_gains"].flatten().tolist() == [1, 1, 1]
    np.testing.assert_array_equal(reading.frame.capture["ccm"][0], np.eye(3))


def expected_ccm(xyz_to_camera):
    space = colour.RGB_COLOURSPACES["sRGB"]
    camera = np.array(xyz_to_camera) @ colour.normalised_primary_matrix(space.primaries, space.whitepoint)
    return np.linalg.inv(camera / camera.sum(axis=1, keepdims=True))


MATRICES = {
    "daylight": DAYLIGHT_MATRIX,
    "sRGB": np.linalg.inv(colour.RGB_COLOURSPACES["sRGB"].matrix_RGB_to_XYZ).round(4).tolist(),
    "other": ((0.8, -0.2, -0.05), (-0.5, 1.3, 0.15), (-0.1, 0.25, 0.6)),
}


@pytest.mark.parametrize("name", MATRICES)
# LibRaw has a matrix of its own for a camera it knows; the file's goes first.
@pytest.mark.parametrize("camera", [("Nobody", "Nothing"), ("Canon", "Canon EOS 550D")], ids=["unknown", "known"])
def test_colour_matrix(tmp_path, name, camera):
    path = write_dng(tmp_path / "a.dng", noise(), matrix=MATRICES[name], make=camera[0], model=camera[1])
    reading = read(path)
    ccm = reading.frame.capture["ccm"]
    assert ccm.shape == (1, 3, 3)
    assert reading.notes == ()
    np.testing.assert_allclose(ccm[0], expected_ccm(MATRICES[name]), atol=5e-4)
    np.testing.assert_allclose(ccm[0].sum(axis=1), 1, atol=1e-6)


def test_matrix_of_a_camera_that_libraw_knows(tmp_path):
    path = write_dng(tmp_path / "a.dng", noise(), matrix=None, make="Canon", model="Canon EOS 550D")
    with rawpy.imread(str(path)) as raw:
        table = raw.rgb_xyz_matrix[:3]
    assert table.any()
    reading = read(path)
    assert reading.notes == ()
    np.testing.assert_allclose(reading.frame.capture["ccm"][0], expected_ccm(table), atol=5e-4)


def test_neutral_becomes_grey(tmp_path):
    """A surface that the file says is neutral, through gains and matrix."""
    samples = np.full((ROWS, COLUMNS), 0.0)
    for letter, value in zip("RGB", NEUTRAL, strict=True):
        samples[letters_of(BAYER[0], samples.shape) == letter] = 8000 * value
    frame = read(write_dng(tmp_path / "a.dng", samples.astype(np.uint16), white=16000)).frame
    developed = isp_sim.load(RECIPE).run(frame).frame.pixels
    grey = colour.models.eotf_inverse_sRGB(0.5)
    np.testing.assert_allclose(developed.numpy(), grey, atol=1e-5)


def test_matrix_without_inverse_is_not_used(tmp_path):
    path = write_dng(tmp_path / "a.dng", noise(), matrix=((1, 0, 0), (1, 0, 0), (0, 0, 1)))
    reading = read(path)
    assert reading.notes == ("no colour matrix: the camera's primaries are taken as sRGB's",)
    np.testing.assert_array_equal(reading.frame.capture["ccm"][0], np.eye(3))


# -- lens shading --------------------------------------------------------------------------------------------

VIGNETTE = FixVignetteRadial((0.4, 0.1, 0.0, 0.02, 0.0), (0.45, 0.6))


def site_map(y, x):
    gains = np.random.default_rng(2 * y + x).uniform(1, 2, (4, 5, 1)).astype(np.float32)
    return GainMap((y, x, ROWS, COLUMNS), (0, 1), (2, 2), (0.1, 0.0), (0.25, 0.25), gains)


SITES = [site_map(y, x) for y in (0, 1) for x in (0, 1)]


def opcodes(linear, demosaiced):
    lists = [(51009, linear), (51022, demosaiced)]
    values = [(code, value if isinstance(value, bytes) else build(value)) for code, value in lists]
    return [(code, 7, len(value), value, True) for code, value in values]


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_opcodes_become_facts(tmp_path, byteorder):
    path = write_dng(tmp_path / "a.dng", noise(), more=opcodes(SITES, [VIGNETTE]), byteorder=byteorder)
    reading = read(path)
    assert reading.notes == ()
    capture = reading.frame.capture
    expected = np.stack([site.gains[..., 0] for site in SITES])
    np.testing.assert_array_equal(capture["gain_map"][0], expected)
    assert capture["gain_map_geometry"][0, 1].tolist() == pytest.approx(
        [0, 1, ROWS, COLUMNS, 2, 2, 0, 1, 4, 5, 0.1, 0, 0.25, 0.25]
    )
    np.testing.assert_allclose(capture["vignette"][0], [*VIGNETTE.k, *VIGNETTE.centre], rtol=1e-6)


def test_without_opcodes_they_are_neutral(tmp_path):
    capture = read(write_dng(tmp_path / "a.dng", noise())).frame.capture
    assert bool((capture["gain_map"] == 1).all())
    assert not capture["vignette"][0, :5].any()


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("orient", [False, True])
def test_gains_follow_the_active_area_and_the_orientation(tmp_path, area, orient):
    """Opcodes are about the active area, of which LibRaw may show less, and that may be turned."""
    path = write_dng(
        tmp_path / "a.dng", noise(), area=area, orientation=6 if orient else 1, more=opcodes(SITES, [VIGNETTE])
    )
    frame = read(path, orient=orient).frame
    top, left, bottom, right = area or (0, 0, ROWS, COLUMNS)
    whole = bottom - top, right - left
    signal = frame.signal.changed({"levels": "unit", "bit_depth": None})
    capture = {name: frame.capture[name] for name in ("gain_map", "gain_map_geometry", "vignette")}
    expected = Frame(torch.ones(1, 1, *whole), signal, Capture(capture), ("a",))
    ones = Frame(torch.ones_like(frame.pixels), signal, frame.capture, ("a",))
    for model in ("gain_map", "radial"):
        p = LensShading.Params(model=model)
        found, gains = (LensShading().apply(f, p, None).pixels[0, 0].numpy() for f in (ones, expected))
        rows, columns = visible(area, even=True)
        shown = gains[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.testing.assert_allclose(found, UPRIGHT[6](shown) if orient else shown, rtol=1e-6)
        assert gains.max() > 1.3


@pytest.mark.parametrize(
    ("linear", "demosaiced", "note"),
    [
        (build(SITES)[:-1], [], "opcodes for linear samples not used: opcode 4 of 4 needs 156 bytes, and 155 are left"),
        ([], SITES[:1], "gain maps for demosaiced samples not used"),
        ([VIGNETTE], [VIGNETTE], "of 2 radial corrections only the first is used"),
    ],
)
def test_opcodes_that_are_not_used_are_noted(tmp_path, linear, demosaiced, note):
    reading = read(write_dng(tmp_path / "a.dng", noise(), more=opcodes(linear, demosaiced)))
    assert reading.notes == (note,)
    assert bool((reading.frame.capture["gain_map"] == 1).all())


# -- demosaiced files ----------------------------------------------------------------------------------------


def test_demosaiced_dng(tmp_path):
    samples = noise((ROWS, COLUMNS, 3))
    reading = read(write_dng(tmp_path / "a.dng", samples, None, white=60000))
    frame = reading.frame
    assert reading.notes == ("already demosaiced",)
    assert (frame.signal.layout, frame.signal.cfa, frame.signal.colour) == ("rgb", None, "camera")
    np.testing.assert_array_equal(frame.pixels[0].numpy(), np.moveaxis(samples, -1, 0))
    assert frame.capture["white_level"].tolist() == [[[[60000]], [[60000]], [[60000]]]]


@needs_data
def test_real_demosaiced_dng():
    path = Path(str(DATA)) / "raw" / "photoprism_canon_eos_6d.dng"
    if not path.exists():
        pytest.skip("not among the data")
    reading = read(path)
    frame = reading.frame
    assert reading.notes == ("already demosaiced",)
    assert frame.signal.layout == "rgb"
    assert frame.size == (816, 1224)
    with rawpy.imread(str(path)) as raw:
        np.testing.assert_array_equal(frame.pixels[0].numpy(), np.moveaxis(raw.raw_image_visible[..., :3], -1, 0))
    np.testing.assert_allclose(frame.capture["ccm"][0].sum(axis=1), 1, atol=1e-6)


@needs_data
def test_real_mosaic():
    path = Path(str(DATA)) / "raw" / "tinydng_colorchart.dng"
    if not path.exists():
        pytest.skip("not among the data")
    reading = read(path)
    assert reading.notes == ()
    assert reading.frame.signal.cfa == "RGGB"
    with rawpy.imread(str(path)) as raw:
        np.testing.assert_array_equal(reading.frame.pixels[0, 0].numpy(), raw.raw_image_visible)
        assert reading.frame.capture["black_level"].unique().tolist() == [raw.black_level_per_channel[0]]
    assert_parity(path)


# -- orientation ---------------------------------------------------------------------------------------------

UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, 1),
}
"""What to do with the rows of a file, by the value of its Orientation."""


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    ("cfa", "area"),
    [(BAYER[0], None), (BAYER[2], (3, 4, 46, 59)), (XTRANS, (3, 5, 46, 59))],
    ids=["RGGB", "GRBG", "X-Trans"],
)
def test_orientation(tmp_path, orientation, cfa, area):
    samples = coloured(cfa, area)
    path = write_dng(tmp_path / "a.dng", samples, cfa, area=area, orientation=orientation)
    stored = samples[visible(area, even=len(cfa) == 2)]

    reading = read(path, orient=True)
    np.testing.assert_array_equal(reading.frame.pixels[0, 0].numpy(), UPRIGHT[orientation](stored))
    assert_colours(reading.frame)
    assert [note.endswith("applied") for note in reading.notes] == [True] * (orientation != 1)

    left = read(path)
    np.testing.assert_array_equal(left.frame.pixels[0, 0].numpy(), stored)
    assert_colours(left.frame)
    assert [note.endswith("left as it is") for note in left.notes] == [True] * (orientation != 1)


@pytest.mark.parametrize(("orientation", "cfa"), list(product(UPRIGHT, (BAYER[0], BAYER[3]))))
def test_black_level_turns_too(tmp_path, orientation, cfa):
    black = (256, 300, 410, 512)
    samples = tiled(np.reshape(black, (2, 2)), (ROWS, COLUMNS - 1)).astype(np.uint16)
    path = write_dng(tmp_path / "a.dng", samples, cfa, black=black, black_dim=(2, 2), orientation=orientation)
    assert_black(read(path, orient=True).frame)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_demosaiced_picture_turns(tmp_path, orientation):
    samples = noise((ROWS, COLUMNS, 3))
    path = write_dng(tmp_path / "a.dng", samples, None, orientation=orientation)
    frame = read(path, orient=True).frame
    for channel, expected in zip(frame.pixels[0].numpy(), np.moveaxis(samples, -1, 0), strict=True):
        np.testing.assert_array_equal(channel, UPRIGHT[orientation](expected))


# -- beside LibRaw's own development -------------------------------------------------------------------------


def scene(shape, seed, low, high):
    """Smooth light, (H, W, 3), between two levels: where it is rough, ways to demosaic differ by design."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    light = np.zeros((*shape, 3))
    for channel in range(3):
        for _ in range(6):
            fx, fy, phase = *rng.uniform(-0.12, 0.12, 2), rng.uniform(0, 2 * np.pi)
            light[..., channel] += np.sin(fx * x + fy * y + phase)
    return low + (high - low) * (light - light.min()) / np.ptp(light)


def expose(
    path,
    cfa=BAYER[0],
    *,
    size=(120, 160),
    seed=0,
    low=0.03,
    high=0.45,
    black=(0,),
    black_dim=(1, 1),
    white=16383,
    neutral=NEUTRAL,
    area=None,
    **options,
):
    """Write the RAW file of a smooth scene under a light that the camera sees as `neutral`."""
    light = scene(size, seed, low, high) * neutral
    indices = np.vectorize("RGB".index)(letters_of(cfa, size, area))
    exposed = np.take_along_axis(light, indices[..., None], axis=2)[..., 0]
    pedestal = tiled(np.reshape(black, black_dim), size, area)
    samples = np.round(pedestal + exposed * (white - pedestal)).clip(0, white)
    if black_dim != (1, 1):
        options["black_dim"] = black_dim
    dtype = np.uint8 if white == 255 else np.uint16
    return write_dng(path, samples.astype(dtype), cfa, black=black, white=white, neutral=neutral, area=area, **options)


def libraw(path, flip=0):
    with rawpy.imread(str(path)) as raw:
        return raw.postprocess(
            demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            user_flip=flip,
            gamma=(2.4, 12.92),
            output_color=rawpy.ColorSpace.sRGB,
            output_bps=16,
        ).astype(np.float64)


def developed(frame, recipe=RECIPE):
    return codes(isp_sim.load(recipe).run(frame).frame, 16).astype(np.float64)


def differences(mine, theirs):
    """Absolute differences in 8-bit code values, away from the border and from what is clipped."""
    assert mine.shape == theirs.shape
    clipped = ((mine <= 0) | (mine >= 65535) | (theirs <= 0) | (theirs >= 65535)).any(axis=-1)
    kept = ~ndimage.binary_dilation(clipped, iterations=2)
    kept[:4] = kept[-4:] = kept[:, :4] = kept[:, -4:] = False
    assert kept.mean() > 0.3
    return np.abs(mine - theirs)[kept] / 257


def assert_parity(path, orient=False):
    found = differences(developed(read(path, orient).frame), libraw(path, flip=None if orient else 0))
    assert found.mean() <= 0.1
    assert np.percentile(found, 99.9) <= 0.5


PARITY = {
    **{"".join(cfa): {"cfa": cfa} for cfa in BAYER},
    **{f"area {area}": {"area": area} for area in [(1, 0, 120, 160), (0, 1, 119, 160), (2, 4, 117, 155)]},
    **{"".join(cfa) + " odd area": {"cfa": cfa, "area": (3, 5, 113, 153)} for cfa in BAYER},
    "odd size": {"size": (121, 163)},
    "black 512": {"black": (512,)},
    "black near": {"black": (510, 512, 514, 516), "black_dim": (2, 2)},
    "black near, GBRG": {
        "cfa": BAYER[3],
        "black": (510, 512, 514, 516),
        "black_dim": (2, 2),
        "area": (2, 4, 118, 158),
    },
    "black 4x4": {"black": tuple(range(500, 516)), "black_dim": (4, 4)},
    "8 bit": {"white": 255},
    "10 bit": {"white": 1023, "black": (64,)},
    "12 bit": {"white": 4095, "black": (256,)},
    "16 bit": {"white": 65535},
    "weak red": {"neutral": (0.25, 1.0, 0.4)},
    "weak green": {"neutral": (1.0, 0.6, 0.8)},
    "sRGB primaries": {"matrix": MATRICES["sRGB"], "high": 0.9},
    "other matrix": {"matrix": MATRICES["other"]},
    "known camera, own matrix": {"make": "Canon", "model": "Canon EOS 550D"},
    "known camera, LibRaw's matrix": {"make": "Canon", "model": "Canon EOS 550D", "matrix": None},
    "overexposed": {"high": 1.2, "matrix": MATRICES["sRGB"]},
    "dark": {"low": 0.0, "high": 0.02, "black": (1024,)},
}


@pytest.mark.parametrize("name", PARITY)
def test_develops_as_libraw_does(tmp_path, name):
    assert_parity(expose(tmp_path / "a.dng", **PARITY[name]))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_develops_upright_as_libraw_does(tmp_path, orientation):
    assert_parity(expose(tmp_path / "a.dng", BAYER[2], size=(121, 160), orientation=orientation), orient=True)


def test_why_development_differs_where_black_levels_lie_far_apart(tmp_path):
    """The DNG specification scales all sites by white minus the highest black level, LibRaw by white minus the lowest.

    So LibRaw's picture is darker, by one factor. By a span for each site they would differ in colour.
    """
    path = expose(tmp_path / "a.dng", black=(256, 300, 400, 512), black_dim=(2, 2))
    frame = read(path).frame
    theirs = libraw(path)
    recipe = tmp_path / "recipe.yaml"
    for span, low, high in (("greatest", 0, 0.02), ("least", 0.3, 10), ("site", 0.3, 10)):
        text = RECIPE.read_text(encoding="utf-8")
        recipe.write_text(text.replace("- normalise", f"- normalise: {{span: {span}}}"), encoding="utf-8")
        assert low <= differences(developed(frame, recipe), theirs).mean() <= high


def test_why_development_differs_where_libraw_misplaces_black_levels(tmp_path):
    """With an odd active area LibRaw moves the visible area on by one, but not the pattern of the black level."""
    black, area = (256, 300, 400, 512), (3, 5, 113, 153)
    path = expose(tmp_path / "a.dng", black=black, black_dim=(2, 2), area=area)
    frame = read(path).frame
    theirs = libraw(path)
    assert differences(developed(frame), theirs).mean() > 3
    # what was exposed is known: it is found again to the rounding of a sample
    light = scene((120, 160), 0, 0.03, 0.45) * NEUTRAL
    indices = np.vectorize("RGB".index)(letters_of(BAYER[0], (120, 160), area))
    exposed = np.take_along_axis(light, indices[..., None], axis=2)[4:113, 6:153, 0]
    found = Normalise().apply(frame, Normalise.Params(span="site"), None)[0, 0].numpy()
    assert np.abs(found - exposed).max() <= 0.51 / (16383 - 512)


# -- what can't be read --------------------------------------------------------------------------------------

STAGGERED = (50711, "H", 1, 2, True)


@pytest.mark.parametrize(
    ("samples", "cfa", "options", "reason"),
    [
        (noise(), ("RRGG", "RRGG", "GGRR", "GGRR"), {}, "LibRaw can't read it as a RAW file: "),
        (noise(), ("CM", "YG"), {}, "a sensor of other colours than red, green and blue"),
        (noise(), ("RG", "WB"), {}, "a sensor of other colours than red, green and blue"),
        (noise(), None, {"matrix": None, "neutral": None}, "a monochrome sensor"),
        (noise((ROWS, COLUMNS, 4)), None, {}, "a sensor of other colours than red, green and blue"),
        (noise(), BAYER[0], {"more": [STAGGERED]}, "rows at 45 degrees"),
        ((noise() / 65535).astype(np.float32), BAYER[0], {"white": 1}, "floating-point samples"),
        (
            (noise((ROWS, COLUMNS, 3)) / 65535).astype(np.float32),
            None,
            {"white": 1},
            "floating-point samples",
        ),
        (noise((20, 20)), BAYER[0], {}, "LibRaw can't read it as a RAW file: "),
    ],
    ids=[
        "no blue",
        "CMYG",
        "RGBW",
        "monochrome",
        "four channels",
        "staggered",
        "float",
        "float RGB",
        "tiny",
    ],
)
def test_sensors_that_cannot_be_developed_are_refused(tmp_path, samples, cfa, options, reason):
    assert reason in refused(write_dng(tmp_path / "a.dng", samples, cfa, **options))


def test_what_is_no_raw_file_is_refused(tmp_path):
    path = tmp_path / "a.dng"
    for content in (b"", b"no picture\n" * 99, np.random.default_rng(2).bytes(9999)):
        path.write_bytes(content)
        assert refused(path).startswith("LibRaw can't read it as a RAW file: ")
    Image.fromarray(noise((64, 64, 3)).astype(np.uint8)).save(path, "JPEG")
    assert refused(path).startswith("LibRaw can't read it as a RAW file: ")
    # LibRaw would make up a CFA
    tifffile.imwrite(path, noise())
    assert refused(path) == "a TIFF that does not say which camera or CFA it comes from"


@pytest.mark.parametrize("options", [{}, LOSSLESS_JPEG], ids=["strip", "JPEG tiles"])
def test_truncated_file_is_refused_and_never_half_a_picture(tmp_path, options, capfd):
    path = write_dng(tmp_path / "a.dng", noise(), **options)
    data = path.read_bytes()
    assert read(path).frame.size == (ROWS, COLUMNS)
    ends = sorted({*range(0, len(data), 61), *range(len(data) - 40, len(data))})
    for end in ends:
        path.write_bytes(data[:end])
        refused(path)
    assert len(ends) > 100


@pytest.mark.parametrize("cut", [1, 10, 50, 300])
def test_truncated_lossy_file_is_refused_and_never_half_a_picture(tmp_path, cut, capfd):
    """LibRaw decodes what is left of the last tile, warns, and is content."""
    path = tmp_path / "a.dng"
    light = np.round(scene((48, 64), 0, 0, 255)).astype(np.uint8)
    inside = {"level": 90, "colorspace": "RGB", "outcolorspace": "RGB"}
    write_dng(path, light, None, white=255, compression="jpeg", compressionargs=inside, tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages.first.tags["Compression"].overwrite(int(tifffile.COMPRESSION.JPEG_LOSSY))
    assert read(path).frame.size == (48, 64)
    path.write_bytes(path.read_bytes()[:-cut])
    assert refused(path) == "the file is truncated: 1 of its 12 strips or tiles are missing"


def test_mutated_file_is_read_or_refused(tmp_path, capfd):
    path = tmp_path / "a.dng"
    write_dng(path, noise(), black=(1, 2, 3, 4), black_dim=(2, 2), area=(3, 5, 46, 59), orientation=6)
    data = path.read_bytes()
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(200):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 9)):
            bad[rng.integers(600)] = rng.integers(256)
        path.write_bytes(bytes(bad))
        try:
            frame = read(path, orient=True).frame
        except InputFault as error:
            outcomes.add(f"refused in {len(str(error).splitlines())} line")
        else:
            outcomes.add("read" if bool(torch.isfinite(frame.pixels).all()) else "read wrongly")
    assert outcomes == {"read", "refused in 1 line"}


def test_any_file_given_directly_is_tried(tmp_path):
    path = write_dng(tmp_path / "strange.name", noise())
    (item,) = Raw(Raw.Params(path=str(path))).items()
    assert item.key == "strange.name"
    assert read(path).frame.size == (ROWS, COLUMNS)
    with pytest.raises(InputFault, match="no pictures"):
        Raw(Raw.Params(path=str(tmp_path))).items()


def test_names_that_are_not_utf8_are_refused(tmp_path):
    path = write_dng(tmp_path / "a.dng", noise())
    try:
        path = path.rename(tmp_path / os.fsdecode(b"caf\xe9.dng"))
    except OSError:
        pytest.skip("this file system takes no such names")
    assert refused(path) == "LibRaw takes no file name that is not UTF-8: rename it"


@pytest.mark.parametrize("profile", [(1e-3, 1e-6), (1e-3, 1e-6, 2e-3, -1e-7, 3e-3, 3e-6)], ids=["one", "three"])
def test_noise_profile(tmp_path, profile):
    more = [(51041, "d", len(profile), profile, True)]
    path = write_dng(tmp_path / "a.dng", noise(), more=more)
    reader = Raw(Raw.Params(path=str(path), noise_profile=True))
    assert "noise_profile" in reader.facts
    found = reader.read(Item("a", str(path))).frame.capture["noise_profile"]
    expected = np.maximum(np.reshape(profile, (1, -1, 2)), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert "noise_profile" not in read(path).frame.capture


def test_without_a_noise_profile(tmp_path):
    path = write_dng(tmp_path / "a.dng", noise())
    with pytest.raises(InputFault, match="no NoiseProfile"):
        Raw(Raw.Params(path=str(path), noise_profile=True)).read(Item("a", str(path)))


class TestColourMatrices:
    """What a DNG says of its colours, for `camera_matrix`."""

    WARM = tuple(tuple(1.1 * v for v in row) for row in DAYLIGHT_MATRIX)
    FORWARD = ((0.75, 0.10, 0.11), (0.26, 0.92, -0.18), (0.01, -0.22, 1.03))

    @staticmethod
    def matrix(code, rows):
        return (code, "2i", 9, rationals([v for row in rows for v in row]), True)

    def facts(self, path, *more):
        return read(write_dng(path / "a.dng", noise(), more=more)).frame.capture

    def test_one_matrix_is_taken_for_both_lights(self, tmp_path):
        facts = self.facts(tmp_path)
        np.testing.assert_allclose(facts["color_matrices"][0], [DAYLIGHT_MATRIX, DAYLIGHT_MATRIX], atol=1e-6)
        assert set(facts) == Raw.facts

    def test_two_matrices_with_their_lights(self, tmp_path):
        facts = self.facts(
            tmp_path,
            self.matrix(50722, self.WARM),
            (50779, "H", 1, 17, True),
            self.matrix(50964, self.FORWARD),
            (50727, "2I", 3, rationals([2.0, 1.0, 1.5]), True),
        )
        np.testing.assert_allclose(facts["color_matrices"][0], [DAYLIGHT_MATRIX, self.WARM], atol=1e-6)
        assert facts["calibration_illuminants"].tolist() == [[6504.0, 2856.0]]
        np.testing.assert_allclose(facts["forward_matrices"][0], [self.FORWARD, self.FORWARD], atol=1e-6)
        np.testing.assert_allclose(facts["camera_calibrations"][0], np.stack([np.diag([2, 1, 1.5])] * 2), atol=1e-6)

    def test_an_unknown_light_leaves_the_first_matrix(self, tmp_path):
        facts = self.facts(tmp_path, self.matrix(50722, self.WARM), (50779, "H", 1, 255, True))
        np.testing.assert_allclose(facts["color_matrices"][0], [DAYLIGHT_MATRIX, DAYLIGHT_MATRIX], atol=1e-6)

    @pytest.mark.parametrize("matches", [True, False])
    def test_a_calibration_belongs_to_the_profile_of_its_signature(self, tmp_path, matches):
        calibration = ((0.98, 0, 0), (0, 1, 0), (0, 0, 1.03))
        more = [self.matrix(50723, calibration), (50931, "s", 0, "ours", True)]
        facts = self.facts(tmp_path, *more, *([(50932, "s", 0, "ours", True)] if matches else []))
        assert ("camera_calibrations" in facts) == matches
        if matches:
            np.testing.assert_allclose(facts["camera_calibrations"][0, 1], calibration, atol=1e-6)

    def test_a_file_without_matrices_is_taken_to_see_srgb(self, tmp_path):
        facts = read(write_dng(tmp_path / "a.dng", noise(), matrix=None)).frame.capture
        np.testing.assert_allclose(facts["color_matrices"][0, 0], np.linalg.inv(XYZ_FROM_SRGB), atol=1e-6)
