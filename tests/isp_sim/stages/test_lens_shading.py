from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from isp_sim.formats.opcodes import FixVignetteRadial, GainMap, Shading
from isp_sim.frame import Frame, Move, Warp
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
BAYER = CAMERA.changed({"layout": "mosaic", "cfa": "GRBG"})
K = [0.6, -0.2, 0.1, 0.05, 0.02]
RADIAL = {"coefficients": K, "centre": [0.45, 0.6]}
MAP = {"model": "gain_map"}

coefficients = st.tuples(*[st.floats(0, 1)] * 5)


def site_maps(seed=0, points=(4, 5)):
    """A gain map for each site of a Bayer pattern."""
    rng = np.random.default_rng(seed)
    return [
        GainMap(
            (y, x, 10_000, 10_000), (0, 1), (2, 2), (0.1, 0.05), (0.25, 0.2),
            rng.uniform(1, 3, (*points, 1)).astype(np.float32),
        )
        for y in (0, 1)
        for x in (0, 1)
    ]  # fmt: skip


def lit(tools, signal=BAYER, *, batch=2, size=(23, 30), maps=None, dtype=torch.float64, low=0.1):
    """Random pictures whose capture knows the same lens."""
    facts = Shading(site_maps() if maps is None else maps, FixVignetteRadial(tuple(K), (0.4, 0.7))).facts()
    capture = {name: fact.repeat(batch, *[1] * (fact.ndim - 1)) for name, fact in facts.items()}
    return tools.picture(signal, batch=batch, size=size, dtype=dtype, low=low, capture=capture)


def gain(tools, frame, params):
    """What pixels of 1 become."""
    white = replace(frame, pixels=torch.ones_like(frame.pixels))
    return tools.run_stage("lens_shading", white, params).pixels


