import io
import re
import resource
import struct
import zlib
from pathlib import Path

import colour
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from isp_sim.formats import limits
from isp_sim.formats.images import Images, as_frame, decode
from isp_sim.formats.reader import InputFault, Item

ROWS, COLUMNS = 37, 53
GREY, ALPHA = "grey repeated in three channels", "alpha dropped"


def codes(dtype, channels=3, seed=0):
    """Independent codes, which no symmetry and no interpolation would leave as they are."""
    shape = (ROWS, COLUMNS, channels) if channels > 1 else (ROWS, COLUMNS)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def smooth(low=0, high=255):
    """A picture that JPEG of quality 100 keeps to a few codes."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 11)], axis=-1)
    return np.round(low + (waves + 1) / 2 * (high - low)).astype(np.uint8)


def pillow(image, kind, **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array, photometric="rgb", **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, photometric=photometric, **options)
    return buffer.getvalue()


def planes(array):
    return np.ascontiguousarray(np.moveaxis(array, -1, 0))


def grey3(array):
    return np.repeat(array[..., None], 3, axis=2)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(png, kind, data):
    """A PNG with one more chunk, right after its header."""
    return png[:33] + png_chunk(kind, data) + png[33:]


def assert_decodes(data, expected, notes=()):
    found, said = decode(data)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert tuple(said) == tuple(notes)


# -- kinds of files ------------------------------------------------------------------------------------------

A8, A16 = codes(np.uint8), codes(np.uint16)
G8, G16 = codes(np.uint8, 1), codes(np.uint16, 1)

LOSSLESS = {
    "png": lambda a: imagecodecs.png_encode(a),
    "tiff": lambda a: tiff(a),
    "tiff big endian": lambda a: tiff(a, byteorder=">"),
    "tiff big": lambda a: tiff(a, bigtiff=True),
    "tiff lzw strips": lambda a: tiff(a, compression="lzw", rowsperstrip=8),
    "tiff lzw predictor": lambda a: tiff(a, compression="lzw", predictor=True),
    "tiff deflate tiles": lambda a: tiff(a, compression="zlib", predictor=True, tile=(16, 32)),
    "tiff packbits": lambda a: tiff(a, compression="packbits"),
    "tiff zstd": lambda a: tiff(a, compression="zstd"),
    "tiff planar": lambda a: tiff(planes(a), planarconfig="separate"),
    "tiff planar tiles lzw": lambda a: tiff(planes(a), planarconfig="separate", tile=(16, 16), compression="lzw"),
}


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("array", [A8, A16], ids=["8 bit", "16 bit"])
def test_lossless_files_give_their_codes(kind, array):
    assert_decodes(LOSSLESS[kind](array), array)


@pytest.mark.parametrize(
    "data",
    [
        pillow(A8, "PNG"),
        pillow(A8, "BMP"),
        pillow(A8, "WEBP", lossless=True),
        pillow(A8, "TIFF", compression="tiff_lzw"),
    ],
    ids=["png", "bmp", "webp", "tiff"],
)
def test_files_by_pillow_give_their_codes(data):
    assert_decodes(data, A8)


@pytest.mark.parametrize(
    "data",
    [
        pillow(smooth(), "JPEG", quality=100, subsampling=0),
        pillow(smooth(), "JPEG", quality=100, subsampling=0, progressive=True),
        pillow(smooth(), "WEBP", quality=100),
        tiff(
            np.asarray(Image.fromarray(smooth()).convert("YCbCr")),
            "ycbcr",
            compression="jpeg",
            compressionargs={"level": 100},
            subsampling=(1, 1),
        ),
    ],
    ids=["jpeg", "progressive jpeg", "webp", "tiff ycbcr"],
)
def test_lossy_files_come_close(data):
    found, notes = decode(data)
    difference = np.abs(found.astype(int) - smooth())
    assert found.shape == (ROWS, COLUMNS, 3)
    assert difference.mean() < 2
    assert np.percentile(difference, 99) <= 8
    assert notes == []


def test_jpeg_equals_another_build_of_libjpeg_turbo():
    photo = np.asarray(Image.fromarray(codes(np.uint8)).resize((120, 90), Image.Resampling.BICUBIC))
    for options in ({}, {"subsampling": 0}, {"progressive": True}):
        data = pillow(photo, "JPEG", quality=80, **options)
        np.testing.assert_array_equal(decode(data)[0], imagecodecs.jpeg8_decode(data))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (imagecodecs.png_encode(G8), G8),
        (imagecodecs.png_encode(G16), G16),
        (tiff(G8, "minisblack"), G8),
        (tiff(G16, "minisblack", compression="lzw", tile=(16, 16)), G16),
        (tiff(G8, "miniswhite"), 255 - G8),
        (tiff(G16, "miniswhite", byteorder=">"), 65535 - G16),
        (pillow(G8, "BMP"), G8),
        (pillow(Image.fromarray(G8 >= 128), "PNG"), (G8 >= 128) * np.uint8(255)),
        (tiff(G8 >= 128, "minisblack"), (G8 >= 128) * np.uint8(255)),
        (tiff(G8 >> 4, "minisblack", bitspersample=4), (G8 >> 4) * np.uint8(17)),
    ],
    ids=["png8", "png16", "tiff8", "tiff16", "inverse8", "inverse16", "bmp", "png1", "tiff1", "tiff4"],
)
def test_grey_is_repeated(data, expected):
    assert_decodes(data, grey3(expected), [GREY])


def test_grey_jpeg_is_repeated():
    found, notes = decode(pillow(smooth()[..., 0], "JPEG", quality=100))
    assert np.ptp(found, axis=2).max() == 0
    assert np.abs(found[..., 0].astype(int) - smooth()[..., 0]).max() <= 3
    assert notes == [GREY]


TRANSPARENT = {
    "png8 rgba": (pillow(np.dstack([A8, G8]), "PNG"), A8, [ALPHA]),
    "png16 rgba": (imagecodecs.png_encode(np.dstack([A16, G16])), A16, [ALPHA]),
    "png8 grey": (imagecodecs.png_encode(np.dstack([G8, G8[::-1]])), grey3(G8), [ALPHA, GREY]),
    "png16 grey": (imagecodecs.png_encode(np.dstack([G16, G16[::-1]])), grey3(G16), [ALPHA, GREY]),
    "png8 key": (with_chunk(pillow(A8, "PNG"), b"tRNS", struct.pack(">3H", 1, 2, 3)), A8, [ALPHA]),
    "png16 key": (
        with_chunk(imagecodecs.png_encode(A16), b"tRNS", struct.pack(">3H", 1, 2, 3)),
        A16,
        [ALPHA],
    ),
    "png16 grey key": (with_chunk(imagecodecs.png_encode(G16), b"tRNS", b"\0\1"), grey3(G16), [ALPHA, GREY]),
    "webp": (pillow(np.dstack([A8, G8]), "WEBP", lossless=True, exact=True), A8, [ALPHA]),
    "tiff8": (tiff(np.dstack([A8, G8]), extrasamples=["unassalpha"]), A8, [ALPHA]),
    "tiff16": (tiff(np.dstack([A16, G16]), extrasamples=["unassalpha"]), A16, [ALPHA]),
    "tiff16 grey": (
        tiff(np.dstack([G16, G16[::-1]]), "minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        grey3(G16),
        [ALPHA, GREY],
    ),
    "tiff16 of five": (
        tiff(np.dstack([A16, G16, G16]), extrasamples=["unspecified", "unspecified"]),
        A16,
        ["further channels dropped"],
    ),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_alpha_is_dropped_and_said(kind):
    assert_decodes(*TRANSPARENT[kind])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_premultiplied_colours_are_divided_by_alpha(dtype):
    top = np.iinfo(dtype).max
    colours, alpha = codes(dtype) / top, codes(dtype, 1, seed=1)[..., None] / top
    alpha[:3] = 0
    stored = np.round(np.dstack([colours * alpha, alpha]) * top).astype(dtype)
    found, notes = decode(tiff(stored, extrasamples=["assocalpha"]))
    assert notes == [ALPHA, "colours divided by alpha"]
    assert not found[:3].any()
    # half a code of rounding, made larger by the division
    clear = alpha[..., 0] > 0.1
    assert np.abs(found / top - colours)[clear].max() < 0.5 / top / 0.1 + 1 / top


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 256, 16))], ids=["none", "one", "several"])
def test_palette(transparency):
    image = Image.fromarray(smooth()).quantize(16)
    assert image.mode == "P"
    assert len(np.unique(np.asarray(image))) == 16
    expected = np.asarray(image.getpalette(), dtype=np.uint8).reshape(-1, 3)[np.asarray(image)]
    options = {} if transparency is None else {"transparency": transparency}
    assert_decodes(pillow(image, "PNG", **options), expected, [] if transparency is None else [ALPHA])


def test_palette_tiff():
    table = np.random.default_rng(2).integers(0, 256, (3, 256)).astype(np.uint16)
    data = tiff(G8, "palette", colormap=table * 257)
    assert_decodes(data, table.T[G8].astype(np.uint8))


def test_first_of_several_pictures():
    frames = [Image.fromarray(a) for a in (A8, A8[::-1], A8[:, ::-1])]
    note = ["first of 3 pictures taken"]
    assert_decodes(pillow(frames[0], "PNG", save_all=True, append_images=frames[1:]), A8, note)
    assert_decodes(
        pillow(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), A8, [*note, ALPHA]
    )
    assert_decodes(tiff(np.stack([A16, A16[::-1], A16[:, ::-1]])), A16, note)


def test_camera_jpeg_with_a_second_picture():
    data = pillow(Image.fromarray(smooth()), "MPO", save_all=True, append_images=[Image.fromarray(smooth()[::-1])])
    found, notes = decode(data)
    assert np.abs(found.astype(int) - smooth()).mean() < 6
    assert notes == ["first of 2 pictures taken"]


# -- frames --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("array", "top"), [(A8, 255), (A16, 65535)], ids=["8 bit", "16 bit"])
def test_reads_frames(tmp_path, array, top):
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(array))
    reader = Images(Images.Params(path=str(tmp_path)))
    (item,) = reader.items()
    reading = reader.read(item)
    frame = reading.frame
    assert frame.keys == ("a.png",)
    assert frame.signal.bit_depth == (8 if top == 255 else 16)
    assert (frame.signal.layout, frame.signal.transfer, frame.signal.colour) == ("rgb", "srgb", "srgb")
    assert frame.pixels.shape == (1, 3, ROWS, COLUMNS)
    assert frame.pixels.dtype.itemsize == 4
    np.testing.assert_array_equal(np.round(frame.pixels[0].numpy().transpose(1, 2, 0).astype(np.float64) * top), array)
    assert 0 <= frame.pixels.min() <= frame.pixels.max() <= 1


def test_frame_of_codes_that_are_turned():
    # Turned codes have negative strides, which torch does not take.
    frame = as_frame(A8[::-1, ::-1], "a")
    assert frame.pixels.is_contiguous()
    assert frame.pixels[0, 1, 0, 0] == np.float32(A8[-1, -1, 1]) / np.float32(255)


# -- orientation ---------------------------------------------------------------------------------------------


def upright(array, orientation):
    """The oracle: Pillow's own, channel by channel, as whole numbers of 32 bits."""
    channels = []
    for channel in np.moveaxis(array, -1, 0):
        image = Image.fromarray(channel.astype(np.int32))
        image.getexif()[274] = orientation
        channels.append(np.asarray(ImageOps.exif_transpose(image)))
    return np.stack(channels, axis=-1).astype(array.dtype)


