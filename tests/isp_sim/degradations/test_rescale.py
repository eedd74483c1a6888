import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isp_sim.signal import Signal

PHOTO = Signal()
RESAMPLING = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}


def test_engine_laws(tools):
    tools.assert_engine_laws("rescale", tools.picture(PHOTO, size=(37, 41)), {"factor": {"choice": [0.5, 0.3]}})


def test_gradient(tools):
    tools.assert_gradient("rescale", tools.picture(PHOTO, batch=1, size=(6, 7)))


@settings(max_examples=25)
@given(st.floats(0.05, 1), *[st.sampled_from(sorted(RESAMPLING))] * 2)
def test_is_pillow_down_and_up(tools, factor, down, up):
    frame = tools.picture(PHOTO, batch=1, size=(29, 37))
    found = tools.run_stage("rescale", frame, {"factor": factor, "down": down, "up": up}).pixels
    small = max(1, round(37 * factor)), max(1, round(29 * factor))
    for channel in range(3):
        image = Image.fromarray(frame.pixels[0, channel].numpy())
        expected = image.resize(small, RESAMPLING[down]).resize((37, 29), RESAMPLING[up])
        np.testing.assert_allclose(found[0, channel], np.asarray(expected), atol=2e-6)


@given(st.floats(0.01, 1))
def test_a_constant_stays_to_the_last_bit(tools, factor):
    frame = tools.picture(PHOTO, size=(1, 1))
    flat = frame.__class__(frame.pixels.repeat(1, 1, 9, 14), PHOTO, frame.capture, frame.keys)
    assert torch.equal(tools.run_stage("rescale", flat, {"factor": factor}).pixels, flat.pixels)


def test_whole_size_is_nothing(tools):
    frame = tools.picture(PHOTO, size=(9, 14))
    assert torch.equal(tools.run_stage("rescale", frame, {"factor": 1}).pixels, frame.pixels)


def test_not_for_a_mosaic():
    from isp_sim import recipe

    with pytest.raises(recipe.RecipeError, match="rescale needs layout rgb or ycbcr"):
        recipe.parse("version: 1\nstages: [unprocess, mosaic, rescale]\n")
