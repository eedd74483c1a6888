import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim import filters

sizes = st.tuples(st.integers(1, 13), st.integers(1, 13))
sigmas = st.floats(0, 5, width=32)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 2, shape)).to(dtype)


def seeded():
    return torch.Generator().manual_seed(0)


def planes(function, x):
    """A function of one plane, applied to each of a batch."""
    return np.stack([[function(plane) for plane in sample] for sample in x.numpy()])


class TestBorders:
    @given(st.integers(1, 9), st.integers(0, 20))
    def test_indices_are_those_of_numpys_reflection(self, length, reach):
        expected = np.pad(np.arange(length), reach, mode="reflect")
        assert filters.mirrored(length, reach, torch.device("cpu")).tolist() == expected.tolist()

    @given(sizes, st.integers(0, 9), st.integers(0, 9))
    def test_pictures_are_extended_on_each_side(self, size, rows, columns):
        x = noise(2, 3, *size)
        expected = np.pad(x.numpy(), [(0, 0), (0, 0), (rows, rows), (columns, columns)], mode="reflect")
        np.testing.assert_array_equal(filters.extend(x, rows, columns), expected)


class TestGaussian:
    @given(sizes, sigmas, sigmas, st.sampled_from([2.5, 4.0]))
    def test_is_that_of_scipy(self, size, first, second, truncate):
        from scipy import ndimage

        x = noise(2, 2, *size)
        found = filters.gaussian(x, torch.tensor([first, second]).reshape(2, 1, 1, 1), truncate)
        for i, sigma in enumerate((first, second)):
            expected = planes(
                lambda p, s=sigma: ndimage.gaussian_filter(p, s, mode="mirror", truncate=truncate) if s else p,
                x[i : i + 1],
            )
            np.testing.assert_allclose(found[i : i + 1], expected, atol=2e-15)

    def test_float32_is_right_to_its_last_bits(self):
        x, sigma = noise(1, 3, 61, 67), torch.tensor([3.0])
        found = filters.gaussian(x.float(), sigma)
        assert found.dtype == torch.float32
        assert (found - filters.gaussian(x.float().double(), sigma)).abs().max() < 2**-21  # of values up to 2

    @given(sigmas, st.floats(-3, 3, width=32))
    def test_a_constant_stays_to_the_bit(self, sigma, value):
        for dtype in (torch.float32, torch.float64):
            x = torch.full((1, 1, 9, 11), value, dtype=dtype)
            assert torch.equal(filters.gaussian(x, torch.tensor([sigma])), x)

    def test_0_is_no_filter(self):
        x = noise(2, 1, 9, 11)
        found = filters.gaussian(x, torch.tensor([0.0, 1.0]))
        assert torch.equal(found[0], x[0])
        assert not torch.equal(found[1], x[1])

    @given(sigmas)
    def test_flips_commute_to_the_bit(self, sigma):
        x, sigma = noise(1, 2, 13, 9, dtype=torch.float32), torch.tensor([sigma])
        for axis in (-1, -2):
            assert torch.equal(filters.gaussian(x.flip(axis), sigma), filters.gaussian(x, sigma).flip(axis))

    @given(sigmas)
    def test_taps_sum_to_1(self, sigma):
        taps = filters.gaussian_weights(torch.tensor([sigma]))[0]
        assert len(taps) == filters.gaussian_reach(sigma)
        assert (taps > 0).all() or sigma < 0.2  # below, the first tap underflows
        assert (taps[1:] <= taps[:-1]).all()
        assert 2 * taps.sum().item() < 1

    def test_samples_of_different_reach_do_not_disturb_each_other(self):
        x, sigma = noise(3, 3, 31, 33, dtype=torch.float32), torch.tensor([0.4, 5.0, 1.1])
        together = filters.gaussian(x, sigma)
        for i in range(3):
            assert torch.equal(filters.gaussian(x[i : i + 1], sigma[i : i + 1]), together[i : i + 1])

    def test_down_and_across_may_differ(self):
        from scipy import ndimage

        x = noise(1, 1, 21, 23)
        down, across = (filters.gaussian_weights(torch.tensor([s])) for s in (2.0, 0.75))
        expected = planes(lambda p: ndimage.gaussian_filter(p, (2.0, 0.75), mode="mirror"), x)
        np.testing.assert_allclose(filters.symmetric(x, down, across), expected, atol=2e-15)


