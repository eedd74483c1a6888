"""JPEG in torch: libjpeg-turbo is the oracle of whole numbers, scipy and finite differences of the soft path."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import fft

from isp_sim.degradations import jpeg_transform as jt
from isp_sim.degradations.jpeg import JPEG, compress, decompress
from isp_sim.parameters import ParameterFaults, Parameters
from isp_sim.signal import Signal
from isp_sim.testing import check_stage

SRGB = Signal(transfer="srgb", bit_depth=8)
SIZES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 3), (5, 4), (4, 5), (6, 40), (40, 6), (8, 8), (15, 17), (16, 16), (33, 31)]
QUALITIES = [*range(5, 101, 5), 1, 2, 3, 24, 49, 51, 63, 74, 87, 96, 97, 98, 99]
KINDS = ["noise", "saturated", "constant", "walk"]


def made(kind, size, seed=0):
    """An 8-bit picture (H, W, 3)."""
    rng = np.random.default_rng([seed, *size])
    noise = rng.integers(0, 256, (*size, 3))
    if kind == "saturated":
        noise = (noise > 127) * 255
    elif kind == "constant":
        noise = np.broadcast_to(noise[:1, :1], noise.shape)
    elif kind == "walk":
        noise = np.clip(128 + rng.normal(0, 3, noise.shape).cumsum(0).cumsum(1), 0, 255)
    return np.ascontiguousarray(noise).astype(np.uint8)


def tensor(image, batch=1):
    return torch.from_numpy(image.copy()).permute(2, 0, 1).to(torch.int32).expand(batch, -1, -1, -1)


def image(pixels):
    return pixels.permute(1, 2, 0).numpy()


def psnr(a, b):
    error = np.mean((np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)) ** 2)
    return 10 * np.log10(255**2 / error)


def assert_parity(picture, qualities, subsampling):
    """Every sample is that of libjpeg-turbo, with all qualities in one batch."""
    tables = jt.quality_tables(torch.tensor(qualities))
    for quality, found in zip(qualities, jt.jpeg(tensor(picture, len(qualities)), tables, subsampling), strict=True):
        expected = decompress(compress(picture, quality, subsampling))
        assert np.array_equal(image(found), expected), f"quality {quality}"


class TestTables:
    def test_are_those_of_the_codec(self):
        tables = jt.quality_tables(torch.arange(1, 101)).flatten(2)
        for quality in range(1, 101):
            with Image.open(io.BytesIO(compress(made("noise", (8, 8)), quality, "4:4:4"))) as file:
                written = [list(file.quantization[i]) for i in (0, 1)]
            assert tables[quality - 1].tolist() == written, quality

    def test_own_ones_are_in_natural_order(self):
        own = [list(range(1, 65)), list(range(101, 165))]
        with Image.open(io.BytesIO(compress(made("noise", (8, 8)), 1, "4:4:4", own))) as file:
            assert [list(file.quantization[i]) for i in (0, 1)] == own
        assert jt.custom_tables(own, 3)[2, :, 0, :3].tolist() == [[1, 2, 3], [101, 102, 103]]


@pytest.mark.parametrize("subsampling", jt.FACTORS)
class TestWholeNumbers:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_small_pictures(self, size, kind, subsampling):
        assert_parity(made(kind, size), QUALITIES, subsampling)

    def test_photos(self, photos, subsampling):
        for name, size in (("astronaut", (500, 499)), ("coffee", (257, 600)), ("chelsea", (300, 451))):
            assert_parity(photos[name][: size[0], : size[1]], [1, 12, 50, 75, 93, 100], subsampling)

    @given(
        height=st.integers(1, 40),
        width=st.integers(1, 40),
        quality=st.integers(1, 100),
        kind=st.sampled_from(KINDS),
        seed=st.integers(0, 2**32),
    )
    def test_any_picture(self, subsampling, height, width, quality, kind, seed):
        assert_parity(made(kind, (height, width), seed), [quality], subsampling)

    @given(
        luma=st.lists(st.integers(1, 255), min_size=64, max_size=64),
        chroma=st.lists(st.integers(1, 255), min_size=64, max_size=64),
        kind=st.sampled_from(KINDS),
    )
    def test_any_tables(self, subsampling, luma, chroma, kind):
        picture = made(kind, (21, 19))
        found = jt.jpeg(tensor(picture), jt.custom_tables([luma, chroma], 1), subsampling)
        assert np.array_equal(image(found[0]), decompress(compress(picture, 1, subsampling, [luma, chroma])))

    def test_generations(self, tools, subsampling):
        frame = tools.picture(SRGB, batch=2, size=(35, 29))
        both = [
            tools.run_stage(
                "jpeg", frame, {"quality": 80, "subsampling": subsampling, "mode": mode, "generations": 4}
            ).pixels
            for mode in ("exact", "rounding")
        ]
        assert torch.equal(*both)
        once = tools.run_stage("jpeg", frame, {"quality": 80, "subsampling": subsampling}).pixels
        assert not torch.equal(both[0], once)

    def test_no_rounding_of_coefficients_leaves_a_flat_picture(self, subsampling):
        flat = torch.full((1, 3, 9, 21), 77, dtype=torch.int32)
        assert torch.equal(jt.jpeg(flat, jt.custom_tables([[1] * 64] * 2, 1), subsampling), flat)


def test_samples_far_outside_saturate():
    # the steps double every coefficient that lowers the sample in row 7, column 3, and drop the others: a decoder that
    # looks the sample up in a table of 1024, without saturating before, would take it from the wrong end
    block = (np.random.default_rng(530).random((8, 8)) > 0.5) * 255
    coefficients = fft.dctn(block - 128.0, norm="ortho")
    delta = np.zeros((8, 8))
    delta[7, 3] = 1
    lowers = coefficients * fft.dctn(delta, norm="ortho") < 0
    steps = np.where(lowers, np.clip(np.floor(2 * np.abs(coefficients)) - 1, 1, 255), 255).astype(int).ravel().tolist()
    picture = np.repeat(block[..., None], 3, axis=2).astype(np.uint8)
    tables = jt.custom_tables([steps, steps], 1)
    found = jt.jpeg(tensor(picture), tables, "4:4:4")
    assert np.array_equal(image(found[0]), decompress(compress(picture, 1, "4:4:4", [steps, steps])))
    scaled = tables[0, 0, :, :, None]
    levels = jt.quantise(jt.forward_dct(tensor(picture)[0, 0, :, :, None] - 128), scaled)
    assert jt.inverse_dct(levels * scaled)[7, 3] < -640


class TestTransform:
    BLOCKS = torch.from_numpy(np.random.default_rng(3).uniform(-128, 127, (8, 8, 50)))

    def test_is_the_cosine_transform(self):
        expected = fft.dctn(self.BLOCKS.numpy(), axes=(0, 1), norm="ortho")
        # the constants have 13 bits
        assert np.abs(jt.forward_dct(self.BLOCKS).numpy() / 8 - expected).max() < 0.1
        assert np.abs(jt.inverse_dct(torch.from_numpy(expected)).numpy() - self.BLOCKS.numpy()).max() < 0.1

    def test_whole_numbers_are_the_rounded_ones(self):
        blocks = self.BLOCKS.round()
        whole = jt.forward_dct(blocks.to(torch.int32))
        assert whole.dtype == torch.int32
        assert (whole - jt.forward_dct(blocks)).abs().max() < 2
        levels = (whole / 8).round()
        assert (jt.inverse_dct(levels.to(torch.int32)) - jt.inverse_dct(levels)).abs().max() < 1

    def test_levels_come_back_where_no_pixel_is_rounded(self):
        steps = jt.quality_tables(torch.tensor([40]))[0, 0, :, :, None]
        levels = jt.quantise(jt.forward_dct(self.BLOCKS), steps, torch.round)
        again = jt.quantise(jt.forward_dct(jt.inverse_dct(levels * steps)), steps, torch.round)
        assert torch.equal(again, levels)
        assert levels.abs().max() > 10

    @given(st.integers(-16384, 16384), st.integers(1, 255))
    def test_levels_are_the_nearest(self, coefficient, step):
        level = int(jt.quantise(torch.tensor([coefficient], dtype=torch.int32), torch.tensor(step)))
        assert abs(coefficient - 8 * step * level) <= 4 * step
        if abs(coefficient - 8 * step * level) == 4 * step:
            assert abs(8 * step * level) > abs(coefficient), "halves go away from 0"


class TestSmoothRounding:
    @given(st.floats(-1000, 1000), st.integers(0, 20))
    def test_lies_between_the_number_and_the_nearest_whole_one(self, x, order):
        value = float(jt.smooth_rounding(torch.tensor([x], dtype=torch.float64), order))
        low, high = sorted((x, np.floor(x + 0.5)))
        assert low - 1e-9 <= value <= high + 1e-9

    @pytest.mark.parametrize("order", [0, 1, 2, 5])
    def test_value_and_slope_are_continuous(self, order):
        x = torch.linspace(-2, 2, 400001, dtype=torch.float64).requires_grad_()
        y = jt.smooth_rounding(x, order)
        (slope,) = torch.autograd.grad(y.sum(), x)
        assert (y[1:] - y[:-1]).min() >= 0
        assert (y[1:] - y[:-1]).max() <= (2 * order + 1) * 1.001e-5
        assert (slope[1:] - slope[:-1]).abs().max() <= (2 * order + 1) * 4 * order * 1.001e-5 + 1e-12
        assert slope.mean() == pytest.approx(1, abs=1e-4)

    def test_a_high_order_rounds(self):
        x = torch.linspace(-2.4, 2.4, 481, dtype=torch.float64)
        away = (x - x.floor() - 0.5).abs() > 0.04
        assert (jt.smooth_rounding(x, 100) - x.round()).abs()[away].max() < 1e-6

    def test_straight_through(self):
        x = torch.tensor([-0.5, 0.2, 0.5, 1.7, 1000.3], requires_grad=True)
        y = jt.straight_through(x)
        assert y.tolist() == [0, 0, 1, 2, 1000]
        assert torch.autograd.grad(y.sum(), x)[0].tolist() == [1] * 5


@pytest.mark.parametrize("subsampling", jt.FACTORS)
class TestSoft:
    @pytest.mark.parametrize(("size", "quality"), [((9, 5), 60), ((2, 17), 80), ((1, 1), 30)])
    def test_gradient(self, tools, subsampling, size, quality):
        frame = tools.picture(SRGB, batch=1, size=size, low=0.2, high=0.8)
        tools.assert_gradient("jpeg", frame, {"mode": "soft", "quality": quality, "subsampling": subsampling}, eps=1e-7)

    def test_gradient_is_finite_where_it_clips(self, tools, subsampling):
        frame = tools.picture(SRGB, batch=2, size=(16, 23), low=-0.5, high=1.5)
        pixels = frame.pixels.round().requires_grad_()
        for order in (0, 1, 20):
            out = jt.jpeg(
                pixels * 255,
                jt.quality_tables(torch.tensor([1, 99])),
                subsampling,
                partial(jt.smooth_rounding, order=order),
            )
            (slope,) = torch.autograd.grad(out.sum(), pixels)
            assert bool(slope.isfinite().all())
            assert bool((slope != 0).any())

    # the gap on these photos, less a margin of 1 dB
    @pytest.mark.parametrize(("quality", "least"), [(10, 31), (30, 36), (50, 38), (75, 41), (90, 43), (100, 48)])
    def test_comes_close_to_the_codec_and_closer_when_sharper(self, photos, subsampling, quality, least):
        picture = photos["chelsea"][60:180, 90:239]
        expected = decompress(compress(picture, quality, subsampling))
        tables = jt.quality_tables(torch.tensor([quality]))
        gap = [
            psnr(image(jt.jpeg(tensor(picture).float(), tables, subsampling, rounding)[0]), expected)
            for rounding in (None, *(partial(jt.smooth_rounding, order=order) for order in (1, 2, 4, 10)))
        ]
        assert gap[2] >= least
        if quality <= 90:
            assert gap == sorted(gap)
            assert gap[2] > psnr(picture, expected) + 3, "closer to the codec's picture than the original is"

    def test_straight_through_rounds_like_the_codec(self, photos, subsampling):
        picture = photos["chelsea"][60:180, 90:239]
        out = jt.jpeg(tensor(picture).float(), jt.quality_tables(torch.tensor([50])), subsampling, jt.straight_through)
        assert psnr(image(out[0]), decompress(compress(picture, 50, subsampling))) > 42


@pytest.mark.parametrize("mode", ["exact", "rounding", "soft"])
class TestStage:
    def params(self, mode, **others):
        return {"mode": mode, "quality": {"randint": [5, 95]}, **others}

    @pytest.mark.parametrize("subsampling", jt.FACTORS)
    def test_bits_do_not_depend_on_batch_strides_or_threads(self, tools, mode, subsampling):
        frame = tools.picture(SRGB, batch=5, size=(37, 43))
        tools.assert_engine_laws("jpeg", frame, self.params(mode, subsampling=subsampling, generations=2))

    def test_each_sample_has_its_quality(self, tools, mode):
        frame = tools.picture(SRGB, batch=4, size=(24, 25))
        whole = tools.run_stage("jpeg", frame, self.params(mode))
        fixed = [tools.run_stage("jpeg", frame, {"mode": mode, "quality": q}) for q in (5, 95)]
        assert all(not torch.equal(whole.pixels, other.pixels) for other in fixed)

    def test_blocks_are_independent_without_subsampling(self, tools, mode):
        frame = tools.picture(SRGB, batch=1, size=(24, 32))
        params = {"mode": mode, "quality": 40, "subsampling": "4:4:4"}
        part = tools.run_stage("jpeg", frame.crop(8, 16, 16, 16), params).pixels
        assert torch.equal(part, tools.run_stage("jpeg", frame, params).pixels[..., 8:, 16:])

    def test_a_better_quality_is_closer(self, tools, photos, mode):
        pixels = torch.from_numpy(photos["coffee"][:120, :133].copy()).permute(2, 0, 1)[None] / 255
        frame = replace(tools.picture(SRGB, batch=1, size=(120, 133)), pixels=pixels)
        error = [
            float((tools.run_stage("jpeg", frame, {"mode": mode, "quality": q}).pixels - pixels).square().mean())
            for q in range(5, 101, 5)
        ]
        assert error == sorted(error, reverse=True)

    def test_what_it_says_of_itself(self, mode):
        stage, constants = JPEG(), Parameters.bind(JPEG.Params, {"mode": mode}).constants
        assert stage.is_differentiable(constants) == (mode == "soft")
        assert stage.output_signal(SRGB, constants).bit_depth == (None if mode == "soft" else 8)

    def test_tables_take_the_place_of_the_quality(self, tools, mode):
        frame = tools.picture(SRGB, batch=2, size=(17, 18))
        tables = jt.quality_tables(torch.tensor([35]))[0].flatten(1).tolist()
        by_table = tools.run_stage("jpeg", frame, {"mode": mode, "tables": tables, "quality": 99})
        tools.assert_same_frame(by_table, tools.run_stage("jpeg", frame, {"mode": mode, "quality": 35}))


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"mode": {"choice": ["exact", "soft"]}}, "no distribution may stand here"),
        ({"mode": "fast"}, "mode"),
        ({"tables": [[1] * 64]}, "tables"),
        ({"tables": [[1] * 64, [1] * 63]}, "tables"),
        ({"tables": [[1] * 64, [0] * 64]}, "greater than or equal to 1"),
        ({"tables": [[256] * 64, [1] * 64]}, "less than or equal to 255"),
        ({"generations": 51}, "generations"),
    ],
)
def test_what_makes_no_sense_is_refused(params, fault):
    with pytest.raises(ParameterFaults, match=fault):
        Parameters.bind(JPEG.Params, params)


def test_it_conforms():
    report = check_stage(
        "jpeg",
        parameters=[
            {"mode": "soft", "subsampling": "4:4:4"},
            {"mode": "soft", "subsampling": "4:2:2", "generations": 2, "sharpness": 2},
            {"mode": "rounding", "subsampling": "4:2:2", "generations": 2},
        ],
    )
    assert report.passed, str(report)
