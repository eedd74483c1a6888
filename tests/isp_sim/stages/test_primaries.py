from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.pipeline import State
from isp_sim.signal import Signal
from isp_sim.stages.primaries import SPACE_NAMES

LINEAR = Signal(transfer="linear")

spaces = st.sampled_from(SPACE_NAMES)


def signal_in(space):
    return LINEAR.changed({"colour": space, "white_balanced": space != "xyz"})


@settings(max_examples=20)
@given(spaces, spaces)
def test_engine_laws(tools, source, to):
    frame = tools.picture(signal_in(source), size=(23, 19), low=-0.2, high=1.5)
    tools.assert_engine_laws("primaries", frame, {"source": source, "to": to})


def test_gradient(tools):
    tools.assert_gradient("primaries", tools.picture(LINEAR, batch=1, size=(3, 2)), {"to": "prophoto"})


@given(spaces, spaces)
def test_inverse(tools, source, to):
    frame = tools.picture(signal_in(source), size=(5, 4), dtype=torch.float64)
    chain = tools.chain([{"primaries": {"source": source, "to": to}}])
    after = chain.run(frame).frame
    assert after.signal == signal_in(to)
    back = chain.inverse(after)
    assert back.signal == frame.signal
    np.testing.assert_allclose(back.pixels, frame.pixels, atol=1e-13)


@given(spaces, spaces, spaces)
def test_by_a_third_space_is_the_same(tools, a, b, c):
    frame = tools.picture(signal_in(a), size=(5, 4), dtype=torch.float64)
    straight = tools.run_stage("primaries", frame, {"source": a, "to": c})
    around = tools.run_chain([{"primaries": {"source": x, "to": y}} for x, y in ((a, b), (b, c))], frame)
    assert around.signal == straight.signal
    np.testing.assert_allclose(around.pixels, straight.pixels, atol=1e-12)


@given(spaces)
def test_to_itself_is_nothing(tools, space):
    frame = tools.picture(signal_in(space), size=(5, 4))
    assert torch.equal(tools.run_stage("primaries", frame, {"source": space, "to": space}).pixels, frame.pixels)


@given(spaces.filter(lambda s: s != "xyz"), spaces.filter(lambda s: s != "xyz"))
def test_grey_stays_grey(tools, source, to):
    frame = tools.picture(signal_in(source), size=(5, 4), dtype=torch.float64)
    grey = frame.pixels[:, :1].expand_as(frame.pixels)
    after = tools.run_stage("primaries", replace(frame, pixels=grey), {"source": source, "to": to}).pixels
    np.testing.assert_allclose(after, grey, atol=1e-13)


def test_by_colour_science(tools, colour):
    frame = tools.picture(LINEAR, size=(6, 5), dtype=torch.float64)
    ours = tools.run_stage("primaries", frame, {"to": "prophoto"}).pixels.permute(0, 2, 3, 1).numpy()
    theirs = colour.RGB_to_RGB(
        frame.pixels.permute(0, 2, 3, 1).numpy(), "sRGB", "ProPhoto RGB", chromatic_adaptation_transform="Bradford"
    )
    np.testing.assert_allclose(ours, theirs, atol=5e-4)  # its matrices are rounded as the standards print them


def test_colours_outside_the_gamut_are_not_clipped(tools):
    frame = tools.picture(signal_in("rec2020"))
    assert tools.run_stage("primaries", frame, {"source": "rec2020", "to": "srgb"}).pixels.min() < -0.3


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"primaries": {"to": "display_p3"}}, "srgb_oetf"], "needs colour srgb, found display_p3"),
        ([{"primaries": {"source": "rec2020", "to": "srgb"}}], "needs colour rec2020, found srgb"),
        ([{"primaries": {"to": "xyz"}}, "srgb_oetf"], "needs colour srgb, found xyz"),
    ],
)
def test_a_chain_in_the_wrong_space_is_refused_before_a_pixel_is_read(tools, entries, expected):
    _, (problem, *_) = tools.chain(entries).check(State(LINEAR))
    assert expected in problem.message
    assert "primaries" in problem.message


def test_the_hint_names_the_stage_that_converts(tools):
    _, (problem,) = tools.chain([{"primaries": {"to": "rec2020"}}, "srgb_oetf"]).check(State(LINEAR))
    hint = problem.message.partition(";")[2]
    assert "primaries" in hint
    assert "colour_matrix" in hint
