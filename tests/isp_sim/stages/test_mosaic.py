import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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


def test_grey_is_grey(tools):
    grey = torch.rand(1, 1, 5, 7)
    assert torch.equal(mosaic(grey.expand(1, 3, 5, 7), "GBRG"), grey)
