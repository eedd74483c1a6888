from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.bilateral import RADIUS, bilateral

DRAWN = {"sigma_space": {"uniform": [0.5, 3]}, "sigma_range": {"uniform": [0.05, 0.3]}, "radius": 3}


def run(tools, frame, **params):
    return tools.run_stage("bilateral", frame, params).pixels


def by_definition(x, radius, sigma_space, sigma_range):
    """Tomasi and Manduchi's mean, pixel by pixel, of a picture (H, W, 3)."""
    padded = np.pad(x, [(radius, radius), (radius, radius), (0, 0)], mode="reflect")
    out = np.empty_like(x)
    steps = np.arange(-radius, radius + 1)
    squared = steps[:, None] ** 2 + steps**2
    near = np.exp(-squared / (2 * sigma_space**2)) * (squared <= radius**2)
    for i, j in np.ndindex(x.shape[:2]):
        around = padded[i : i + 2 * radius + 1, j : j + 2 * radius + 1]
        like = np.exp(-((around - x[i, j]) ** 2).sum(-1) / (2 * sigma_range**2))
        weights = (near * like)[..., None]
        out[i, j] = (weights * around).sum((0, 1)) / weights.sum()
    return out


def test_engine_laws(tools):
    tools.assert_engine_laws("bilateral", tools.picture(Signal(), size=(61, 53)), DRAWN)


def test_precision(tools):
    tools.assert_precision("bilateral", tools.picture(Signal(), size=(31, 33), dtype=torch.float64), bound=1e-6)


def test_gradient(tools):
    tools.assert_gradient("bilateral", tools.picture(Signal(), batch=1, size=(4, 5)), {"radius": 2})


@given(st.integers(1, 4), st.floats(0.3, 4), st.floats(0.02, 2))
@settings(max_examples=15)
def test_is_what_the_definition_says(tools, radius, sigma_space, sigma_range):
    frame = tools.picture(Signal(), batch=1, size=(6, 9), dtype=torch.float64)
    found = run(tools, frame, radius=radius, sigma_space=sigma_space, sigma_range=sigma_range)
    expected = by_definition(frame.pixels[0].permute(1, 2, 0).numpy(), radius, sigma_space, sigma_range)
    np.testing.assert_allclose(found[0].permute(1, 2, 0), expected, atol=1e-12)


@pytest.mark.parametrize(("radius", "sigma_space", "sigma_range"), [(4, 2.0, 0.3), (2, 1.0, 0.1), (7, 3.0, 0.05)])
def test_a_single_channel_is_that_of_opencv(tools, radius, sigma_space, sigma_range):
    cv2 = pytest.importorskip("cv2")
    x = tools.picture(Signal(), batch=1, size=(61, 67)).pixels[:, :1]
    space, range_ = (torch.tensor(s).reshape(1, 1, 1, 1) for s in (sigma_space, sigma_range))
    found = bilateral(x, x, radius, space, range_)
    expected = cv2.bilateralFilter(
        x[0, 0].numpy(), 2 * radius + 1, sigma_range, sigma_space, borderType=cv2.BORDER_REFLECT_101
    )
    np.testing.assert_allclose(found[0, 0], expected, atol=5e-6)  # OpenCV reads the exponential from a table


def test_a_wide_range_is_a_gaussian_blur(tools):
    from isp_sim import filters

    frame = tools.picture(Signal(), batch=1, size=(21, 23), dtype=torch.float64)
    # far enough that what the disc leaves out of the square does not count
    found = run(tools, frame, radius=9, sigma_space=1.0, sigma_range=10)
    blurred = filters.gaussian(frame.pixels, torch.ones(1), truncate=9)
    np.testing.assert_allclose(found, blurred, atol=0.01)  # differences of 1 lose 1/200 of their weight
    assert (found - frame.pixels).abs().max() > 0.3


def test_an_edge_higher_than_the_range_stays(tools):
    step = torch.where(torch.arange(24) < 12, 0.2, 0.8).expand(1, 3, 20, 24)
    noisy = step + 0.01 * (tools.picture(Signal(), batch=1, size=(20, 24)).pixels - 0.5)
    found = run(tools, replace(tools.picture(Signal(), batch=1), pixels=noisy), sigma_range=0.05, sigma_space=2)
    assert (found - step).abs().max() < 0.004  # no pixel is mixed with one from beyond the edge
    assert (found - step).std() < 0.3 * (noisy - step).std()


def test_stays_in_the_range_of_the_picture(tools):
    frame = tools.picture(Signal(), size=(21, 23), low=-1, high=2)
    found = run(tools, frame, sigma_range=1)
    assert frame.pixels.amin() <= found.amin()
    assert found.amax() <= frame.pixels.amax()


@given(st.floats(-1, 2, width=32))
@settings(max_examples=10)
def test_a_flat_picture_stays_to_the_bit(tools, value):
    frame = replace(tools.picture(Signal(), batch=1), pixels=torch.full((1, 3, 7, 9), value))
    assert torch.equal(run(tools, frame), frame.pixels)


def test_turns_and_flips_commute(tools):
    frame = tools.picture(Signal(), batch=1, size=(13, 17), dtype=torch.float64)
    found = run(tools, frame)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        turned = run(tools, replace(frame, pixels=turn(frame.pixels)))
        np.testing.assert_allclose(turned, turn(found), atol=1e-14)


def test_large_pictures_in_strips_are_the_same(tools):
    frame = tools.picture(Signal(), batch=1, size=(211, 301))
    whole = run(tools, replace(frame, pixels=frame.pixels.clone().requires_grad_()), radius=2)
    assert torch.equal(run(tools, frame, radius=2), whole)


@pytest.mark.parametrize("params", [{"radius": 0}, {"radius": RADIUS + 1}, {"sigma_range": 0}, {"sigma_space": 11}])
def test_parameters_out_of_bounds(tools, params):
    from isp_sim.parameters import ParameterFaults

    with pytest.raises(ParameterFaults):
        tools.chain([{"bilateral": params}])
