import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.degradations.dark_current import dark_electrons
from isp_sim.signal import Signal

SPAN = 1000.0


def electrons(**values):
    base = {"rate": 0.1, "time": 1.0, "temperature": 25.0, "reference": 25.0, "doubling": 6.0} | values
    return dark_electrons(*(torch.tensor(base[k], dtype=torch.float64) for k in base)).item()


def test_engine_laws(tools):
    params = {"span": SPAN, "rate": {"uniform": [0, 50]}, "exposure_time": {"uniform": [0, 2]}}
    tools.assert_engine_laws("dark_current", tools.picture(Signal(transfer="linear")), params)


@given(st.floats(0.01, 100), st.floats(0.001, 100), st.floats(-20, 60), st.floats(2, 12))
def test_proportional_to_time_and_doubling_with_heat(rate, time, temperature, doubling):
    values = {"rate": rate, "temperature": temperature, "doubling": doubling}
    one = electrons(time=time, **values)
    assert electrons(time=3 * time, **values) == pytest.approx(3 * one, rel=1e-12)
    assert electrons(time=time, **{**values, "rate": 2 * rate}) == pytest.approx(2 * one, rel=1e-12)
    warmer = {**values, "temperature": temperature + doubling}
    assert electrons(time=time, **warmer) == pytest.approx(2 * one, rel=1e-12)
    assert electrons(rate=rate, time=time, doubling=doubling) == pytest.approx(rate * time, rel=1e-12)


@settings(max_examples=12)
@given(rate=st.floats(0.5, 200), gain=st.floats(0.1, 10), time=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_mean_and_variance(tools, flat, noise_of, rate, gain, time, seed):
    params = {"span": SPAN, "rate": rate, "gain": gain, "exposure_time": time, "temperature": 31.0}
    count = 2 * rate * time
    for mean in ("removed", "kept"):
        noise = noise_of(
            "dark_current", flat(0.1, size=(100, 100)), params | {"mean": mean}, span=SPAN / gain, seed=seed
        )
        expected = count if mean == "kept" else 0
        tools.assert_mean(noise, expected, math.sqrt(count))
        tools.assert_mean((noise - expected) ** 2, count, math.sqrt(2 * count**2 + count))


def test_the_exposure_of_the_capture(tools, flat):
    frame = flat(0.1, 0.1, size=(60, 60), capture={"exposure_time": torch.tensor([1.0, 4.0]).reshape(2, 1, 1, 1)})
    after = tools.run_stage("dark_current", frame, {"span": SPAN, "rate": 50.0, "mean": "kept"})
    for i, count in enumerate((50, 200)):
        tools.assert_mean((after.pixels - 0.1)[i] * SPAN, count, math.sqrt(count))
        np.testing.assert_allclose(after.maps["sigma"][i] * SPAN, math.sqrt(count), rtol=1e-9)


def test_no_time_no_current(flat, noise_of):
    assert not noise_of("dark_current", flat(0.1, size=(9, 9)), {"span": SPAN, "exposure_time": 0.0}).any()
