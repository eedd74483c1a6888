from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal
from isp_sim.stages.auto_white_balance import AutoWhiteBalance

CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
CFAS = ("RGGB", "GBRG", "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", "RRGGRRGGGGBBGGBB")
SIGNALS = {"rgb": CAMERA, **{cfa: CAMERA.changed({"layout": "mosaic", "cfa": cfa}) for cfa in CFAS}}
METHODS = ("grey_world", "shades_of_grey", "max_rgb")

gains = st.tuples(*[st.floats(0.2, 1)] * 3)


def lit(tools, signal=CAMERA, *, batch=2, size=(23, 29), seed=0, dtype=torch.float64, high=0.9):
    """A picture whose channels have each their own brightness, nowhere saturated."""
    frame = tools.picture(signal, batch=batch, size=size, seed=seed, low=0.01, high=high, dtype=dtype)
    return replace(frame, pixels=frame.pixels * frame.spread(torch.tensor([0.5, 1, 0.7]).reshape(1, 3, 1, 1)))


def estimated(tools, frame, **params):
    return tools.run_stage("auto_white_balance", frame, params).capture["wb_gains"]


def channels(frame):
    """The values of R, G and B of the first picture."""
    if frame.signal.layout == "rgb":
        return list(frame.pixels[0].flatten(1))
    index = frame.spread(torch.arange(3.0).reshape(1, 3, 1, 1))
    return [frame.pixels[0][index[0] == c] for c in range(3)]


@pytest.mark.parametrize("signal", [CAMERA, SIGNALS["GBRG"]], ids=["rgb", "mosaic"])
@pytest.mark.parametrize("method", METHODS)
def test_engine_laws(tools, signal, method):
    frame = tools.picture(signal, low=-0.1, high=1.1, batch=2, size=(191, 189))
    tools.assert_engine_laws("auto_white_balance", frame, {"method": method})


@pytest.mark.parametrize("method", METHODS)
def test_gradient(tools, method):
    tools.assert_gradient("auto_white_balance", lit(tools, size=(4, 5)), {"method": method, "percentile": 80.0})


@pytest.mark.parametrize("name", SIGNALS)
def test_what_the_gains_make_equal(tools, name):
    frame = lit(tools, SIGNALS[name])
    for method, statistic in {
        "grey_world": lambda x: x.mean(),
        "shades_of_grey": lambda x: np.mean(x**6) ** (1 / 6),
        "max_rgb": lambda x: np.percentile(x, 99, method="inverted_cdf"),
    }.items():
        after = tools.run_stage("auto_white_balance", frame, {"method": method})
        levels = np.array([statistic(x.numpy()) for x in channels(after)])
        np.testing.assert_allclose(levels, levels.max(), rtol=1e-12)
        before = np.array([statistic(x.numpy()) for x in channels(frame)])
        np.testing.assert_allclose(after.capture["wb_gains"][0, :, 0, 0], before.max() / before, rtol=1e-12)
        assert after.signal == frame.signal.changed({"white_balanced": True})


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("method", METHODS)
def test_a_picture_that_is_neutral_on_average_is_left(tools, name, method):
    grey = tools.picture(CAMERA.changed({"layout": "mosaic", "cfa": "R/G/B"}), batch=1, size=(24, 30), high=0.9)
    frame = lit(tools, SIGNALS[name], batch=1, size=(24, 30))
    flat = replace(frame, pixels=torch.full_like(frame.pixels, 0.3))
    after = tools.run_stage("auto_white_balance", flat, {"method": method})
    np.testing.assert_allclose(after.pixels, flat.pixels, rtol=1e-14)
    if name == "rgb":
        same = replace(frame, pixels=grey.pixels.double().expand(1, 3, -1, -1))
        assert torch.equal(tools.run_stage("auto_white_balance", same, {"method": method}).pixels, same.pixels)


@pytest.mark.parametrize("method", METHODS)
@given(st.floats(0.001, 1))
def test_exposure_does_not_matter(tools, method, exposure):
    frame = lit(tools)
    darker = replace(frame, pixels=frame.pixels * exposure)
    np.testing.assert_allclose(
        estimated(tools, darker, method=method), estimated(tools, frame, method=method), rtol=1e-12
    )