class TestConvolution:
    @given(sizes, st.sampled_from([(1, 1), (3, 1), (1, 5), (5, 7), (9, 3)]), st.integers(0, 99))
    def test_is_that_of_scipy(self, size, sides, seed):
        from scipy import ndimage

        x = noise(2, 2, *size)
        kernels = np.random.default_rng(seed).uniform(0, 1, (2, *sides)) * (
            np.random.default_rng(seed + 1).random((2, *sides)) < 0.7
        )
        kernels[:, sides[0] // 2, sides[1] // 2] += 1 - kernels.sum(axis=(1, 2))
        found = filters.convolve(x, torch.from_numpy(kernels))
        for i in range(2):
            expected = planes(lambda p, k=kernels[i]: ndimage.convolve(p, k, mode="mirror"), x[i : i + 1])
            np.testing.assert_allclose(found[i : i + 1], expected, atol=1e-13)

    def test_at_once_is_one_by_one(self):
        """As on other devices than the CPU, with zeros where only others have taps."""
        x, kernels = noise(3, 2, 9, 11), torch.from_numpy(np.random.default_rng(0).uniform(0, 0.2, (3, 3, 5)))
        kernels[0, :2] = kernels[1, :, 3:] = 0
        assert torch.equal(filters._convolved(x, kernels), filters.convolve(x, kernels))

    def test_samples_do_not_disturb_each_other(self):
        x = noise(2, 1, 9, 11, dtype=torch.float32)
        x[0, 0, 3, 3] = -0.0
        kernels = torch.zeros(2, 3, 3, dtype=torch.float64)
        kernels[:, 1, 1] = 1
        kernels[1, 0, 2] = 0.5
        assert filters.convolve(x, kernels)[0].numpy().tobytes() == x[0].numpy().tobytes()


class TestSampled:
    """Places between pixels have SciPy as their oracle in the tests of `lens_distortion`."""

    @given(sizes, st.sampled_from(["bicubic", "bilinear"]))
    def test_the_centre_of_a_pixel_is_the_pixel_to_the_bit(self, size, kernel):
        x = noise(2, 2, *size, dtype=torch.float32)
        y, across = torch.meshgrid(*(torch.arange(n).double() + 0.5 for n in size), indexing="ij")
        assert torch.equal(filters.sampled(x, torch.stack([across, y])[None], kernel), x)

    def test_beyond_the_edge_are_the_outermost_pixels(self):
        x = noise(1, 1, 4, 5)
        places = torch.tensor([[-7.0, 2.5, 99.0], [-2.0, -50.0, 3.5]], dtype=torch.float64).reshape(1, 2, 1, 3)
        expected = [x[0, 0, i, j].item() for i, j in ((0, 0), (0, 2), (3, 4))]
        for kernel in ("bicubic", "bilinear"):
            assert filters.sampled(x, places, kernel).flatten().tolist() == expected

    def test_pieces_are_the_whole(self, monkeypatch):
        x, places = noise(2, 3, 31, 33), 40 * torch.rand(1, 2, 17, 19, dtype=torch.float64, generator=seeded())
        whole = filters.sampled(x, places)
        monkeypatch.setattr(filters, "BLOCK", 1 << 10)
        assert torch.equal(filters.sampled(x, places), whole)


class TestPieces:
    """Large pictures are computed in strips, and batches one by one, where that is quicker; nobody may notice."""

    @pytest.mark.parametrize(
        "filtered",
        [
            lambda x: filters.gaussian(x, torch.tensor([2.0, 3.0])),
            lambda x: filters.convolve(x, torch.linspace(0, 1, 42, dtype=torch.float64).reshape(2, 7, 3) / 25),
            lambda x: filters.median(x, 5),
        ],
        ids=["gaussian", "convolution", "median"],
    )
    def test_strips_give_the_bits_of_the_whole(self, filtered, monkeypatch):
        monkeypatch.setattr(filters, "BLOCK", 1 << 15)
        x = noise(2, 3, 130, 133, dtype=torch.float32)
        assert len(list(filters.strips(x, 12))) > 1
        in_strips = filtered(x)
        whole = filtered(x.clone().requires_grad_())
        assert torch.equal(in_strips, whole)

    @given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 40))
    def test_strips_cover_each_row_once(self, height, width, context):
        x = torch.empty(1, 3, height, width)
        found = list(filters.strips(x, context))
        assert [row for strip in found for row in range(strip.start, strip.stop)] == list(range(height))
        for strip in found:
            assert strip.first == max(0, strip.start - context)
            assert strip.last == min(height, strip.stop + context)


