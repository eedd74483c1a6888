from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim import registry
from isp_sim.degradations.quantise import quantise
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear")


@pytest.mark.parametrize(("bits", "mode"), [(1, "exact"), (8, "exact"), (12, "soft"), (16, "straight_through")])
def test_engine_laws(tools, bits, mode):
    tools.assert_engine_laws("quantise", tools.picture(LINEAR, low=-0.1, high=1.1), {"bits": bits, "mode": mode})


@given(st.integers(1, 16), st.floats(0, 1, width=32))
def test_is_the_nearest_code(bits, value):
    top = 2**bits - 1
    for dtype in (torch.float32, torch.float64):
        found = quantise(torch.tensor([value], dtype=dtype), bits).item()
        code = round(found * top)
        assert found == pytest.approx(code / top, abs=torch.finfo(dtype).eps)
        assert abs(code - value * top) <= 0.5 + (0.01 if dtype == torch.float32 else 1e-9)


def test_halves_go_up():
    assert quantise(torch.tensor([0.5 / 3, 1.5 / 3, 2.5 / 3], dtype=torch.float64), 2).mul(3).tolist() == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("bits", [1, 2, 8, 10, 14, 16])
def test_a_second_time_is_nothing(bits):
    for dtype in (torch.float32, torch.float64):
        codes = torch.arange(2**bits, dtype=dtype) / (2**bits - 1)
        assert torch.equal(quantise(codes, bits), codes)


def test_clips():
    assert quantise(torch.tensor([-3.0, -1e-9, 1.0, 7.0]), 4).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("bits", [4, 8])
def test_the_error_is_uniform_with_a_variance_of_lsb_squared_over_12(tools, bits):
    from scipy import stats

    lsb = 1 / (2**bits - 1)
    x = torch.from_numpy(np.random.default_rng(3).uniform(0.5 * lsb, 1 - 0.5 * lsb, 40_000))
    error = (quantise(x, bits) - x).numpy() / lsb
    tools.assert_law(error, stats.uniform(-0.5, 1))
    tools.assert_mean(error, 0, np.sqrt(1 / 12))
    tools.assert_mean(error**2, 1 / 12, np.sqrt(1 / 80 - 1 / 144))


def test_signal_and_gradient(tools):
    frame = tools.picture(LINEAR, size=(3, 2))
    after = tools.run_stage("quantise", frame, {"bits": 10})
    assert after.signal == LINEAR.changed({"bit_depth": 10})
    assert not registry.load("quantise", *registry.STAGE_GROUPS).differentiable
    x = frame.pixels.clone().requires_grad_()
    tools.run_stage("quantise", replace(frame, pixels=x), {"bits": 10}).pixels.sum().backward()
    assert not x.grad.any()  # which is why it says so


@pytest.mark.parametrize("bits", [0, 17, 8.0, {"randint": [8, 10]}])
def test_bits_out_of_bounds_or_drawn(tools, bits):
    with pytest.raises(ParameterFaults, match="bits"):
        tools.chain([{"quantise": {"bits": bits}}])


def sloped(tools, frame, **params):
    """Pixels and the gradient of their sum."""
    x = frame.pixels.clone().requires_grad_()
    pixels = tools.run_stage("quantise", replace(frame, pixels=x), params).pixels
    pixels.sum().backward()
    return pixels.detach(), x.grad


@given(st.integers(1, 16), st.integers(0, 20))
def test_soft_is_half_a_code_away_at_most_and_on_the_codes_right(tools, bits, sharpness):
    params = {"bits": bits, "mode": "soft", "sharpness": sharpness}
    frame = tools.picture(LINEAR, batch=1, size=(9, 7), low=-0.2, high=1.2, dtype=torch.float64)
    soft, exact = (tools.run_stage("quantise", frame, p) for p in (params, {"bits": bits}))
    assert (soft.pixels - exact.pixels).abs().max() <= 0.5 / (2**bits - 1) + 1e-15
    assert soft.signal.bit_depth is None
    again = tools.run_stage("quantise", replace(exact, signal=LINEAR), params)
    np.testing.assert_allclose(again.pixels, exact.pixels, atol=1e-15)


def test_the_sharper_the_closer(tools):
    frame = tools.picture(LINEAR, batch=1, dtype=torch.float64)
    exact = tools.run_stage("quantise", frame, {"bits": 3}).pixels
    soft = [sloped(tools, frame, bits=3, mode="soft", sharpness=s)[0] for s in (0, 1, 4, 20)]
    assert torch.equal(soft[0], soft[0].clamp(0, 1))
    np.testing.assert_allclose(soft[0], frame.pixels, atol=1e-15)
    gaps = [(x - exact).abs().mean() for x in soft]
    assert gaps == sorted(gaps, reverse=True)


def test_gradients_by_mode(tools):
    frame = tools.picture(LINEAR, batch=1, low=-0.2, high=1.2, dtype=torch.float64)
    inside = (frame.pixels >= 0) & (frame.pixels <= 1)
    exact, _ = sloped(tools, frame, bits=4)
    passed, slope = sloped(tools, frame, bits=4, mode="straight_through")
    assert torch.equal(passed, exact)
    np.testing.assert_allclose(slope, inside.double(), atol=1e-15)
    _, slope = sloped(tools, frame, bits=4, mode="soft", sharpness=1)
    u = frame.pixels * 15 - torch.floor(frame.pixels * 15 + 0.5)
    np.testing.assert_allclose(slope, torch.where(inside, 12 * u * u, 0.0), atol=1e-9)
    stage = registry.load("quantise", *registry.STAGE_GROUPS)()
    for mode in ("exact", "soft", "straight_through"):
        assert stage.is_differentiable(stage.Params(mode=mode)) == (mode != "exact")
