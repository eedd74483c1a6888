from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.pipeline import State
from isp_sim.signal import Signal

SCENE = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
BALANCED = SCENE.changed({"white_balanced": True})
GAINS = {"wb_gains": torch.tensor([[2.1, 1.0, 1.6]] * 3).reshape(3, 3, 1, 1)}

gains = st.lists(st.floats(0.3, 4), min_size=3, max_size=3)


def undone(tools, pixels, gains, highlights, inflection=0.9):
    """The picture and the map that the inverse of white_balance makes of pixels (N, 3)."""
    frame = tools.picture(BALANCED, batch=1, size=(1, len(pixels)), dtype=torch.float64)
    frame = replace(frame, pixels=torch.as_tensor(pixels, dtype=torch.float64).T.reshape(1, 3, 1, -1))
    params = {"gains": gains, "highlights": highlights, "inflection": inflection}
    back = tools.chain([{"white_balance": params}]).inverse(frame)
    lost = back.maps["lost"].flatten().numpy() if highlights == "safe" else None
    return back.pixels[0, :, 0].T.numpy(), lost


def released(pixels, gains, inflection=0.9):
    """Brooks et al. 2019 on gains of 1 / gain, in NumPy, from the formula in the paper's code."""
    inverse = 1 / np.asarray(gains)
    grey = pixels.mean(axis=-1, keepdims=True)
    mask = (np.maximum(grey - inflection, 0) / (1 - inflection)) ** 2
    return pixels * np.maximum(mask + (1 - mask) * inverse, inverse)


@given(gains, st.integers(0, 1000), st.floats(0.3, 0.95))
def test_is_what_Brooks_et_al_2019_released(tools, gains, seed, inflection):
    pixels = np.random.default_rng(seed).uniform(0, 1, (200, 3)) ** 0.2
    found, lost = undone(tools, pixels, gains, "safe", inflection)
    np.testing.assert_allclose(found, released(pixels, gains, inflection), rtol=1e-12)
    plain, _ = undone(tools, pixels, gains, "plain")
    assert (found >= plain - 1e-15).all()
    np.testing.assert_array_equal(lost, (np.abs(found - plain) > 1e-15).any(axis=-1))
    assert not lost[pixels.mean(axis=-1) <= inflection].any()


@given(gains, st.lists(st.floats(0.1, 1), min_size=3, max_size=3))
def test_rises_with_the_picture(tools, gains, colour):
    light = np.linspace(0, 1.2, 400)[:, None] * np.asarray(colour)
    found, _ = undone(tools, light, gains, "safe")
    assert (np.diff(found, axis=0) >= 0).all()


def test_white_stays_white_and_grey_does_not(tools):
    found, lost = undone(tools, np.array([[1, 1, 1], [0.5, 0.5, 0.5]]), [2.0, 1.0, 1.5], "safe")
    np.testing.assert_allclose(found, [[1, 1, 1], [0.25, 0.5, 0.5 / 1.5]], rtol=1e-15)
    assert lost.tolist() == [True, False]


def test_developed_again_only_what_is_marked_differs(tools):
    frame = tools.picture(BALANCED, capture=GAINS, low=0.5, dtype=torch.float64)
    chain = tools.chain([{"white_balance": {"highlights": "safe"}}])
    back = chain.inverse(frame)
    again = chain.run(back).frame.pixels
    off = ((again - frame.pixels).abs() > 1e-12).any(dim=1, keepdim=True)
    assert torch.equal(off, back.maps["lost"])
    assert 0 < off.double().mean() < 0.5


def test_a_mosaic_has_no_mean_of_three_channels(tools):
    bayer = SCENE.changed({"layout": "mosaic", "cfa": "RGGB"})
    for name, params in (("white_balance", {"gains": [2, 1, 2]}), ("digital_gain", {"gain": 1.2})):
        _, problems = tools.chain([{name: {**params, "highlights": "safe"}}]).check(State(bayer))
        assert "needs layout rgb" in problems[0].message
        assert tools.chain([{name: params}]).check(State(bayer))[1] == []


@pytest.mark.parametrize("params", [{"gain": 1.3}, None])
def test_digital_gain_engine_laws(tools, params):
    fact = {"digital_gain": torch.tensor([1.1, 1.25, 1.6]).reshape(3, 1, 1, 1)}
    tools.assert_engine_laws("digital_gain", tools.picture(SCENE, capture=fact, low=-0.1, high=2), params)


@settings(max_examples=10)
@given(st.floats(0.1, 8))
def test_digital_gain_is_a_factor(tools, gain):
    frame = tools.picture(SCENE, size=(5, 7), dtype=torch.float64)
    chain = tools.chain([{"digital_gain": {"gain": gain}}])
    after = chain.run(frame).frame
    assert torch.equal(after.pixels, frame.pixels * gain)
    np.testing.assert_allclose(chain.inverse(after).pixels, frame.pixels, rtol=1e-15)
