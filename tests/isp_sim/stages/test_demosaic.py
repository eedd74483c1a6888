from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from isp_sim import registry
from isp_sim.frame import Move
from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import State
from isp_sim.signal import Signal
from isp_sim.stages.mosaic import mosaic

CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
PHASES = ("RGGB", "GRBG", "GBRG", "BGGR")
METHODS = ("bilinear", "malvar2004")
HALO = {"bilinear": 1, "malvar2004": 2}

every_method = pytest.mark.parametrize("method", METHODS)
every_phase = pytest.mark.parametrize("phase", PHASES)
sizes = st.tuples(st.integers(2, 14), st.integers(2, 14))


def bayer(phase):
    return CAMERA.changed({"layout": "mosaic", "cfa": phase})


def demosaic(tools, frame, method):
    return tools.run_stage("demosaic", frame, {"method": method})


def of(frame, pixels):
    """A frame like another with these pixels (H, W)."""
    return replace(frame, pixels=torch.as_tensor(pixels).reshape(1, 1, *pixels.shape[-2:]), keys=("a",))


def interior(pixels, halo):
    return pixels[..., halo:-halo, halo:-halo]


class TestEngine:
    @every_method
    @every_phase
    def test_laws(self, tools, method, phase):
        tools.assert_engine_laws("demosaic", tools.picture(bayer(phase), low=-1, high=2), {"method": method})

    def test_a_method_drawn_for_each_sample(self, tools):
        frame = tools.picture(bayer("RGGB"), batch=8, size=(13, 11))
        params = {"method": {"choice": list(METHODS)}}
        tools.assert_engine_laws("demosaic", frame, params)
        outcome = tools.chain([{"demosaic": params}]).run(frame)
        drawn = [values["demosaic"]["method"] for values in outcome.values]
        assert set(drawn) == set(METHODS)
        for i, method in enumerate(drawn):
            tools.assert_same_frame(demosaic(tools, frame.select([i]), method), outcome.frame.select([i]))

    @every_method
    def test_gradient(self, tools, method):
        tools.assert_gradient("demosaic", tools.picture(bayer("GBRG"), batch=1, size=(5, 4)), {"method": method})

    @every_method
    def test_precision(self, tools, method):
        frame = tools.picture(bayer("BGGR"), dtype=torch.float64)
        tools.assert_precision("demosaic", frame, {"method": method}, bound=1e-6)

    def test_signal(self, tools):
        after = demosaic(tools, tools.picture(bayer("GRBG"), size=(4, 4)), "bilinear")
        assert after.signal == CAMERA
        assert after.pixels.shape == (3, 3, 4, 4)


class TestConstants:
    """A coloured flat field: a grey one hides a border that breaks the phase."""

    @every_method
    @settings(max_examples=100)
    @given(st.sampled_from(PHASES), sizes, st.tuples(*[st.floats(-4, 4, width=32)] * 3))
    def test_a_coloured_flat_is_exact_to_the_last_bit_border_included(self, tools, method, phase, size, colour):
        for dtype in (torch.float32, torch.float64):
            flat = torch.tensor(colour, dtype=dtype).reshape(1, 3, 1, 1).expand(1, 3, *size)
            frame = tools.picture(bayer(phase), batch=1, size=size, dtype=dtype)
            after = demosaic(tools, replace(frame, pixels=mosaic(flat, phase)), method)
            assert torch.equal(after.pixels, flat)

    @every_method
    @every_phase
    @pytest.mark.parametrize("size", [(2, 2), (2, 3), (3, 2), (31, 17)])
    def test_awkward_numbers_at_awkward_sizes(self, tools, method, phase, size):
        flat = torch.tensor([0.1, 0.7, 1 / 3]).reshape(1, 3, 1, 1).expand(1, 3, *size)
        frame = tools.picture(bayer(phase), batch=1, size=size)
        assert torch.equal(demosaic(tools, replace(frame, pixels=mosaic(flat, phase)), method).pixels, flat)


