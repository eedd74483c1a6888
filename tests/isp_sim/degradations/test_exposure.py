from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear", reference="scene")


def test_engine_laws(tools):
    tools.assert_engine_laws("exposure", tools.picture(LINEAR, low=-0.1, high=2), {"ev": {"uniform": [-4, 4]}})


def test_engine_laws_for_a_large_batch(tools):
    # where a vectorised function of the parameter could round differently than for one sample
    frame = tools.picture(LINEAR, batch=37, size=(3, 5))
    tools.assert_engine_laws("exposure", frame, {"ev": {"uniform": [-4, 4]}})
    tools.assert_engine_laws("exposure", replace(frame, pixels=frame.pixels.double()), {"ev": {"uniform": [-4, 4]}})


def test_gradient(tools):
    tools.assert_gradient("exposure", tools.picture(LINEAR, batch=1, size=(3, 2)), {"ev": 1.3})


def test_precision(tools):
    tools.assert_precision("exposure", tools.picture(LINEAR, dtype=torch.float64), {"ev": -1.7}, bound=2**-23)


@pytest.mark.parametrize("signal", [LINEAR, LINEAR.changed({"layout": "mosaic", "cfa": "RGGB"})])
def test_a_stop_is_twice_the_light_exactly(tools, signal):
    frame = tools.picture(signal, size=(5, 7))
    for ev in range(-20, 21):
        after = tools.run_stage("exposure", frame, {"ev": ev})
        assert torch.equal(after.pixels, frame.pixels * 2.0**ev)
        assert after.signal == frame.signal


@given(st.floats(-20, 20))
def test_is_two_to_the_ev(tools, ev):
    frame = tools.picture(LINEAR, size=(3, 2), dtype=torch.float64)
    after = tools.run_stage("exposure", frame, {"ev": ev}).pixels
    np.testing.assert_allclose(after, frame.pixels * 2.0**ev, rtol=1e-14)


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_stops_add(tools, a, b):
    frame = tools.picture(LINEAR, size=(3, 2), dtype=torch.float64)
    once = tools.run_stage("exposure", frame, {"ev": a + b}).pixels
    twice = tools.run_chain([{"exposure": {"ev": a}}, {"exposure": {"ev": b}}], frame, ids=["one", "two"]).pixels
    np.testing.assert_allclose(twice, once, rtol=1e-13)


def test_nothing_is_nothing(tools):
    frame = tools.picture(LINEAR)
    assert torch.equal(tools.run_stage("exposure", frame, {"ev": 0}).pixels, frame.pixels)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 5e-16), (torch.float32, 3e-7)])
def test_inverse(tools, dtype, bound):
    frame = tools.picture(LINEAR, dtype=dtype)
    chain = tools.chain([{"exposure": {"ev": 1.37}}])
    back = chain.inverse(chain.run(frame).frame)
    assert back.signal == frame.signal
    assert (back.pixels - frame.pixels).abs().max() <= bound


def test_does_not_clip(tools):
    assert tools.run_stage("exposure", tools.picture(LINEAR), {"ev": 2}).pixels.max() > 3
