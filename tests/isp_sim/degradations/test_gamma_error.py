import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal

PHOTO = Signal()


def test_engine_laws(tools):
    frame = tools.picture(PHOTO, low=-0.1, high=1.2)
    tools.assert_engine_laws("gamma_error", frame, {"exponent": {"loguniform": [0.5, 2]}})


def test_gradient(tools):
    tools.assert_gradient("gamma_error", tools.picture(PHOTO, batch=1, size=(3, 5), low=0.1), {"exponent": 1.4})


@given(st.floats(0.2, 5))
def test_is_the_power(tools, exponent):
    frame = tools.picture(PHOTO, size=(7, 9), low=-1, high=2, dtype=torch.float64)
    x = frame.pixels.numpy()
    found = tools.run_stage("gamma_error", frame, {"exponent": exponent}).pixels
    np.testing.assert_allclose(found, np.sign(x) * np.abs(x) ** exponent, rtol=1e-13)


def test_is_encoding_for_one_exponent_and_showing_by_another(tools):
    light = tools.picture(PHOTO.changed({"transfer": "linear"}), size=(7, 9), dtype=torch.float64)
    right = tools.run_stage("gamma_oetf", light, {"gamma": 2.2})
    wrong = tools.run_stage("gamma_oetf", light, {"gamma": 1.8})
    found = tools.run_stage("gamma_error", right, {"exponent": 2.2 / 1.8})
    np.testing.assert_allclose(found.pixels, wrong.pixels, rtol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_right_it_is_nothing_to_the_last_bit(tools, dtype):
    frame = tools.picture(PHOTO, low=-0.1, high=1.2, dtype=dtype)
    assert torch.equal(tools.run_stage("gamma_error", frame, {"exponent": 1}).pixels, frame.pixels)
    ends = frame.__class__(torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2).repeat(1, 3, 1, 1), PHOTO)
    assert torch.equal(tools.run_stage("gamma_error", ends, {"exponent": 2.7}).pixels, ends.pixels)
