from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear", reference="scene")
NAME = "axial_chromatic_aberration"
DRAWN = {"red": {"uniform": [0, 2]}, "blue": {"uniform": [0.5, 3]}}
sigmas = st.floats(0, 3, width=32)


def test_engine_laws(tools):
    tools.assert_engine_laws(NAME, tools.picture(LINEAR, size=(43, 47)), DRAWN)


def test_precision(tools):
    tools.assert_precision(NAME, tools.picture(LINEAR, size=(31, 33), dtype=torch.float64), DRAWN, bound=2**-21)


def test_gradient(tools):
    tools.assert_gradient(NAME, tools.picture(LINEAR, batch=1, size=(2, 3)), {})


@given(sigmas, sigmas)
@settings(max_examples=20)
def test_each_channel_is_scipys_gaussian(tools, red, blue):
    from scipy import ndimage

    frame = tools.picture(LINEAR, batch=1, size=(17, 19), dtype=torch.float64)
    found = tools.run_stage(NAME, frame, {"red": red, "blue": blue}).pixels[0]
    for channel, sigma in ((0, red), (2, blue)):
        x = frame.pixels[0, channel].numpy()
        expected = ndimage.gaussian_filter(x, sigma, mode="mirror") if sigma else x
        np.testing.assert_allclose(found[channel], expected, atol=1e-14)
    assert torch.equal(found[1], frame.pixels[0, 1])


@given(sigmas, sigmas, st.floats(0, 3, width=32))
@settings(max_examples=10)
def test_flat_pictures_stay_to_the_bit(tools, red, blue, value):
    frame = tools.picture(LINEAR, batch=1, size=(9, 11))
    frame = replace(frame, pixels=torch.full_like(frame.pixels, value))
    assert torch.equal(tools.run_stage(NAME, frame, {"red": red, "blue": blue}).pixels, frame.pixels)


def test_nothing_is_nothing_to_the_bit(tools):
    frame = tools.picture(LINEAR, low=-1, high=2)
    after = tools.run_stage(NAME, frame, {"red": 0, "blue": 0})
    assert torch.equal(after.pixels, frame.pixels)
    assert not after.maps["blur"].any()


def test_the_map_is_the_mean_square_over_channels_and_adds_up(tools):
    frame = tools.picture(LINEAR, batch=1, size=(15, 17), dtype=torch.float64)
    chain = [{"gaussian_blur": {"sigma": 2}}, {NAME: {"red": 1, "blue": 1.5}}]
    found = tools.run_chain(chain, frame).maps["blur"]
    assert found.shape == (1, 1, 15, 17)
    assert found.unique().item() == pytest.approx(np.sqrt(2**2 + (1 + 1.5**2) / 3), rel=2e-3)
