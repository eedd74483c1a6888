from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.degradations.lens_distortion import Distortion, _check
from isp_sim.frame import Boxes, Masks, Points
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear", reference="scene")
NAMES = ["lens_distortion", "undistort"]
ALL = {"k1": 0.2, "k2": -0.06, "k3": 0.02, "p1": 0.006, "p2": -0.01, "centre_y": 0.05, "centre_x": -0.08}
DRAWN = ALL | {"k1": {"uniform": [-0.1, 0.2]}, "p1": {"uniform": [-0.01, 0.01]}}
ZERO = {"k1": 0}
MODEL = ("k1", "k2", "k3", "p1", "p2")


def is_valid(params):
    try:
        _check(*(params[name] for name in (*MODEL, "centre_y", "centre_x")))
    except ValueError:
        return False
    return True


def halved(params):
    """Coefficients ever nearer to 0."""
    for times in range(20):
        yield {name: value / 2**times for name, value in params.items()}


wide, narrow, aside = st.floats(-0.5, 0.5), st.floats(-0.05, 0.05), st.floats(-0.5, 0.5)
coefficients = st.fixed_dictionaries(
    {"k1": wide, "k2": wide, "k3": wide, "p1": narrow, "p2": narrow, "centre_y": aside, "centre_x": aside}
)
valid = coefficients.map(lambda drawn: next(tried for tried in halved(drawn) if is_valid(tried)))


def with_points(frame, xy):
    return replace(frame, targets={"points": Points((torch.as_tensor(xy, dtype=torch.float64),) * frame.batch)})


