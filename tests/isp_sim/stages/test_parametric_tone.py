import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.parametric_tone import SHARE, knots
from isp_sim.stages.tone_curve import spline

CODES = Signal()
NAMES = ("shadows", "darks", "lights", "highlights")
MIDDLES = (0.125, 0.375, 0.625, 0.875)

# the ends of sliders, where neighbours come nearest to each other, drawn as often as what lies between
sliders = st.lists(st.sampled_from([-1.0, 0.0, 1.0]) | st.floats(-1, 1), min_size=4, max_size=4)
splits = st.tuples(st.floats(0.1, 0.4), st.floats(0.42, 0.58), st.floats(0.6, 0.9))


def curve(values, where=(0.25, 0.5, 0.75)):
    return knots(torch.tensor([values], dtype=torch.float64), torch.tensor([where], dtype=torch.float64))


def line(low, high, count=2001, dtype=torch.float64):
    return torch.linspace(low, high, count, dtype=dtype).reshape(1, 1, 1, -1)


@pytest.mark.parametrize(
    "params",
    [{"shadows": 0.7, "lights": -0.4}, {name: {"uniform": [-1, 1]} for name in NAMES}],
    ids=["given", "drawn"],
)
def test_engine_laws(tools, params):
    tools.assert_engine_laws("parametric_tone", tools.picture(CODES, low=-0.2, high=1.3), params)


def test_gradient(tools):
    frame = tools.picture(CODES, batch=1, size=(3, 2), low=-0.2, high=1.2)
    tools.assert_gradient("parametric_tone", frame, {"shadows": 1, "darks": -1, "highlights": 0.5})


def test_precision(tools):
    frame = tools.picture(CODES, dtype=torch.float64)
    tools.assert_precision("parametric_tone", frame, {"shadows": 1, "darks": -0.5}, bound=2e-6)


@settings(max_examples=200)
@given(sliders, splits)
def test_the_knots_rise_whatever_the_sliders(values, where):
    steps = curve(values, where).diff(dim=1)[0]
    assert (steps[:, 0] > 0).all()
    slopes = steps[:, 1] / steps[:, 0]
    assert slopes.min() >= 1 - SHARE - 1e-12
    assert slopes.max() <= 1 + SHARE + 1e-12


@given(sliders, splits)
def test_rises_strictly_from_black_to_white(values, where):
    y = spline(line(0, 1), curve(values, where)).flatten()
    assert (y.diff() > 0).all()
    assert y[0] == 0
    assert y[-1].item() == pytest.approx(1, abs=4e-16)


@given(sliders, splits)
def test_inverse(tools, values, where):
    params = dict(zip((*NAMES, "shadow_split", "midtone_split", "highlight_split"), (*values, *where), strict=True))
    for dtype, bound in ((torch.float64, 1e-11), (torch.float32, 2e-5)):
        frame = tools.picture(CODES, size=(9, 7), low=-0.2, high=1.2, dtype=dtype)
        chain = tools.chain([{"parametric_tone": params}])
        after = chain.run(frame).frame
        assert after.signal == CODES
        assert (chain.inverse(after).pixels - frame.pixels).abs().max() < bound


def test_sliders_at_0_are_nothing(tools):
    frame = tools.picture(CODES, low=-1, high=2)
    assert (tools.run_stage("parametric_tone", frame).pixels - frame.pixels).abs().max() < 2.5e-7


@pytest.mark.parametrize("which", range(4), ids=NAMES)
@given(amount=st.floats(0.05, 1))
def test_a_slider_moves_its_own_region_most(which, amount):
    up, down = ([sign * amount if i == which else 0.0 for i in range(4)] for sign in (1, -1))
    at = torch.tensor(MIDDLES, dtype=torch.float64).reshape(1, 1, 1, 4)
    for values, sign in ((up, 1), (down, -1)):
        moved = (spline(at, curve(values)) - at).flatten() * sign
        assert int(moved.argmax()) == which
        assert moved[which].item() == pytest.approx(0.1 * amount, abs=1e-12)
        everywhere = (spline(line(0, 1), curve(values)) - line(0, 1)).flatten() * sign
        assert int(everywhere.argmax()) == pytest.approx(2000 * MIDDLES[which], abs=130)


@given(sliders, st.integers(0, 3), st.floats(0.01, 0.5))
def test_more_of_a_slider_is_brighter(values, which, more):
    raised = [min(1.0, v + more) if i == which else v for i, v in enumerate(values)]
    at = torch.tensor(MIDDLES, dtype=torch.float64).reshape(1, 1, 1, 4)
    assert (spline(at, curve(raised)) - spline(at, curve(values)) >= -1e-12).all()


def test_grey_stays_grey(tools):
    frame = tools.picture(CODES, size=(9, 7))
    grey = frame.__class__(frame.pixels[:, :1].expand_as(frame.pixels), CODES, keys=frame.keys)
    after = tools.run_stage("parametric_tone", grey, {"shadows": 0.8, "lights": -0.3}).pixels
    np.testing.assert_array_equal(after[:, 0], after[:, 2])