def exif(orientation):
    block = Image.Exif()
    block[274] = orientation
    return block


ORIENTED = {
    "png8": lambda o: (pillow(A8, "PNG", exif=exif(o)), A8),
    "png16": lambda o: (with_chunk(imagecodecs.png_encode(A16), b"eXIf", exif(o).tobytes()[6:]), A16),
    "webp": lambda o: (pillow(A8, "WEBP", lossless=True, exif=exif(o)), A8),
    "jpeg": lambda o: (pillow(A8, "JPEG", exif=exif(o)), decode(pillow(A8, "JPEG"))[0]),
    "tiff8": lambda o: (tiff(A8, extratags=[(274, "H", 1, o, True)]), A8),
    "tiff8 lzw": lambda o: (pillow(A8, "TIFF", compression="tiff_lzw", tiffinfo={274: o}), A8),
    "tiff16": lambda o: (tiff(A16, extratags=[(274, "H", 1, o, True)]), A16),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientation(kind, orientation):
    data, stored = ORIENTED[kind](orientation)
    notes = [f"orientation {orientation} applied"] if orientation != 1 else []
    assert_decodes(data, upright(stored, orientation), notes)
    left, notes = decode(data, orient=False)
    np.testing.assert_array_equal(left, stored)
    assert notes == []


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_impossible_orientation_is_no_orientation(orientation):
    assert_decodes(pillow(A8, "PNG", exif=exif(orientation)), A8)
    assert_decodes(tiff(A8, extratags=[(274, "H", 1, orientation, True)]), A8)


def test_reader_can_leave_the_orientation(tmp_path):
    (tmp_path / "a.png").write_bytes(pillow(A8, "PNG", exif=exif(6)))
    item = Item("a.png", str(tmp_path / "a.png"))
    assert Images(Images.Params()).read(item).frame.size == (COLUMNS, ROWS)
    assert Images(Images.Params(orient=False)).read(item).frame.size == (ROWS, COLUMNS)


def test_damaged_exif_costs_a_note():
    found, notes = decode(pillow(A8, "WEBP", lossless=True, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(99)))
    np.testing.assert_array_equal(found, A8)
    assert notes in ([], ["Exif can't be read: orientation not known"])


def test_mutated_exif_never_costs_the_picture():
    block = exif(6)
    block[271], block[305] = "a maker", "a program"
    block.get_ifd(0x8769)[33434] = 0.01
    good = block.tobytes()[6:]
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(150):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), rng.integers(1, 6)):
            bad[place] = rng.integers(256)
        found, notes = decode(with_chunk(imagecodecs.png_encode(A8), b"eXIf", bytes(bad)), orient=False)
        np.testing.assert_array_equal(found, A8)
        outcomes.add(tuple(notes))
    assert outcomes == {(), ("Exif can't be read: orientation not known",)}


