import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.srgb import srgb_eotf, srgb_oetf

LINEAR = Signal(transfer="linear")
CODED = Signal()
KNEE = 0.0031308

both = pytest.mark.parametrize(("name", "signal"), [("srgb_oetf", LINEAR), ("srgb_eotf", CODED)])


@both
def test_engine_laws(tools, name, signal):
    tools.assert_engine_laws(name, tools.picture(signal, low=-0.1, high=1.5))


@both
def test_precision(tools, name, signal):
    tools.assert_precision(name, tools.picture(signal, dtype=torch.float64), bound=3e-7)


@both
def test_gradient(tools, name, signal):
    frame = tools.picture(signal, batch=1, size=(3, 2), low=-0.2, high=1.2)
    tools.assert_gradient(name, frame)


@both
def test_signal(tools, name, signal):
    after = tools.run_stage(name, tools.picture(signal, size=(2, 2))).signal
    assert after == (CODED if name == "srgb_oetf" else LINEAR)


@pytest.mark.parametrize("function", [srgb_oetf, srgb_eotf])
class TestCurve:
    def test_ends(self, function):
        for dtype in (torch.float32, torch.float64):
            black, white = function(torch.tensor([0.0, 1.0], dtype=dtype)).tolist()
            assert black == 0
            assert white == pytest.approx(1, abs=2 * torch.finfo(dtype).eps)

    def test_rises(self, function):
        # but for the two parts of the standard's curve, which meet to 3e-8 only
        x = torch.linspace(-0.5, 2, 1_000_001, dtype=torch.float64)
        y = function(x)
        assert (y.diff() > 0).all()
        single = function(x.float())
        assert (single.diff() >= 0).all()

    def test_the_derivative_is_finite_everywhere(self, function):
        x = torch.tensor([-1.0, -1e-30, 0.0, 1e-30, KNEE, 0.04045, 1.0, 10.0], requires_grad=True)
        function(x).sum().backward()
        assert torch.isfinite(x.grad).all()
        assert (x.grad > 0).all()
        dark = 12.92 if function is srgb_oetf else 1 / 12.92
        assert x.grad[2].item() == pytest.approx(dark, rel=1e-6)

    def test_below_black_the_line_goes_on(self, function):
        x = torch.tensor([-0.5, -0.001], dtype=torch.float64)
        slope = 12.92 if function is srgb_oetf else 1 / 12.92
        np.testing.assert_allclose(function(x), slope * x, rtol=1e-15)


def test_continuous_at_the_knee():
    around = torch.tensor([KNEE, np.nextafter(KNEE, 1)], dtype=torch.float64)
    assert srgb_oetf(around).diff().abs() < 3e-8
    around = torch.tensor([0.04045, np.nextafter(0.04045, 1)], dtype=torch.float64)
    assert srgb_eotf(around).diff().abs() < 3e-9


@given(st.lists(st.floats(-0.5, 4, width=32), min_size=1, max_size=50))
def test_round_trip(values):
    for dtype, bound in ((torch.float64, 1e-7), (torch.float32, 1e-6)):
        x = torch.tensor(values, dtype=dtype)
        assert (srgb_eotf(srgb_oetf(x)) - x).abs().max() < bound * max(1, x.abs().max())
        assert (srgb_oetf(srgb_eotf(x)) - x).abs().max() < bound * max(1, x.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_8_bit_codes_come_back(dtype):
    codes = torch.arange(256, dtype=dtype) / 255
    back = torch.floor(srgb_oetf(srgb_eotf(codes)) * 255 + 0.5)
    assert torch.equal(back, torch.arange(256, dtype=dtype))


def test_all_16_bit_codes_come_back_in_single_precision():
    codes = torch.arange(65536, dtype=torch.float32) / 65535
    back = torch.floor(srgb_oetf(srgb_eotf(codes)) * 65535 + 0.5)
    assert torch.equal(back, torch.arange(65536, dtype=torch.float32))


def test_by_colour_science(colour):
    x = np.linspace(0, 1, 10_001)
    encoded, decoded = (f(torch.from_numpy(x)).numpy() for f in (srgb_oetf, srgb_eotf))
    np.testing.assert_allclose(encoded, colour.cctf_encoding(x, function="sRGB"), atol=1e-14)
    np.testing.assert_allclose(decoded, colour.models.eotf_sRGB(x), atol=1e-14)
    np.testing.assert_allclose(encoded, colour.models.eotf_inverse_sRGB(x), atol=1e-14)
