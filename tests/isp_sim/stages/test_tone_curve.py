from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal
from isp_sim.stages.tone_curve import spline, spline_inverse

SCENE = Signal(transfer="linear", reference="scene")
KNOTS = [[0, 0], [0.02, 0.02], [0.18, 0.25], [0.5, 0.65], [1, 1]]


@st.composite
def curves(draw, gap=0.02):
    """Knots that rise by at least `gap` in both directions."""
    count = draw(st.integers(0, 4))
    steps = [np.asarray(draw(st.lists(st.floats(gap, 1), min_size=count + 1, max_size=count + 1))) for _ in "xy"]
    x, y = (np.concatenate([[0], np.cumsum(s) / s.sum()]) for s in steps)
    x[-1] = y[-1] = 1
    return [list(point) for point in zip(x.tolist(), y.tolist(), strict=True)]


def knots(points, dtype=torch.float64):
    return torch.tensor([points], dtype=dtype)


def line(values, dtype=torch.float64):
    return torch.as_tensor(values, dtype=dtype).reshape(1, 1, 1, -1)


GRID = torch.linspace(0, 1, 2001, dtype=torch.float64)


class TestSpline:
    @given(curves())
    def test_passes_through_its_knots(self, points):
        x, y = np.asarray(points).T
        np.testing.assert_allclose(spline(line(x), knots(points)).flatten(), y, atol=1e-15)
        np.testing.assert_allclose(spline_inverse(line(y), knots(points)).flatten(), x, atol=1e-14)

    @settings(max_examples=100)
    @given(curves())
    def test_rises_strictly_and_stays_within(self, points):
        y = spline(line(GRID), knots(points)).flatten()
        assert (y.diff() > 0).all()
        assert y[0] == 0
        assert y[-1].item() == pytest.approx(1, abs=2e-16)
        assert y.min() >= 0
        assert y.max() <= 1

    @given(curves())
    def test_in_single_precision_it_falls_by_rounding_at_most(self, points):
        y = spline(line(GRID, torch.float32), knots(points, torch.float32)).flatten()
        assert (y.diff() >= -(2**-23)).all()
        assert y.max() <= 1

    @settings(max_examples=100)
    @given(curves())
    def test_inverse(self, points):
        p = knots(points)
        assert (spline_inverse(spline(line(GRID), p), p).flatten() - GRID).abs().max() < 1e-10
        assert (spline(spline_inverse(line(GRID), p), p).flatten() - GRID).abs().max() < 1e-12

    @given(curves(gap=0.2))
    def test_inverse_in_single_precision(self, points):
        p, grid = knots(points, torch.float32), GRID.float()
        assert (spline_inverse(spline(line(grid, torch.float32), p), p).flatten() - grid).abs().max() < 1e-5

    @given(curves(), st.floats(0.01, 3))
    def test_beyond_the_ends_it_is_straight_and_smooth(self, points, far):
        p = knots(points)
        for edge, side in ((0.0, -1), (1.0, 1)):
            xs = [edge + side * s * far for s in (0, 0.5, 1)]
            y = spline(line(xs), p).flatten().tolist()
            assert y[2] - y[1] == pytest.approx(y[1] - y[0], rel=1e-9)
            step = 1e-7
            y = spline(line([edge - step, edge, edge + step]), p).flatten().tolist()
            assert (y[2] - y[1]) / (y[1] - y[0]) == pytest.approx(1, abs=1e-3)
            assert spline_inverse(spline(line(xs), p), p).flatten().tolist() == pytest.approx(xs, abs=1e-12)

    def test_two_knots_are_the_identity(self):
        p = knots([[0, 0], [1, 1]])
        x = torch.linspace(-1, 2, 301, dtype=torch.float64)
        assert (spline(line(x), p).flatten() - x).abs().max() < 1e-15
        assert (spline_inverse(line(x), p).flatten() - x).abs().max() < 1e-15

    def test_each_sample_has_its_own_curve(self):
        both = torch.cat([knots(KNOTS), knots([[0, 0], [0.3, 0.1], [0.5, 0.2], [0.7, 0.5], [1, 1]])])
        x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
        for b in range(2):
            assert torch.equal(spline(x, both)[b : b + 1], spline(x[b : b + 1], both[b : b + 1]))

    def test_known_values(self):
        # from the formula of Gregory and Delbourgo 1982 by hand: one inner knot (0.5, 0.75) has the slope
        # (h0 + h1) s0 s1 / (h1 s0 + h0 s1) = 1 * 1.5 * 0.5 / 1 = 0.75, the ends 1.5**2 / 0.75 = 3 and 1 / 3
        p = knots([[0, 0], [0.5, 0.75], [1, 1]])
        # at t = 1/2 of the first interval: 0.75 (1.5/4 + 3/4) / (1.5 + (3 + 0.75 - 3)/4) = 0.5
        assert spline(line([0.25]), p).item() == pytest.approx(0.5, abs=1e-15)
        # of the second: 0.75 + 0.25 (0.5/4 + 0.75/4) / (0.5 + (0.75 + 1/3 - 1)/4) = 0.9
        assert spline(line([0.75]), p).item() == pytest.approx(0.9, abs=1e-15)
        assert spline(line([-1.0, 2.0]), p).flatten().tolist() == pytest.approx([-3, 1 + 1 / 3])

    def test_the_slope_at_a_knot_is_the_harmonic_mean_by_interval(self):
        x, y = (0, 0.25, 1), (0, 0.5, 1)  # secants 2 and 2/3 over intervals of 1/4 and 3/4
        p, step = knots([list(point) for point in zip(x, y, strict=True)]), 1e-6
        below, at, above = spline(line([0.25 - step, 0.25, 0.25 + step]), p).flatten().tolist()
        expected = 1 / (0.25 / 2 + 0.75 / (2 / 3))
        assert (at - below) / step == pytest.approx(expected, rel=1e-4)
        assert (above - at) / step == pytest.approx(expected, rel=1e-4)

    @given(curves(gap=0.1), st.booleans())
    def test_the_gradient_is_the_slope_at_the_ends_and_knots_too(self, points, back):
        """Black and white are the commonest values there are."""
        function = spline_inverse if back else spline
        p, step = knots(points), 1e-7
        at = line([0.0, 1.0, -0.5, 1.5, 0.1, 0.9]).requires_grad_()
        function(at, p).sum().backward()
        with torch.no_grad():
            slope = (function(at + step, p) - function(at - step, p)) / (2 * step)
        np.testing.assert_allclose(at.grad, slope, rtol=1e-4)


