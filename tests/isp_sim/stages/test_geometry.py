from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.frame import Boxes, Masks, Points
from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import State
from isp_sim.signal import Signal

CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
CFAS = {
    "RGGB": (2, 2),
    "GBRG": (2, 2),
    "RG/GB/BG": (3, 2),
    "GBGGRG/RGRBGB/GBGGRG/GRGGBG/BGBRGR/GRGGBG": (6, 6),
}
DRAWN = {"height": 17, "width": 23, "y": {"uniform": [0, 1]}, "x": {"uniform": [0, 1]}}


def crop(tools, frame, height, width, y=0.5, x=0.5):
    return tools.run_stage("crop", frame, {"height": height, "width": width, "y": y, "x": x})


@pytest.mark.parametrize("cfa", [None, *CFAS])
def test_engine_laws(tools, cfa):
    signal = CAMERA.changed({"layout": "mosaic", "cfa": cfa}) if cfa else Signal()
    capture = {"black_level": torch.rand(5, 1, 2, 2)} if cfa else {}
    tools.assert_engine_laws("crop", tools.picture(signal, batch=5, capture=capture), DRAWN)


def test_gradient(tools):
    tools.assert_gradient("crop", tools.picture(Signal(), batch=1, size=(3, 4)), {"height": 2, "width": 2, "x": 1})


@given(st.integers(1, 9), st.integers(1, 11), st.floats(0, 1), st.floats(0, 1))
def test_the_window_of_a_picture(tools, height, width, y, x):
    frame = tools.picture(Signal(), batch=1, size=(9, 11))
    cut = crop(tools, frame, height, width, y, x)
    top, left = round((9 - height) * y), round((11 - width) * x)
    assert torch.equal(cut.pixels, frame.pixels[..., top : top + height, left : left + width])
    assert cut.signal == frame.signal


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_corners_are_reached(tools, y, x):
    frame = tools.picture(Signal(), batch=1, size=(9, 11))
    rows, columns = (slice(None, 4) if not p else slice(-4, None) for p in (y, x))
    assert torch.equal(crop(tools, frame, 4, 4, y, x).pixels, frame.pixels[..., rows, columns])


@pytest.mark.parametrize("cfa", CFAS)
@given(st.floats(0, 1), st.floats(0, 1))
def test_on_a_mosaic_the_pattern_stays(tools, cfa, y, x):
    period = CFAS[cfa]
    frame = tools.picture(CAMERA.changed({"layout": "mosaic", "cfa": cfa}), batch=1, size=(19, 23))
    levels = torch.rand(1, 1, *period)
    frame = replace(frame, capture=frame.capture.with_facts({"black_level": levels}))
    cut = crop(tools, frame, 7, 8, y, x)
    assert cut.signal == frame.signal
    assert torch.equal(cut.capture["black_level"], levels)
    windows = frame.pixels[0, 0].unfold(0, 7, 1).unfold(1, 8, 1)
    (place,) = (windows == cut.pixels[0, 0]).all(dim=-1).all(dim=-1).nonzero().tolist()
    assert place[0] % period[0] == 0
    assert place[1] % period[1] == 0
    wanted = 12 * y, 15 * x
    assert all(w - n < p <= w + 1 for w, p, n in zip(wanted, place, period, strict=True))


def test_commutes_with_the_mosaic_s_sampling(tools):
    """What the check promises: cut before or after, the phases agree."""
    frame = tools.picture(CAMERA, batch=1, size=(12, 14))
    window = {"crop": {"height": 6, "width": 8, "y": 1.0, "x": 0.0}}
    after = tools.run_chain([{"mosaic": {"cfa": "GRBG"}}, window], frame)
    before = tools.run_chain([window, {"mosaic": {"cfa": "GRBG"}}], frame)
    tools.assert_same_frame(after, before)


def test_labels_and_maps_are_moved_along(tools):
    frame = tools.picture(Signal(), batch=2, size=(8, 10))
    frame = replace(
        frame,
        maps={"sigma": frame.pixels.clone()},
        targets={
            "masks": Masks((frame.pixels[:, 0] * 1000).long()),
            "boxes": Boxes((torch.tensor([[3.0, 2.0, 6.0, 5.0]]),) * 2),
            "points": Points((torch.tensor([[4.5, 3.5]]),) * 2),
        },
    )
    cut = crop(tools, frame, 4, 6, 0.5, 0.5)
    assert torch.equal(cut.maps["sigma"], cut.pixels)
    assert torch.equal(cut.targets["masks"].labels, (cut.pixels[:, 0] * 1000).long())
    assert cut.targets["boxes"].xyxy[0].tolist() == [[1, 0, 4, 3]]
    assert cut.targets["points"].xy[1].tolist() == [[2.5, 1.5]]


def test_codes_stay_codes(tools):
    (_, signal), = tools.chain([{"crop": {"height": 2, "width": 2}}]).check(State(Signal(bit_depth=10)))[0]  # fmt: skip
    assert signal.bit_depth == 10


def test_all_of_it_is_the_picture(tools):
    frame = tools.picture(Signal(), size=(5, 7))
    tools.assert_same_frame(crop(tools, frame, 5, 7), frame)


@pytest.mark.parametrize(("height", "width"), [(6, 7), (5, 8)])
def test_a_picture_that_is_too_small(tools, height, width):
    with pytest.raises(ValueError, match=f"5x7 is smaller than the window of {height}x{width}"):
        crop(tools, tools.picture(Signal(), size=(5, 7)), height, width)


@pytest.mark.parametrize(
    "params", [{"height": {"randint": [1, 2]}}, {"height": 0}, {"y": 1.5}, {"x": {"uniform": [0, 2]}}]
)
def test_parameters_out_of_bounds(tools, params):
    with pytest.raises(ParameterFaults):
        tools.chain([{"crop": params}])
