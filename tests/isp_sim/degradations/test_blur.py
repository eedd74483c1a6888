from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.degradations import blur
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear", reference="scene")
NAMES = ["gaussian_blur", "defocus_blur", "motion_blur", "kernel_blur"]
DRAWN = {
    "gaussian_blur": {"sigma": {"uniform": [0, 3]}},
    "defocus_blur": {"radius": {"uniform": [0, 5]}},
    "motion_blur": {
        "length": {"uniform": [0, 12]},
        "angle": {"uniform": [0, 180]},
        "wander": {"choice": [0, 40]},
    },
    "kernel_blur": {"kernel": [[0, 2, 1], [0.5, 3, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0.25]]},
}
any_step = st.one_of(
    st.tuples(st.just("gaussian_blur"), st.fixed_dictionaries({"sigma": st.floats(0, 3.5)})),
    st.tuples(st.just("defocus_blur"), st.fixed_dictionaries({"radius": st.floats(0, 6)})),
    st.tuples(
        st.just("motion_blur"),
        st.fixed_dictionaries(
            {"length": st.floats(0, 12), "angle": st.floats(-360, 360), "wander": st.sampled_from([0.0, 20.0, 90.0])}
        ),
    ),
    st.tuples(
        st.just("kernel_blur"),
        st.tuples(st.sampled_from([1, 3, 7]), st.sampled_from([1, 3, 5]), st.integers(0, 99)).map(
            lambda drawn: {"kernel": np.random.default_rng(drawn[2]).random(drawn[:2]).tolist()}
        ),
    ),
)
NOTHING = [
    ("gaussian_blur", {"sigma": 0}),
    ("defocus_blur", {"radius": 0}),
    ("defocus_blur", {"radius": 0.5}),
    ("motion_blur", {"length": 0}),
    ("motion_blur", {"length": 0, "wander": 60}),
    ("kernel_blur", {"kernel": [[3.0]]}),
    ("kernel_blur", {"kernel": [[0, 0, 0], [0, 0.1, 0], [0, 0, 0]]}),
]
side = 31


