import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

from isp_sim import registry
from isp_sim.degradations.jpeg import compress, decompress
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

CODED = Signal()
SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
PHOTOS = ("astronaut", "chelsea", "coffee")

LUMINANCE = """
16 11 10 16  24  40  51  61
12 12 14 19  26  58  60  55
14 13 16 24  40  57  69  56
14 17 22 29  51  87  80  62
18 22 37 56  68 109 103  77
24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101
72 92 95 98 112 100 103  99
"""
CHROMINANCE = (
    """
17 18 24 47 99 99 99 99
18 21 26 66 99 99 99 99
24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99
"""
    + "99 " * 32
)
"""ITU-T T.81, Annex K, row by row."""

every_sampling = pytest.mark.parametrize("subsampling", SAMPLINGS)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


def again(image, quality, subsampling="4:2:0"):
    return decompress(compress(image, quality, subsampling))


def coded(tools, image):
    """A uint8 picture as a batch of one."""
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    return replace(tools.picture(CODED, batch=1, size=image.shape[:2]), pixels=pixels)


def codes(frame):
    return (frame.pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@every_sampling
def test_engine_laws(tools, subsampling):
    params = {"quality": {"randint": [5, 95]}, "subsampling": subsampling}
    tools.assert_engine_laws("jpeg", tools.picture(CODED, batch=4, low=-0.1, high=1.1, size=(67, 51)), params)


def test_engine_laws_with_all_drawn(tools):
    params = {"quality": {"randint": [5, 95]}, "subsampling": {"choice": list(SAMPLINGS)}}
    tools.assert_engine_laws("jpeg", tools.picture(CODED, batch=8, size=(19, 21)), params)


class TestOracle:
    @every_sampling
    @pytest.mark.parametrize("quality", [1, 10, 50, 75, 90, 95, 100])
    @pytest.mark.parametrize("size", [(64, 48), (61, 47), (1, 1), (7, 130)])
    def test_pixels_are_those_of_pillow(self, tools, photos, subsampling, quality, size):
        image = np.ascontiguousarray(photos["astronaut"][100 : 100 + size[0], 150 : 150 + size[1]])
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=SAMPLINGS[subsampling])
        expected = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
        assert compress(image, quality, subsampling) == buffer.getvalue()
        after = tools.run_stage("jpeg", coded(tools, image), {"quality": quality, "subsampling": subsampling})
        np.testing.assert_array_equal(codes(after)[0], expected)
        assert torch.equal(after.pixels, (after.pixels * 255).round() / 255)

    def test_quantisation_tables_are_those_of_the_ijg(self):
        image = np.zeros((8, 8, 3), np.uint8)
        for quality in range(1, 101):
            scale = 5000 // quality if quality < 50 else 200 - 2 * quality
            with Image.open(io.BytesIO(compress(image, quality, "4:2:0"))) as file:
                for number, base in ((0, LUMINANCE), (1, CHROMINANCE)):
                    expected = [min(max((b * scale + 50) // 100, 1), 255) for b in map(int, base.split())]
                    assert list(file.quantization[number]) == expected, quality

    @every_sampling
    def test_the_subsampling_is_in_the_file(self, subsampling):
        data = compress(np.zeros((16, 16, 3), np.uint8), 75, subsampling)
        with Image.open(io.BytesIO(data)) as file:
            assert JpegImagePlugin.get_sampling(file) == SAMPLINGS[subsampling]
            assert file.info.get("progressive") is None
        frame_header = data.index(b"\xff\xc0")
        components = data[frame_header + 10 : frame_header + 19]
        factors = {"4:4:4": 0x11, "4:2:2": 0x21, "4:2:0": 0x22}
        assert [components[1], components[4], components[7]] == [factors[subsampling], 0x11, 0x11]


class TestSamples:
    def test_values_are_rounded_to_the_nearest_code_and_clipped_first(self, tools):
        grey = torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 1.5]).reshape(4, 1, 1, 1).expand(4, 3, 8, 8)
        frame = replace(tools.picture(CODED, batch=4, size=(8, 8)), pixels=grey)
        after = tools.run_stage("jpeg", frame, {"quality": 100, "subsampling": "4:4:4"})
        assert codes(after)[:, 0, 0, 0].tolist() == [0, 0, 1, 255]

    def test_flat_grey_is_exact_at_quality_75(self, tools):
        grey = (torch.arange(256, dtype=torch.float32) / 255).reshape(256, 1, 1, 1).expand(256, 3, 9, 11)
        frame = tools.picture(CODED, batch=256, size=(9, 11), keys=tuple(map(str, range(256))))
        after = tools.run_stage("jpeg", replace(frame, pixels=grey), {"quality": 75})
        assert torch.equal(after.pixels, grey)

    @settings(max_examples=20)
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 100), st.sampled_from(sorted(SAMPLINGS)))
    def test_any_size_any_quality(self, tools, height, width, quality, subsampling):
        frame = tools.picture(CODED, batch=1, size=(height, width))
        after = tools.run_stage("jpeg", frame, {"quality": quality, "subsampling": subsampling})
        assert after.pixels.shape == frame.pixels.shape
        assert after.pixels.min() >= 0
        assert after.pixels.max() <= 1

    def test_each_sample_has_its_own_quality(self, tools, photos):
        frame = coded(tools, photos["chelsea"][:64, :64])
        frame = replace(frame, pixels=frame.pixels.expand(6, -1, -1, -1), keys=tuple("abcdef"))
        outcome = tools.chain([{"jpeg": {"quality": {"randint": [5, 95]}}}]).run(frame)
        qualities = [values["jpeg"]["quality"] for values in outcome.values]
        assert len(set(qualities)) > 1
        for i, quality in enumerate(qualities):
            np.testing.assert_array_equal(codes(outcome.frame)[i], again(photos["chelsea"][:64, :64], quality))

    def test_tiles_of_8_are_independent_without_subsampling(self, photos):
        image = photos["coffee"][:64, :80]
        whole = again(image, 40, "4:4:4")
        np.testing.assert_array_equal(again(np.ascontiguousarray(image[16:40, 8:72]), 40, "4:4:4"), whole[16:40, 8:72])

    def test_signal_and_gradient(self, tools):
        frame = tools.picture(CODED, size=(8, 8))
        x = frame.pixels.clone().requires_grad_()
        after = tools.run_stage("jpeg", replace(frame, pixels=x))
        assert after.signal == CODED.changed({"bit_depth": 8})
        assert not after.pixels.requires_grad
        assert not registry.load("jpeg", *registry.STAGE_GROUPS).differentiable