# -- colour --------------------------------------------------------------------------------------------------


def icc(space, tags, connection=b"XYZ ", kind=b"mntr"):
    """An ICC profile, version 2.4, from its tags."""
    d50 = struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1, 0.8249)))
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = [(b"desc", text), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", b"XYZ \0\0\0\0" + d50), *tags]
    offset, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags:
        table += struct.pack(">4sII", name, offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = struct.pack(">I", offset + len(body))
    head = b"none" + struct.pack(">I", 0x02400000) + kind + space + connection + bytes(12) + b"acsp" + bytes(28) + d50
    return size + head + bytes(128 - 4 - len(head)) + struct.pack(">I", len(tags)) + table + body


def gamma_curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


SRGB_CURVE = b"para\0\0\0\0" + struct.pack(
    ">HH5i", 3, 0, *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)


def primaries_of(space):
    """RGB to XYZ at D65, from the primaries: colour-science's own matrices are rounded to four digits."""
    space = colour.RGB_COLOURSPACES[space]
    return colour.normalised_primary_matrix(space.primaries, colour.RGB_COLOURSPACES["sRGB"].whitepoint)


def matrix_profile(space, curve=SRGB_CURVE):
    to_xyz = primaries_of(space)
    adapted = (
        colour.adaptation.matrix_chromatic_adaptation_VonKries(to_xyz.sum(1), [0.9642, 1, 0.8249], "Bradford") @ to_xyz
    )
    tags = []
    for name, column in zip((b"r", b"g", b"b"), adapted.T, strict=True):
        xyz = b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in column))
        tags += [(name + b"XYZ", xyz), (name + b"TRC", curve)]
    return icc(b"RGB ", tags)


