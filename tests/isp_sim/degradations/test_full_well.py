from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim import ledger
from isp_sim.signal import Signal

SPAN = 1000.0


def test_engine_laws(tools):
    params = {"span": SPAN, "capacity": {"uniform": [100, 900]}}
    tools.assert_engine_laws("full_well", tools.picture(Signal(transfer="linear")), params)


def test_gradient(tools):
    frame = tools.picture(Signal(transfer="linear"), batch=1, size=(3, 4))
    tools.assert_gradient("full_well", frame, {"span": SPAN, "capacity": 500.0})


@given(st.floats(10, 3000), st.floats(0.1, 4))
def test_limits_to_the_capacity(tools, capacity, gain):
    frame = tools.picture(Signal(transfer="linear"), size=(7, 9), dtype=torch.float64, low=-0.2, high=3)
    after = tools.run_stage("full_well", frame, {"span": SPAN, "capacity": capacity, "gain": gain})
    limit = capacity * gain / SPAN
    assert torch.allclose(after.pixels, frame.pixels.clamp_max(limit), atol=1e-12)
    assert torch.equal(after.maps["clipped"], (frame.pixels > limit).any(dim=1, keepdim=True))
    again = tools.run_stage("full_well", after, {"span": SPAN, "capacity": capacity, "gain": gain})
    assert torch.equal(again.pixels, after.pixels)


def test_adds_to_an_earlier_clip(tools):
    frame = tools.picture(Signal(transfer="linear"), size=(9, 9), low=-0.5, high=1.5)
    after = tools.run_chain([{"clip": None}, {"full_well": {"span": SPAN, "capacity": 500.0}}], frame)
    assert torch.equal(after.maps["clipped"], ((frame.pixels < 0) | (frame.pixels > 0.5)).any(dim=1, keepdim=True))


def test_digital_numbers(tools, flat, levels):
    frame = flat(900.0, 300.0, size=(4, 4), capture={k: v.expand(2, -1, -1, -1) for k, v in levels.items()})
    frame = replace(frame, signal=frame.signal.changed({"levels": "dn"}))
    after = tools.run_stage("full_well", frame, {"capacity": 500.0})
    assert [after.pixels[i].unique().tolist() for i in (0, 1)] == [[pytest.approx(560)], [300]]


def test_what_the_well_did_not_hold_is_lost(tools):
    frame = tools.picture(Signal(transfer="linear"), batch=1, size=(9, 9), low=0.0, high=1.0)
    chain = tools.chain([{"full_well": {"span": SPAN, "capacity": 500.0}}])
    back = ledger.estimate(chain, chain.run(frame).frame, frame.signal).frame
    assert torch.equal(back.maps["lost"], (frame.pixels > 0.5).any(dim=1, keepdim=True))


class TestSoft:
    @given(st.floats(10, 3000), st.floats(0.1, 4), st.floats(0.001, 1))
    def test_is_near_the_limited_value_and_never_beyond_the_well(self, tools, capacity, gain, softness):
        frame = tools.picture(Signal(transfer="linear"), batch=1, size=(7, 9), dtype=torch.float64, low=-0.2, high=3)
        params = {"span": SPAN, "capacity": capacity, "gain": gain}
        soft = tools.run_stage("full_well", frame, params | {"mode": "soft", "softness": softness})
        exact = tools.run_stage("full_well", frame, params)
        limit = capacity * gain / SPAN
        gap = exact.pixels - soft.pixels
        assert gap.min() >= -1e-12
        assert gap.max() <= softness * limit * np.log(2) + 1e-12
        assert torch.equal(soft.maps["clipped"], exact.maps["clipped"])

    def test_is_the_integral_of_a_logistic_step(self, tools):
        from scipy.special import expit, log_expit

        frame = tools.picture(Signal(transfer="linear"), batch=1, low=-0.5, high=1.5, dtype=torch.float64)
        x = frame.pixels.clone().requires_grad_()
        params = {"span": SPAN, "capacity": 500.0, "mode": "soft", "softness": 0.1}
        soft = tools.run_stage("full_well", replace(frame, pixels=x), params).pixels
        z = (frame.pixels.numpy() - 0.5) / 0.05
        np.testing.assert_allclose(soft.detach(), frame.pixels.numpy() + 0.05 * log_expit(-z), atol=1e-14)
        soft.sum().backward()
        np.testing.assert_allclose(x.grad, expit(-z), atol=1e-14)

    def test_what_lies_far_below_stays_to_the_bit(self, tools):
        frame = tools.picture(Signal(transfer="linear"), low=-0.5, high=0.2)
        soft = tools.run_stage("full_well", frame, {"span": SPAN, "capacity": 900.0, "mode": "soft"})
        assert torch.equal(soft.pixels, frame.pixels)

    def test_mean_gap_where_the_well_is_the_white_level(self, tools):
        frame = tools.picture(Signal(transfer="linear"), batch=1, size=(64, 64), low=0, high=1, dtype=torch.float64)
        params = {"span": SPAN, "capacity": SPAN}
        soft, exact = (tools.run_stage("full_well", frame, params | {"mode": m}).pixels for m in ("soft", "exact"))
        # the integral of log(1 + exp(-z)) from 0 to infinity is pi^2 / 12
        assert (exact - soft).mean().item() == pytest.approx(0.02**2 * np.pi**2 / 12, rel=0.3)

    def test_digital_numbers(self, tools, flat, levels):
        frame = flat(900.0, 300.0, size=(4, 4), capture={k: v.expand(2, -1, -1, -1) for k, v in levels.items()})
        frame = replace(frame, signal=frame.signal.changed({"levels": "dn"}))
        params = {"capacity": 500.0, "mode": "soft", "softness": 0.01}
        after = tools.run_stage("full_well", frame, params).pixels
        assert [after[i].unique().tolist() for i in (0, 1)] == [[pytest.approx(560)], [300]]

    def test_gradient(self, tools):
        frame = tools.picture(Signal(transfer="linear"), batch=1, size=(3, 4))
        tools.assert_gradient("full_well", frame, {"span": SPAN, "capacity": 500.0, "mode": "soft"})
