from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim import filters
from isp_sim.signal import Signal
from isp_sim.stages.bilateral import bilateral
from isp_sim.stages.ycbcr import luma, rgb_to_ycbcr, ycbcr_to_rgb

YCBCR = Signal(layout="ycbcr")
DRAWN = {
    "sigma": {"uniform": [0.5, 3]},
    "sigma_luma": {"uniform": [0.05, 0.3]},
    "strength": {"uniform": [0, 1]},
    "radius": 3,
}
METHODS = ("bilateral", "gaussian")


def run(tools, frame, **params):
    return tools.run_stage("chroma_denoise", frame, params).pixels


@pytest.mark.parametrize("signal", [Signal(), YCBCR], ids=["rgb", "ycbcr"])
@pytest.mark.parametrize("method", METHODS)
def test_engine_laws(tools, signal, method):
    tools.assert_engine_laws("chroma_denoise", tools.picture(signal, size=(43, 47)), DRAWN | {"method": method})


@pytest.mark.parametrize("method", METHODS)
def test_gradient(tools, method):
    frame = tools.picture(Signal(), batch=1, size=(3, 4))
    tools.assert_gradient("chroma_denoise", frame, {"method": method, "radius": 2})


def test_precision(tools):
    frame = tools.picture(Signal(), size=(31, 33), dtype=torch.float64)
    tools.assert_precision("chroma_denoise", frame, bound=2e-6)


@pytest.mark.parametrize("method", METHODS)
@given(st.floats(0.1, 8), st.floats(0, 1))
@settings(max_examples=10)
def test_luma_is_kept(tools, method, sigma, strength):
    params = {"method": method, "sigma": sigma, "strength": strength, "radius": 2}
    frame = tools.picture(YCBCR, batch=1, size=(13, 15))
    assert torch.equal(run(tools, frame, **params)[:, :1], frame.pixels[:, :1])
    frame = tools.picture(Signal(), batch=1, size=(13, 15), dtype=torch.float64)
    np.testing.assert_allclose(luma(run(tools, frame, **params)), luma(frame.pixels), atol=1e-15)


@pytest.mark.parametrize("method", METHODS)
def test_colour_differences_are_filtered(tools, method):
    frame = tools.picture(YCBCR, batch=1, size=(21, 23), dtype=torch.float64)
    y, chroma = frame.pixels[:, :1], frame.pixels[:, 1:]
    sigma, range_ = (torch.tensor(s).reshape(1, 1, 1, 1) for s in (2.0, 0.25))
    expected = filters.gaussian(chroma, sigma) if method == "gaussian" else bilateral(chroma, y, 3, sigma, range_)
    found = run(tools, frame, method=method, sigma=2, sigma_luma=0.25, radius=3)
    np.testing.assert_allclose(found[:, 1:], expected, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_rgb_and_ycbcr_are_the_same(tools, method):
    frame = tools.picture(Signal(), batch=1, size=(21, 23), dtype=torch.float64)
    other = replace(frame, pixels=rgb_to_ycbcr(frame.pixels), signal=YCBCR)
    params = {"method": method, "strength": 0.7}
    np.testing.assert_allclose(run(tools, frame, **params), ycbcr_to_rgb(run(tools, other, **params)), atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_grey_and_flat_pictures_stay_to_the_bit(tools, method):
    frame = tools.picture(Signal(), batch=1, size=(13, 15))
    grey = replace(frame, pixels=frame.pixels[:, :1].expand(-1, 3, -1, -1))
    assert torch.equal(run(tools, grey, method=method), grey.pixels)
    flat = replace(frame, pixels=torch.tensor([0.7, 0.2, 0.4]).reshape(1, 3, 1, 1).expand(1, 3, 13, 15))
    assert torch.equal(run(tools, flat, method=method), flat.pixels)


def test_without_strength_it_is_nothing(tools):
    frame = tools.picture(Signal(), batch=1, size=(13, 15))
    assert torch.equal(run(tools, frame, strength=0), frame.pixels)


def test_an_edge_of_colour_stays_where_luma_has_one(tools):
    left = torch.arange(24) < 12
    frame = tools.picture(YCBCR, batch=1, size=(9, 24))
    chroma = torch.where(left, 0.3, 0.7)
    for y, stays in ((torch.where(left, 0.2, 0.8), True), (torch.full((24,), 0.5), False)):
        pixels = torch.stack([y, chroma, chroma])[None, :, None].expand(1, 3, 9, 24)
        moved = (run(tools, replace(frame, pixels=pixels)) - pixels).abs().max()
        assert (moved < 1e-6) == stays