def embed(array, profile):
    """An image file with a profile, by another program for each number of bits."""
    if array.dtype == np.uint16:
        return tiff(array, iccprofile=profile)
    return pillow(array, "PNG", icc_profile=profile)


def to_srgb(values, space, decoding):
    """Linear sRGB by colour-science's primaries, encoded; and where it lies in sRGB's gamut."""
    linear = decoding(values) @ (np.linalg.inv(primaries_of("sRGB")) @ primaries_of(space)).T
    return colour.models.eotf_inverse_sRGB(np.clip(linear, 0, 1)), ((linear >= 0) & (linear <= 1)).all(axis=-1)


WIDE = {
    "Display P3": (matrix_profile("Display P3"), "Display P3", colour.models.eotf_sRGB),
    "Adobe RGB": (
        matrix_profile("Adobe RGB (1998)", gamma_curve(563 / 256)),
        "Adobe RGB (1998)",
        lambda v: v ** (563 / 256),
    ),
}
NOTE = ["ICC profile 'test' converted to sRGB"]


@pytest.mark.parametrize("name", WIDE)
# Beside half a code of rounding: with 8 bits Little CMS's table; with 16 bits a profile's numbers, which have 16
# bits after the point, times sRGB's slope of 12.92 near black.
@pytest.mark.parametrize(("dtype", "bound"), [(np.uint8, 1.0), (np.uint16, 60.0)])
def test_profile_is_converted_as_colour_science_does(name, dtype, bound):
    profile, space, decoding = WIDE[name]
    array, top = codes(dtype), np.iinfo(dtype).max
    found, notes = decode(embed(array, profile))
    expected, in_gamut = to_srgb(array / top, space, decoding)
    assert notes == NOTE
    assert in_gamut.mean() > 0.3
    assert (found != array).mean() > 0.9
    assert np.abs(found - expected * top)[in_gamut].max() <= bound
    assert np.abs(found - expected * top)[in_gamut].mean() <= (0.3 if top == 255 else 3)


