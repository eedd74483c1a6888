import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isp_sim.calibration import tukey


def samples(shape, scale, number=200_000, seed=0):
    return scale * tukey.quantile(np.random.default_rng(seed).uniform(1e-12, 1, number), shape)


@settings(max_examples=12)
@given(st.floats(-0.3, 0.4), st.floats(0.6, 30), st.integers(0, 999))
def test_shape_and_scale_come_back(shape, scale, seed):
    found = tukey.fit(samples(shape, scale, seed=seed), 0.0)
    assert found.shape == pytest.approx(shape, abs=0.02)
    assert found.scale == pytest.approx(scale, rel=0.03)
    assert found.correlation > 0.9999


@settings(max_examples=12)
@given(st.floats(-0.25, 0.2), st.floats(0.6, 5), st.integers(0, 999))
def test_rounding_is_not_taken_for_shape(shape, scale, seed):
    rng = np.random.default_rng(seed)
    level = rng.uniform(0, 1, 500).repeat(400)  # rows that lie between whole numbers
    rounded = np.round(samples(shape, scale, seed=seed) + level) - level
    found = tukey.fit(rounded, 1.0)
    assert found.shape == pytest.approx(shape, abs=0.02)
    assert found.scale == pytest.approx(scale, rel=0.03)


def test_it_would_be_if_nobody_looked():
    rng = np.random.default_rng(0)
    level = rng.uniform(0, 1, 500).repeat(400)
    rounded = np.round(samples(-0.1, 0.6) + level) - level
    assert tukey.fit(rounded, 0.0).scale > 0.6 * 1.03


def test_a_normal_law_is_nearly_that_of_shape_0_14():
    found = tukey.fit(np.random.default_rng(3).normal(0, 5, 200_000), 0.0)
    assert found.shape == pytest.approx(0.14, abs=0.02)


def test_defective_pixels_do_not_matter():
    x = samples(0.0, 2.0)
    x[:60] = 10_000
    assert tukey.fit(x, 0.0).shape == pytest.approx(0.0, abs=0.02)


@given(st.floats(-0.3, 0.5), st.floats(0.3, 10))
def test_the_law_of_a_sum(shape, scale):
    """By sampling: the quantiles of a Tukey lambda number plus a uniform one."""
    rng = np.random.default_rng(1)
    summed = samples(shape, scale, 40_000, seed=2) + rng.uniform(-0.5, 0.5, 40_000)
    p = np.array([0.01, 0.1, 0.3, 0.5, 0.8, 0.99])
    q = tukey.rounded_quantile(p, shape, scale, 1.0)
    for share, value in zip(p, q, strict=True):
        low, high = stats.binom.interval(1 - 1e-6, summed.size, share)
        assert low <= (summed <= value).sum() <= high


@pytest.mark.parametrize(("x", "message"), [(np.zeros(5000), "do not vary"), (np.arange(10.0), "at least 1000")])
def test_nothing_to_fit(x, message):
    with pytest.raises(ValueError, match=message):
        tukey.fit(x)