def radial(size, k, centre):
    """By the formula of the DNG specification."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(float)
    cx, cy = centre[0] * (width - 1), centre[1] * (height - 1)
    m = np.hypot(max(cx, width - 1 - cx), max(cy, height - 1 - cy))
    r = np.hypot(x - cx, y - cy) / m
    return 1 + sum(c * r ** (2 * i + 2) for i, c in enumerate(k))


def interpolated(opcode, size, plane=0):
    """The gain map at every pixel, by scipy."""
    rows, columns = opcode.gains.shape[:2]
    v, h = (opcode.origin[i] + opcode.spacing[i] * np.arange(n) for i, n in enumerate((rows, columns)))
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    at = np.stack([((y + 0.5) / size[0]).clip(v[0], v[-1]), ((x + 0.5) / size[1]).clip(h[0], h[-1])], axis=-1)
    return RegularGridInterpolator((v, h), opcode.gains[..., plane].astype(float))(at)


# -- the engine ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", [CAMERA, BAYER], ids=["rgb", "mosaic"])
@pytest.mark.parametrize("params", [None, RADIAL, MAP], ids=["capture", "radial", "map"])
def test_engine_laws(tools, signal, params):
    tools.assert_engine_laws("lens_shading", lit(tools, signal, size=(83, 79), dtype=torch.float32), params)


@pytest.mark.parametrize("params", [None, RADIAL, MAP], ids=["capture", "radial", "map"])
def test_gradient(tools, params):
    tools.assert_gradient("lens_shading", lit(tools, batch=1, size=(4, 5)), params)


@pytest.mark.parametrize("params", [None, RADIAL, MAP], ids=["capture", "radial", "map"])
def test_precision(tools, params):
    tools.assert_precision("lens_shading", lit(tools), params, bound=2e-6)


# -- the radial model ----------------------------------------------------------------------------------------


@given(coefficients, st.floats(0, 1), st.floats(0, 1), st.integers(1, 12), st.integers(1, 12))
def test_is_the_formula_of_the_specification(tools, k, x, y, height, width):
    frame = lit(tools, batch=1, size=(height, width))
    found = gain(tools, frame, {"coefficients": list(k), "centre": [x, y]})
    expected = radial((height, width), k, (x, y)) if (height, width) != (1, 1) else 1.0
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-12)


def test_from_the_capture(tools):
    found = gain(tools, lit(tools, CAMERA), None)
    for channel in found[1]:
        np.testing.assert_allclose(channel, radial((23, 30), K, (0.4, 0.7)), rtol=1e-6)


@given(coefficients)
def test_about_the_centre_it_is_symmetric_and_1_in_the_middle(tools, k):
    found = gain(tools, lit(tools, batch=1, size=(21, 35)), {"coefficients": list(k)})[0, 0]
    assert found[10, 17] == 1
    for turned in (found.flip(0), found.flip(1)):
        np.testing.assert_allclose(turned, found, rtol=1e-14)
    np.testing.assert_allclose(found[0, 0], 1 + sum(k), rtol=1e-13)
    square = gain(tools, lit(tools, batch=1, size=(21, 21)), {"coefficients": list(k)})[0, 0]
    np.testing.assert_allclose(square.T, square, rtol=1e-14)
    assert bool((found >= 1).all())


def test_no_coefficients_are_nothing_to_the_bit(tools):
    frame = lit(tools, dtype=torch.float32)
    after = tools.run_stage("lens_shading", frame, {"coefficients": [0] * 5})
    assert torch.equal(after.pixels, frame.pixels)
    assert after.signal == frame.signal


@pytest.mark.parametrize("k", [[-1, 0, 0, 0, 0], [-5, 5, 0, 0, 0], [0, 0, 0, 0, -0.995]])
def test_coefficients_that_would_blacken_are_refused(tools, k):
    with pytest.raises(ParameterFaults, match="the gain falls to"):
        tools.chain([{"lens_shading": {"coefficients": k}}])


def test_coefficients_beside_a_gain_map_are_refused(tools):
    with pytest.raises(ParameterFaults, match="radial model"):
        tools.chain([{"lens_shading": {"model": "gain_map", "coefficients": K}}])


# -- gain maps -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(23, 30), (1, 1), (8, 3)])
def test_each_site_has_its_map(tools, size):
    found = gain(tools, lit(tools, size=size), MAP)[1, 0].numpy()
    for opcode in site_maps():
        y, x = opcode.area[:2]
        np.testing.assert_allclose(found[y::2, x::2], interpolated(opcode, size)[y::2, x::2], rtol=1e-6)


def test_each_plane_of_a_picture_has_its_gains(tools):
    """Three maps for four planes: the last is for the fourth too, and would be for the third of two."""
    gains = np.random.default_rng(1).uniform(1, 2, (3, 3, 2)).astype(np.float32)
    opcode = GainMap((2, 3, 20, 28), (0, 3), (1, 1), (0.0, 0.0), (0.5, 0.5), gains)
    found = gain(tools, lit(tools, CAMERA, maps=[opcode]), MAP)[0].numpy()
    expected = np.ones((3, 23, 30))
    for channel, plane in enumerate((0, 1, 1)):
        expected[channel, 2:20, 3:28] = interpolated(opcode, (23, 30), plane)[2:20, 3:28]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_map_for_another_plane_is_not_for_a_mosaic(tools):
    opcode = replace(site_maps()[0], planes=(1, 1))
    frame = lit(tools, maps=[opcode])
    assert torch.equal(tools.run_stage("lens_shading", frame, MAP).pixels, frame.pixels)


def test_maps_of_different_size_and_maps_that_overlap(tools):
    small = GainMap((0, 0, 99, 99), (0, 1), (1, 1), (0.5, 0.0), (1.0, 0.5), np.full((1, 2, 1), 1.5, np.float32))
    large = replace(site_maps(points=(6, 3))[3], spacing=(0.2, 0.4))
    found = gain(tools, lit(tools, maps=[small, large]), MAP)[0, 0].numpy()
    expected = np.full((23, 30), 1.5)
    expected[1::2, 1::2] *= interpolated(large, (23, 30))[1::2, 1::2]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# -- cut, turned and batched ---------------------------------------------------------------------------------

MOVES = {
    "odd window": {"window": (3, 5, 11, 14)},
    "mirrored": {"mirror_x": True},
    "upside down": {"mirror_x": True, "mirror_y": True},
    "turned": {"transpose": True, "mirror_y": True},
    "turned and cut": {"transpose": True, "mirror_x": True, "window": (4, 1, 13, 20)},
}


@pytest.mark.parametrize("signal", [CAMERA, BAYER], ids=["rgb", "mosaic"])
@pytest.mark.parametrize("params", [None, RADIAL, MAP], ids=["capture", "radial", "map"])
@pytest.mark.parametrize("name", MOVES)
def test_a_moved_picture_has_the_gains_of_its_place(tools, signal, params, name):
    frame = lit(tools, signal, dtype=torch.float32)
    move = Move(frame.size, **MOVES[name])
    whole = tools.run_stage("lens_shading", frame, params).moved(move)
    once = tools.run_stage("lens_shading", frame.moved(move), params)
    # a turned grid is interpolated along its rows first, which may cost the last bit
    bound = 3e-7 if params == MAP and move.transpose else 0.0
    np.testing.assert_allclose(once.pixels, whole.pixels, rtol=bound)
    again = Move(once.size, transpose=True, mirror_y=True, window=(1, 2, 9, 8))
    twice = tools.run_stage("lens_shading", frame.moved(move).moved(again), params)
    bound = 3e-7 if params == MAP and not move.transpose else 0.0
    np.testing.assert_allclose(twice.pixels, whole.moved(again).pixels, rtol=bound)


@pytest.mark.parametrize("params", [None, RADIAL, MAP], ids=["capture", "radial", "map"])
def test_pictures_turned_differently_in_one_batch(tools, params):
    frame = lit(tools, BAYER.changed({"cfa": "RGGB"}), size=(20, 20))  # a pattern that a turn leaves
    parts = [([0], frame.select([0])), ([1], frame.select([1]).moved(Move((20, 20), transpose=True)))]
    joined = tools.run_stage("lens_shading", Frame.join(parts), params)
    for index, part in parts:
        assert torch.equal(joined.select(index).pixels, tools.run_stage("lens_shading", part, params).pixels)


def test_a_resampled_picture_is_refused(tools):
    frame = lit(tools, CAMERA)
    y, x = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    warp = Warp(torch.stack([x, y])[None] * 2 + 1, frame.size, lambda xy, _: xy / 2)
    warped = replace(frame.warped(warp), pixels=frame.pixels[..., :10, :12])
    for params in (None, RADIAL, MAP):
        with pytest.raises(ValueError, match="resampled"):
            tools.run_stage("lens_shading", warped, params)


# -- back and forth ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", [None, RADIAL, MAP], ids=["capture", "radial", "map"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 4e-16), (torch.float32, 2e-7)])
def test_shading_undoes_the_correction(tools, params, dtype, bound):
    frame = lit(tools, dtype=dtype)
    chain = tools.chain([{"lens_shading": params}])
    after = chain.run(frame).frame
    assert (after.pixels - frame.pixels).abs().max() > 0.1
    back = chain.inverse(after)
    assert (back.pixels - frame.pixels).abs().max() <= bound
    assert back.signal == frame.signal
    if params != RADIAL:
        assert not back.capture["shading_corrected"].any()
        assert (chain.run(back).frame.pixels - after.pixels).abs().max() <= 4 * bound


def test_the_capture_s_shading_is_corrected_once(tools):
    once = tools.run_stage("lens_shading", lit(tools), MAP)
    assert once.capture["shading_corrected"].flatten(1).tolist() == [[0, 1]] * 2
    with pytest.raises(ValueError, match="gain map shading has been corrected already"):
        tools.run_stage("lens_shading", once, MAP)
    both = tools.run_stage("lens_shading", once)
    assert bool((both.capture["shading_corrected"] == 1).all())
    tools.run_stage("lens_shading", both, RADIAL)  # coefficients of the recipe come on top


def test_gains_that_are_not_positive_are_refused(tools):
    frame = lit(tools)
    facts = frame.capture.with_facts({"vignette": frame.capture["vignette"] * -9})
    with pytest.raises(ValueError, match="must be positive"):
        tools.run_stage("lens_shading", replace(frame, capture=facts))


@given(st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=10)
def test_it_commutes_with_the_mosaic(tools, top, left):
    frame = lit(tools, CAMERA, batch=1).crop(top, left, 11, 12)
    sample, correct = {"mosaic": {"cfa": "GRBG"}}, {"lens_shading": RADIAL}
    before, after = (tools.run_chain(order, frame).pixels for order in ([correct, sample], [sample, correct]))
    assert torch.equal(before, after)