def point(tools, dtype=torch.float64):
    """A single point in the middle of a picture."""
    frame = tools.picture(LINEAR, batch=1, size=(side, side), dtype=dtype)
    pixels = torch.zeros_like(frame.pixels)
    pixels[..., side // 2, side // 2] = 1
    return replace(frame, pixels=pixels)


def spread(tools, name, params):
    """What a stage makes of a single point, (H, W)."""
    return tools.run_stage(name, point(tools), params).pixels[0, 1].numpy()


def moments(kernel):
    """Sum, and mean and variance across and down from the middle."""
    place = np.arange(len(kernel)) - len(kernel) // 2
    total = kernel.sum()
    found = [(kernel.sum(axis=axis) * place).sum() / total for axis in (0, 1)]
    square = [(kernel.sum(axis=axis) * place**2).sum() / total - found[axis] ** 2 for axis in (0, 1)]
    return total, np.array(found), np.array(square)


@pytest.mark.parametrize("name", NAMES)
def test_engine_laws(tools, name):
    tools.assert_engine_laws(name, tools.picture(LINEAR, size=(43, 47)), DRAWN[name])


@pytest.mark.parametrize("name", NAMES)
def test_precision(tools, name):
    frame = tools.picture(LINEAR, size=(31, 33), dtype=torch.float64)
    tools.assert_precision(name, frame, DRAWN[name], bound=2**-20)


@pytest.mark.parametrize("name", NAMES)
def test_gradient(tools, name):
    tools.assert_gradient(name, tools.picture(LINEAR, batch=1, size=(2, 3)), DRAWN[name])


@pytest.mark.parametrize("name", NAMES)
def test_it_works_on_light_before_the_sensor(tools, name):
    from isp_sim.pipeline import SignalFault

    for signal in (Signal(), LINEAR.changed({"layout": "mosaic", "cfa": "RGGB"})):
        with pytest.raises(SignalFault):
            tools.run_stage(name, tools.picture(signal, size=(8, 8)))


@given(any_step)
def test_a_kernel_is_not_negative_and_sums_to_1(tools, step):
    found = spread(tools, *step)
    assert found.min() >= -1e-17
    assert found.sum() == pytest.approx(1, abs=1e-14)


@given(any_step, st.floats(0, 3, width=32))
@settings(max_examples=25)
def test_a_flat_picture_stays_to_the_bit(tools, step, value):
    for dtype in (torch.float32, torch.float64):
        frame = tools.picture(LINEAR, batch=1, size=(9, 11), dtype=dtype)
        flat = torch.full_like(frame.pixels, value)
        assert torch.equal(tools.run_stage(step[0], replace(frame, pixels=flat), step[1]).pixels, flat)


@pytest.mark.parametrize(("name", "params"), NOTHING)
def test_nothing_is_nothing_to_the_bit(tools, name, params):
    frame = tools.picture(LINEAR, low=-1, high=2)
    after = tools.run_stage(name, frame, params)
    assert tools.bits(after.pixels) == tools.bits(frame.pixels)
    assert not after.maps["blur"].any()


@given(any_step)
@settings(max_examples=25)
def test_the_mean_is_kept(tools, step):
    """Of light that does not reach the border."""
    frame = tools.picture(LINEAR, batch=1, size=(47, 49), dtype=torch.float64)
    frame.pixels[:, :, :16] = frame.pixels[:, :, -16:] = 0
    frame.pixels[..., :16] = frame.pixels[..., -16:] = 0
    after = tools.run_stage(step[0], frame, step[1]).pixels
    np.testing.assert_allclose(after.mean(dim=(2, 3)), frame.pixels.mean(dim=(2, 3)), rtol=1e-13)


@given(any_step)
@settings(max_examples=25)
def test_linear_and_within_the_range(tools, step):
    a, b = (tools.picture(LINEAR, batch=1, size=(13, 15), dtype=torch.float64, seed=seed) for seed in (1, 2))
    blurred = lambda x: tools.run_stage(step[0], replace(a, pixels=x), step[1]).pixels  # noqa: E731
    both = blurred(2 * a.pixels - 3 * b.pixels)
    np.testing.assert_allclose(both, 2 * blurred(a.pixels) - 3 * blurred(b.pixels), atol=1e-13)
    assert blurred(a.pixels).min() >= a.pixels.min() - 1e-15
    assert blurred(a.pixels).max() <= a.pixels.max() + 1e-15


@given(any_step)
@settings(max_examples=15)
def test_is_scipys_convolution_with_what_a_point_becomes(tools, step):
    from scipy import ndimage

    frame = tools.picture(LINEAR, batch=1, size=(21, 26), dtype=torch.float64)
    found = tools.run_stage(step[0], frame, step[1]).pixels[0]
    kernel = spread(tools, *step)
    for channel in range(3):
        expected = ndimage.convolve(frame.pixels[0, channel].numpy(), kernel, mode="mirror")
        np.testing.assert_allclose(found[channel], expected, atol=1e-14)


@given(any_step)
def test_the_map_is_the_standard_deviation_of_the_kernel(tools, step):
    after = tools.run_stage(step[0], point(tools), step[1])
    kernel = after.pixels[0, 0].numpy()
    expected = np.sqrt(moments(kernel)[2].mean())
    assert after.maps["blur"].shape == (1, 1, side, side)
    np.testing.assert_allclose(after.maps["blur"], expected, atol=1e-6)


@given(any_step, any_step)
@settings(max_examples=20)
def test_the_map_is_of_all_blur_so_far(tools, first, second):
    # the path of a motion depends on the id
    both = tools.run_chain([{first[0]: first[1]}, {second[0]: second[1]}], point(tools), ids=["a", "b"])
    alone = [
        tools.run_stage(name, point(tools), params, id=id).maps["blur"]
        for (name, params), id in ((first, "a"), (second, "b"))
    ]
    np.testing.assert_allclose(both.maps["blur"] ** 2, alone[0] ** 2 + alone[1] ** 2, atol=1e-12)


class TestGaussian:
    def test_its_map_is_sigma(self, tools):
        for sigma in (0.7, 1.5, 3.0):
            blurred = tools.run_stage("gaussian_blur", point(tools), {"sigma": sigma})
            np.testing.assert_allclose(blurred.maps["blur"], sigma, rtol=2e-3)  # it ends after 4 sigma

    def test_each_sample_has_its_own(self, tools):
        from scipy import ndimage

        frame = tools.picture(LINEAR, size=(21, 23), dtype=torch.float64)
        outcome = tools.chain([{"gaussian_blur": {"sigma": {"uniform": [0.5, 3]}}}]).run(frame)
        sigmas = [values["gaussian_blur"]["sigma"] for values in outcome.values]
        assert len(set(sigmas)) == 3
        for i, sigma in enumerate(sigmas):
            expected = ndimage.gaussian_filter(frame.pixels[i].numpy(), (0, sigma, sigma), mode="mirror")
            np.testing.assert_allclose(outcome.frame.pixels[i], expected, atol=1e-14)


class TestDefocus:
    @given(st.floats(0, 8))
    def test_a_pixel_counts_by_what_the_disc_covers(self, radius):
        fine = 64
        kernel = blur.disc(radius)
        reach = len(kernel) // 2
        place = (np.arange(len(kernel) * fine) + 0.5) / fine - 0.5 - reach
        inside = place[:, None] ** 2 + place**2 <= radius**2
        counted = inside.reshape(len(kernel), fine, len(kernel), fine).mean(axis=(1, 3))
        if radius <= 0.5:
            assert kernel.tolist() == [[1]]
        else:
            np.testing.assert_allclose(kernel, counted / (np.pi * radius**2), atol=0.04 / radius**2)

    @given(st.floats(0.5, 20))
    def test_turns_and_flips_change_no_bit(self, radius):
        kernel = blur.disc(radius)
        for turned in (kernel[::-1], kernel[:, ::-1], kernel.T):
            assert np.array_equal(turned, kernel)

    @given(st.floats(0.75, 20))
    def test_the_area_is_that_of_the_disc(self, radius):
        """The middle is covered in full, so its share is 1 over the area."""
        kernel = blur.disc(radius)
        assert kernel[len(kernel) // 2, len(kernel) // 2] * np.pi * radius**2 == pytest.approx(1, rel=1e-12)
        assert (kernel[0] > 0).any()

    def test_its_map_is_half_the_radius(self, tools):
        found = tools.run_stage("defocus_blur", point(tools), {"radius": 6}).maps["blur"]
        np.testing.assert_allclose(found**2, 3.0**2 + 1 / 12, rtol=5e-3)  # about a pixel's own variance on top


class TestMotion:
    @pytest.mark.parametrize(
        ("length", "expected"),
        [(1, [1 / 8, 3 / 4, 1 / 8]), (2, [1 / 4, 1 / 2, 1 / 4]), (4, [1 / 8, 1 / 4, 1 / 4, 1 / 4, 1 / 8])],
    )
    @pytest.mark.parametrize("angle", [0, 90, 180, -90, 360])
    def test_along_an_axis_by_hand(self, tools, length, expected, angle):
        found = spread(tools, "motion_blur", {"length": length, "angle": angle})
        line = found[:, side // 2] if angle % 180 else found[side // 2]
        middle = line[side // 2 - len(expected) // 2 :][: len(expected)]
        np.testing.assert_allclose(middle, expected, atol=1e-15)
        assert np.count_nonzero(found) == len(expected)

    @given(st.floats(0.1, 14), st.floats(-180, 180))
    def test_the_line_has_its_length_and_direction(self, tools, length, angle):
        kernel = spread(tools, "motion_blur", {"length": length, "angle": angle})
        place = np.arange(side) - side // 2
        xx, yy = (kernel.sum(0) * place**2).sum(), (kernel.sum(1) * place**2).sum()
        xy = (kernel * place[:, None] * place).sum()
        # what moves along a line has variance length^2 / 12 along it; linear interpolation adds to xx and yy alone
        line = length**2 / 12 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        assert xy == pytest.approx(-line[0] * np.sin(np.radians(angle)), abs=1e-9)
        assert line[0] * np.cos(np.radians(angle)) - 1e-9 <= xx <= line[0] * np.cos(np.radians(angle)) + 0.25 + 1e-9
        assert line[1] * np.sin(np.radians(angle)) - 1e-9 <= yy <= line[1] * np.sin(np.radians(angle)) + 0.25 + 1e-9

    @given(st.floats(0, 14), st.floats(-180, 180), st.integers(0, 99))
    @settings(max_examples=20)
    def test_simpsons_rule_is_exact(self, length, angle, seed):
        """Against many points along the same path."""
        for wander in (0.0, 50.0):
            turns = np.random.default_rng(seed).standard_normal(blur.TURNS)
            path = blur.wandering(length, angle, wander, turns)
            reach = blur.trace_reach(length)
            exact, many = blur.trace(path, reach), 20_000
            time = (np.arange(many) + 0.5) / many * (len(path) - 1)
            x, y = (np.interp(time, np.arange(len(path)), path[:, axis])[:, None] for axis in (0, 1))
            place = np.arange(-reach, reach + 1)
            near_x, near_y = (np.maximum(1 - np.abs(place - at), 0) for at in (x, y))
            np.testing.assert_allclose(exact, near_y.T @ near_x / many, atol=2e-5)

    @given(st.floats(0, 14), st.floats(-180, 180), st.sampled_from([0.0, 20.0, 90.0, 180.0]))
    def test_the_picture_does_not_move(self, tools, length, angle, wander):
        kernel = spread(tools, "motion_blur", {"length": length, "angle": angle, "wander": wander})
        np.testing.assert_allclose(moments(kernel)[1], 0, atol=1e-9)

    @given(st.floats(0, 60), st.floats(-180, 180), st.floats(1, 180), st.integers(0, 99))
    def test_a_random_path_has_its_length_and_stays_in_reach(self, length, angle, wander, seed):
        path = blur.wandering(length, angle, wander, np.random.default_rng(seed).standard_normal(blur.TURNS))
        steps = np.hypot(*np.diff(path, axis=0).T)
        np.testing.assert_allclose(steps, length / blur.SEGMENTS, atol=1e-12)
        assert np.abs(path).max() <= length / 2

    def test_wander_is_the_standard_deviation_of_the_direction(self, tools):
        turns = np.random.default_rng(0).standard_normal((400, blur.TURNS))
        steps = np.stack([np.diff(blur.wandering(9, 30, 10, t), axis=0) for t in turns])
        direction = np.degrees(np.arctan2(-steps[..., 1], steps[..., 0]))
        # 400 chi-square numbers of few degrees of freedom
        assert np.sqrt(((direction - 30) ** 2).mean()) == pytest.approx(10, rel=0.08)
        assert direction.mean() == pytest.approx(30, abs=1e-9)

    def test_each_picture_and_view_has_a_path_of_its_own(self, tools):
        frame = point(tools)
        frame = replace(frame, pixels=frame.pixels.expand(2, -1, -1, -1), keys=("a", "b"))
        params = {"length": 12, "wander": 60}
        first = tools.run_stage("motion_blur", frame, params)
        assert not torch.equal(first.pixels[0], first.pixels[1])
        assert not torch.equal(tools.run_stage("motion_blur", frame, params, view=1).pixels, first.pixels)
        assert torch.equal(tools.run_stage("motion_blur", frame, params).pixels, first.pixels)


class TestKernel:
    def test_a_point_becomes_the_kernel(self, tools):
        kernel = np.array([[0, 0, 1, 0, 0], [0, 2, 3, 0, 0], [0.5, 0, 1, 0, 4]])
        found = spread(tools, "kernel_blur", {"kernel": kernel.tolist()})
        np.testing.assert_allclose(found[14:17, 13:18], kernel / kernel.sum(), atol=1e-16)
        assert np.count_nonzero(found) == np.count_nonzero(kernel)

    def test_one_of_several(self, tools):
        kernels = [[[1]], [[1, 1, 1]], [[1], [0], [1]]]
        frame = point(tools)
        frame = replace(frame, pixels=frame.pixels.expand(8, -1, -1, -1), keys=tuple("abcdefgh"))
        found = tools.run_stage("kernel_blur", frame, {"kernel": {"choice": kernels}}).pixels
        assert {np.count_nonzero(pixels[0]) for pixels in found} == {1, 2, 3}

    @pytest.mark.parametrize(
        ("kernel", "message"),
        [
            ([[1, 2], [3, 4]], "no middle"),
            ([[1, 2, 1], [1]], "equal length"),
            ([[0, 0, 0]], "above 0"),
            ([[-1, 3, 1]], "greater than or equal to 0"),
            ([[]], "at least 1"),
            ([[1] * 65], "at most 63"),
        ],
    )
    def test_what_is_no_kernel(self, tools, kernel, message):
        with pytest.raises(ParameterFaults, match=message):
            tools.chain([{"kernel_blur": {"kernel": kernel}}])