def points(frame):
    return frame.targets["points"].xy[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_engine_laws(tools, name, kernel):
    tools.assert_engine_laws(name, tools.picture(LINEAR, size=(43, 47)), DRAWN | {"kernel": kernel})


@pytest.mark.parametrize("name", NAMES)
def test_precision(tools, name):
    frame = tools.picture(LINEAR, size=(31, 33), dtype=torch.float64)
    tools.assert_precision(name, frame, {"k1": 0.25, "centre_x": 0.125}, bound=2e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
def test_gradient(tools, name, kernel):
    tools.assert_gradient(name, tools.picture(LINEAR, batch=1, size=(2, 3)), ALL | {"kernel": kernel})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@given(st.tuples(st.integers(1, 20), st.integers(1, 20)))
@settings(max_examples=8)
def test_nothing_is_nothing_to_the_bit(tools, name, kernel, size):
    frame = with_points(tools.picture(LINEAR, batch=1, size=size, low=-1, high=2), [[0.25, 0.75]])
    after = tools.run_stage(name, frame, ZERO | {"kernel": kernel, "centre_y": 0.3, "centre_x": -0.2})
    assert torch.equal(after.pixels, frame.pixels)
    assert torch.equal(points(after), points(frame))
    assert not after.maps["displacement"].any()
    assert not after.maps["outside"].any()


@pytest.mark.parametrize("name", NAMES)
@given(valid, st.floats(0, 3, width=32), st.sampled_from(["bicubic", "bilinear"]))
@settings(max_examples=8)
def test_a_flat_picture_stays_to_the_bit(tools, name, params, value, kernel):
    frame = tools.picture(LINEAR, batch=1, size=(15, 11))
    frame = replace(frame, pixels=torch.full_like(frame.pixels, value))
    assert torch.equal(tools.run_stage(name, frame, params | {"kernel": kernel}).pixels, frame.pixels)


@given(valid)
@settings(max_examples=15)
def test_there_and_back_is_where_it_was(tools, params):
    """Every point of the field, in either order."""
    height, width = 11, 17
    y, x = np.mgrid[0:height:9j, 0:width:9j]
    seen = with_points(tools.picture(LINEAR, batch=1, size=(height, width)), np.stack([x, y], -1).reshape(-1, 2))
    corrected = tools.run_stage("undistort", seen, params)
    back = tools.run_stage("lens_distortion", corrected, params)
    np.testing.assert_allclose(points(back), points(seen), atol=1e-8)
    # and what the distortion leaves inside the picture comes back too
    distorted = tools.run_stage("lens_distortion", seen, params)
    again = points(tools.run_stage("undistort", distorted, params))
    inside = ((points(distorted) >= 0) & (points(distorted) <= torch.tensor([width, height]))).all(dim=1)
    np.testing.assert_allclose(again[inside], points(seen)[inside], atol=1e-8)


@given(coefficients)
@settings(max_examples=25)
def test_the_inverse_is_found_in_the_whole_field(params):
    """Of coefficients as far from 0 as they may be, where Newton's method has the least to hold on to."""
    scaled = [{name: value * step / 32 for name, value in params.items()} for step in range(33)]
    widest = max(filter(is_valid, scaled), key=scaled.index)
    model, field = Distortion(*map(widest.get, MODEL)), 1 + np.hypot(widest["centre_x"], widest["centre_y"])
    radius, turn = torch.meshgrid(torch.linspace(0, field, 41), torch.linspace(0, 6.25, 37), indexing="ij")
    x, y = (radius * torch.cos(turn)).double(), (radius * torch.sin(turn)).double()
    keep = torch.hypot(x, y) <= field
    dx, dy = model.shift(x, y)
    back_x, back_y = model.shift_back(x + dx, y + dy, field)
    np.testing.assert_allclose((back_x + dx)[keep], 0, atol=2e-8)
    np.testing.assert_allclose((back_y + dy)[keep], 0, atol=2e-8)


@pytest.mark.parametrize("name", NAMES)
@given(valid)
@settings(max_examples=10)
def test_the_centre_is_fixed(tools, name, params):
    height, width = 30, 40
    centre = [[20 + 25 * params["centre_x"], 15 + 25 * params["centre_y"]]]
    frame = with_points(tools.picture(LINEAR, batch=1, size=(height, width)), centre)
    np.testing.assert_allclose(points(tools.run_stage(name, frame, params)), centre, atol=1e-7)


@given(valid)
@settings(max_examples=25)
def test_the_polynomial_is_that_of_opencv(params):
    cv2 = pytest.importorskip("cv2")
    xy = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    k1, k2, k3, p1, p2 = map(params.get, MODEL)
    d = Distortion(k1, k2, k3, p1, p2)
    found = xy + np.stack(d.shift(*xy.T), axis=1)
    solid = np.concatenate([xy, np.ones((50, 1))], axis=1)
    expected, _ = cv2.projectPoints(solid, np.zeros(3), np.zeros(3), np.eye(3), np.array([k1, k2, p1, p2, k3]))
    np.testing.assert_allclose(found, expected[:, 0], atol=1e-12)


@given(valid, st.floats(-1, 1), st.floats(-1, 1))
def test_the_slope_is_the_derivative(params, x, y):
    d = Distortion(*map(params.get, MODEL))
    step = 1e-6
    a, b, c = d.slope(x, y)
    by_x = (np.subtract(d.shift(x + step, y), d.shift(x - step, y))) / (2 * step)
    by_y = (np.subtract(d.shift(x, y + step), d.shift(x, y - step))) / (2 * step)
    np.testing.assert_allclose([a - 1, b, b, c - 1], [*by_x, *by_y], atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_come_from_where_the_map_says(tools, name):
    """By SciPy, which reads between pixels too."""
    from scipy import ndimage

    frame = tools.picture(LINEAR, batch=1, size=(33, 41), dtype=torch.float64)
    after = tools.run_stage(name, frame, ALL | {"kernel": "bilinear"})
    y, x = np.mgrid[0:33, 0:41]
    dx, dy = after.maps["displacement"][0].numpy()
    for channel in range(3):
        expected = ndimage.map_coordinates(frame.pixels[0, channel].numpy(), [y + dy, x + dx], order=1, mode="nearest")
        np.testing.assert_allclose(after.pixels[0, channel], expected, atol=1e-12)
    outside = (x + dx + 0.5 < 0) | (x + dx + 0.5 >= 41) | (y + dy + 0.5 < 0) | (y + dy + 0.5 >= 33)
    assert np.array_equal(after.maps["outside"][0, 0].numpy(), outside)
    assert outside.any() == (name == "lens_distortion")  # a barrel shows more than the picture


def test_bicubic_reads_parabolas_exactly(tools):
    """Keys's kernel is exact for them."""
    frame = tools.picture(LINEAR, batch=1, size=(41, 43), dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(41.0).double(), torch.arange(43.0).double(), indexing="ij")
    shape = lambda x, y: 0.3 * x * x - 0.2 * x * y + 0.1 * y * y - x + 2  # noqa: E731
    after = tools.run_stage("lens_distortion", replace(frame, pixels=shape(x, y).expand(1, 3, -1, -1)), {"k1": -0.2})
    dx, dy = after.maps["displacement"][0]
    inner = np.s_[2:-2, 2:-2]  # inwards, so that nothing beyond the edge is read
    np.testing.assert_allclose(after.pixels[0, 0][inner], shape(x + dx, y + dy)[inner], atol=1e-10)


def test_undistort_takes_the_distortion_away(tools, photos):
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(photos["astronaut"][::4, ::4] / 255, (2, 2, 0))
    frame = tools.picture(LINEAR, batch=1, size=smooth.shape[:2], dtype=torch.float64)
    frame = replace(frame, pixels=torch.from_numpy(smooth).permute(2, 0, 1)[None])
    both = tools.run_chain([{"lens_distortion": ALL}, {"undistort": ALL}], frame)
    kept = (~both.maps["outside"]).expand_as(both.pixels).clone()
    kept[..., :3, :] = kept[..., -3:, :] = kept[..., :3] = kept[..., -3:] = False
    assert kept.double().mean() > 0.7
    error = (both.pixels - frame.pixels)[kept].abs().max().item()
    assert error < 0.01 < (tools.run_stage("lens_distortion", frame, ALL).pixels - frame.pixels)[kept].abs().max()


def test_labels_follow(tools):
    """A barrel: what was at the rim comes inwards, and beyond it there is nothing."""
    frame = tools.picture(LINEAR, batch=1, size=(60, 80))
    labels = torch.zeros(1, 60, 80, dtype=torch.int64)
    labels[:, 25:35, 60:70] = 1
    frame = replace(frame, targets={"mask": Masks(labels), "boxes": Boxes((torch.tensor([[60.0, 25.0, 70.0, 35.0]]),))})
    after = tools.run_stage("lens_distortion", frame, {"k1": 0.3})
    mask, box = after.targets["mask"].labels[0], after.targets["boxes"].xyxy[0][0].tolist()
    rows, columns = (mask == 1).nonzero().unbind(1)
    around = [columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1]
    np.testing.assert_allclose(box, around, atol=1)
    # 30 px from the middle is seen at r with r (1 + 0.3 (r / 50)^2) = 30
    assert box[2] - 40 == pytest.approx(
        next(r for r in np.arange(0, 30, 1e-3) if r * (1 + 0.3 * (r / 50) ** 2) >= 30), abs=0.15
    )
    assert torch.equal(mask == 255, after.maps["outside"][0, 0])
    assert (mask[:2, :2] == 255).all()


def test_the_same_lens_for_any_size(tools):
    """Coefficients are of the half diagonal."""
    found = []
    for scale in (1, 3):
        frame = with_points(tools.picture(LINEAR, batch=1, size=(20 * scale, 30 * scale)), [[3.0 * scale, 4.0 * scale]])
        found.append(points(tools.run_stage("lens_distortion", frame, ALL)) / scale)
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)


def test_what_is_not_shown_goes_outside(tools):
    """A pincushion shows less than the whole picture."""
    frame = with_points(tools.picture(LINEAR, batch=1, size=(60, 80)), [[0.0, 0.0], [80.0, 60.0], [40.0, 30.0]])
    after = points(tools.run_stage("lens_distortion", frame, {"k1": -0.25}))
    inside = ((after >= 0) & (after <= torch.tensor([80, 60]))).all(dim=1)
    assert inside.tolist() == [False, False, True]


@given(valid)
def test_valid_coefficients_do_not_fold(params):
    """By what a fold is: somewhere the derivative's determinant falls to 0."""
    model = Distortion(*map(params.get, MODEL))
    field = 1 + np.hypot(params["centre_x"], params["centre_y"])
    radius, turn = np.meshgrid(np.linspace(0, field, 200), np.linspace(0, 2 * np.pi, 200))
    a, b, d = model.slope(radius * np.cos(turn), radius * np.sin(turn))
    assert (a * d - b * b).min() > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "params",
    [
        {"k1": -0.35},
        {"k1": -0.2, "k2": -0.1},
        {"k1": -0.2, "centre_x": 0.5, "centre_y": 0.5},
        {"k1": {"uniform": [-0.4, 0.1]}},
    ],
)
def test_what_folds_is_refused_at_load(tools, name, params):
    with pytest.raises(ParameterFaults, match="folds"):
        tools.chain([{name: params}])


def test_what_folds_by_the_draw_is_refused_too(tools):
    """Each end goes with the default of the other, both ends do not go together."""
    params = {"k1": {"choice": [0.0, -0.2]}, "k2": {"choice": [0.0, -0.15]}}
    with pytest.raises(ValueError, match="folds"):
        tools.run_stage("lens_distortion", tools.picture(LINEAR, batch=16, size=(4, 4)), params)


def test_a_mosaic_is_refused(tools):
    from isp_sim.pipeline import SignalFault

    with pytest.raises(SignalFault):
        tools.run_stage("lens_distortion", tools.picture(LINEAR.changed({"layout": "mosaic", "cfa": "RGGB"})))
