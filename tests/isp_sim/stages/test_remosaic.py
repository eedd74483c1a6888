import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from isp_sim.frame import Frame
from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import State
from isp_sim.signal import OPEN, Signal, cfa_rows
from isp_sim.stages.mosaic import mosaic

LINEAR = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
METHODS = ("directional_kriging", "normalised_convolution")


def frame_of(pixels, cfa):
    return Frame(pixels, LINEAR.changed({"layout": "mosaic", "cfa": cfa}), keys=tuple("abc"[: len(pixels)]))


def letters(cfa, size):
    rows = cfa_rows(cfa)
    return np.array([[rows[y % len(rows)][x % len(rows[0])] for x in range(size[1])] for y in range(size[0])])


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=10)
@given(
    st.sampled_from(["quad_bayer", "xtrans", "GBRG", "RG/GB/GR/BG"]),
    st.sampled_from(["RGGB", "GBRG", "quad_bayer", "RGB/GBR/BRG"]),
    st.tuples(st.integers(4, 13), st.integers(4, 13)),
    st.tuples(*[st.floats(-4, 4, width=32)] * 3),
)
def test_a_coloured_flat_becomes_the_other_mosaic_of_it(tools, method, before, after, size, colour):
    flat = torch.tensor(colour).reshape(1, 3, 1, 1).expand(1, 3, *size)
    found = tools.run_stage("remosaic", frame_of(mosaic(flat, before), before), {"cfa": after, "method": method})
    assert torch.equal(found.pixels, mosaic(flat, after))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("before", ["quad_bayer", "xtrans", "RCCB"])
def test_samples_of_the_right_colour_are_kept_to_the_bit(tools, method, before):
    size = (17, 14)
    frame = tools.picture(LINEAR.changed({"layout": "mosaic", "cfa": before}), size=size)
    found = tools.run_stage("remosaic", frame, {"cfa": "RGGB", "method": method})
    same = torch.from_numpy(letters(before, size) == letters("RGGB", size))
    assert same.any()
    assert torch.equal(found.pixels[..., same], frame.pixels[..., same])
    assert not (found.pixels == frame.pixels)[..., ~same].any()


def test_the_pattern_that_is_there_already_changes_nothing(tools):
    frame = tools.picture(LINEAR.changed({"layout": "mosaic", "cfa": "xtrans"}), size=(13, 19))
    assert torch.equal(tools.run_stage("remosaic", frame, {"cfa": "xtrans"}).pixels, frame.pixels)


def test_the_signal(tools):
    chain = tools.chain([{"mosaic": {"cfa": "quad_bayer"}}, {"remosaic": {"cfa": "BGGR"}}, {"demosaic": None}])
    signals, problems = chain.check(State(LINEAR))
    assert not problems
    assert [signal.cfa for _, signal in signals] == ["RRGGRRGGGGBBGGBB", "BGGR", None]


def test_engine_laws(tools):
    frame = tools.picture(LINEAR.changed({"layout": "mosaic", "cfa": "quad_bayer"}), size=(21, 19))
    tools.assert_engine_laws("remosaic", frame, {"method": {"choice": list(METHODS)}})


def refusal(tools, params, cfa="quad_bayer"):
    (problem,) = tools.chain([{"remosaic": params}]).check(State(LINEAR.changed({"layout": "mosaic", "cfa": cfa})))[1]
    return problem.message


def test_refusals(tools):
    assert "by malvar2004 does not know the CFA RRGG" in refusal(tools, {"method": "malvar2004"})
    assert "4 times smaller" in refusal(tools, {"method": "superpixel"})
    drawn = {"method": {"choice": ["directional_kriging", "menon2007"]}}
    assert "by menon2007 does not know the CFA" in refusal(tools, drawn)
    assert not tools.chain([{"remosaic": drawn}]).check(State(LINEAR.changed({"layout": "mosaic", "cfa": OPEN})))[1]
    with pytest.raises(ParameterFaults, match="W; remosaic gives R, G and B"):
        tools.chain([{"remosaic": {"cfa": "RCCB"}}])
    with pytest.raises(ParameterFaults, match="did you mean 'menon2007'"):
        tools.chain([{"remosaic": {"method": "menon2008"}}])


@pytest.mark.parametrize("name", ["kodim05.png", "kodim07.png"])
def test_quad_by_way_of_bayer_beats_weighted_means(tools, name):
    folder = os.environ.get("ISP_SIM_DATA")
    paths = sorted(Path(folder).rglob(f"Kodak*/{name}")) if folder else []
    if not paths:
        pytest.skip(f"no Kodak*/{name} below ISP_SIM_DATA")
    picture = torch.from_numpy(np.asarray(Image.open(paths[0]).convert("RGB"))[100:260, 100:260].copy())
    picture = picture.permute(2, 0, 1)[None] / 255
    frame = frame_of(mosaic(picture, "quad_bayer"), "quad_bayer")

    def error(*stages):
        return (tools.run_chain(stages, frame).pixels - picture)[..., 10:-10, 10:-10].square().mean()

    by_way = error("remosaic", {"demosaic": {"method": "menon2007"}})
    assert by_way < 0.5 * error({"demosaic": {"method": "normalised_convolution"}})
