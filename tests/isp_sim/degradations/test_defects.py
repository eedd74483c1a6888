import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal

NONE = {"hot": 0.0, "dead": 0.0, "stuck": 0.0}


def test_engine_laws(tools):
    params = {"hot": {"uniform": [0, 0.1]}, "sensor": {"choice": ["a", "b"]}}
    tools.assert_engine_laws("defects", tools.picture(Signal(transfer="linear"), batch=5, size=(31, 33)), params)


@settings(max_examples=12)
@given(hot=st.floats(0, 0.2), dead=st.floats(0, 0.2), stuck=st.floats(0, 0.2), sensor=st.text("abc", min_size=1))
def test_shares_and_kinds(tools, flat, hot, dead, stuck, sensor):
    frame = flat(0.25, 0.5, size=(120, 120))
    params = {"hot": hot, "dead": dead, "stuck": stuck, "hot_level": 0.4, "sensor": sensor}
    after = tools.run_stage("defects", frame, params)
    found, map_ = after.pixels.numpy(), after.maps["defects"].numpy()
    kinds = {
        "dead": (found[0] == 0) & (found[1] == 0),
        "stuck": (found[0] == found[1]) & (found[0] != 0),
        "hot": (np.abs(found[1] - found[0] - 0.25) < 1e-12) & (found[0] != 0.25),
    }
    for name, share in (("hot", hot), ("dead", dead), ("stuck", stuck)):
        tools.assert_count(kinds[name].sum(), kinds[name].size, share)
    np.testing.assert_array_equal(map_[0], kinds["dead"] | kinds["stuck"] | kinds["hot"])
    assert (found[0][kinds["hot"]] < 0.65).all()
    assert (found[~map_] == frame.pixels.numpy()[~map_]).all()


def test_are_the_sensor_s(tools, flat):
    params = {"hot": 0.1, "sensor": "a"}
    places = [
        tools.run_stage("defects", flat(0.2, keys=(key,)), params | {"sensor": sensor}, seed=seed).maps["defects"]
        for key, sensor, seed in (("x", "a", 1), ("y", "a", 2), ("x", "b", 1))
    ]
    assert torch.equal(places[0], places[1])
    both = (places[0] & places[2]).sum().item()
    tools.assert_count(both, places[0].numel(), 0.1004**2)


def test_none(tools, flat):
    after = tools.run_stage("defects", flat(0.2), NONE)
    assert torch.equal(after.pixels, flat(0.2).pixels)
    assert not after.maps["defects"].any()


@pytest.mark.parametrize("share", [1e-5, 1e-4])
def test_rare_ones_are_as_rare_as_asked_for(tools, flat, share):
    after = tools.run_stage("defects", flat(0.2, size=(1000, 1000)), {**NONE, "dead": share})
    tools.assert_count(after.maps["defects"].sum().item(), 10**6, share)
