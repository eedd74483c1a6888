import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isp_sim.degradations.read_noise import tukey_lambda_quantile, tukey_lambda_sd

SPAN = 1000.0
TUKEY = {"span": SPAN, "law": "tukey_lambda"}


@pytest.mark.parametrize("law", ["gaussian", "tukey_lambda"])
def test_engine_laws(tools, flat, law):
    params = {"span": SPAN, "law": law, "shape": {"uniform": [-0.3, 0.3]}, "scale": {"uniform": [0, 4]}}
    tools.assert_engine_laws("read_noise", flat(0.1, 0.2, 0.3, size=(107, 103)), params)


@settings(max_examples=15)
@given(scale=st.floats(0.1, 30), seed=st.integers(0, 999), x=st.floats(-0.1, 1))
def test_gaussian(tools, flat, noise_of, scale, seed, x):
    z = noise_of("read_noise", flat(x, size=(100, 100)), {"span": SPAN, "scale": scale}, span=SPAN / scale, seed=seed)
    tools.assert_mean(z, 0, 1)
    tools.assert_unit_variance(z)


@settings(max_examples=15)
@given(shape=st.floats(-0.35, 0.8), seed=st.integers(0, 999))
def test_tukey_lambda_is_scipy_s(tools, flat, noise_of, shape, seed):
    params = TUKEY | {"scale": 3.0, "shape": shape}
    z = noise_of("read_noise", flat(0.2, size=(80, 80)), params, span=SPAN / 3, seed=seed)
    tools.assert_law(z.ravel(), stats.tukeylambda(shape))


@pytest.mark.parametrize("shape", [0.2, 0.05, 0.0])
def test_variance_and_kurtosis(tools, flat, noise_of, shape):
    """Moments by numerical integration of the quantile function; of these shapes the eighth is finite."""
    z = noise_of("read_noise", flat(0.2), TUKEY | {"scale": 1.0, "shape": shape}, span=SPAN)
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    q = stats.tukeylambda.ppf(u, shape)
    tools.assert_mean(z, 0, math.sqrt((q**2).mean()))
    tools.assert_mean(z**2, (q**2).mean(), (q**2).std())
    tools.assert_mean(z**4, (q**4).mean(), (q**4).std())
    if shape == 0:
        assert (q**4).mean() / (q**2).mean() ** 2 == pytest.approx(4.2, abs=0.01)  # the logistic law's


def test_independent_of_the_light_and_of_neighbours(tools, flat, noise_of):
    z = noise_of("read_noise", flat(0.0, 1.0), {"span": SPAN, "scale": 1.0}, span=SPAN)
    tools.assert_unit_variance(z[0])
    tools.assert_unit_variance(z[1])
    tools.assert_uncorrelated(z[..., 1:], z[..., :-1])
    tools.assert_uncorrelated(z[..., 1:, :], z[..., :-1, :])
    tools.assert_uncorrelated(z[0], z[1])


def test_sigma_is_the_standard_deviation_whatever_the_shape(tools, flat):
    for shape in (-0.2, 0.0, 0.3):
        after = tools.run_stage("read_noise", flat(0.2, size=(4, 4)), TUKEY | {"scale": 2.0, "shape": shape})
        expected = 2 * stats.tukeylambda.std(shape) / SPAN
        np.testing.assert_allclose(after.maps["sigma"], expected, rtol=1e-6)


class TestTukeyLambda:
    @given(st.floats(1e-15, 1 - 1e-15), st.floats(-0.4, 2))
    def test_quantile_is_scipy_s(self, u, shape):
        found = tukey_lambda_quantile(
            torch.tensor([u], dtype=torch.float64), torch.tensor([shape], dtype=torch.float64)
        )
        assert found.item() == pytest.approx(stats.tukeylambda.ppf(u, shape), rel=1e-9, abs=1e-9)

    @pytest.mark.parametrize("shape", [0.0, 1e-12, 9.9e-6, -9.9e-6, 1.01e-5, -1.01e-5])
    def test_is_continuous_where_the_formula_changes(self, shape):
        u = torch.tensor([1e-12, 1e-3, 0.3, 0.5, 0.8, 1 - 1e-9], dtype=torch.float64)
        found = tukey_lambda_quantile(u, torch.full((6,), shape, dtype=torch.float64))
        a, b = torch.log(u), torch.log1p(-u)
        terms = [(a**k - b**k) * shape ** (k - 1) / math.factorial(k) for k in (1, 2, 3, 4)]
        np.testing.assert_allclose(found, sum(terms), rtol=1e-9, atol=1e-9)

    @given(st.floats(-0.45, 2))
    def test_standard_deviation_is_that_of_the_definition(self, shape):
        found = tukey_lambda_sd(torch.tensor([shape], dtype=torch.float64)).item()
        assert found == pytest.approx(stats.tukeylambda.std(shape), rel=1e-5)

    def test_the_ends_are_finite(self):
        u = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
        for shape in (-0.4, 0.0, 0.5):
            low, high = tukey_lambda_quantile(u, torch.full((2,), shape, dtype=torch.float64)).tolist()
            assert -1e8 < low < 0 < high < 1e8
