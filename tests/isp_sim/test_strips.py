"""Stages taken through a picture strip by strip give what they give one after the other, to the last bit."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim import recipe, registry, strips
from isp_sim.frame import Capture, Frame, Points
from isp_sim.pipeline import Pipeline
from isp_sim.signal import Signal

RAW = Signal(
    layout="mosaic",
    cfa="RGGB",
    levels="dn",
    colour="camera",
    transfer="linear",
    reference="scene",
    white_balanced=False,
)
DEVELOP = """
  - normalise
  - white_balance: {deviate: {gains.0: {factor: {uniform: [0.8, 1.2]}}, gains.2: {factor: {uniform: [0.8, 1.2]}}}}
  - clip
  - demosaic: {method: METHOD}
  - colour_matrix
  - tone_curve: {points: [[0, 0], [0.2, {uniform: [0.3, 0.4]}], [1, 1]]}
  - clip
  - srgb_oetf
  - quantise
"""


@pytest.fixture
def chain(tmp_path):
    def made(stages: str) -> Pipeline:
        path = tmp_path / "recipe.yaml"
        path.write_text(
            f"version: 1\nseed: 3\ninput: {{reader: raw}}\nstages:{stages}\n"
            "output: {writer: files, path: o, format: png}\n"
        )
        return recipe.read(path).pipeline

    return made


def frame(batch: int, size: tuple[int, int], dtype: torch.dtype = torch.float32) -> Frame:
    rng = np.random.default_rng(size[0] * 1000 + size[1])
    facts = {
        "black_level": torch.tensor([[60.0, 64.0], [62.0, 61.0]]).expand(batch, 1, 2, 2),
        "white_level": torch.full((batch, 1, 2, 2), 1023.0),
        "wb_gains": torch.tensor([2.0, 1.0, 1.5]).view(1, 3, 1, 1).expand(batch, 3, 1, 1),
        "ccm": torch.tensor([[1.6, -0.4, -0.2], [-0.3, 1.5, -0.2], [0.0, -0.5, 1.5]]).expand(batch, 3, 3),
    }
    return Frame(
        torch.from_numpy(rng.uniform(60, 1100, (batch, 1, *size))).to(dtype),
        RAW,
        Capture({name: fact.to(dtype) for name, fact in facts.items()}),
        keys=tuple(f"{i}.dng" for i in range(batch)),
        targets={"points": Points(tuple(torch.tensor([[3.0, 4.0]]) for _ in range(batch)))},
    )


def assert_equal(found, expected):
    assert found.values == expected.values
    assert found.signals == expected.signals
    a, b = found.frame, expected.frame
    assert a.signal == b.signal
    assert a.keys == b.keys
    assert torch.equal(a.pixels, b.pixels)
    assert set(a.maps) == set(b.maps)
    assert all(torch.equal(a.maps[name], b.maps[name]) for name in a.maps)
    assert set(a.capture) == set(b.capture)
    assert all(torch.equal(a.capture[name], b.capture[name]) for name in a.capture)
    for ours, theirs in zip(a.targets["points"].xy, b.targets["points"].xy, strict=True):
        assert torch.equal(ours, theirs)


def whole(pipeline: Pipeline, frame: Frame):
    return pipeline.run(frame, watch=lambda step, frame: None)  # a trace wants every step's whole frame


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["bilinear", "malvar2004", "menon2007"])
def test_equal_to_the_whole(chain, monkeypatch, method, threads):
    pipeline = chain(DEVELOP.replace("METHOD", method))
    picture = frame(2, (97, 61))
    expected = whole(pipeline, picture)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        monkeypatch.setattr(strips, "PIXELS", 61 * 9)
        assert strips.worthwhile(picture)
        assert_equal(pipeline.run(picture), expected)
    finally:
        torch.set_num_threads(before)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 70), st.integers(2, 40), st.integers(1, 3), st.integers(1, 4000))
def test_any_size_any_batch_any_strip(height, width, batch, pixels):
    picture = frame(batch, (height, width))
    expected = picture
    for reach in (1, 3):
        expected = add_shifted(expected, reach)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "PIXELS", pixels)
        links = [
            strips.Link(Shifted(reach), SimpleNamespace(), strips.NoDraws(0, 0, "x", ()), reach) for reach in (1, 3)
        ]
        found = strips.run(picture, links)
    assert torch.equal(found.pixels, expected.pixels)


class Shifted:
    def __init__(self, reach):
        self.reach = reach

    def __call__(self, frame, p, rng):
        return add_shifted(frame, self.reach)


def add_shifted(frame, reach):
    """Each pixel plus those `reach` above and below; beyond the edge, the outermost."""
    rows = torch.arange(frame.size[0])
    above, below = (rows - reach).clamp_min(0), (rows + reach).clamp_max(frame.size[0] - 1)
    x = frame.pixels
    return replace(frame, pixels=x + (x[:, :, above] + x[:, :, below]))


def test_noise_is_drawn_for_the_whole_frame(chain, monkeypatch):
    pipeline = chain("\n  - normalise\n  - white_balance\n  - gaussian_noise: {sigma: 0.1}\n  - clip")
    picture = frame(2, (50, 40))
    expected = whole(pipeline, picture)
    monkeypatch.setattr(strips, "PIXELS", 200)
    for _ in range(2):  # at the first time the engine finds out that the stage draws
        assert_equal(pipeline.run(picture), expected)


def test_what_is_fixed_to_a_sensor_is_drawn_for_the_whole_frame(chain, monkeypatch):
    pipeline = chain("\n  - normalise\n  - defects: {hot: 0.1}\n  - white_balance")
    expected = pipeline.run(frame(2, (64, 48)))
    monkeypatch.setattr(strips, "PIXELS", 480)
    assert_equal(pipeline.run(frame(2, (64, 48))), expected)


def test_a_strip_knows_where_it_lies(chain, monkeypatch):
    pipeline = chain("\n  - normalise\n  - lens_shading: {coefficients: [0.5, 0.1, 0, 0, 0], centre: [0.4, 0.7]}")
    picture = frame(2, (80, 40)).crop(2, 4, 70, 30)
    expected = whole(pipeline, picture)
    monkeypatch.setattr(strips, "PIXELS", 200)
    assert_equal(pipeline.run(picture), expected)


def test_a_smaller_picture_is_made_as_a_whole(chain, monkeypatch):
    pipeline = chain("\n  - normalise\n  - white_balance\n  - demosaic: {method: superpixel}\n  - clip")
    picture = frame(2, (51, 40))
    expected = whole(pipeline, picture)
    monkeypatch.setattr(strips, "PIXELS", 200)
    for _ in range(2):
        assert_equal(pipeline.run(picture), expected)


def test_stages_are_really_run_in_strips(chain, monkeypatch):
    heights = []
    stage = registry.load("colour_matrix", *registry.STAGE_GROUPS)
    apply = stage.apply
    monkeypatch.setattr(
        stage, "apply", lambda self, frame, p, rng: heights.append(frame.size[0]) or apply(self, frame, p, rng)
    )
    monkeypatch.setattr(strips, "PIXELS", 400)
    chain(DEVELOP.replace("METHOD", "malvar2004")).run(frame(1, (100, 50)))
    assert len(heights) > 3
    assert max(heights) < 60


def test_gradients_take_the_plain_way(chain, monkeypatch):
    monkeypatch.setattr(strips, "PIXELS", 200)
    picture = frame(1, (40, 30), torch.float64)
    pixels = picture.pixels.clone().requires_grad_()
    out = chain("\n  - normalise\n  - white_balance\n  - demosaic").run(replace(picture, pixels=pixels)).frame.pixels
    out.sum().backward()
    assert pixels.grad.abs().min() > 0


def test_in_inference_mode(chain, monkeypatch):
    pipeline = chain(DEVELOP.replace("METHOD", "malvar2004"))
    picture = frame(1, (60, 40))
    expected = whole(pipeline, picture)
    monkeypatch.setattr(strips, "PIXELS", 300)
    with torch.inference_mode():
        assert_equal(pipeline.run(picture), expected)


def test_a_fault_in_a_strip_is_raised_as_it_is(chain, monkeypatch):
    monkeypatch.setattr(strips, "PIXELS", 200)
    picture = frame(1, (40, 30))
    wrong = replace(picture, capture=picture.capture.with_facts({"white_level": torch.zeros(1, 1, 2, 2)}))
    with pytest.raises(ValueError, match="white level must lie above"):
        chain("\n  - normalise").run(wrong)
