"""The laws of the lens, and the conformance kit, as any third party would run them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim import Frame, Signal, recipe
from isp_sim.pipeline import Pipeline
from isp_sim.testing import assert_conforms

CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
RAW = Signal(**{**CAMERA.to_dict(), "layout": "mosaic", "cfa": "RGGB"})


def run(step: str, pixels: torch.Tensor, signal: Signal = CAMERA) -> Frame:
    text = f"version: 1\nstages:\n  - srgb_eotf\n  - {step}\n"
    steps = recipe.parse(text).pipeline.steps[1:]
    return Pipeline(steps).run(Frame(pixels, signal, keys=tuple(map(str, range(pixels.shape[0]))))).frame


def random(*size: int) -> torch.Tensor:
    return torch.rand(*size, generator=torch.Generator().manual_seed(size[-1]))


@pytest.mark.parametrize("name", ["vignetting", "lateral_chromatic_aberration", "flare"])
def test_it_conforms(name: str) -> None:
    assert_conforms(name)


sides = st.integers(1, 24)


@settings(deadline=None, derandomize=True)
@given(sides, sides, st.sampled_from(["radial", "cos4"]))
def test_vignetting_is_symmetric_and_falls_outwards(height: int, width: int, law: str) -> None:
    gain = run(f"vignetting: {{law: {law}, strength: 0.8}}", torch.ones(1, 3, height, width)).maps["gain"][0, 0]
    assert torch.equal(gain, gain.flip(0))
    assert torch.equal(gain, gain.flip(1))
    assert bool((gain[height // 2 :].diff(dim=0) <= 0).all())
    assert bool((gain[:, width // 2 :].diff(dim=1) <= 0).all())


def test_vignetting_by_closed_forms() -> None:
    pixels = torch.ones(1, 3, 401, 301)
    half_diagonal = (401**2 + 301**2) ** 0.5 / 2
    for law, expected in (
        ("{law: radial, strength: 0.4}", lambda r: 1 - 0.4 * r**2),
        ("{law: cos4, field_of_view: 90}", lambda r: np.cos(np.arctan(r * np.tan(np.pi / 4))) ** 4),
    ):
        seen = run(f"vignetting: {law}", pixels).pixels[0, 1]
        assert seen[200, 150].item() == 1
        for y, x in ((0, 0), (200, 0), (300, 250)):
            r = np.hypot(y - 200, x - 150) / half_diagonal
            assert seen[y, x].item() == pytest.approx(expected(r), abs=1e-6)


@pytest.mark.parametrize("step", ["vignetting: {strength: 0}", "vignetting: {law: cos4, field_of_view: 0}"])
@pytest.mark.parametrize("signal", [CAMERA, RAW])
def test_no_vignetting_is_identity(step: str, signal: Signal) -> None:
    pixels = random(2, 1 if signal is RAW else 3, 7, 9)
    assert torch.equal(run(step, pixels, signal).pixels, pixels)


def test_the_centre_can_be_moved() -> None:
    gain = run("vignetting: {strength: 1, centre_y: 0.2, centre_x: -0.3}", torch.ones(1, 3, 300, 400)).maps["gain"]
    y, x = divmod(int(gain.flatten().argmax()), 400)
    assert (y, x) == pytest.approx((149.5 + 0.2 * 250, 199.5 - 0.3 * 250), abs=0.6)


@settings(deadline=None, derandomize=True)
@given(sides, sides)
def test_no_aberration_is_identity(height: int, width: int) -> None:
    pixels = random(1, 3, height, width)
    assert torch.equal(run("lateral_chromatic_aberration: {red: 0, blue: 0}", pixels).pixels, pixels)


def test_green_is_not_touched() -> None:
    pixels = random(2, 3, 33, 20)
    seen = run("lateral_chromatic_aberration: {red: 0.01, blue: -0.02}", pixels).pixels
    assert torch.equal(seen[:, 1], pixels[:, 1])
    assert not torch.equal(seen[:, 0], pixels[:, 0])


@pytest.mark.parametrize("m", [0.01, -0.015])
def test_red_is_magnified_as_much_as_said(m: float) -> None:
    """A smooth spot at distance r from the centre must be seen at r (1 + m)."""
    size, where = 201, (160.0, 45.0)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    spot = torch.exp(-((y - where[0]) ** 2 + (x - where[1]) ** 2) / 18)
    seen = run(f"lateral_chromatic_aberration: {{red: {m}, blue: 0}}", spot.expand(1, 3, -1, -1).clone()).pixels
    for channel, magnification in ((0, m), (1, 0.0), (2, 0.0)):
        weight = seen[0, channel].double()
        found = ((weight * y).sum() / weight.sum()).item(), ((weight * x).sum() / weight.sum()).item()
        assert found == pytest.approx([100 + (c - 100) * (1 + magnification) for c in where], abs=0.02)


def test_a_flat_field_stays_flat() -> None:
    flat = torch.full((1, 3, 21, 30), 0.37)
    seen = run("lateral_chromatic_aberration: {red: 0.02, blue: -0.013}", flat).pixels
    torch.testing.assert_close(seen, flat, atol=2e-7, rtol=0)


def test_the_recipe_is_valid() -> None:
    assert recipe.read(Path(__file__).parents[1] / "recipes" / "old_lens.yaml").warnings == ()
