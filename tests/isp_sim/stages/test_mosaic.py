import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import State
from isp_sim.signal import Signal, cfa_rows
from isp_sim.stages.mosaic import mosaic

LINEAR = Signal(transfer="linear")
CFAS = ("RGGB", "GRBG", "GBRG", "BGGR", "RG/GB/BG", "R/G/B", "GBGGRG/RGRBGB/GBGGRG/GRGGBG/BGBRGR/GRGGBG")


@given(st.sampled_from(CFAS), st.integers(1, 13), st.integers(1, 13))
def test_every_sample_is_the_one_colour_of_its_site(cfa, height, width):
    rgb = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, height, width)))
    rows = cfa_rows(cfa)
    sampled = mosaic(rgb, cfa)
    assert sampled.shape == (2, 1, height, width)
    for y in range(height):
        for x in range(width):
            channel = "RGB".index(rows[y % len(rows)][x % len(rows[0])])
            assert torch.equal(sampled[:, 0, y, x], rgb[:, channel, y, x])


@pytest.mark.parametrize("cfa", CFAS)
def test_engine_laws(tools, cfa):
    tools.assert_engine_laws("mosaic", tools.picture(LINEAR, low=-1, high=2), {"cfa": cfa})


def test_gradient(tools):
    tools.assert_gradient("mosaic", tools.picture(LINEAR, batch=1, size=(3, 5)), {"cfa": "GRBG"})


@pytest.mark.parametrize("cfa", CFAS)
def test_a_crop_of_the_mosaic_is_the_mosaic_of_the_crop(tools, cfa):
    """Which fixes the phase: a mosaic cut at an odd place has the pattern that sampling there needs."""
    frame = tools.picture(LINEAR, size=(9, 11))
    sampled = tools.run_stage("mosaic", frame, {"cfa": cfa})
    for top, left in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 3)):
        cut = sampled.crop(top, left, 6, 7)
        again = mosaic(frame.crop(top, left, 6, 7).pixels, cut.signal.cfa)
        assert torch.equal(cut.pixels, again)


def test_the_signal(tools):
    after = tools.run_stage("mosaic", tools.picture(LINEAR.changed({"bit_depth": 10}), size=(4, 4)), {"cfa": "BGGR"})
    assert after.signal == LINEAR.changed({"layout": "mosaic", "cfa": "BGGR", "bit_depth": 10})


@pytest.mark.parametrize("cfa", ["GBRG", "RCCB", "CYGM"])
def test_grey_is_grey(cfa):
    grey = torch.rand(1, 1, 5, 7)
    assert torch.equal(mosaic(grey.expand(1, 3, 5, 7), cfa), grey)


def test_sites_that_let_several_colours_through_get_their_mean():
    rgb = torch.tensor([3.0, 6.0, 12.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert mosaic(rgb, "CYMW")[0, 0].tolist() == [[9.0, 4.5], [7.5, 7.0]]


def test_a_mean_of_codes_lies_between_codes(tools):
    frame = tools.picture(LINEAR.changed({"bit_depth": 10}), size=(4, 4))
    assert tools.run_stage("mosaic", frame, {"cfa": "RCCB"}).signal.bit_depth is None
    assert tools.run_stage("mosaic", frame, {"cfa": "quad_bayer"}).signal.bit_depth == 10


def test_names_and_unknown_filters(tools):
    frame = tools.picture(LINEAR, size=(4, 4))
    assert tools.run_stage("mosaic", frame, {"cfa": "RCCB"}).signal.cfa == "RWWB"
    with pytest.raises(ParameterFaults, match="has E; known filters are R, G, B, C, M, Y, W"):
        tools.chain([{"mosaic": {"cfa": "RGEB"}}])


def test_what_one_gain_can_not_balance_is_refused_before_a_picture_is_read(tools):
    camera = LINEAR.changed({"colour": "camera", "white_balanced": False})
    gains = {"white_balance": {"gains": [2.0, 1.0, 1.5]}}
    chain = tools.chain([{"mosaic": {"cfa": "RCCB"}}, gains])
    (problem,) = chain.check(State(camera))[1]
    assert "none for the W sites of the CFA RWWB" in problem.message
    after = {"demosaic": {"method": "normalised_convolution"}}
    assert not tools.chain([{"mosaic": {"cfa": "RCCB"}}, after, gains]).check(State(camera))[1]