class TestSamples:
    @every_method
    @given(st.sampled_from(PHASES), sizes, st.integers(0, 99))
    def test_mosaic_of_demosaic_is_the_mosaic(self, tools, method, phase, size, seed):
        frame = tools.picture(bayer(phase), batch=2, size=size, seed=seed, low=-1, high=2)
        assert torch.equal(mosaic(demosaic(tools, frame, method).pixels, phase), frame.pixels)


class TestLinearity:
    @every_method
    @every_phase
    @pytest.mark.parametrize("size", [(12, 16), (11, 13)])
    def test_a_ramp_of_its_own_for_each_channel_is_exact_in_the_interior(self, tools, method, phase, size):
        y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in size), indexing="ij")
        # whole numbers, so that every sum is exact and equality can be asked for
        ramps = torch.stack([5 * x - 3 * y + 7, -2 * x + 9 * y, 4 * x + y - 20])[None]
        frame = tools.picture(bayer(phase), batch=1, size=size, dtype=torch.float64)
        after = demosaic(tools, replace(frame, pixels=mosaic(ramps, phase)), method).pixels
        assert torch.equal(interior(after, HALO[method]), interior(ramps, HALO[method]))

    @every_method
    @given(st.integers(-8, 8), st.sampled_from(PHASES))
    def test_homogeneous_bit_for_bit_by_powers_of_two(self, tools, method, power, phase):
        frame = tools.picture(bayer(phase), size=(7, 9))
        scaled = replace(frame, pixels=frame.pixels * 2.0**power)
        assert torch.equal(demosaic(tools, scaled, method).pixels, demosaic(tools, frame, method).pixels * 2.0**power)

    @every_method
    @given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5))
    def test_linear_and_equivariant_to_an_offset(self, tools, method, a, b, offset):
        first, second = (tools.picture(bayer("GRBG"), size=(7, 9), dtype=torch.float64, seed=s) for s in (1, 2))
        mixed = replace(first, pixels=a * first.pixels + b * second.pixels + offset)
        expected = a * demosaic(tools, first, method).pixels + b * demosaic(tools, second, method).pixels + offset
        assert (demosaic(tools, mixed, method).pixels - expected).abs().max() < 1e-13

    @every_method
    def test_textures_are_not_exact(self, tools, method):
        # so that the tests above can't be met by something that knows the picture
        texture = torch.rand(1, 1, 16, 16, dtype=torch.float64).expand(1, 3, 16, 16)
        frame = tools.picture(bayer("RGGB"), batch=1, size=(16, 16), dtype=torch.float64)
        after = demosaic(tools, replace(frame, pixels=mosaic(texture, "RGGB")), method).pixels
        assert (after - texture).abs().mean() > 0.05