class TestLoss:
    @pytest.mark.parametrize("name", PHOTOS)
    @pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
    def test_the_error_falls_with_quality(self, photos, name, subsampling):
        image = np.ascontiguousarray(photos[name][:256, :256])
        errors = [-psnr(again(image, quality, subsampling), image) for quality in range(5, 101, 5)]
        assert errors == sorted(errors, reverse=True)

    @pytest.mark.parametrize("name", PHOTOS)
    @pytest.mark.parametrize(("quality", "subsampling"), [(75, "4:4:4"), (75, "4:2:0"), (95, "4:2:0")])
    def test_a_second_generation_changes_little_but_something(self, photos, name, quality, subsampling):
        first = again(photos[name], quality, subsampling)
        second = again(first, quality, subsampling)
        assert (second != first).any()
        assert psnr(second, first) > psnr(first, photos[name]) + 6
        assert (second != first).mean() < 0.5

    @pytest.mark.parametrize("name", PHOTOS)
    def test_at_the_best_quality_hardly_anything_is_lost(self, photos, name):
        assert psnr(again(photos[name], 100, "4:4:4"), photos[name]) > 45
        assert psnr(again(photos[name], 10), photos[name]) < 35


@pytest.mark.parametrize(
    "params",
    [
        {"quality": 0},
        {"quality": 101},
        {"quality": 75.5},
        {"quality": {"randint": [0, 30]}},
        {"subsampling": "4:1:1"},
    ],
)
def test_parameters_out_of_bounds(tools, params):
    with pytest.raises(ParameterFaults, match=r"quality|subsampling"):
        tools.chain([{"jpeg": params}])
