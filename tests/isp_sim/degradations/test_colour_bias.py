import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.pipeline import State
from isp_sim.signal import Signal, cfa_rows

SPAN = 1000.0
OFFSETS = [1.0, 2.0, 3.0, 4.0]
LINEAR = Signal(transfer="linear")


def mosaic(cfa):
    return LINEAR.changed({"layout": "mosaic", "cfa": cfa, "colour": "camera"})


def test_engine_laws(tools):
    params = {"span": SPAN, "offsets": [{"uniform": [-1, 1]}, 0, 0, 1]}
    tools.assert_engine_laws("colour_bias", tools.picture(mosaic("GRBG"), size=(31, 33)), params)


@pytest.mark.parametrize("cfa", ["RGGB", "GRBG", "GBRG", "BGGR"])
def test_each_site_has_its_own_wherever_the_phase_puts_it(tools, flat, cfa):
    after = tools.run_stage(
        "colour_bias", flat(0.0, size=(4, 6), signal=mosaic(cfa)), {"span": SPAN, "offsets": OFFSETS}
    )
    rows = cfa_rows(cfa)
    for y in range(4):
        row = rows[y % 2]
        for x in range(6):
            letter = row[x % 2]
            expected = {"R": 1, "B": 4, "G": 2 if "R" in row else 3}[letter]
            assert after.pixels[0, 0, y, x].item() * SPAN == pytest.approx(expected)


def test_comes_off_again(tools):
    frame = tools.picture(mosaic("GBRG"), size=(6, 6), dtype=torch.float64)
    chain = tools.chain([{"colour_bias": {"span": SPAN, "offsets": [3.0, -1.0, 2.0, 5.0]}}])
    after = chain.run(frame).frame
    assert not torch.allclose(after.pixels, frame.pixels, atol=1e-4)
    assert torch.allclose(chain.inverse(after).pixels, frame.pixels, atol=1e-12)


@given(st.integers(0, 3), st.integers(0, 3))
def test_commutes_with_a_crop(tools, top, left):
    frame = tools.picture(mosaic("RGGB"), size=(12, 12))
    biased = tools.run_stage("colour_bias", frame, {"span": SPAN, "offsets": OFFSETS}).crop(top, left, 8, 8)
    cut = tools.run_stage("colour_bias", frame.crop(top, left, 8, 8), {"span": SPAN, "offsets": OFFSETS})
    tools.assert_same_frame(biased, cut)


def test_other_layouts_take_the_mean_green(tools, flat):
    rgb = tools.run_stage("colour_bias", flat(0.0, size=(2, 2), signal=LINEAR), {"span": SPAN, "offsets": OFFSETS})
    np.testing.assert_allclose(rgb.pixels[0, :, 0, 0] * SPAN, [1, 2.5, 4])
    quad = tools.run_stage(
        "colour_bias", flat(0.0, size=(4, 4), signal=mosaic("RRGGRRGGGGBBGGBB")), {"span": SPAN, "offsets": OFFSETS}
    )
    assert sorted(set((quad.pixels * SPAN).round(decimals=9).flatten().tolist())) == [1, 2.5, 4]


def test_a_site_without_an_offset(tools):
    for stage, params in (("colour_bias", {}), ("sensor_noise", {"colour_bias": [1.0, 0.0, 0.0, 0.0]})):
        _, problems = tools.chain([{stage: {"span": SPAN, **params}}]).check(State(mosaic("RGWB")))
        assert "none for the W sites" in problems[0].message


def test_nothing_is_nothing(tools):
    frame = tools.picture(mosaic("RGGB"), size=(6, 6))
    assert torch.equal(tools.run_stage("colour_bias", frame, {"span": SPAN}).pixels, frame.pixels)