class TestMoves:
    """The border is mirrored about the outermost samples, so what holds inside holds everywhere."""

    @every_method
    @given(
        st.sampled_from(PHASES),
        sizes,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["float32", "float64"]),
    )
    def test_mirrors_and_transpose_bit_for_bit(self, tools, method, phase, size, transpose, mirror_x, mirror_y, dtype):
        frame = tools.picture(bayer(phase), batch=2, size=size, dtype=getattr(torch, dtype))
        move = Move(size, transpose, mirror_x, mirror_y)
        moved_first = demosaic(tools, frame.moved(move), method)
        moved_after = demosaic(tools, frame, method).moved(move)
        assert torch.equal(moved_first.pixels, moved_after.pixels)

    def test_the_phases_that_mirrors_and_transpose_lead_to(self, tools):
        # against tables, so that a wrong phase and a wrong demosaic can't agree with each other
        def phase_after(phase, size, **move):
            return tools.picture(bayer(phase), batch=1, size=size).moved(Move(size, **move)).signal.cfa

        mirrored = {"RGGB": "GRBG", "GRBG": "RGGB", "BGGR": "GBRG", "GBRG": "BGGR"}
        flipped = {"RGGB": "GBRG", "GBRG": "RGGB", "BGGR": "GRBG", "GRBG": "BGGR"}
        turned = {"RGGB": "RGGB", "BGGR": "BGGR", "GRBG": "GBRG", "GBRG": "GRBG"}
        for phase in PHASES:
            assert phase_after(phase, (4, 6), mirror_x=True) == mirrored[phase]
            assert phase_after(phase, (4, 7), mirror_x=True) == phase
            assert phase_after(phase, (4, 6), mirror_y=True) == flipped[phase]
            assert phase_after(phase, (5, 6), mirror_y=True) == phase
            assert phase_after(phase, (4, 6), transpose=True) == turned[phase]

    @every_method
    @every_phase
    def test_red_and_blue_are_alike(self, tools, method, phase):
        frame = tools.picture(bayer(phase), size=(9, 12))
        swapped = bayer(phase.translate(str.maketrans("RB", "BR")))
        after = demosaic(tools, replace(frame, signal=swapped), method).pixels
        assert torch.equal(after.flip(1), demosaic(tools, frame, method).pixels)

    @every_method
    @given(st.sampled_from(PHASES), st.integers(0, 6), st.integers(0, 6), st.integers(5, 9), st.integers(5, 9))
    def test_a_tile_with_its_halo_is_a_tile_of_the_whole(self, tools, method, phase, top, left, height, width):
        """At any place, odd ones too: the phase moves with the tile. Even places are the translation by 2."""
        halo = HALO[method]
        frame = tools.picture(bayer(phase), size=(17, 19))
        whole = demosaic(tools, frame, method).pixels
        tile = demosaic(tools, frame.crop(top, left, height, width), method).pixels
        inside = whole[..., top : top + height, left : left + width]
        assert torch.equal(interior(tile, halo), interior(inside, halo))
        if (top, left) == (0, 0):  # the picture's own border is its tile's border
            assert torch.equal(tile[..., : height - halo, : width - halo], inside[..., : height - halo, : width - halo])

    @every_method
    def test_less_than_the_halo_is_not_enough(self, tools, method):
        frame = tools.picture(bayer("RGGB"), size=(17, 19))
        halo = HALO[method] - 1
        tile = demosaic(tools, frame.crop(4, 4, 8, 8), method).pixels
        inside = demosaic(tools, frame, method).pixels[..., 4:12, 4:12]
        assert not torch.equal(
            tile[..., halo : 8 - halo, halo : 8 - halo], inside[..., halo : 8 - halo, halo : 8 - halo]
        )


class TestRange:
    @given(st.sampled_from(PHASES), sizes, st.integers(0, 99))
    def test_bilinear_stays_within_each_channel_s_samples(self, tools, phase, size, seed):
        frame = tools.picture(bayer(phase), batch=1, size=size, seed=seed)
        after = demosaic(tools, frame, "bilinear").pixels
        for channel, letter in enumerate("RGB"):
            sites = mosaic(torch.eye(3)[channel].reshape(1, 3, 1, 1).expand(1, 3, *size), phase).bool()
            samples = frame.pixels[sites]
            assert letter in phase
            assert samples.min() <= after[:, channel].min()
            assert after[:, channel].max() <= samples.max()

    def test_malvar_may_overshoot_and_is_not_clipped(self, tools):
        step = torch.zeros(12, 12)
        step[:, 6:] = 1
        after = demosaic(tools, of(tools.picture(bayer("RGGB"), batch=1, size=(12, 12)), step), "malvar2004").pixels
        assert after.min() < -0.05
        assert after.max() > 1.05


def masks(phase, size):
    return {c: mosaic(torch.eye(3)[i].reshape(1, 3, 1, 1).expand(1, 3, *size), phase)[0, 0].numpy().astype(bool)
            for i, c in enumerate("RGB")}  # fmt: skip


