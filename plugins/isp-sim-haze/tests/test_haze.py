"""The laws of scattering, and the conformance kit, as any third party would run them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isp_sim_haze.depth import WAVES, depth

from isp_sim import Frame, Signal, recipe
from isp_sim.frame import Capture
from isp_sim.pipeline import Pipeline
from isp_sim.testing import assert_conforms

LIGHT = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
RAW = Signal(**{**LIGHT.to_dict(), "layout": "mosaic", "cfa": "RGGB"})

sides = st.integers(1, 24)
betas = st.floats(0, 20, width=32)
shapes = st.fixed_dictionaries({"gradient": st.floats(0, 1, width=32), "roughness": st.floats(0, 1, width=32)})


def run(pixels: torch.Tensor, signal: Signal = LIGHT, **params: object) -> Frame:
    text = f"version: 1\nstages:\n  - srgb_eotf\n  - haze: {params}\n".replace("'", "")
    steps = recipe.parse(text).pipeline.steps[1:]
    return Pipeline(steps).run(Frame(pixels, signal, keys=tuple(map(str, range(pixels.shape[0]))))).frame


def random(*size: int) -> torch.Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(size[-1]))


def test_it_conforms() -> None:
    assert_conforms("haze")


@pytest.mark.parametrize(("signal", "channels"), [(LIGHT, 3), (RAW, 1)])
@settings(deadline=None, derandomize=True, max_examples=15)
@given(sides, sides, shapes)
def test_no_haze_is_nothing_to_the_bit(
    signal: Signal, channels: int, height: int, width: int, shape: dict[str, float]
) -> None:
    pixels = random(2, channels, height, width)
    hazy = run(pixels, signal, beta=0, **shape)
    assert torch.equal(hazy.pixels, pixels)
    assert bool((hazy.maps["transmission"] == 1).all())


@settings(deadline=None, derandomize=True, max_examples=25)
@given(betas, shapes)
def test_is_the_law_of_scattering(beta: float, shape: dict[str, float]) -> None:
    pixels = random(2, 3, 11, 13).double()
    hazy = run(pixels, beta=beta, airlight=[0.5, 0.7, 0.9], **shape)
    t, air = hazy.maps["transmission"].numpy(), np.array([0.5, 0.7, 0.9]).reshape(3, 1, 1)
    assert t.shape == (2, 1, 11, 13)
    np.testing.assert_allclose(hazy.pixels, pixels.numpy() * t + air * (1 - t), atol=1e-15)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(betas, betas, shapes)
def test_more_haze_is_nearer_to_the_airlight(one: float, other: float, shape: dict[str, float]) -> None:
    pixels = random(1, 3, 11, 13)
    less, more = (run(pixels, beta=beta, airlight=[0.7, 0.7, 0.7], **shape) for beta in sorted((one, other)))
    assert bool((more.maps["transmission"] <= less.maps["transmission"]).all())
    rounding = 1e-7
    assert bool(((more.pixels - 0.7).abs() <= (less.pixels - 0.7).abs() + rounding).all())


def test_in_the_limit_there_is_airlight_alone() -> None:
    hazy = run(random(1, 3, 11, 13), beta=100, airlight=[0.25, 0.5, 0.75], gradient=0, roughness=0).pixels
    assert torch.equal(hazy, torch.tensor([0.25, 0.5, 0.75]).reshape(1, 3, 1, 1).expand_as(hazy))


def test_a_mosaic_is_that_of_the_hazy_picture() -> None:
    pixels = random(1, 3, 8, 10)
    colours = torch.tensor([[0, 1], [1, 2]]).repeat(4, 5)[None, None]
    params = {"beta": 1.5, "airlight": [0.5, 0.7, 0.9]}
    hazy = run(pixels, **params).pixels.gather(1, colours)
    assert torch.equal(run(pixels.gather(1, colours), RAW, **params).pixels, hazy)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(sides, sides, st.floats(0, 1))
def test_depth_without_noise_falls_evenly(height: int, width: int, gradient: float) -> None:
    found = depth((height, width), gradient, 0.0, np.ones((WAVES + 1, WAVES + 1)))
    assert found.shape == (height, width)
    assert found.mean() == pytest.approx(1)
    np.testing.assert_allclose(np.diff(found, axis=0), -2 * gradient / height, atol=1e-12)
    assert np.ptp(found, axis=1).max() == 0


def test_the_noise_has_the_deviation_that_is_asked_for_and_no_mean() -> None:
    draws = np.random.default_rng(0).standard_normal((300, WAVES + 1, WAVES + 1))
    found = np.stack([depth((24, 32), 0.0, 0.1, drawn) for drawn in draws])
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 1, atol=1e-12)
    assert found.std() == pytest.approx(0.1, rel=0.05)


def test_depth_is_never_negative() -> None:
    drawn = np.random.default_rng(0).standard_normal((WAVES + 1, WAVES + 1))
    assert depth((24, 32), 1.0, 1.0, drawn).min() == 0


def test_each_picture_has_a_depth_of_its_own() -> None:
    t = run(random(2, 3, 11, 13)).maps["transmission"]
    assert not torch.equal(t[0], t[1])


def test_the_recipe_is_valid() -> None:
    assert recipe.read(Path(__file__).parents[1] / "recipes" / "hazy_morning.yaml").warnings == ()


def test_grey_air_is_grey_after_white_balance() -> None:
    gains = torch.tensor([2.0, 1.0, 1.5]).reshape(1, 3, 1, 1)
    steps = recipe.parse(
        "version: 1\nstages:\n  - srgb_eotf\n  - haze: {beta: 100, gradient: 0, roughness: 0}\n"
    ).pipeline.steps[1:]
    before = Frame(random(1, 3, 8, 8), LIGHT, Capture({"wb_gains": gains}), ("a",))
    balanced = Pipeline(steps).run(before).frame.pixels * gains
    torch.testing.assert_close(balanced, torch.full_like(balanced, 0.8))
