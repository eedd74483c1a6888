import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.stages.bt709 import ALPHA, BETA, bt709_oetf, bt709_oetf_inverse


@given(st.floats(-0.5, 2))
def test_there_and_back(value: float) -> None:
    x = torch.tensor([value], dtype=torch.float64)
    torch.testing.assert_close(bt709_oetf_inverse(bt709_oetf(x)), x, atol=1e-14, rtol=1e-14)


def test_ends_order_and_single_precision() -> None:
    x = torch.linspace(-0.1, 1.5, 100_001)
    y = bt709_oetf(x)
    assert bt709_oetf(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.0, 1.0], abs=2e-7)
    assert bool((y.diff() > 0).all())
    assert (y.double() - bt709_oetf(x.double())).abs().max() < 5e-7
    assert (bt709_oetf_inverse(y) - x).abs().max() < 1e-6


def test_value_and_slope_are_continuous_at_the_knee() -> None:
    assert pytest.approx(ALPHA * BETA**0.45 - (ALPHA - 1), abs=1e-12) == 4.5 * BETA
    assert pytest.approx(ALPHA * 0.45 * BETA**-0.55, abs=1e-9) == 4.5


def test_colour_science_agrees() -> None:
    import colour

    x = torch.linspace(0, 1, 4097, dtype=torch.float64)
    theirs = torch.from_numpy(colour.models.oetf_BT709(x.numpy()))
    # the standard prints its constants with three digits, which moves the curve by up to 4e-4
    torch.testing.assert_close(bt709_oetf(x), theirs, atol=5e-4, rtol=0)


def test_gradients() -> None:
    x = torch.tensor([[-0.1, 0.0, 0.01, 0.3, 1.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bt709_oetf, x)
    assert torch.autograd.gradcheck(bt709_oetf_inverse, x)