@given(st.integers(1, 20), st.integers(0, 10))
def test_sums_of_runs(length, more):
    x = torch.arange(2.0 * (length + more), dtype=torch.float64).reshape(2, -1)
    expected = np.lib.stride_tricks.sliding_window_view(x.numpy(), length, axis=1).sum(-1)
    np.testing.assert_array_equal(filters.run_sums(x, 1, length), expected)
    np.testing.assert_array_equal(filters.run_sums(x.T, 0, length), expected.T)


class TestWeightedMean:
    @pytest.mark.parametrize("disc", [False, True])
    @pytest.mark.parametrize("radius", [1, 2, 5])
    def test_half_of_the_offsets(self, radius, disc):
        half = filters.half_offsets(radius, disc)
        every = [(0, 0), *half, *((-y, -x) for y, x in half)]
        expected = [
            (y, x)
            for y, x in itertools.product(range(-radius, radius + 1), repeat=2)
            if not disc or y * y + x * x <= radius * radius
        ]
        assert sorted(every) == expected

    @given(sizes)
    def test_equal_weights_give_the_mean_of_the_samples_that_there_are(self, size):
        x = noise(1, 2, *size)
        found = filters.weighted_mean(x, filters.half_offsets(2), lambda i, d: torch.ones_like(d[:, :1]))
        for y, dx in itertools.product(range(size[0]), range(size[1])):
            around = x[0, :, max(0, y - 2) : y + 3, max(0, dx - 2) : dx + 3]
            np.testing.assert_allclose(found[0, :, y, dx], around.mean(dim=(-1, -2)), atol=1e-14)


class TestMedian:
    @pytest.mark.parametrize("size", [3, 5])
    @given(sizes, st.integers(0, 5))
    @settings(max_examples=20)
    def test_is_that_of_scipy_to_the_bit(self, size, shape, seed):
        from scipy import ndimage

        x = noise(2, 2, *shape, seed=seed, dtype=torch.float32)
        x = torch.where(x > 1, x.round(), x)  # equal values too
        expected = planes(lambda p: ndimage.median_filter(p, size, mode="mirror"), x)
        np.testing.assert_array_equal(filters.median(x, size), expected)

    @pytest.mark.parametrize("size", filters.SORTERS)
    def test_the_networks_sort(self, size):
        """A network that sorts all sequences of 0 and 1 sorts everything (Knuth's principle)."""
        for values in itertools.product((0, 1), repeat=size):
            ordered = list(values)
            for i, j in filters.SORTERS[size]:
                ordered[i], ordered[j] = min(ordered[i], ordered[j]), max(ordered[i], ordered[j])
            assert ordered == sorted(values)

    @pytest.mark.parametrize("size", [3, 5])
    def test_turns_and_flips_commute_to_the_bit(self, size):
        x = noise(1, 1, 13, 9)
        found = filters.median(x, size)
        assert torch.equal(filters.median(x.transpose(-1, -2), size), found.transpose(-1, -2))
        assert torch.equal(filters.median(x.flip(-1), size), found.flip(-1))

    def test_the_gradient_goes_to_the_median(self):
        x = noise(1, 1, 1, 3).requires_grad_()
        filters.median(x, 3)[..., 1].sum().backward()
        assert x.grad.sum() == 1
        assert int((x.grad != 0).sum()) == 1
