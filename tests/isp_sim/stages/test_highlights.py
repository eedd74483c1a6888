from dataclasses import replace

import numpy as np
import pytest
import rawpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import Item
from isp_sim.signal import Signal
from tests.isp_sim.formats.dng import NEUTRAL, write_dng

BALANCED = Signal(colour="camera", white_balanced=True, transfer="linear", reference="scene")
BAYER = BALANCED.changed({"layout": "mosaic", "cfa": "GRBG"})
GAINS = {"wb_gains": torch.tensor([[2.1, 1.0, 1.6], [1.9, 1.0, 2.2], [1.0, 1.3, 3.0]]).reshape(3, 3, 1, 1)}


def bright(tools, signal=BALANCED, **options):
    return tools.picture(signal, **{"low": -0.1, "high": 2, "capture": GAINS} | options)


def handled(tools, pixels, method, **params):
    frame = tools.picture(BALANCED, batch=1, size=(1, 1))
    frame = replace(frame, pixels=pixels.reshape(1, 3, 1, -1))
    params = {"method": method, "gains": [2.0, 1.0, 1.6], **params}
    return tools.run_stage("highlights", frame, params).pixels.reshape(3, -1)


@pytest.mark.parametrize(("signal", "method"), [(BALANCED, "clip"), (BALANCED, "blend"), (BAYER, "clip")])
def test_engine_laws(tools, signal, method):
    tools.assert_engine_laws("highlights", bright(tools, signal), {"method": method})


@pytest.mark.parametrize("method", ["clip", "blend"])
def test_gradient(tools, method):
    frame = bright(tools, batch=1, size=(5, 6), capture={"wb_gains": GAINS["wb_gains"][:1]})
    tools.assert_gradient("highlights", frame, {"method": method})


@pytest.mark.parametrize("method", ["clip", "blend"])
def test_gradients_are_finite_where_there_is_no_colour(tools, method):
    x = torch.tensor([[1.5, 1.5, 1.5], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.2, 0.5, 0.5], [2.0, 1.0, 1.6]])
    x = x.T.clone().requires_grad_()
    handled(tools, x, method).sum().backward()
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("method", ["clip", "blend"])
@pytest.mark.parametrize("saturation", [0.5, 1.0])
def test_below_the_level_nothing_changes_to_the_bit(tools, method, saturation):
    frame = bright(tools)
    after = tools.run_stage("highlights", frame, {"method": method, "saturation": saturation})
    below = (frame.pixels <= saturation).all(dim=1, keepdim=True)
    assert torch.equal(after.maps["highlights"], ~below)
    assert torch.equal(torch.where(below, after.pixels, 0.0), torch.where(below, frame.pixels, 0.0))
    assert 0.01 < below.float().mean() < 0.95
    assert after.signal == frame.signal


def test_the_level_is_that_of_the_smallest_gain(tools):
    found = handled(tools, torch.tensor([3.0, 3.0, 0.2]), "clip", gains=[4.0, 2.0, 3.0], saturation=0.6)
    np.testing.assert_allclose(found.flatten(), [1.2, 1.2, 0.2], rtol=1e-6)


@pytest.mark.parametrize("method", ["clip", "blend"])
def test_what_saturates_all_channels_is_white(tools, method):
    found = handled(tools, torch.tensor([2.0, 1.0, 1.6]).double(), method).flatten()
    np.testing.assert_allclose(found, 1 if method == "clip" else 4.6 / 3, rtol=1e-6)


def test_a_mosaic_is_clipped_as_its_picture_is(tools):
    frame = bright(tools)
    sample, clip = {"mosaic": {"cfa": "GRBG"}}, "highlights"
    before, after = (tools.run_chain(order, frame).pixels for order in ([clip, sample], [sample, clip]))
    assert torch.equal(before, after)


@given(st.tuples(*[st.floats(0, 3)] * 3))
def test_blending_keeps_lightness_and_hue_and_takes_the_clipped_chroma(tools, colour):
    x = torch.tensor(colour, dtype=torch.float64)
    found = handled(tools, x, "blend").flatten()
    clipped = handled(tools, x, "clip").flatten()
    chroma = [v - v.mean() for v in (x, found, clipped)]
    np.testing.assert_allclose(found.mean(), x.mean(), rtol=1e-12)
    np.testing.assert_allclose(chroma[1].norm(), chroma[2].norm() if chroma[0].norm() > 0 else 0, atol=1e-12)
    np.testing.assert_allclose(chroma[1] * chroma[0].norm(), chroma[0] * chroma[1].norm(), atol=1e-11)


@pytest.mark.parametrize("method", ["clip", "blend"])
@given(st.tuples(*[st.floats(0, 1)] * 3), st.integers(0, 2))
def test_continuous_at_the_level(tools, method, colour, channel):
    x = torch.tensor(colour, dtype=torch.float64)
    x[channel] = 1.0
    step = torch.zeros(3, dtype=torch.float64)
    step[channel] = 1e-9
    below, above = (handled(tools, v, method).flatten() for v in (x, x + step))
    assert (above - below).abs().max() < 4e-9


def scene(size):
    """Smooth light of many colours, up to far beyond saturation."""
    y, x = (v / 20 for v in np.mgrid[0 : size[0], 0 : size[1]])
    return np.stack([1.1 + np.sin(x + y), 1.1 + np.sin(x - y / 2 + 1), 1.1 + np.sin(y + 2)], axis=-1)


@pytest.mark.parametrize(("method", "mode"), [("clip", 0), ("blend", 2)])
def test_is_librawss(tools, tmp_path, method, mode):
    """On a DNG that is demosaiced already. LibRaw scales the blended picture so that the greatest gain is 1."""
    samples = np.round(np.clip(scene((60, 80)) * NEUTRAL, 0, 1) * 16383).astype(np.uint16)
    path = write_dng(tmp_path / "a.dng", samples, None, white=16383, black=(0, 0, 0))
    with rawpy.imread(str(path)) as raw:
        theirs = raw.postprocess(
            highlight_mode=rawpy.HighlightMode(mode),
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            gamma=(1, 1),
            output_color=rawpy.ColorSpace.raw,
            output_bps=16,
        )
    frame = Raw(Raw.Params()).read(Item("a.dng", str(path))).frame
    after = tools.run_chain(["normalise", "white_balance", {"highlights": {"method": method}}], frame)
    scale = 1 if mode == 0 else max(1 / np.array(NEUTRAL))
    found = after.pixels[0].permute(1, 2, 0).numpy()
    assert 0.3 < after.maps["highlights"].float().mean() < 0.95
    # LibRaw rounds down, to whole numbers, more than once
    np.testing.assert_allclose(found, theirs / 65535 * scale, atol=3 * scale / 65535)
