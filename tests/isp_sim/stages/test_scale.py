from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.frame import Boxes, Masks, Points
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal
from isp_sim.stages.scale import new_size, resize, taps

KERNELS = ("nearest", "box", "area", "bilinear", "bicubic", "lanczos3")
SMOOTH = KERNELS[1:]
PILLOW = {"nearest": "NEAREST", "box": "BOX", "bilinear": "BILINEAR", "bicubic": "BICUBIC", "lanczos3": "LANCZOS"}
lengths = st.integers(1, 40)


def run(tools, frame, **params):
    return tools.run_stage("scale", frame, params)


def plane(height, width, seed=0):
    values = np.random.default_rng(seed).uniform(-0.5, 1.5, (height, width)).astype(np.float32)
    return values, torch.from_numpy(values)[None, None]


def half_way(old, new):
    """Whether the centre of a new pixel lies on the border of two old ones."""
    return (2 * np.arange(new) + 1) * old % (2 * new) == 0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("factor", [0.4, 1.7])
def test_engine_laws(tools, kernel, factor):
    frame = tools.picture(Signal(), size=(61, 67))
    tools.assert_engine_laws("scale", frame, {"factor": factor, "kernel": kernel})


@pytest.mark.parametrize("kernel", SMOOTH)
def test_gradient(tools, kernel):
    frame = tools.picture(Signal(), batch=1, size=(4, 5))
    tools.assert_gradient("scale", frame, {"height": 3, "width": 7, "kernel": kernel})


def test_precision(tools):
    frame = tools.picture(Signal(), dtype=torch.float64)
    tools.assert_precision("scale", frame, {"factor": 0.3, "kernel": "lanczos3"}, bound=1e-6)


@pytest.mark.parametrize("kernel", PILLOW)
@given(lengths, lengths, lengths, lengths)
def test_is_that_of_pillow(kernel, height, width, new_height, new_width):
    from PIL import Image

    values, x = plane(height, width)
    expected = np.asarray(Image.fromarray(values).resize((new_width, new_height), Image.Resampling[PILLOW[kernel]]))
    found = resize(x, (new_height, new_width), kernel)[0, 0].numpy()
    if kernel == "nearest":  # half-way between two pixels, rounding decides
        rows, columns = (~half_way(*sides) for sides in ((height, new_height), (width, new_width)))
        found, expected = found[rows][:, columns], expected[rows][:, columns]
    np.testing.assert_allclose(found, expected, atol=2e-6)