@pytest.mark.parametrize("name", WIDE)
def test_profile_is_converted_as_pillow_does(name):
    profile = WIDE[name][0]
    found, _ = decode(embed(A8, profile))
    oracle = ImageCms.profileToProfile(
        Image.fromarray(A8),
        io.BytesIO(profile),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert np.abs(found.astype(int) - np.asarray(oracle)).max() <= 1


def test_dark_colours_of_16_bits_are_converted_one_by_one():
    """Little CMS's table is wrong by thousands of codes here."""
    dark = np.random.default_rng(5).integers(0, 2000, (ROWS, COLUMNS, 3)).astype(np.uint16)
    profile, space, decoding = WIDE["Display P3"]
    expected, in_gamut = to_srgb(dark / 65535, space, decoding)
    found, _ = decode(embed(dark, profile))
    assert np.abs(found - expected * 65535)[in_gamut].max() <= 60


SRGB_PROFILES = {
    "by hand": matrix_profile("sRGB"),
    "Pillow": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "Little CMS": imagecodecs.cms_profile("srgb"),
}


@pytest.mark.parametrize("name", SRGB_PROFILES)
@pytest.mark.parametrize("array", [A8, A16], ids=["8 bit", "16 bit"])
def test_embedded_srgb_leaves_the_codes(name, array):
    assert_decodes(embed(array, SRGB_PROFILES[name]), array)


def test_orientation_and_profile_together():
    profile = WIDE["Display P3"][0]
    straight, _ = decode(embed(A8, profile))
    found, notes = decode(pillow(A8, "PNG", icc_profile=profile, exif=exif(8)))
    np.testing.assert_array_equal(found, upright(straight, 8))
    assert notes == [*NOTE, "orientation 8 applied"]


@pytest.mark.parametrize(
    "profile",
    [
        b"no profile at all",
        matrix_profile("Display P3")[:300],
        icc(b"GRAY", [(b"kTRC", gamma_curve(1.8))]),
        bytes(200),
        b"\n\r\0" * 99,
    ],
    ids=["text", "truncated", "of another colour space", "zeros", "lines"],
)
def test_profile_that_cannot_be_used_costs_a_note(profile):
    for array in (A8, A16):
        found, (note,) = decode(embed(array, profile))
        np.testing.assert_array_equal(found, array)
        assert re.fullmatch(r"ICC profile '.*' can't be used \(.+\)", note)


def test_mutated_profiles_never_cost_the_picture():
    good = matrix_profile("Display P3")
    rng = np.random.default_rng(6)
    outcomes = set()
    for i in range(200):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), rng.integers(1, 8)):
            bad[place] = rng.integers(256)
        found, notes = decode(embed(A8[:9, :9], bytes(bad[: rng.integers(1, len(bad))] if i % 4 == 0 else bad)))
        assert found.shape == (9, 9, 3)
        assert len(notes) <= 1
        outcomes.add("converted" in "".join(notes))
    assert outcomes == {True, False}


@pytest.mark.parametrize("array", [G8, G16], ids=["8 bit", "16 bit"])
def test_grey_profile_is_converted(array):
    top = np.iinfo(array.dtype).max
    data = (
        pillow(array, "PNG", icc_profile=icc(b"GRAY", [(b"kTRC", gamma_curve(1.5))]))
        if top == 255
        else tiff(array, "minisblack", iccprofile=icc(b"GRAY", [(b"kTRC", gamma_curve(1.5))]))
    )
    found, notes = decode(data)
    assert notes == [GREY, *NOTE]
    assert not np.ptp(found, axis=2).any()
    expected = colour.models.eotf_inverse_sRGB((array / top) ** 1.5) * top
    assert np.abs(found - expected[..., None]).max() <= (0.7 if top == 255 else 60)


def test_grey_picture_with_a_profile_for_colours():
    assert_decodes(pillow(G8, "PNG", icc_profile=SRGB_PROFILES["Pillow"]), grey3(G8), [GREY])
    found, notes = decode(pillow(G8, "PNG", icc_profile=WIDE["Adobe RGB"][0]))
    expected = colour.models.eotf_inverse_sRGB((G8 / 255) ** (563 / 256)) * 255
    assert np.abs(found - expected[..., None]).max() <= 1
    assert notes == [GREY, *NOTE]


