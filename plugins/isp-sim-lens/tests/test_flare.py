"""The laws of flare: where the light goes, and that none is made."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from isp_sim_lens import flare
from torch import Tensor

from isp_sim import Frame, Signal, recipe
from isp_sim.pipeline import Pipeline

LIGHT = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")

sides = st.integers(1, 40)


def run(pixels: Tensor, **params: object) -> Frame:
    text = f"version: 1\nstages:\n  - srgb_eotf\n  - flare: {params}\n".replace("'", "")
    steps = recipe.parse(text).pipeline.steps[1:]
    return Pipeline(steps).run(Frame(pixels, LIGHT, keys=tuple(map(str, range(pixels.shape[0]))))).frame


def flared(pixels: Tensor, **params: object) -> Tensor:
    return run(pixels, **params).pixels


def random(*size: int) -> Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(size[-1]))


@settings(deadline=None, derandomize=True, max_examples=20)
@given(sides, sides, st.integers(1, 5))
def test_none_is_nothing_to_the_bit(height: int, width: int, ghosts: int) -> None:
    pixels = random(2, 3, height, width)
    assert torch.equal(flared(pixels, glare=0, ghost=0, ghosts=ghosts), pixels)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(sides, sides, st.floats(0, 0.5), st.floats(0.01, 1))
def test_the_veil_keeps_the_light_and_flat_pictures(height: int, width: int, glare: float, spread: float) -> None:
    pixels = random(1, 3, height, width).double()
    veiled = flared(pixels, glare=glare, spread=spread, ghost=0)
    np.testing.assert_allclose(veiled.mean((2, 3)), pixels.mean((2, 3)), atol=1e-12)
    flat = torch.full_like(pixels, 0.3)
    np.testing.assert_allclose(flared(flat, glare=glare, spread=spread, ghost=0), flat, atol=1e-12)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(sides, sides, st.floats(0, 0.5), st.floats(0, 0.5), st.integers(1, 5))
def test_stays_between_black_and_white(height: int, width: int, glare: float, ghost: float, ghosts: int) -> None:
    pixels = random(1, 3, height, width).double().round()
    seen = flared(pixels, glare=glare, ghost=ghost, ghosts=ghosts)
    assert seen.min() >= 0
    # one ghost that is smaller than the picture is brighter than it
    assert seen.max() <= 1 - ghost + ghost / flare.SMALLEST**2 + 1e-9


def test_the_veil_has_the_width_that_is_asked_for() -> None:
    pixels = torch.zeros(1, 3, 141, 141, dtype=torch.float64)
    pixels[..., 70, 70] = 1
    veil = (flared(pixels, glare=0.5, spread=0.06, ghost=0) - 0.5 * pixels)[0, 0].numpy()
    across = np.arange(141) - 70.0
    variance = (veil.sum(axis=0) * across**2).sum() / veil.sum()
    assert math.sqrt(variance) == pytest.approx(0.06 * math.hypot(141, 141), rel=0.05)
    np.testing.assert_allclose(veil, veil[::-1, ::-1], atol=1e-15)


def test_a_light_that_is_off_the_middle_has_ghosts_on_a_line_through_it() -> None:
    pixels = torch.zeros(1, 3, 101, 101, dtype=torch.float64)
    pixels[..., 50 - 12, 50 - 24] = 1
    ghosts = flared(pixels, glare=0, ghost=0.5, ghosts=4, defocus=0.01) - 0.5 * pixels
    light = ghosts.sum(1)[0].numpy()
    assert 0 < light.sum() <= 1.6
    rows, columns = (np.arange(101) - 50.0 for _ in range(2))
    off = rows[:, None] * 24 - columns[None] * 12
    beside = np.abs(off) / math.hypot(12, 24)
    # a ghost 1.5 times as large is as much wider
    assert light[beside > 6].sum() < 1e-3 * light.sum()
    assert light[columns[None] * np.ones((101, 1)) > 2].sum() > 0


def test_ghosts_lose_light_and_never_make_it() -> None:
    bright = torch.zeros(1, 3, 120, 160, dtype=torch.float64)
    bright[..., 40:80, 60:100] = 1
    for ghosts in range(1, 9):
        assert flared(bright, glare=0, ghost=0.3, ghosts=ghosts).sum() <= bright.sum() * 1.005


def test_every_picture_has_ghosts_of_its_own() -> None:
    pixels = random(1, 3, 30, 40).repeat(2, 1, 1, 1)
    first, second = flared(pixels, ghost=0.3)
    assert not torch.equal(first, second)
    assert torch.equal(flared(pixels, ghost=0.3)[0], first)


@pytest.mark.parametrize("size", [(300, 401), (257, 333)])
def test_cells_are_near_to_single_pixels(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture on cells, and on its pixels."""
    pixels = torch.zeros(1, 3, *size)
    pixels[..., 40:90, 100:160] = 1
    coarse = flared(pixels, glare=0.3, ghost=0.1)
    monkeypatch.setattr(flare, "CELLS", 10_000)
    fine = flared(pixels, glare=0.3, ghost=0.1)
    assert (coarse - fine).abs().max() < 0.03
    assert (coarse - fine).abs().mean() < 5e-4


def test_the_map_is_what_was_added() -> None:
    pixels = random(1, 3, 20, 30).double()
    frame = run(pixels, glare=0.2, ghost=0.1)
    added = (frame.pixels - 0.7 * pixels).mean(1, keepdim=True)
    np.testing.assert_allclose(frame.maps["flare"], added, atol=1e-14)


def test_the_recipe_is_valid() -> None:
    assert recipe.read(Path(__file__).parents[1] / "recipes" / "against_the_light.yaml").warnings == ()