@given(lengths, lengths, lengths, lengths)
def test_area_is_that_of_opencv(height, width, new_height, new_width):
    cv2 = pytest.importorskip("cv2")
    new_height, new_width = min(height, new_height), min(width, new_width)  # it has another way to enlarge
    values, x = plane(height, width)
    expected = cv2.resize(values, (new_width, new_height), interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(resize(x, (new_height, new_width), "area")[0, 0], expected, atol=2e-6)


@pytest.mark.parametrize(("kernel", "theirs"), [("bilinear", "INTER_LINEAR"), ("nearest", "INTER_NEAREST")])
def test_without_antialias_is_that_of_opencv(kernel, theirs):
    cv2 = pytest.importorskip("cv2")
    values, x = plane(37, 40)
    # by a whole number, for which both take the same neighbours
    found = resize(x, (74, 10), kernel, antialias=False)
    if kernel == "nearest":
        expected = values[np.arange(74) // 2][:, np.arange(10) * 4 + 2]
    else:
        expected = cv2.resize(values, (10, 74), interpolation=getattr(cv2, theirs))
    np.testing.assert_allclose(found[0, 0], expected, atol=2e-6)


@pytest.mark.parametrize("kernel", ["box", "area"])
@pytest.mark.parametrize("by", [2, 3, 4])
def test_a_whole_number_of_pixels_gives_their_mean(kernel, by):
    values, x = plane(12, 24)
    expected = values.reshape(12 // by, by, 24 // by, by).mean((1, 3))
    np.testing.assert_allclose(resize(x, (12 // by, 24 // by), kernel)[0, 0], expected, atol=3e-7)


@pytest.mark.parametrize("kernel", KERNELS)
@given(lengths, lengths, st.booleans())
def test_weights(kernel, old, new, antialias):
    index, weights = taps(old, new, kernel, antialias)
    assert index.shape == weights.shape
    assert index.min() >= 0
    assert index.max() < old
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-14)
    if kernel in ("nearest", "box", "area", "bilinear"):
        assert weights.min() >= 0  # stays in the range of the picture


@pytest.mark.parametrize("kernel", KERNELS)
@given(st.floats(-1, 2, width=32), lengths, lengths)
@settings(max_examples=20)
def test_a_flat_picture_stays_to_the_bit(kernel, value, height, width):
    for dtype in (torch.float32, torch.float64):
        flat = torch.full((1, 3, 11, 13), value, dtype=dtype)
        assert torch.equal(resize(flat, (height, width), kernel), torch.full((1, 3, height, width), flat[0, 0, 0, 0]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_size_is_nothing(tools, kernel):
    frame = tools.picture(Signal(), size=(11, 13))
    frame = replace(frame, maps={"sigma": torch.rand(3, 1, 11, 13)})
    for params in ({"factor": 1}, {"height": 11, "width": 13}, {"height": 11}):
        tools.assert_same_frame(run(tools, frame, kernel=kernel, **params), frame)


@pytest.mark.parametrize("kernel", ["area", "bilinear", "bicubic", "lanczos3"])
@given(lengths, lengths, lengths, lengths)
@settings(max_examples=20)
def test_turns_and_flips_commute(kernel, height, width, new_height, new_width):
    """Of ``box`` and ``nearest`` they do not where a pixel lies half-way: both take the one on the left."""
    x = plane(height, width)[1].double()
    found = resize(x, (new_height, new_width), kernel)
    for axis in (-1, -2):
        np.testing.assert_allclose(resize(x.flip(axis), (new_height, new_width), kernel), found.flip(axis), atol=1e-12)
    turned = resize(x.transpose(-1, -2), (new_width, new_height), kernel)
    np.testing.assert_allclose(turned, found.transpose(-1, -2), atol=1e-12)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("new", [10, 17, 64, 75])
def test_a_ramp_stays_where_it_is(kernel, new):
    """So a picture does not move by half a pixel: inside, each pixel shows the place that the warp says."""
    centres = torch.arange(32, dtype=torch.float64) + 0.5
    found = resize(centres.expand(1, 1, 2, 32), (2, new), kernel)[0, 0, 0]
    ratio = 32 / new
    expected = (torch.arange(new, dtype=torch.float64) + 0.5) * ratio
    inside = (expected > 2 * max(1, ratio)) & (expected < 32 - 2 * max(1, ratio))
    # a stretched kernel is sampled unevenly
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.05 * ratio if ratio > 1 else 1e-12)


@pytest.mark.parametrize(("factor", "kernel"), [(0.5, "bicubic"), (2.0, "nearest"), (1.5, "area")])
def test_maps_and_labels_move_along(tools, factor, kernel):
    frame = tools.picture(Signal(), batch=2, size=(40, 60))
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(60), indexing="ij")
    mask = ((rows >= 10) & (rows < 30) & (columns >= 20) & (columns < 50)).long()
    targets = {
        "mask": Masks(mask.expand(2, -1, -1)),
        "boxes": Boxes(
            (torch.tensor([[20.0, 10.0, 50.0, 30.0]]), torch.zeros(0, 4)), (torch.tensor([7]), torch.tensor([]))
        ),
        "points": Points((torch.tensor([[0.0, 0.0], [60.0, 40.0]]), torch.tensor([[30.0, 20.0]]))),
    }
    maps = {"where": torch.stack([columns, rows]).float().expand(2, -1, -1, -1)}
    after = run(tools, replace(frame, targets=targets, maps=maps), factor=factor, kernel=kernel)
    height, width = int(40 * factor), int(60 * factor)
    assert after.size == (height, width)
    assert torch.equal(after.targets["boxes"].xyxy[0], factor * targets["boxes"].xyxy[0])
    assert after.targets["boxes"].xyxy[1].shape == (0, 4)
    assert torch.equal(after.targets["points"].xy[0], torch.tensor([[0.0, 0.0], [width, height]]))
    # the mask fills the box that goes with it
    labels = torch.zeros(height, width, dtype=torch.long)
    labels[int(10 * factor) : int(30 * factor), int(20 * factor) : int(50 * factor)] = 1
    assert torch.equal(after.targets["mask"].labels, labels.expand(2, -1, -1))
    expected = torch.floor((torch.arange(width) + 0.5) / factor)
    assert torch.equal(after.maps["where"][0, 0, 0], expected)


def test_each_axis_has_its_own_factor(tools):
    frame = tools.picture(Signal(), batch=1, size=(40, 60))
    targets = {
        "points": Points((torch.tensor([[30.0, 10.0]]),)),
        "boxes": Boxes((torch.tensor([[6.0, 4.0, 12.0, 8.0]]),)),
    }
    after = run(tools, replace(frame, targets=targets), height=20, width=180)
    assert after.size == (20, 180)
    assert after.targets["points"].xy[0].tolist() == [[90, 5]]
    assert after.targets["boxes"].xyxy[0].tolist() == [[18, 2, 36, 4]]


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 300))
def test_a_side_left_open_follows_from_the_shape(height, width, side):
    assert new_size((height, width), None, side, None) == (side, max(1, round(width * side / height)))
    assert new_size((height, width), None, None, side) == (max(1, round(height * side / width)), side)
    assert new_size((height, width), None, side, side) == (side, side)
    assert new_size((height, width), None, None, None) == new_size((height, width), 0.5, None, None)


def test_quantised_pixels_stay_on_their_codes_only_if_picked(tools):
    frame = tools.picture(Signal(bit_depth=8), size=(8, 8))
    assert run(tools, frame, kernel="nearest").signal.bit_depth == 8
    assert run(tools, frame, kernel="bilinear").signal.bit_depth is None


def test_a_mosaic_is_refused(tools):
    from isp_sim.pipeline import State

    camera = Signal(layout="mosaic", cfa="RGGB", colour="camera", white_balanced=False, transfer="linear")
    _, faults = tools.chain(["scale"]).check(State(camera))
    assert "layout" in str(faults[0])


@pytest.mark.parametrize(
    "params",
    [{"factor": 0}, {"factor": 17}, {"factor": 0.5, "width": 9}, {"height": 0}, {"factor": {"uniform": [1, 2]}}],
)
def test_sizes_out_of_bounds_contradictory_or_drawn(tools, params):
    with pytest.raises(ParameterFaults):
        tools.chain([{"scale": params}])