class TestOracles:
    """Against convolution by scipy, whose mode "mirror" is the mirror about the outermost samples."""

    G_AT_COLOUR = (
        np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
    )
    ALONG_ROW = (
        np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
    )
    AT_OPPOSITE = (
        np.array([[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]) / 8
    )
    """The kernels of Malvar, He and Cutler 2004, Figure 2."""

    @every_phase
    @pytest.mark.parametrize("size", [(14, 18), (13, 15)])
    def test_malvar2004(self, tools, phase, size):
        frame = tools.picture(bayer(phase), batch=1, size=size, dtype=torch.float64, low=-1, high=2)
        after = demosaic(tools, frame, "malvar2004").pixels[0].numpy()
        m = frame.pixels[0, 0].numpy()
        kernels = {
            "green": self.G_AT_COLOUR,
            "row": self.ALONG_ROW,
            "column": self.ALONG_ROW.T,
            "opposite": self.AT_OPPOSITE,
        }
        filtered = {name: ndimage.convolve(m, kernel, mode="mirror") for name, kernel in kernels.items()}
        site = masks(phase, size)
        rows_with = {c: site[c].any(axis=1)[:, None] & np.ones(size, bool) for c in "RB"}
        expected = np.empty((3, *size))
        for channel, colour, other in ((0, "R", "B"), (2, "B", "R")):
            expected[channel] = np.select(
                [site[colour], site[other], site["G"] & rows_with[colour], site["G"] & ~rows_with[colour]],
                [m, filtered["opposite"], filtered["row"], filtered["column"]],
            )
        expected[1] = np.where(site["G"], m, filtered["green"])
        np.testing.assert_allclose(after, expected, atol=1e-14)

    @every_phase
    @pytest.mark.parametrize("size", [(14, 18), (13, 15)])
    def test_bilinear(self, tools, phase, size):
        frame = tools.picture(bayer(phase), batch=1, size=size, dtype=torch.float64, low=-1, high=2)
        after = demosaic(tools, frame, "bilinear").pixels[0].numpy()
        cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
        square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
        for channel, (colour, kernel) in enumerate((("R", square), ("G", cross), ("B", square))):
            sparse = np.where(masks(phase, size)[colour], frame.pixels[0, 0].numpy(), 0)
            np.testing.assert_allclose(after[channel], ndimage.convolve(sparse, kernel, mode="mirror"), atol=1e-14)


class TestRefusals:
    def test_an_unknown_method_offers_the_nearest(self, tools):
        with pytest.raises(ParameterFaults, match="did you mean 'malvar2004'"):
            tools.chain([{"demosaic": {"method": "malvar2014"}}])

    @every_method
    def test_a_pattern_that_is_no_bayer(self, tools, method):
        with pytest.raises(ValueError, match=f"{method} does not know the CFA RG/GB/BG"):
            demosaic(tools, tools.picture(bayer("RG/GB/BG"), size=(6, 6)), method)

    @pytest.mark.parametrize("methods", [["directional_kriging", "bilinear"], ["bilinear", "directional_kriging"]])
    def test_any_of_several_drawn_methods(self, tools, methods):
        """Whichever stands first: a sample must not find out by chance."""
        chain = tools.chain([{"demosaic": {"method": {"choice": methods}}}])
        (problem,) = chain.check(State(bayer("xtrans")))[1]
        assert "by bilinear does not know the CFA GBGGRG" in problem.message
        assert not chain.check(State(bayer("RGGB")))[1]

    @every_method
    @pytest.mark.parametrize("size", [(1, 4), (4, 1), (1, 1)])
    def test_a_picture_without_a_full_period(self, tools, method, size):
        with pytest.raises(ValueError, match="too small"):
            demosaic(tools, tools.picture(bayer("RGGB"), size=size), method)

    @every_method
    def test_the_promises_of_each_algorithm_are_those_tested_here(self, method):
        algorithm = registry.load(method, "isp_sim.demosaicers")
        assert algorithm.linear
        assert algorithm.preserves_samples
        assert algorithm.halo == HALO[method]
        assert [phase for phase in PHASES if algorithm.accepts(phase)] == list(PHASES)
