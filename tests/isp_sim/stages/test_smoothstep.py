import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.smoothstep import smoothstep, smoothstep_inverse

GRID = torch.linspace(-1.5, 2.5, 4001, dtype=torch.float64)


def test_engine_laws(tools):
    tools.assert_engine_laws("smoothstep", tools.picture(Signal(), low=-0.3, high=1.4))


def test_gradient(tools):
    tools.assert_gradient("smoothstep", tools.picture(Signal(), batch=1, size=(3, 2), low=0.05, high=0.95))


def test_precision(tools):
    tools.assert_precision("smoothstep", tools.picture(Signal(), dtype=torch.float64), bound=3e-7)


def test_is_the_curve_of_Brooks_et_al_2019():
    x = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(smoothstep(torch.from_numpy(x)), 3 * x**2 - 2 * x**3, atol=1e-15)
    # their closed form, which loses digits next to black and white
    y = np.linspace(0.001, 0.999, 1001)
    np.testing.assert_allclose(
        smoothstep_inverse(torch.from_numpy(y)), 0.5 - np.sin(np.arcsin(1 - 2 * y) / 3), atol=1e-14
    )


def test_rises_everywhere_and_joins_smoothly():
    y = smoothstep(GRID)
    assert (y.diff() > 0).all()
    assert y.diff().diff().abs().max() < 2e-5  # no corner where one period meets the next
    assert (smoothstep(GRID + 1) - y - 1).abs().max() < 1e-12


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_inverse(dtype, bound):
    y = GRID.to(dtype)
    assert (smoothstep(smoothstep_inverse(y)) - y).abs().max() < bound
    assert (smoothstep_inverse(y).diff() >= 0).all()


def test_next_to_black_and_white_the_inverse_keeps_its_digits():
    y = torch.logspace(-7, -1, 200)
    expected = smoothstep_inverse(y.double())
    assert ((smoothstep_inverse(y) - expected).abs() / expected).max() < 5e-7
    np.testing.assert_allclose(expected[:5], np.sqrt(y[:5].numpy() / 3), rtol=1e-3)


@given(st.integers(0, 255))
def test_every_code_comes_back(code):
    y = torch.tensor(code / 255, dtype=torch.float32)
    assert round(smoothstep(smoothstep_inverse(y)).item() * 255) == code


def test_the_gradient_of_the_inverse_is_finite_everywhere():
    y = torch.tensor([0.0, 1.0, 0.5, 0.1, 0.9], dtype=torch.float64, requires_grad=True)
    smoothstep_inverse(y).sum().backward()
    x = smoothstep_inverse(y.detach())[2:]
    assert y.grad[:2].tolist() == [0, 0]
    np.testing.assert_allclose(y.grad[2:], 1 / (6 * x * (1 - x)), rtol=1e-12)
    assert math.isclose(y.grad[2].item(), 2 / 3)
