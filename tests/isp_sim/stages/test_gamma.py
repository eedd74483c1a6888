import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.gamma import gamma_eotf, gamma_oetf

LINEAR = Signal(transfer="linear", reference="scene")
CODED = Signal(transfer="gamma")

gammas = st.floats(1, 5)
both = pytest.mark.parametrize(("name", "signal"), [("gamma_oetf", LINEAR), ("gamma_eotf", CODED)])


def exponent(gamma):
    return torch.full((1, 1, 1, 1), gamma, dtype=torch.float64)


def line(low, high, count=2001):
    return torch.linspace(low, high, count, dtype=torch.float64).reshape(1, 1, 1, -1)


@both
@pytest.mark.parametrize("params", [None, {"gamma": {"uniform": [1.5, 3]}}], ids=["default", "drawn"])
def test_engine_laws(tools, name, signal, params):
    tools.assert_engine_laws(name, tools.picture(signal, low=-0.1, high=1.5), params)


@both
def test_precision(tools, name, signal):
    tools.assert_precision(name, tools.picture(signal, dtype=torch.float64), bound=1e-6)


@both
def test_gradient(tools, name, signal):
    tools.assert_gradient(name, tools.picture(signal, batch=1, size=(3, 2), low=0.05, high=1.2))


@both
def test_signal(tools, name, signal):
    after = tools.run_stage(name, tools.picture(signal, size=(2, 2))).signal
    assert after.transfer == ("gamma" if name == "gamma_oetf" else "linear")
    assert after.reference == "display"


@pytest.mark.parametrize("function", [gamma_oetf, gamma_eotf])
class TestCurve:
    @given(gammas)
    def test_ends(self, function, gamma):
        assert function(line(0, 1, 2), exponent(gamma)).flatten().tolist() == [0, 1]

    @given(gammas)
    def test_rises_and_is_odd(self, function, gamma):
        y = function(line(0, 1.5), exponent(gamma)).flatten()
        assert (y.diff() >= 0).all()
        assert (y.diff()[1:][y[2:] > 1e-12] > 0).all()
        assert torch.equal(function(-line(0, 1.5), exponent(gamma)).flatten(), -y)

    def test_the_derivative_is_finite_everywhere(self, function):
        x = torch.tensor([-1.0, -1e-6, 0.0, 1e-30, 1e-6, 1.0, 10.0]).reshape(1, 1, 1, -1).requires_grad_()
        function(x, torch.full((1, 1, 1, 1), 2.2)).sum().backward()
        assert torch.isfinite(x.grad).all()
        assert (x.grad >= 0).all()

    def test_each_sample_has_its_own_exponent(self, function):
        x, each = torch.rand(3, 3, 4, 5), torch.tensor([1.0, 2.2, 3.0]).reshape(3, 1, 1, 1)
        for b in range(3):
            assert torch.equal(function(x, each)[b], function(x[b : b + 1], each[b : b + 1])[0])


@given(gammas)
def test_by_numpy(gamma):
    x = line(0, 2)
    np.testing.assert_allclose(gamma_eotf(x, exponent(gamma)), x.numpy() ** gamma, rtol=1e-13)
    np.testing.assert_allclose(gamma_oetf(x, exponent(gamma)), x.numpy() ** (1 / gamma), rtol=1e-13)


@given(gammas)
def test_round_trip(gamma):
    x = line(-1, 4)
    np.testing.assert_allclose(gamma_eotf(gamma_oetf(x, exponent(gamma)), exponent(gamma)), x, rtol=1e-12)
    np.testing.assert_allclose(gamma_oetf(gamma_eotf(x, exponent(gamma)), exponent(gamma)), x, rtol=1e-12)


@given(st.floats(1, 2.8))
def test_all_8_bit_codes_come_back_in_single_precision(gamma):
    codes, g = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16), torch.full((1, 1, 1, 1), gamma)
    back = torch.floor(gamma_oetf(gamma_eotf(codes / 255, g), g) * 255 + 0.5)
    assert torch.equal(back, codes)


def test_by_colour_science(colour):
    x = line(0, 1)
    np.testing.assert_allclose(gamma_eotf(x, exponent(2.4)), colour.gamma_function(x.numpy(), 2.4), atol=1e-14)