class TestStage:
    CURVE: ClassVar = {"tone_curve": torch.tensor([KNOTS, [[0, 0], [0.1, 0.3], [0.2, 0.4], [0.5, 0.8], [1, 1]], KNOTS])}

    @pytest.mark.parametrize(
        "params",
        [None, {"points": [[0, 0], [0.5, {"uniform": [0.4, 0.8]}], [1, 1]]}],
        ids=["the camera's", "drawn"],
    )
    def test_engine_laws(self, tools, params):
        frame = tools.picture(SCENE, capture=self.CURVE, low=-0.5, high=1.5)
        tools.assert_engine_laws("tone_curve", frame, params)

    def test_gradient(self, tools):
        frame = tools.picture(SCENE, batch=1, size=(3, 2), low=-0.2, high=1.2)
        tools.assert_gradient("tone_curve", frame, {"points": KNOTS})

    def test_precision(self, tools):
        frame = tools.picture(SCENE, capture=self.CURVE, dtype=torch.float64)
        tools.assert_precision("tone_curve", frame, bound=1e-6)

    def test_curves_of_different_length_in_one_batch(self, tools):
        frame = tools.picture(SCENE, batch=12, size=(4, 5))
        three, four = [[0, 0], [0.5, 0.7], [1, 1]], [[0, 0], [0.2, 0.1], [0.5, 0.7], [1, 1]]
        params = {"points": {"choice": [three, four]}}
        outcome = tools.chain([{"tone_curve": params}]).run(frame)
        drawn = [len(values["tone_curve"]["points"]) for values in outcome.values]
        assert set(drawn) == {3, 4}
        for i, count in enumerate(drawn):
            points = three if count == 3 else four
            alone = tools.run_stage("tone_curve", frame.select([i]), {"points": points})
            assert torch.equal(alone.pixels[0], outcome.frame.pixels[i])

    @pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
    def test_inverse(self, tools, dtype, bound):
        frame = tools.picture(SCENE, capture=self.CURVE, low=-0.2, high=1.4, dtype=dtype)
        chain = tools.chain(["tone_curve"])
        after = chain.run(frame).frame
        assert after.signal == SCENE.changed({"reference": "display"})
        back = chain.inverse(after)
        assert back.signal == SCENE
        assert (back.pixels - frame.pixels).abs().max() < bound

    def test_a_straight_curve_is_nothing(self, tools):
        frame = tools.picture(SCENE, low=-1, high=2)
        after = tools.run_stage("tone_curve", frame, {"points": [[0, 0], [1, 1]]})
        assert (after.pixels - frame.pixels).abs().max() < 2.5e-7

    def test_grey_stays_grey(self, tools):
        grey = torch.rand(3, 1, 9, 7).expand(3, 3, 9, 7)
        frame = replace(tools.picture(SCENE, size=(9, 7), capture=self.CURVE), pixels=grey)
        after = tools.run_stage("tone_curve", frame).pixels
        assert torch.equal(after[:, :1].expand_as(after), after)

    @pytest.mark.parametrize(
        "points",
        [
            [[0, 0]],
            [[0, 0.1], [1, 1]],
            [[0, 0], [1, 0.9]],
            [[0, 0], [0.5, 0.6], [0.4, 0.7], [1, 1]],
            [[0, 0], [0.5, 0.6], [0.6, 0.6], [1, 1]],
            [[0, 0], [0.5, 1.2], [1, 1]],
            [[0, 0], [0.5, {"uniform": [0.5, 1]}], [1, 1]],
        ],
    )
    def test_what_does_not_rise_is_refused(self, tools, points):
        with pytest.raises(ParameterFaults, match="points"):
            tools.chain([{"tone_curve": {"points": points}}])
