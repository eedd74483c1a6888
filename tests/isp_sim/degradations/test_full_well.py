from dataclasses import replace

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