def test_rocket_is_converted_from_adobe_rgb():
    """scikit-image's rocket really carries Adobe's primaries: taken as sRGB it would be too dull."""
    import skimage.data

    path = Path(skimage.data.__file__).parent / "rocket.jpg"
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])).profile
        stored = np.asarray(image)
    space = colour.RGB_COLOURSPACES["Adobe RGB (1998)"]
    # the profile has them adapted to D50
    adaptation = colour.adaptation.matrix_chromatic_adaptation_VonKries(
        primaries_of("sRGB").sum(1), [0.9642, 1, 0.8249], "Bradford"
    )
    for primary, (x, y) in zip(
        (profile.red_primary, profile.green_primary, profile.blue_primary), space.primaries, strict=True
    ):
        adapted = colour.XYZ_to_xy(adaptation @ colour.xy_to_XYZ([x, y]))
        np.testing.assert_allclose(colour.XYZ_to_xy(primary[0]), adapted, atol=1e-3)
    found, notes = decode(path.read_bytes())
    expected, in_gamut = to_srgb(stored / 255, "Adobe RGB (1998)", lambda v: v ** (563 / 256))
    assert notes == ["ICC profile 'Adobe RGB (1998)' converted to sRGB"]
    assert np.abs(found - expected * 255)[in_gamut].max() <= 1.5


# -- CMYK ----------------------------------------------------------------------------------------------------

INKS = np.array(
    [
        [0, 0, 0, 0],
        [255, 0, 0, 0],
        [0, 255, 0, 0],
        [0, 0, 255, 0],
        [0, 0, 0, 255],
        [0, 0, 0, 128],
        [128, 0, 64, 0],
    ],
    dtype=np.uint8,
)
BLOCKS = np.repeat(np.repeat(INKS[None], 8, axis=0), 8, axis=1)
NAIVE = (1 - INKS[:, :3] / 255) * (1 - INKS[:, 3:] / 255) * 255


def middles(array):
    return array[4, 4::8].astype(float)


def adobe_jpeg():
    """As Photoshop writes it: inks inverted, and a marker that says that they are not converted."""
    marker = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, 0)
    data = imagecodecs.jpeg8_encode(255 - BLOCKS, level=100, colorspace="CMYK", outcolorspace="CMYK")
    return data if b"Adobe" in data[:200] else data[:2] + marker + data[2:]


CORNERS = np.array([[c, m, y, k] for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)])
CORNER_BLOCKS = np.repeat(np.repeat((CORNERS * 255).astype(np.uint8)[None], 8, axis=0), 8, axis=1)


def corner_light(darkest):
    """The sRGB of each corner of CMYK, by a printer whose black reflects some light."""
    return darkest + (1 - darkest) * (1 - 0.8 * CORNERS[:, :3]) * (1 - CORNERS[:, 3:])


def lab_table(light):
    """A profile's table of 8-bit Lab over the corners of CMYK."""
    adaptation = colour.adaptation.matrix_chromatic_adaptation_VonKries(
        primaries_of("sRGB").sum(1), [0.9642, 1, 0.8249], "Bradford"
    )
    xyz = colour.models.eotf_sRGB(light) @ (adaptation @ primaries_of("sRGB")).T
    lab = colour.XYZ_to_Lab(xyz, colour.XYZ_to_xy(np.array([0.9642, 1, 0.8249])))
    table = np.round(np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], axis=1)).astype(np.uint8)
    identity = struct.pack(">9i", *(65536 * int(i == j) for i in range(3) for j in range(3)))
    curve = bytes(range(256))
    return b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + curve * 4 + table.tobytes() + curve * 3


def print_profile(darkest=0.0):
    """The profile of a scanned print, whose table for the perceptual intent is another one."""
    light = corner_light(darkest)
    return icc(b"CMYK", [(b"A2B0", lab_table(light**2)), (b"A2B1", lab_table(light))], b"Lab ", b"scnr")


@pytest.mark.parametrize(
    "data",
    [
        pillow(Image.fromarray(BLOCKS, "CMYK"), "JPEG", quality=100, subsampling=0),
        adobe_jpeg(),
        tiff(BLOCKS, "separated"),
        tiff(BLOCKS.astype(np.uint16) * 257, "separated", compression="lzw"),
    ],
    ids=["jpeg", "jpeg by Adobe's rules", "tiff8", "tiff16"],
)
def test_cmyk_without_a_profile(data):
    found, notes = decode(data)
    assert notes == ["CMYK without a usable profile, converted by (1 - ink)(1 - black)"]
    assert np.abs(middles(found) / (257 if found.dtype == np.uint16 else 1) - NAIVE).max() <= 3


@pytest.mark.parametrize(
    "data",
    [
        pillow(
            Image.fromarray(CORNER_BLOCKS, "CMYK"),
            "JPEG",
            quality=100,
            subsampling=0,
            icc_profile=print_profile(),
        ),
        tiff(CORNER_BLOCKS, "separated", iccprofile=print_profile()),
        tiff(CORNER_BLOCKS.astype(np.uint16) * 257, "separated", iccprofile=print_profile()),
    ],
    ids=["jpeg", "tiff8", "tiff16"],
)
def test_cmyk_with_a_profile(data):
    found, notes = decode(data)
    assert notes == NOTE
    # the table has 8 bits of Lab, whose steps are largest in dark blue
    assert np.abs(middles(found) / (257 if found.dtype == np.uint16 else 1) - corner_light(0) * 255).max() <= 8


