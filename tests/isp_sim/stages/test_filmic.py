from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.filmic import CURVES, filmic, filmic_inverse

SCENE = Signal(transfer="linear", reference="scene")

curves = pytest.mark.parametrize("curve", CURVES)
exposures = st.floats(-6, 6)
whites = st.floats(0.5, 100)


def number(value):
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def line(low, high, count=2001):
    return torch.linspace(low, high, count, dtype=torch.float64).reshape(1, 1, 1, -1)


@curves
@pytest.mark.parametrize(
    "params", [{}, {"exposure": {"uniform": [-2, 4]}, "white": {"loguniform": [1, 20]}}], ids=["default", "drawn"]
)
def test_engine_laws(tools, curve, params):
    frame = tools.picture(SCENE, low=-0.5, high=15)
    tools.assert_engine_laws("filmic", frame, {"curve": curve, **params})


@curves
def test_gradient(tools, curve):
    frame = tools.picture(SCENE, batch=1, size=(3, 2), low=-0.5, high=15)
    tools.assert_gradient("filmic", frame, {"curve": curve})


@curves
def test_precision(tools, curve):
    frame = tools.picture(SCENE, dtype=torch.float64, high=15)
    tools.assert_precision("filmic", frame, {"curve": curve}, bound=1e-6)


def test_hable_s_curve_as_he_wrote_it():
    def theirs(x, a=0.15, b=0.50, c=0.10, d=0.20, e=0.02, f=0.30):
        return (x * (a * x + c * b) + d * e) / (x * (a * x + b) + d * f) - e / f

    x = line(0, 11.2)
    expected = theirs(x.numpy() * 2) / theirs(11.2)  # with his exposure bias of 2, up to his white
    inside = x.numpy() <= 5.6
    np.testing.assert_allclose(filmic(x, "hable2010", number(1.0)).numpy()[inside], expected[inside], atol=1e-14)


def test_narkowicz_s_curve_as_he_wrote_it():
    x = line(0, 50)
    expected = (x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)).clamp(0, 1)
    np.testing.assert_allclose(filmic(x, "narkowicz2015", number(0.0)).clamp(0, 1).numpy(), expected, atol=1e-14)


@curves
@given(exposure=exposures, white=whites)
def test_ends(curve, exposure, white):
    x = torch.tensor([0.0, white / 2**exposure], dtype=torch.float64).reshape(1, 1, 1, 2)
    y = filmic(x, curve, number(exposure), number(white)).flatten().tolist()
    assert y[0] == 0
    assert y[1] == pytest.approx(1, abs=1e-13)


@curves
@given(exposure=exposures, white=whites)
def test_rises_everywhere_and_stays_within(curve, exposure, white):
    scale = white / 2**exposure
    y = filmic(line(-0.5 * scale, 2 * scale), curve, number(exposure), number(white)).flatten()
    assert (y.diff() > 0).all()
    inside = filmic(line(0, scale), curve, number(exposure), number(white))
    assert inside.min() >= 0
    assert inside.max() <= 1 + 1e-13


@pytest.mark.parametrize("name", CURVES)
def test_why_it_rises(name):
    """All coefficients of the derivative's numerator are positive."""
    c = CURVES[name]
    assert min(c.p, c.q, c.r, c.s, c.t, c.p * c.s - c.q * c.r) > 0


@curves
@given(exposure=exposures, white=whites)
def test_inverse(curve, exposure, white):
    x = line(-1, 3) * (white / 2**exposure)
    back = filmic_inverse(filmic(x, curve, number(exposure), number(white)), curve, number(exposure), number(white))
    assert (back - x).abs().max() <= 1e-11 * x.abs().max()
    y = line(-0.5, 1.5)
    there = filmic(filmic_inverse(y, curve, number(exposure), number(white)), curve, number(exposure), number(white))
    assert (there - y).abs().max() <= 1e-12


@curves
def test_inverse_in_single_precision(tools, curve):
    frame = tools.picture(SCENE, low=-0.1, high=7)
    chain = tools.chain([{"filmic": {"curve": curve, "exposure": -0.5}}])
    after = chain.run(frame).frame
    assert after.signal == SCENE.changed({"reference": "display"})
    back = chain.inverse(after)
    assert back.signal == SCENE
    assert ((back.pixels - frame.pixels).abs() / frame.pixels.abs().clamp_min(0.1)).max() < 1e-5


@curves
def test_the_slope_goes_on_at_both_ends(curve):
    x = torch.tensor([0.0, 5.0], dtype=torch.float64).reshape(1, 1, 1, 2).requires_grad_()
    step = 1e-6
    for function in (filmic, filmic_inverse):
        at = x if function is filmic else torch.tensor([[[[0.0, 1.0]]]], dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(function(at, curve, number(0.0), number(5.0)).sum(), at)
        for side in (-1, 1):
            with torch.no_grad():
                rise = function(at + side * step, curve, number(0.0), number(5.0)) - function(
                    at, curve, number(0.0), number(5.0)
                )
            np.testing.assert_allclose(rise / (side * step), slope, rtol=1e-3)


@curves
@given(exposure=st.floats(-3, 3))
def test_exposure_is_a_gain_of_light(tools, curve, exposure):
    frame = tools.picture(SCENE, size=(5, 4), dtype=torch.float64, high=3)
    ours = tools.run_stage("filmic", frame, {"curve": curve, "exposure": exposure}).pixels
    brighter = replace(frame, pixels=frame.pixels * 2**exposure)
    np.testing.assert_allclose(ours, tools.run_stage("filmic", brighter, {"curve": curve}).pixels, atol=1e-13)
