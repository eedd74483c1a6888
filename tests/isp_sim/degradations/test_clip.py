from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear")
limits = st.tuples(st.floats(-10, 10), st.floats(-10, 10)).map(sorted).filter(lambda v: v[0] < v[1])


DRAWN = {"low": {"uniform": [-0.1, 0.2]}, "high": {"uniform": [0.5, 1.2]}}


@pytest.mark.parametrize("params", [None, DRAWN, DRAWN | {"mode": "soft", "softness": {"uniform": [0.01, 0.1]}}])
def test_engine_laws(tools, params):
    tools.assert_engine_laws("clip", tools.picture(LINEAR, low=-1, high=2), params)


def test_precision(tools):
    tools.assert_precision("clip", tools.picture(LINEAR, low=-1, high=2, dtype=torch.float64), bound=0)


@given(limits)
def test_is_the_nearest_value_between_the_limits(tools, ends):
    low, high = ends
    frame = tools.picture(LINEAR, size=(9, 7), low=-12, high=12, dtype=torch.float64)
    after = tools.run_stage("clip", frame, {"low": low, "high": high})
    np.testing.assert_array_equal(after.pixels, np.clip(frame.pixels.numpy(), low, high))
    changed = (after.pixels != frame.pixels).any(dim=1, keepdim=True)
    assert torch.equal(after.maps["clipped"], changed)
    assert after.signal == frame.signal


def test_twice_is_once(tools):
    once = tools.run_stage("clip", tools.picture(LINEAR, low=-1, high=2))
    tools.assert_same_frame(tools.run_stage("clip", once), once)


def test_within_the_limits_it_is_nothing(tools):
    frame = tools.picture(LINEAR)
    after = tools.run_stage("clip", frame)
    assert torch.equal(after.pixels, frame.pixels)
    assert not after.maps["clipped"].any()


def test_the_map_remembers_earlier_clips(tools):
    frame = tools.picture(LINEAR, low=0.05, high=0.6, size=(9, 7))
    both = tools.run_chain(
        [{"clip": {"low": -10, "high": 0.5}}, {"clip": {"low": 0.1, "high": 10}}], frame, ids=["a", "b"]
    )
    outside = ((frame.pixels < 0.1) | (frame.pixels > 0.5)).any(dim=1, keepdim=True)
    assert torch.equal(both.maps["clipped"], outside)
    assert not outside.all()


def test_the_gradient_is_1_inside_and_0_where_it_clips(tools):
    # a value that lies on a limit is not clipped, as the map says; black and white are where most pixels lie
    x = torch.tensor([-0.5, 0.0, 0.3, 1.0, 1.5, 0.7]).reshape(1, 3, 1, 2).requires_grad_()
    frame = replace(tools.picture(LINEAR, batch=1, size=(1, 2)), pixels=x)
    tools.run_stage("clip", frame).pixels.sum().backward()
    assert x.grad.flatten().tolist() == [0, 1, 1, 1, 0, 1]


def test_gradient(tools):
    frame = tools.picture(LINEAR, batch=1, size=(3, 2), low=-0.5, high=1.5)
    tools.assert_gradient("clip", frame)


def test_codes_are_left(tools):
    frame = tools.picture(Signal(bit_depth=8), size=(2, 2))
    assert tools.run_stage("clip", frame, {"high": 0.3}).signal.bit_depth is None


@pytest.mark.parametrize("params", [{"low": 1}, {"low": 0.5, "high": 0.4}, {"high": 11}, {"low": {"uniform": [0, 1]}}])
def test_limits_in_the_wrong_order(tools, params):
    with pytest.raises(ParameterFaults):
        tools.chain([{"clip": params}])


class TestSoft:
    @given(limits, st.floats(0.001, 1))
    def test_is_near_the_clipped_value_and_never_beyond_the_limits(self, tools, ends, softness):
        low, high = ends
        frame = tools.picture(LINEAR, batch=1, size=(9, 7), low=-12, high=12, dtype=torch.float64)
        params = {"low": low, "high": high}
        soft = tools.run_stage("clip", frame, params | {"mode": "soft", "softness": softness})
        exact = tools.run_stage("clip", frame, params)
        gap = (soft.pixels - exact.pixels).abs().max()
        assert gap <= softness * np.log(2) + 1e-14
        assert soft.pixels.min() >= low - 1e-14
        assert soft.pixels.max() <= high + 1e-14
        assert torch.equal(soft.maps["clipped"], exact.maps["clipped"])

    def test_is_the_integral_of_two_logistic_steps(self, tools):
        from scipy.special import expit, log_expit

        frame = tools.picture(LINEAR, batch=1, low=-0.5, high=1.5, dtype=torch.float64)
        x = frame.pixels.clone().requires_grad_()
        soft = tools.run_stage("clip", replace(frame, pixels=x), {"mode": "soft", "softness": 0.1}).pixels
        z = frame.pixels.numpy() / 0.1
        np.testing.assert_allclose(soft.detach(), 0.1 * (log_expit(10 - z) - log_expit(-z)), atol=1e-14)
        soft.sum().backward()
        np.testing.assert_allclose(x.grad, expit(z) - expit(z - 10), atol=1e-14)

    def test_black_and_white_have_half_a_slope(self, tools):
        """Where most pixels lie, and where a maximum and a minimum have two slopes."""
        x = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2).repeat(1, 3, 1, 1).requires_grad_()
        frame = replace(tools.picture(LINEAR, batch=1, size=(1, 2)), pixels=x)
        tools.run_stage("clip", frame, {"mode": "soft"}).pixels.sum().backward()
        np.testing.assert_allclose(x.grad, 0.5, rtol=1e-6)

    def test_what_is_clipped_still_has_a_gradient(self, tools):
        frame = tools.picture(LINEAR, batch=1, low=1.05, high=1.2)
        x = frame.pixels.clone().requires_grad_()
        tools.run_stage("clip", replace(frame, pixels=x), {"mode": "soft"}).pixels.sum().backward()
        assert (x.grad > 0).all()
