from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.ycbcr import luma, rgb_to_ycbcr

DRAWN = {
    "amount": {"uniform": [0, 2]},
    "sigma": {"uniform": [0.5, 3]},
    "threshold": {"uniform": [0, 0.1]},
    "overshoot": {"uniform": [0, 0.1]},
}
any_params = st.fixed_dictionaries(
    {
        "amount": st.floats(0, 4),
        "sigma": st.floats(0.3, 4),
        "threshold": st.floats(0, 0.2),
        "overshoot": st.none() | st.floats(0, 0.2),
        "on": st.sampled_from(["luma", "rgb"]),
        "mode": st.sampled_from(["exact", "soft"]),
    }
)


def run(tools, frame, **params):
    return tools.run_stage("sharpen", frame, params).pixels


def blurred(x, sigma):
    from scipy import ndimage

    return np.stack([[ndimage.gaussian_filter(plane, sigma, mode="mirror") for plane in sample] for sample in x])


@pytest.mark.parametrize("mode", ["exact", "soft"])
@pytest.mark.parametrize("on", ["luma", "rgb"])
def test_engine_laws(tools, on, mode):
    tools.assert_engine_laws("sharpen", tools.picture(Signal(), size=(53, 61)), DRAWN | {"on": on, "mode": mode})


def test_precision(tools):
    tools.assert_precision("sharpen", tools.picture(Signal(), dtype=torch.float64), {"threshold": 0}, bound=1e-6)


@pytest.mark.parametrize("params", [{}, {"mode": "soft"}, {"on": "rgb", "overshoot": 0.05}])
def test_gradient(tools, params):
    tools.assert_gradient("sharpen", tools.picture(Signal(), batch=1, size=(3, 4)), params)


@given(st.floats(0, 4), st.floats(0.3, 4), st.floats(0, 0.2))
@settings(max_examples=20)
def test_adds_what_the_blur_takes_away(tools, amount, sigma, threshold):
    frame = tools.picture(Signal(), batch=1, size=(17, 19), dtype=torch.float64)
    x = frame.pixels.numpy()
    params = {"amount": amount, "sigma": sigma, "threshold": threshold}
    detail = x - blurred(x, sigma)
    expected = x + amount * np.where(np.abs(detail) > threshold, detail, 0)
    np.testing.assert_allclose(run(tools, frame, on="rgb", **params), expected, atol=1e-13)
    smooth = x + amount * detail**3 / (detail**2 + threshold**2 + 1e-30)
    np.testing.assert_allclose(run(tools, frame, on="rgb", mode="soft", **params), smooth, atol=1e-13)


def test_on_luma_the_colour_differences_stay(tools):
    frame = tools.picture(Signal(), batch=1, size=(17, 19), dtype=torch.float64)
    found = run(tools, frame, amount=2, threshold=0)
    np.testing.assert_allclose(rgb_to_ycbcr(found)[:, 1:], rgb_to_ycbcr(frame.pixels)[:, 1:], atol=1e-14)
    y = luma(frame.pixels).numpy()
    np.testing.assert_allclose(luma(found), y + 2 * (y - blurred(y, 1.2)), atol=1e-13)


@given(any_params)
@settings(max_examples=20)
def test_amount_0_is_nothing_and_flat_pictures_stay_to_the_bit(tools, params):
    frame = tools.picture(Signal(), batch=1, size=(11, 13))
    assert torch.equal(run(tools, frame, **params | {"amount": 0}), frame.pixels)
    flat = replace(frame, pixels=torch.tensor([0.7, 0.2, 0.4]).reshape(1, 3, 1, 1).expand(1, 3, 11, 13))
    assert torch.equal(run(tools, flat, **params), flat.pixels)


def test_linear_without_a_threshold(tools):
    a, b = (tools.picture(Signal(), batch=1, size=(11, 13), dtype=torch.float64, seed=seed) for seed in (1, 2))
    sharpened = lambda x: run(tools, replace(a, pixels=x), threshold=0)  # noqa: E731
    both = sharpened(2 * a.pixels - 3 * b.pixels)
    np.testing.assert_allclose(both, 2 * sharpened(a.pixels) - 3 * sharpened(b.pixels), atol=1e-13)


def test_the_mean_is_kept_inside(tools):
    """A change far from the border changes the sum by as much as itself."""
    frame = tools.picture(Signal(), batch=1, size=(41, 43), dtype=torch.float64)
    changed = frame.pixels.clone()
    changed[:, :, 18:23, 19:24] += 0.3
    a, b = (run(tools, replace(frame, pixels=x), threshold=0, amount=1.5) for x in (frame.pixels, changed))
    np.testing.assert_allclose((b - a).sum(dim=(-1, -2)), (changed - frame.pixels).sum(dim=(-1, -2)), atol=1e-10)


@given(any_params)
@settings(max_examples=20)
def test_turns_and_flips_commute(tools, params):
    frame = tools.picture(Signal(), batch=1, size=(11, 14), dtype=torch.float64)
    params["threshold"] = 0  # at which a last bit might decide
    found = run(tools, frame, **params)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        turned = run(tools, replace(frame, pixels=turn(frame.pixels)), **params)
        np.testing.assert_allclose(turned, turn(found), atol=1e-12)


@pytest.mark.parametrize("overshoot", [0.0, 0.05])
def test_overshoot_is_limited(tools, overshoot):
    from scipy import ndimage

    frame = tools.picture(Signal(), batch=1, size=(31, 33), dtype=torch.float64)
    found = run(tools, frame, amount=4, on="rgb", overshoot=overshoot, threshold=0).numpy()
    free = run(tools, frame, amount=4, on="rgb", threshold=0).numpy()
    low, high = (
        np.stack([[f(plane, 3, mode="mirror") for plane in sample] for sample in frame.pixels.numpy()])
        for f in (ndimage.minimum_filter, ndimage.maximum_filter)
    )
    np.testing.assert_allclose(found, np.clip(free, low - overshoot, high + overshoot), atol=1e-12)
    assert np.abs(found - free).max() > 0.1


def test_an_edge_becomes_steeper(tools):
    step = torch.where(torch.arange(24) < 12, 0.3, 0.7).expand(1, 3, 9, 24)
    ramp = torch.from_numpy(blurred(step.numpy(), 1.0))
    found = run(tools, replace(tools.picture(Signal(), batch=1), pixels=ramp))
    assert found.diff(dim=-1).max() > 1.2 * ramp.diff(dim=-1).max()
    assert found.max() > 0.71  # the halo
