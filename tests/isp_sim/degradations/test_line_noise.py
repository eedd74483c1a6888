import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal

SPAN = 1000.0
LINES = {"row_noise": -1, "column_noise": -2}

both = pytest.mark.parametrize("name", list(LINES))


@both
def test_engine_laws(tools, name):
    params = {"span": SPAN, "sigma": {"uniform": [0, 4]}}
    tools.assert_engine_laws(name, tools.picture(Signal(transfer="linear")), params)


@both
@settings(max_examples=15)
@given(sigma=st.floats(0.1, 30), seed=st.integers(0, 999))
def test_variance_between_lines_and_none_within(tools, flat, noise_of, name, sigma, seed):
    noise = noise_of(
        name, flat(*[0.2] * 8, size=(150, 140)), {"span": SPAN, "sigma": sigma}, span=SPAN / sigma, seed=seed
    )
    assert np.ptp(noise, axis=LINES[name]).max() < 1e-9 * SPAN / sigma
    lines = noise.mean(axis=LINES[name])
    tools.assert_mean(lines, 0, 1)
    tools.assert_unit_variance(lines)


@both
def test_lines_are_independent(tools, flat, noise_of, name):
    noise = noise_of(name, flat(*[0.2] * 8), {"span": SPAN, "sigma": 1.0}, span=SPAN)
    lines = noise.mean(axis=LINES[name])[:, 0]
    tools.assert_uncorrelated(lines[:, 1:], lines[:, :-1])
    tools.assert_uncorrelated(lines[0], lines[1])


def test_channels_are_read_out_together(flat, noise_of):
    noise = noise_of("row_noise", flat(0.2, signal=Signal(transfer="linear")), {"span": SPAN})
    assert np.ptp(noise, axis=1).max() < 1e-12


def test_rows_and_columns_are_drawn_apart(tools, flat, noise_of):
    rows = noise_of("row_noise", flat(0.2), {"span": SPAN, "sigma": 1.0}, span=SPAN)[0, 0, :, 0]
    columns = noise_of("column_noise", flat(0.2), {"span": SPAN, "sigma": 1.0}, span=SPAN)[0, 0, 0]
    tools.assert_uncorrelated(rows, columns)


@both
def test_sigma(tools, flat, name):
    after = tools.run_stage(name, flat(0.2, size=(4, 4)), {"span": SPAN, "sigma": 3.0})
    np.testing.assert_allclose(after.maps["sigma"], 3 / SPAN, rtol=1e-12)
    assert math.isclose(after.maps["sigma"].max(), after.maps["sigma"].min())