def test_cmyk_is_relative_colorimetric_with_black_point_compensation():
    profile = print_profile(darkest=0.2)
    found, _ = decode(tiff(CORNER_BLOCKS, "separated", iccprofile=profile))
    assert middles(found)[0].tolist() == [255, 255, 255]
    # the printer's black reflects light, of which a screen's black has none
    assert middles(found)[-1].max() <= 2

    def by_pillow(flags):
        return np.asarray(
            ImageCms.profileToProfile(
                Image.fromarray(CORNER_BLOCKS, "CMYK"),
                io.BytesIO(profile),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=flags,
            )
        )

    assert np.abs(found.astype(int) - by_pillow(ImageCms.Flags.BLACKPOINTCOMPENSATION)).max() <= 1
    assert np.abs(found.astype(int) - by_pillow(ImageCms.Flags.NONE)).max() > 40


def test_gamma_of_a_png_is_noted():
    linear = with_chunk(pillow(A8, "PNG"), b"gAMA", struct.pack(">I", 100000))
    assert_decodes(linear, A8, ["the PNG's gamma of 1 ignored: taken as sRGB"])
    assert_decodes(with_chunk(pillow(A8, "PNG"), b"gAMA", struct.pack(">I", 45455)), A8)
    assert_decodes(with_chunk(linear, b"sRGB", b"\0"), A8)


# -- what can't be read --------------------------------------------------------------------------------------


def fault(data):
    """The reason why a file is refused: one line."""
    with pytest.raises(InputFault) as caught:
        decode(data)
    reason = str(caught.value)
    assert reason
    assert "\n" not in reason
    return reason


BROKEN_SOURCES = {
    "png8": imagecodecs.png_encode(A8),
    "png16": imagecodecs.png_encode(A16),
    "png palette": pillow(Image.fromarray(smooth()).quantize(16), "PNG"),
    "jpeg": pillow(smooth(), "JPEG", quality=95, exif=exif(6)),
    "progressive jpeg": pillow(smooth(), "JPEG", quality=95, progressive=True),
    "webp": pillow(smooth(), "WEBP", quality=90),
    "lossless webp": pillow(smooth(), "WEBP", lossless=True, exif=exif(6)),
    "bmp": pillow(A8, "BMP"),
    "tiff8": tiff(A8),
    "tiff16 planar": tiff(planes(A16), planarconfig="separate", byteorder=">"),
    "tiff lzw strips": tiff(smooth(), compression="lzw", rowsperstrip=8),
    "tiff deflate tiles": tiff(A16, compression="zlib", predictor=True, tile=(16, 16)),
    # Pillow puts the tags at the end, so that a truncated file has samples without them.
    "tiff by pillow": pillow(smooth(), "TIFF", compression="tiff_lzw", tiffinfo={274: 6}),
    "tiff jpeg": tiff(smooth(), compression="jpeg", rowsperstrip=16),
}


