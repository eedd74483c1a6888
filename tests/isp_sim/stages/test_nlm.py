from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.frame import Move
from isp_sim.signal import Signal
from isp_sim.stages.nlm import non_local_means, patch_mean

DRAWN = {"strength": {"uniform": [0.1, 0.4]}, "sigma": {"uniform": [0, 0.1]}, "search": 2, "patch": 1}
SMALL = {"search": 3, "patch": 1, "strength": 0.3}


def run(tools, frame, **params):
    return tools.run_stage("nlm", frame, SMALL | params).pixels


@pytest.mark.parametrize("window", ["gaussian", "box"])
def test_engine_laws(tools, window):
    tools.assert_engine_laws("nlm", tools.picture(Signal(), size=(47, 53)), DRAWN | {"window": window})


def test_precision(tools):
    frame = tools.picture(Signal(), batch=1, size=(23, 29), dtype=torch.float64)
    tools.assert_precision("nlm", frame, SMALL, bound=1e-6)


def test_gradient(tools):
    frame = tools.picture(Signal(), batch=1, size=(4, 5))
    tools.assert_gradient("nlm", frame, {"search": 2, "patch": 1, "strength": 0.5, "sigma": 0.05})


def by_definition(x, search, patch, strength, sigma, window):
    """Buades, Coll and Morel's mean, pixel by pixel, of a picture (H, W, 3)."""
    height, width, channels = x.shape
    padded = np.pad(x, [(patch, patch), (patch, patch), (0, 0)], mode="reflect")
    step = np.arange(-patch, patch + 1) / max(patch, 1)
    taps = np.exp(-2 * (step[:, None] ** 2 + step**2)) if window == "gaussian" else np.ones((step.size, step.size))
    taps = taps[..., None] / (taps.sum() * channels)
    patches = np.stack([[padded[i : i + step.size, j : j + step.size] for j in range(width)] for i in range(height)])
    out = np.empty_like(x)
    for i, j in np.ndindex(height, width):
        rows, columns = (slice(max(0, at - search), at + search + 1) for at in (i, j))
        distance = ((patches[rows, columns] - patches[i, j]) ** 2 * taps).sum((-1, -2, -3))
        weights = np.exp(-np.maximum(distance - 2 * sigma**2, 0) / strength**2)[..., None]
        out[i, j] = (weights * x[rows, columns]).sum((0, 1)) / weights.sum()
    return out


@given(
    st.integers(1, 4),
    st.integers(0, 3),
    st.floats(0.05, 2),
    st.floats(0, 0.3),
    st.sampled_from(["gaussian", "box"]),
)
@settings(max_examples=15)
def test_is_what_the_definition_says(tools, search, patch, strength, sigma, window):
    frame = tools.picture(Signal(), batch=1, size=(9, 11), dtype=torch.float64)
    found = run(tools, frame, search=search, patch=patch, strength=strength, sigma=sigma, window=window)
    picture = frame.pixels[0].permute(1, 2, 0).numpy()
    expected = by_definition(picture, search, patch, strength, sigma, window)
    np.testing.assert_allclose(found[0].permute(1, 2, 0), expected, atol=1e-12)


@pytest.mark.parametrize("strength", [0.03, 0.06, 0.2])
def test_a_photo_with_noise_is_that_of_scikit_image_borders_included(tools, photos, strength):
    from skimage.restoration import denoise_nl_means

    photo = photos["chelsea"][100:140, 150:200] / 255.0
    noisy = photo + np.random.default_rng(0).normal(0, 0.05, photo.shape)
    pixels = torch.from_numpy(noisy).permute(2, 0, 1).unsqueeze(0)
    frame = replace(tools.picture(Signal(), batch=1), pixels=pixels)
    found = run(tools, frame, strength=strength, sigma=0.05, search=4, patch=2)[0].permute(1, 2, 0).numpy()
    expected = denoise_nl_means(
        noisy, patch_size=5, patch_distance=4, h=strength, sigma=0.05, fast_mode=False, channel_axis=-1
    )
    # its exponential is an approximation, and weights below exp(-5) are none
    assert np.abs(found - expected).max() < 0.012
    assert np.abs(found - expected).mean() < 0.015 * np.abs(found - noisy).mean()


@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 6))
def test_the_mean_over_a_patch(radius, more_rows, more_columns):
    shape = (2 * radius + 1 + more_rows, 2 * radius + 1 + more_columns)
    x = torch.from_numpy(np.random.default_rng(3).uniform(-1, 1, (2, 1, *shape)))
    windows = np.lib.stride_tricks.sliding_window_view(x.numpy(), (2 * radius + 1,) * 2, axis=(2, 3))
    np.testing.assert_allclose(patch_mean(x, radius, "box"), windows.mean((-1, -2)), atol=1e-14)
    step = np.arange(-radius, radius + 1) / max(radius, 1)
    taps = np.exp(-2 * (step[:, None] ** 2 + step**2))
    expected = (windows * taps).sum((-1, -2)) / taps.sum()
    np.testing.assert_allclose(patch_mean(x, radius, "gaussian"), expected, atol=1e-14)


@pytest.mark.parametrize("window", ["gaussian", "box"])
def test_a_tile_has_the_bits_of_the_whole(tools, window):
    """Also one whose strips are cut elsewhere."""
    frame = tools.picture(Signal(), batch=1, size=(190, 331))
    params = {"search": 2, "patch": 1, "window": window}
    whole = run(tools, frame, **params)
    part = frame.moved(Move(frame.size, window=(37, 41, 150, 290)))
    assert torch.equal(run(tools, part, **params)[..., 3:-3, 3:-3], whole[..., 40:184, 44:328])


def test_noise_that_is_known_does_not_count(tools):
    """In a flat picture, every difference is noise: with sigma given, the mean is that of the window."""
    noise = torch.from_numpy(np.random.default_rng(1).normal(0, 0.05, (1, 3, 60, 60)))
    frame = replace(tools.picture(Signal(), batch=1), pixels=0.5 + noise)
    params = {"search": 5, "patch": 2, "strength": 0.03, "window": "box"}
    left = {sigma: (run(tools, frame, sigma=sigma, **params) - 0.5).std().item() for sigma in (0.0, 0.05, 0.1)}
    assert left[0.1] < left[0.05] < left[0.0]
    inside = run(tools, frame, sigma=0.1, **params)[..., 5:-5, 5:-5] - 0.5
    assert inside.std().item() == pytest.approx(0.05 / 11, rel=0.2)  # 121 equal weights


def test_a_photo_with_noise_comes_closer_to_the_photo(tools, photos):
    photo = torch.from_numpy(photos["astronaut"][60:124, 180:260] / 255.0).permute(2, 0, 1).unsqueeze(0)
    sigma = 0.08
    noisy = photo + sigma * torch.from_numpy(np.random.default_rng(2).normal(size=tuple(photo.shape)))
    frame = replace(tools.picture(Signal(), batch=1), pixels=noisy)
    found = run(tools, frame, search=5, patch=2, sigma=sigma, strength=0.6 * sigma)
    gain = 20 * torch.log10((noisy - photo).std() / (found - photo).std())
    assert gain > 5  # dB


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
        np.testing.assert_allclose(turned, turn(found), atol=1e-13)


def test_no_difference_without_strength(tools):
    """As h falls, only pixels with equal surroundings are averaged."""
    x = tools.picture(Signal(), batch=1, size=(11, 13)).pixels
    strength = torch.full((1, 1, 1, 1), 0.001)
    np.testing.assert_allclose(non_local_means(x, strength, torch.zeros_like(strength), 2, 1), x, atol=1e-6)
