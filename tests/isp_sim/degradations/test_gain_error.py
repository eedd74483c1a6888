import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal

LIGHT = Signal(transfer="linear")
BAYER = Signal(layout="mosaic", cfa="RGGB", colour="camera", white_balanced=False, transfer="linear", reference="scene")
DRAWN = {"gain": {"loguniform": [0.5, 4]}}


@pytest.mark.parametrize("signal", [LIGHT, BAYER], ids=["rgb", "mosaic"])
def test_engine_laws(tools, signal):
    tools.assert_engine_laws("gain_error", tools.picture(signal, low=-0.1, high=1.2), DRAWN)


def test_gradient(tools):
    tools.assert_gradient("gain_error", tools.picture(BAYER, batch=1, size=(3, 5)), {"gain": 1.7})


@given(st.floats(0.01, 100))
def test_multiplies_and_saturates_at_white(tools, gain):
    frame = tools.picture(LIGHT, size=(7, 9), low=-0.2, high=1, dtype=torch.float64)
    found = tools.run_stage("gain_error", frame, {"gain": gain}).pixels
    np.testing.assert_array_equal(found, np.minimum(frame.pixels.numpy() * gain, 1))


def test_highlights_above_white_are_kept_but_not_raised(tools):
    frame = tools.picture(LIGHT, size=(5, 5), low=1, high=3)
    assert torch.equal(tools.run_stage("gain_error", frame, {"gain": 2}).pixels, frame.pixels)
    assert torch.equal(tools.run_stage("gain_error", frame, {"gain": 1}).pixels, frame.pixels)
    half = tools.run_stage("gain_error", frame, {"gain": 0.5}).pixels
    assert torch.equal(half, frame.pixels * 0.5)


def test_makes_up_for_less_exposure_but_not_for_its_noise(tools):
    frame = tools.picture(LIGHT, size=(64, 64), low=0.3, high=0.4, dtype=torch.float64)
    noise = {"shot_read_noise": {"shot": 1e-3, "read": 0}}
    right = tools.run_chain([noise], frame).pixels - frame.pixels
    high_iso = tools.run_chain([{"exposure": {"ev": -2}}, noise, {"gain_error": {"gain": 4}}], frame).pixels
    # a quarter of the light, so four times the variance; its standard error is about 1 %
    assert float((high_iso - frame.pixels).var() / right.var()) == pytest.approx(4, rel=0.08)