@pytest.mark.parametrize("kind", BROKEN_SOURCES)
def test_truncated_file_is_refused_and_never_half_a_picture(kind):
    data = BROKEN_SOURCES[kind]
    whole, _ = decode(data)
    ends = sorted({*range(0, 64), *range(0, len(data), max(1, len(data) // 250)), *range(len(data) - 64, len(data))})
    refused = 0
    for end in ends:
        try:
            found, _ = decode(data[:end])
        except InputFault as error:
            refused += len(str(error).splitlines()) == 1
        else:
            # Only what comes after the samples may be missing: checksums and end of a PNG, padding of a BMP.
            assert end >= len(data) - 24
            np.testing.assert_array_equal(found, whole)
    assert refused >= len(ends) - 24


@pytest.mark.parametrize("kind", BROKEN_SOURCES)
def test_mutated_file_is_read_or_refused(kind):
    data = BROKEN_SOURCES[kind]
    rng = np.random.default_rng(7)
    accepted = refused = 0
    for _ in range(300 if kind == "png16" else 120):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 8)):
            bad[rng.integers(len(bad) if rng.random() < 0.5 else min(len(bad), 200))] = rng.integers(256)
        try:
            found, _ = decode(bytes(bad))
        except InputFault as error:
            refused += len(str(error).splitlines()) == 1
        else:
            assert found.ndim == 3
            assert found.shape[2] == 3
            assert found.dtype in (np.uint8, np.uint16)
            accepted += 1
    assert accepted + refused == (300 if kind == "png16" else 120)
    assert refused > 10


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"just some text\n" * 100, "this is no PNG, TIFF, JPEG, WebP or BMP file"),
        (np.random.default_rng(8).bytes(5000), "this is no PNG, TIFF, JPEG, WebP or BMP file"),
        (b"II*\0" + np.random.default_rng(9).bytes(5000), "the file is"),
        (pillow(A8, "GIF"), "this is no PNG, TIFF, JPEG, WebP or BMP file"),
        # the decoder of EPS would start Ghostscript
        (pillow(A8, "EPS"), "this is no PNG, TIFF, JPEG, WebP or BMP file"),
        (tiff(A8.astype(np.float32)), "32-bit float32"),
        (tiff(A8.astype(np.float16)), "16-bit float16"),
        (tiff(A8.astype(np.uint32)), "32-bit uint32"),
        (tiff(G8.astype(np.int16), "minisblack"), "16-bit int16"),
        (tiff(G8.view(np.int8), "minisblack"), "8-bit int8"),
        (tiff(G16 >> 4, "minisblack", bitspersample=12), "12-bit uint16"),
        (tiff(A8, "cielab"), "photometric CIELAB"),
        (tiff(A16, "cielab"), "photometric CIELAB"),
        (tiff(A8, "ycbcr"), "photometric YCBCR"),
        (tiff(np.zeros((8, 16, 16), np.uint8), "minisblack", volumetric=True, tile=(16, 16, 16)), "axes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_is_refused(data, reason):
    assert reason in fault(data)


def giant_png(bits):
    header = struct.pack(">IIBBBBB", 60000, 60000, bits, 2, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(999))) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def giant_bmp():
    data = bytearray(pillow(A8, "BMP"))
    struct.pack_into("<ii", data, 18, 60000, 60000)
    return bytes(data)


def edited_tiff(data, **values):
    """A TIFF with other values in its tags."""
    edited = bytearray(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for name, value in values.items():
            tag = file.pages.first.tags[name]
            struct.pack_into({3: "<H", 4: "<I"}[int(tag.dtype)], edited, tag.valueoffset, value)
    return bytes(edited)


GIANTS = {
    "png8": giant_png(8),
    "png16": giant_png(16),
    "bmp": giant_bmp(),
    "tiff": edited_tiff(tiff(A8, compression="zlib"), ImageWidth=60000, ImageLength=60000, RowsPerStrip=60000),
}


@pytest.mark.parametrize("kind", GIANTS)
def test_giant_is_refused_before_memory_is_taken(kind):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert fault(GIANTS[kind]).startswith("too large to be read: ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("data", [imagecodecs.png_encode(A8), tiff(A8), tiff(A16)], ids=["png", "tiff8", "tiff16"])
def test_largest_picture(monkeypatch, data):
    monkeypatch.setenv(limits.VARIABLE, str(ROWS * COLUMNS))
    assert decode(data)[0].shape == (ROWS, COLUMNS, 3)
    monkeypatch.setenv(limits.VARIABLE, str(ROWS * COLUMNS - 1))
    assert fault(data) == f"too large to be read: 53x37 pixels are more than 1960; {limits.VARIABLE} sets the bound"


@pytest.mark.filterwarnings("error")
def test_large_pictures_are_read_without_warnings():
    """Pillow warns from 90 million pixels on, which cameras have."""
    data = pillow(Image.new("1", (10000, 9500)), "PNG")
    assert decode(data)[0].shape == (9500, 10000, 3)


def test_tiff_with_fewer_tiles_than_its_size_needs_is_refused():
    """tifffile would fill the rest with zeros."""
    tiles = tiff(A8, compression="zlib", tile=(16, 16))
    assert decode(edited_tiff(tiles, ImageLength=ROWS))[0].shape == (ROWS, COLUMNS, 3)
    assert fault(edited_tiff(tiles, ImageLength=60)) == "the file is truncated: 4 of its 16 strips or tiles are missing"


def test_tiff_whose_tags_are_lost_is_refused():
    """A tag that points beyond the file may be the profile or the orientation."""
    data = tiff(A8, iccprofile=WIDE["Display P3"][0])
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages.first.tags["InterColorProfile"].offset + 8
    lost = data[:place] + struct.pack("<I", len(data) + 99) + data[place + 4 :]
    assert re.fullmatch(r"the file is truncated or damaged: 1 of its \d+ TIFF tags can't be read", fault(lost))