@pytest.mark.parametrize("signal", [CAMERA, SIGNALS["RGGB"]], ids=["rgb", "mosaic"])
@pytest.mark.parametrize("method", METHODS)
@given(gains)
def test_the_light_s_colour_does_not_matter(tools, signal, method, colour):
    """Up to the common factor that the smallest gain of 1 leaves."""
    frame = lit(tools, signal)
    tinted = replace(frame, pixels=frame.pixels * frame.spread(torch.tensor(colour).double().reshape(1, 3, 1, 1)))
    before, after = (tools.run_stage("auto_white_balance", f, {"method": method}).pixels for f in (frame, tinted))
    factor = (after / before)[:, :1, :1, :1]
    np.testing.assert_allclose(after, before * factor, rtol=1e-11)


def test_the_order_of_the_mean(tools):
    frame = lit(tools)
    grey = estimated(tools, frame)
    greatest = estimated(tools, frame, method="max_rgb", percentile=100.0)
    shades = [estimated(tools, frame, method="shades_of_grey", norm=norm) for norm in (1.0, 4.0, 16.0, 100.0)]
    np.testing.assert_allclose(shades[0], grey, rtol=1e-13)
    apart = [float((s - greatest).abs().max()) for s in shades]
    assert apart == sorted(apart, reverse=True)
    assert apart[-1] < 0.1 * apart[0]


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("method", METHODS)
def test_saturated_pixels_do_not_count(tools, name, method):
    """Nor, in a mosaic, do the sites around them: the 12 rows in question hold whole periods of each CFA."""
    frame = lit(tools, SIGNALS[name], batch=1, size=(36, 30), high=0.5)
    pixels = frame.pixels.clone()
    pixels[:, -1:, 12:24] = 0.01
    pixels[:, :1, 12:24:2, ::2] = 1.2
    pixels[:, :1, 13:24:2, 1::2] = 1.2
    if name == "rgb":
        pixels[:, 0, 12:24] = 1.2
    spoilt = replace(frame, pixels=pixels)
    without = replace(frame, pixels=torch.cat([pixels[..., :12, :], pixels[..., 24:, :]], dim=-2))
    expected = estimated(tools, without, method=method)
    np.testing.assert_allclose(estimated(tools, spoilt, method=method), expected, rtol=1e-12)
    assert not torch.allclose(estimated(tools, spoilt, method=method, saturation=50.0), expected, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, -0.1, 1.0, 3.0])
def test_where_there_is_nothing_to_go_by_gains_are_1(tools, method, value):
    frame = lit(tools, batch=1, size=(3, 4))
    flat = replace(frame, pixels=torch.full_like(frame.pixels, value))
    after = tools.run_stage("auto_white_balance", flat, {"method": method})
    assert torch.equal(after.pixels, flat.pixels)
    assert bool((after.capture["wb_gains"] == 1).all())


def test_gains_are_bounded(tools):
    frame = lit(tools, batch=1)
    pixels = frame.pixels.clone()
    pixels[:, 2] *= 1e-6
    assert estimated(tools, replace(frame, pixels=pixels)).max() == 100


@pytest.mark.parametrize("signal", [CAMERA, SIGNALS["GBRG"]], ids=["rgb", "mosaic"])
def test_to_estimate_and_then_to_balance_is_both_at_once(tools, signal):
    frame = lit(tools, signal)
    once = tools.run_stage("auto_white_balance", frame)
    estimate = tools.run_stage("auto_white_balance", frame, {"apply": False})
    assert torch.equal(estimate.pixels, frame.pixels)
    assert estimate.signal == frame.signal
    tools.assert_same_frame(tools.run_stage("white_balance", estimate), once)


def test_noise_in_the_dark_does_not_shift_the_grey_world(tools):
    """Values below black count as they are, or the darkest channel would seem brighter than it is."""
    rng = np.random.default_rng(0)
    light = np.array([0.001, 0.01, 0.005]).reshape(1, 3, 1, 1) + rng.normal(0, 0.01, (1, 3, 200, 200))
    frame = replace(lit(tools, batch=1), pixels=torch.from_numpy(light))
    found = estimated(tools, frame)[0, :, 0, 0].numpy()
    sd = 0.01 / 200
    np.testing.assert_allclose(found, [10, 1, 2], rtol=tools.normal_quantile() * sd / 0.001 * 1.1)


def test_a_cfa_of_other_colours_is_refused():
    stage = AutoWhiteBalance()
    assert "other sites" in stage.refuses(SIGNALS["RGGB"].changed({"cfa": "RGWB"}), stage.Params())
    assert stage.refuses(SIGNALS["RGGB"], stage.Params()) is None
