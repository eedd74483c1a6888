from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.adjustments import luma
from isp_sim.stages.clahe import BINS, clahe, equalisers

CODES = Signal()
CHOICES = {"clip_limit": {"uniform": [1, 8]}, "strength": {"uniform": [0.2, 1]}, "tiles": {"choice": [[2, 3], [4, 4]]}}

tilings = st.tuples(st.integers(1, 5), st.integers(1, 5))
limits = st.floats(1, 256)


def number(value):
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def noise(seed, size=(23, 31)):
    """Code values that crowd in the dark, as (1, 1, H, W)."""
    values = np.random.default_rng(seed).beta(1.2, 4, size)
    return torch.from_numpy(values)[None, None]


def grey_photo(photos, name, size):
    photo = photos[name][: size[0], : size[1]].astype(float)
    return np.round(photo @ [0.299, 0.587, 0.114]).astype(np.uint8)


def written_out(codes, tiles, clip_limit, *, as_opencv):
    """The algorithm on 8-bit codes, tile by tile, before the last rounding; with OpenCV's peculiarities, if wanted:
    what is cut off is divided in whole numbers, the rest going to bins from the darkest on; the middle of a tile is
    measured from the upper left corner of a pixel, not from its middle; and mappings are rounded."""
    height, width = codes.shape
    padded = np.pad(codes, ((0, -height % tiles[0]), (0, -width % tiles[1])), mode="reflect")
    sides = [n // t for n, t in zip(padded.shape, tiles, strict=True)]
    area = sides[0] * sides[1]
    limit = max(int(clip_limit * area / 256), 1)
    mappings = np.empty((*tiles, 256))
    for i, j in np.ndindex(*tiles):
        tile = padded[i * sides[0] : (i + 1) * sides[0], j * sides[1] : (j + 1) * sides[1]]
        counts = np.bincount(tile.ravel(), minlength=256).astype(float)
        excess = int(np.maximum(counts - limit, 0).sum())
        counts = np.minimum(counts, limit)
        if as_opencv:
            whole, rest = divmod(excess, 256)
            counts += whole
            if rest:
                counts[:: max(256 // rest, 1)][:rest] += 1
        else:
            counts += excess / 256
        mapping = counts.cumsum() * 255 / area
        mappings[i, j] = np.round(mapping) if as_opencv else mapping

    def around(size, side, number):
        place = (np.arange(size) + (0 if as_opencv else 0.5)) / side - 0.5
        first = np.floor(place).astype(int)
        weight = place - first
        return [(first.clip(0, number - 1), 1 - weight), ((first + 1).clip(0, number - 1), weight)]

    rows, columns = around(height, sides[0], tiles[0]), around(width, sides[1], tiles[1])
    return sum(mappings[i[:, None], j[None], codes] * wi[:, None] * wj[None] for i, wi in rows for j, wj in columns)


@pytest.mark.parametrize("params", [{"tiles": [3, 2]}, CHOICES], ids=["given", "drawn"])
def test_engine_laws(tools, params):
    tools.assert_engine_laws("clahe", tools.picture(CODES, size=(61, 53), low=-0.1, high=1.2), params)


def test_gradient(tools):
    frame = tools.picture(CODES, batch=1, size=(5, 4), low=0.02, high=0.98)
    tools.assert_gradient("clahe", frame, {"tiles": [2, 2]})


def test_precision(tools):
    frame = tools.picture(CODES, size=(61, 53), dtype=torch.float64)
    tools.assert_precision("clahe", frame, {"tiles": [3, 2]}, bound=2e-5)


@settings(max_examples=25)
@given(st.integers(0, 999), tilings, limits)
def test_on_8_bit_codes_it_is_the_algorithm_written_out(seed, tiles, clip_limit):
    codes = (noise(seed) * 255).round()
    expected = written_out(codes[0, 0].long().numpy(), tiles, clip_limit, as_opencv=False)
    np.testing.assert_allclose(clahe(codes / 255, tiles, number(clip_limit))[0, 0] * 255, expected, atol=1e-9)


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
@pytest.mark.parametrize("clip_limit", [1.0, 3.0, 40.0])
@pytest.mark.parametrize(("size", "tiles"), [((256, 384), (8, 8)), ((253, 299), (4, 6))], ids=["divisible", "not"])
class TestByOpenCV:
    """The algorithm written out, with OpenCV's peculiarities, is OpenCV's; without them it is ours, see above."""

    def test_the_algorithm_written_out(self, photos, name, clip_limit, size, tiles):
        cv2 = pytest.importorskip("cv2")
        codes = grey_photo(photos, name, size)
        theirs = cv2.createCLAHE(clip_limit, tiles[::-1]).apply(codes).astype(float)
        ours = written_out(codes, tiles, clip_limit, as_opencv=True)
        assert np.abs(ours - theirs).max() < 0.501  # its rounding, of numbers in single precision


def test_one_tile_is_opencv_s_within_a_code(photos):
    cv2 = pytest.importorskip("cv2")
    codes = grey_photo(photos, "chelsea", (256, 384))
    for clip_limit in (1.0, 2.0, 40.0):
        theirs = cv2.createCLAHE(clip_limit, (1, 1)).apply(codes).astype(float)
        ours = clahe(torch.from_numpy(codes)[None, None].double() / 255, (1, 1), number(clip_limit))[0, 0].numpy() * 255
        assert np.abs(ours - theirs).max() <= 1


@given(st.floats(0, 1), tilings, limits)
def test_a_flat_picture_stays_flat(value, tiles, clip_limit):
    y = torch.full((1, 1, 13, 17), value, dtype=torch.float64)
    after = clahe(y, tiles, number(clip_limit))
    np.testing.assert_allclose(after, after[..., :1, :1].expand_as(after), atol=1e-14)


@given(st.integers(0, 99), tilings, limits)
def test_values_stay_within(seed, tiles, clip_limit):
    after = clahe(noise(seed) * 1.5 - 0.2, tiles, number(clip_limit))
    assert after.min() >= 0
    assert after.max() <= 1 + 1e-12


@given(st.integers(0, 99), limits)
def test_the_limit_bounds_the_contrast(seed, clip_limit):
    """In a tile's mapping no bin counts more than the limit and its part of what was cut off: at most limit + 1."""
    counts = torch.from_numpy(
        np.random.default_rng(seed).multinomial(4096, np.random.default_rng(seed).dirichlet(np.full(BINS, 0.05)))
    ).double()[None, None]
    steps = (
        torch.diff(equalisers(counts, number(clip_limit).reshape(1, 1, 1)), dim=-1, prepend=torch.zeros(1, 1, 1)) * BINS
    )
    assert steps.min() >= 0
    assert steps.max() <= clip_limit + 1 + 1e-9
    assert steps.sum().item() == pytest.approx(BINS)


def test_even_counts_are_left_as_they_are():
    """A histogram that is flat already is mapped onto itself: bin k to (k + 1) / 256."""
    counts = torch.full((1, 1, BINS), 16.0, dtype=torch.float64)
    expected = torch.arange(1, BINS + 1) / BINS
    for clip_limit in (1.0, 256.0):
        np.testing.assert_allclose(equalisers(counts, number(clip_limit).reshape(1, 1, 1))[0, 0], expected, atol=1e-14)


@given(st.integers(0, 99))
def test_without_a_limit_a_single_tile_is_the_rank_of_each_value(seed):
    codes = (noise(seed) * 255).round()
    expected = (codes.reshape(-1, 1) >= codes.reshape(1, -1)).double().mean(dim=1)
    np.testing.assert_allclose(clahe(codes / 255, (1, 1), number(256.0)).flatten(), expected, atol=1e-12)


@pytest.mark.parametrize("axis", [-1, -2])
def test_mirrored_pictures_give_mirrored_pictures(axis):
    y = noise(3, (24, 32))
    np.testing.assert_allclose(
        clahe(y.flip(axis), (3, 4), number(3.0)), clahe(y, (3, 4), number(3.0)).flip(axis), atol=1e-12
    )


def test_no_strength_is_nothing(tools):
    frame = tools.picture(CODES, low=-0.2, high=1.2)
    assert torch.equal(tools.run_stage("clahe", frame, {"strength": 0}).pixels, frame.pixels)


def test_colour_differences_stay_and_luma_is_equalised(tools):
    frame = tools.picture(CODES, size=(24, 32), dtype=torch.float64)
    after = tools.run_stage("clahe", frame, {"tiles": [2, 2], "clip_limit": 4}).pixels
    np.testing.assert_allclose(after - luma(after), frame.pixels - luma(frame.pixels), atol=1e-14)
    np.testing.assert_allclose(
        luma(after), clahe(luma(frame.pixels), (2, 2), number(4.0).expand(3, 1, 1, 1)), atol=1e-14
    )


def test_grey_stays_grey(tools):
    frame = tools.picture(CODES, size=(24, 32))
    after = tools.run_stage("clahe", replace(frame, pixels=frame.pixels[:, :1].expand_as(frame.pixels))).pixels
    assert torch.equal(after[:, :1].expand_as(after), after)


def test_the_gradient_holds_the_histograms_too(tools):
    """Brighten a dark patch as a whole: its rank does not change, so the equalised picture hardly does."""
    y = noise(0, (32, 32)).requires_grad_()
    (slope,) = torch.autograd.grad(clahe(y, (1, 1), number(256.0)).sum(), y)
    with torch.no_grad():
        step = 1e-7
        moved = clahe(y + step, (1, 1), number(256.0)) - clahe(y - step, (1, 1), number(256.0))
    assert slope.sum().item() == pytest.approx(moved.sum().item() / (2 * step), rel=1e-4, abs=1e-3)


def test_more_tiles_than_pixels_are_refused(tools):
    with pytest.raises(ValueError, match="8x8 tiles need a picture of at least as many pixels; found 7x20"):
        tools.run_stage("clahe", tools.picture(CODES, size=(7, 20)))
