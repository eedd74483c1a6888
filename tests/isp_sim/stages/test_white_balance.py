import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal

CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
BAYER = CAMERA.changed({"layout": "mosaic", "cfa": "GBRG"})
GAINS = {"wb_gains": torch.tensor([[2.1, 1.0, 1.6], [1.9, 1.0, 2.2], [1.0, 1.3, 3.0]]).reshape(3, 3, 1, 1)}
DRAWN = {
    "gains": [{"uniform": [1.5, 2.5]}, 1, {"uniform": [1, 2]}],
    "deviate": {"gains": {"factor": [{"normal": [1, 0.05]}, 1, {"normal": [1, 0.05]}]}},
}

gains = st.tuples(*[st.floats(0.1, 8)] * 3)


@pytest.mark.parametrize("signal", [CAMERA, BAYER], ids=["rgb", "mosaic"])
@pytest.mark.parametrize("params", [None, DRAWN], ids=["as shot", "drawn"])
def test_engine_laws(tools, signal, params):
    tools.assert_engine_laws("white_balance", tools.picture(signal, capture=GAINS, low=-0.1, high=2), params)


@pytest.mark.parametrize("signal", [CAMERA, BAYER], ids=["rgb", "mosaic"])
def test_gradient(tools, signal):
    tools.assert_gradient("white_balance", tools.picture(signal, batch=1, size=(3, 5)), {"gains": [2, 1, 3]})


def test_precision(tools):
    frame = tools.picture(CAMERA, capture=GAINS, dtype=torch.float64)
    tools.assert_precision("white_balance", frame, bound=3 * 2**-23)


@given(gains)
def test_each_channel_by_its_gain(tools, wanted):
    frame = tools.picture(CAMERA, size=(5, 7), dtype=torch.float64)
    after = tools.run_stage("white_balance", frame, {"gains": list(wanted)})
    for channel in range(3):
        assert torch.equal(after.pixels[:, channel], frame.pixels[:, channel] * wanted[channel])
    assert after.signal == CAMERA.changed({"white_balanced": True})


@given(st.sampled_from(["RGGB", "GRBG", "GBRG", "BGGR", "RG/GB/BG"]), gains)
def test_commutes_with_the_mosaic(tools, cfa, wanted):
    frame = tools.picture(CAMERA, size=(5, 7))
    balance, sample = {"white_balance": {"gains": list(wanted)}}, {"mosaic": {"cfa": cfa}}
    tools.assert_same_frame(tools.run_chain([balance, sample], frame), tools.run_chain([sample, balance], frame))


def test_gains_of_1_are_nothing(tools):
    frame = tools.picture(CAMERA)
    after = tools.run_stage("white_balance", frame, {"gains": [1, 1, 1]})
    assert torch.equal(after.pixels, frame.pixels)


def test_a_neutral_surface_becomes_grey(tools):
    neutral = 0.5 / GAINS["wb_gains"].double()
    frame = tools.picture(CAMERA, size=(4, 6), dtype=torch.float64, capture=GAINS)
    flat = frame.__class__(neutral.expand(3, 3, 4, 6).clone(), frame.signal, frame.capture, frame.keys)
    assert (tools.run_stage("white_balance", flat).pixels - 0.5).abs().max() < 1e-7  # the gains are of single precision


@given(gains, gains)
def test_an_error_comes_on_top(tools, wanted, error):
    frame = tools.picture(CAMERA, size=(5, 7), dtype=torch.float64)
    both = tools.run_stage(
        "white_balance", frame, {"gains": list(wanted), "deviate": {"gains": {"factor": list(error)}}}
    ).pixels
    product = [g * e for g, e in zip(wanted, error, strict=True)]
    composed = frame.pixels * torch.tensor(product, dtype=torch.float64).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(both, composed, rtol=1e-15)


def test_linear(tools):
    a, b = (tools.picture(BAYER, size=(9, 11), dtype=torch.float64, seed=seed, capture=GAINS) for seed in (1, 2))
    run = lambda x: tools.run_stage("white_balance", a.__class__(x, a.signal, a.capture, a.keys)).pixels  # noqa: E731
    np.testing.assert_allclose(run(2 * a.pixels - 3 * b.pixels), 2 * run(a.pixels) - 3 * run(b.pixels), atol=1e-13)


@pytest.mark.parametrize("signal", [CAMERA, BAYER], ids=["rgb", "mosaic"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 4e-16), (torch.float32, 2.4e-7)])
def test_inverse(tools, signal, dtype, bound):
    frame = tools.picture(signal, dtype=dtype, capture=GAINS)
    chain = tools.chain(["white_balance"])
    back = chain.inverse(chain.run(frame).frame)
    assert back.signal == frame.signal
    assert (back.pixels - frame.pixels).abs().max() <= bound


def test_an_error_is_not_undone(tools):
    frame = tools.picture(CAMERA, capture=GAINS, dtype=torch.float64)
    chain = tools.chain([{"white_balance": {"deviate": {"gains.0": {"factor": 1.5}}}}])
    back = chain.inverse(chain.run(frame).frame)
    np.testing.assert_allclose(back.pixels[:, 0], 1.5 * frame.pixels[:, 0], rtol=1e-14)
    np.testing.assert_allclose(back.pixels[:, 1:], frame.pixels[:, 1:], rtol=1e-14)


@pytest.mark.parametrize(
    "params",
    [
        {"gains": [0, 1, 1]},
        {"gains": [1, 1, 101]},
        {"deviate": {"gains": {"factor": [-1, 1, 1]}}},
        {"gains": [1, 1]},
    ],
)
def test_gains_out_of_bounds(tools, params):
    from isp_sim.parameters import ParameterFaults

    with pytest.raises(ParameterFaults, match="gains"):
        tools.chain([{"white_balance": params}])


def test_does_not_clip(tools):
    after = tools.run_stage("white_balance", tools.picture(CAMERA, low=-1, high=2, capture=GAINS)).pixels
    assert after.min() < -1.5
    assert after.max() > 3
