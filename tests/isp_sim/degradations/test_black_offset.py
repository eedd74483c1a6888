import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import RAW, Signal

LIGHT = Signal(transfer="linear")
BAYER = Signal(layout="mosaic", cfa="RGGB", colour="camera", white_balanced=False, transfer="linear", reference="scene")


@pytest.mark.parametrize("signal", [LIGHT, BAYER], ids=["rgb", "mosaic"])
def test_engine_laws(tools, signal):
    tools.assert_engine_laws("black_offset", tools.picture(signal), {"offset": {"normal": [0, 0.02]}})


@given(st.floats(-0.5, 0.5))
def test_adds_the_same_everywhere(tools, offset):
    frame = tools.picture(BAYER, size=(5, 7), low=-0.1, high=1.1, dtype=torch.float64)
    assert torch.equal(tools.run_stage("black_offset", frame, {"offset": offset}).pixels, frame.pixels + offset)


def test_is_what_a_wrong_black_level_leaves(tools):
    facts = {"black_level": torch.full((3, 1, 2, 2), 64.0), "white_level": torch.full((3, 1, 2, 2), 1088.0)}
    signal = RAW.changed({"cfa": "RGGB", "bit_depth": None})
    frame = tools.picture(signal, size=(4, 6), low=64, high=1088, capture=facts, dtype=torch.float64)
    # with white lowered by as much, the span stays, and nothing but the offset is left
    wrong = {"black_level": {"add": -16}, "white_level": {"add": -16}}
    found = tools.run_stage("normalise", frame, {"deviate": wrong}).pixels
    expected = tools.run_chain(["normalise", {"black_offset": {"offset": 16 / 1024}}], frame).pixels
    assert (found - expected).abs().max() < 1e-14
