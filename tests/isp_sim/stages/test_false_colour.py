from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

EDGES = {"edges": [0.05, 0.3]}
params_to_try = st.fixed_dictionaries(
    {"size": st.sampled_from([3, 5]), "iterations": st.integers(1, 3), "strength": st.floats(0, 1)},
    optional={"edges": st.just([0.1, 0.6])},
)


def run(tools, frame, **params):
    return tools.run_stage("false_colour", frame, params).pixels


@pytest.mark.parametrize("params", [None, {"size": 5, "iterations": 2, "strength": {"uniform": [0, 1]}} | EDGES])
def test_engine_laws(tools, params):
    tools.assert_engine_laws("false_colour", tools.picture(Signal(), size=(61, 53)), params)


def test_precision(tools):
    frame = tools.picture(Signal(), size=(31, 33), dtype=torch.float64)
    tools.assert_precision("false_colour", frame, bound=3e-7)


@pytest.mark.parametrize("params", [{}, {"size": 5}, {"strength": 0.5} | EDGES])
def test_gradient(tools, params):
    tools.assert_gradient("false_colour", tools.picture(Signal(), batch=1, size=(4, 5)), params)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("iterations", [1, 3])
def test_colour_differences_become_their_medians(tools, size, iterations):
    from scipy import ndimage

    frame = tools.picture(Signal(), batch=1, size=(17, 19), dtype=torch.float64)
    found = run(tools, frame, size=size, iterations=iterations)
    r, g, b = frame.pixels[0].numpy()
    for channel, colour in ((0, r), (2, b)):
        difference = colour - g
        for _ in range(iterations):
            difference = ndimage.median_filter(difference, size, mode="mirror")
        np.testing.assert_allclose(found[0, channel], g + difference, atol=1e-15)


@given(params_to_try)
@settings(max_examples=15)
def test_green_and_grey_pictures_and_flat_ones_stay_to_the_bit(tools, params):
    frame = tools.picture(Signal(), batch=1, size=(13, 15))
    assert torch.equal(run(tools, frame, **params)[:, 1], frame.pixels[:, 1])
    grey = replace(frame, pixels=frame.pixels[:, :1].expand(-1, 3, -1, -1))
    assert torch.equal(run(tools, grey, **params), grey.pixels)
    flat = replace(frame, pixels=torch.tensor([0.7, 0.2, 0.4]).reshape(1, 3, 1, 1).expand(1, 3, 13, 15))
    assert torch.equal(run(tools, flat, **params), flat.pixels)


@given(params_to_try)
@settings(max_examples=15)
def test_turns_and_flips_commute_to_the_bit(tools, params):
    frame = tools.picture(Signal(), batch=1, size=(11, 14))
    found = run(tools, frame, **params)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        assert torch.equal(run(tools, replace(frame, pixels=turn(frame.pixels)), **params), turn(found))


def test_only_at_edges(tools):
    """Nothing below the first contrast, everything from the second on, in part in between."""
    frame = tools.picture(Signal(), batch=1, size=(12, 40))
    columns = torch.arange(40)
    green = torch.where(columns < 10, 0.3, torch.where(columns < 20, 0.35, torch.where(columns < 30, 0.5, 0.9)))
    pixels = frame.pixels.clone()
    pixels[:, 1] = green
    frame = replace(frame, pixels=pixels)
    everywhere = run(tools, frame) - pixels
    edges = run(tools, frame, edges=[0.1, 0.2]) - pixels
    assert not edges[..., :19].any()  # contrasts of 0 and 0.05
    np.testing.assert_allclose(edges[..., 19:21], everywhere[..., 19:21] * 0.5, atol=1e-6)  # 0.15
    assert torch.equal(edges[..., 29:31], everywhere[..., 29:31])  # 0.4


def test_fringes_of_demosaicing_become_fewer(tools, photos):
    camera = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
    photo = torch.from_numpy(photos["astronaut"][:128, 128:256] / 255.0).float().permute(2, 0, 1).unsqueeze(0)
    frame = replace(tools.picture(camera, batch=1), pixels=photo)
    developed = tools.run_chain([{"mosaic": {"cfa": "RGGB"}}, {"demosaic": {"method": "bilinear"}}], frame)
    before, after = (
        ((pixels - photo) ** 2).mean().item() for pixels in (developed.pixels, run(tools, developed, iterations=2))
    )
    assert after < before


@pytest.mark.parametrize("params", [{"size": 4}, {"iterations": 6}, {"edges": [0.3, 0.1]}, {"edges": [0.1]}])
def test_parameters_out_of_bounds(tools, params):
    with pytest.raises(ParameterFaults):
        tools.chain([{"false_colour": params}])
