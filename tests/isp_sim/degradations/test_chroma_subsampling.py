import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.degradations.chroma_subsampling import subsampled
from isp_sim.signal import Signal
from isp_sim.stages.ycbcr import rgb_to_ycbcr

PHOTO = Signal()
factors = st.integers(1, 6)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_engine_laws(tools, upsampling):
    params = {"horizontal": {"choice": [2, 4]}, "vertical": {"randint": [1, 3]}, "upsampling": upsampling}
    tools.assert_engine_laws("chroma_subsampling", tools.picture(PHOTO, size=(37, 41)), params)


def test_gradient(tools):
    tools.assert_gradient("chroma_subsampling", tools.picture(PHOTO, batch=1, size=(5, 7)))


@settings(max_examples=20)
@given(factors, factors, st.sampled_from(["bt601", "bt709", "bt2020"]))
def test_luma_stays_and_chroma_is_the_mean_of_its_block(tools, rows, columns, standard):
    frame = tools.picture(PHOTO, size=(13, 17), dtype=torch.float64)
    params = {"horizontal": columns, "vertical": rows, "upsampling": "nearest", "standard": standard}
    found = rgb_to_ycbcr(tools.run_stage("chroma_subsampling", frame, params).pixels, standard)
    before = rgb_to_ycbcr(frame.pixels, standard)
    np.testing.assert_allclose(found[:, 0], before[:, 0], atol=1e-14)
    chroma = np.pad(before[:, 1:].numpy(), ((0, 0), (0, 0), (0, -13 % rows), (0, -17 % columns)), "edge")
    batch, two, height, width = chroma.shape
    mean = chroma.reshape(batch, two, height // rows, rows, width // columns, columns).mean(axis=(3, 5))
    spread = mean.repeat(rows, axis=2).repeat(columns, axis=3)[..., :13, :17]
    np.testing.assert_allclose(found[:, 1:], spread, atol=1e-14)


def test_grey_and_flat_colours_stay(tools):
    frame = tools.picture(PHOTO, size=(9, 11))
    grey = frame.__class__(frame.pixels[:, :1].repeat(1, 3, 1, 1), PHOTO, frame.capture, frame.keys)
    found = tools.run_stage("chroma_subsampling", grey, {"horizontal": 4, "vertical": 4}).pixels
    assert (found - grey.pixels).abs().max() < 1e-6
    flat = frame.__class__(frame.pixels[..., :1, :1].repeat(1, 1, 9, 11), PHOTO, frame.capture, frame.keys)
    assert (tools.run_stage("chroma_subsampling", flat).pixels - flat.pixels).abs().max() < 1e-6


def test_one_for_each_pixel_is_nothing(tools):
    frame = tools.picture(PHOTO, size=(9, 11))
    found = tools.run_stage("chroma_subsampling", frame, {"horizontal": 1, "vertical": 1})
    assert torch.equal(found.pixels, frame.pixels)


@pytest.mark.parametrize(("horizontal", "vertical", "subsampling"), [(2, 1, "4:2:2"), (2, 2, "4:2:0")])
def test_is_near_what_a_jpeg_of_the_best_quality_does(tools, photos, horizontal, vertical, subsampling):
    photo = torch.from_numpy(photos["astronaut"][330:426, 20:116].copy()).permute(2, 0, 1)[None] / 255
    frame = tools.picture(PHOTO, batch=1, size=(96, 96)).__class__(photo, PHOTO)
    by_jpeg = tools.run_stage("jpeg", frame, {"quality": 100, "subsampling": subsampling}).pixels
    ours = tools.run_stage("chroma_subsampling", frame, {"horizontal": horizontal, "vertical": vertical}).pixels
    # what its whole numbers alone make
    rounding = tools.run_stage("jpeg", frame, {"quality": 100, "subsampling": "4:4:4"}).pixels - frame.pixels
    assert (by_jpeg - ours.clamp(0, 1)).square().mean() < 1.5 * rounding.square().mean()
    assert (by_jpeg - frame.pixels).square().mean() > 3 * rounding.square().mean()


@settings(max_examples=20)
@given(factors, factors, st.sampled_from(["bilinear", "nearest"]))
def test_a_mean_over_whole_blocks_stays(rows, columns, upsampling):
    x = torch.from_numpy(np.random.default_rng(3).random((1, 2, 3 * rows, 4 * columns)))
    if upsampling == "nearest":
        assert subsampled(x, rows, columns).mean() == pytest.approx(float(x.mean()), abs=1e-14)
    assert torch.equal(subsampled(torch.full_like(x, 0.3), rows, columns, upsampling), torch.full_like(x, 0.3))
