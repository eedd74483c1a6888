from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from isp_sim.pipeline import State
from isp_sim.signal import Signal
from isp_sim.stages.adjustments import luma, saturated, turned

CODES = Signal()
STANDARDS = ["bt601", "bt709", "bt2020"]
NEUTRAL = {"saturation": {"factor": 1}, "hue": {"angle": 0}, "contrast": {"factor": 1}, "brightness": {"offset": 0}}
DRAWN = {
    "saturation": {"factor": {"uniform": [0, 2]}, "standard": "bt601"},
    "hue": {"angle": {"uniform": [-180, 180]}},
    "contrast": {"factor": {"uniform": [0.5, 2]}, "pivot": {"uniform": [0.3, 0.6]}},
    "brightness": {"offset": {"normal": [0, 0.2]}},
}

names = pytest.mark.parametrize("name", DRAWN)
standards = st.sampled_from(STANDARDS)
factors = st.floats(0.05, 5)
angles = st.floats(-90, 90)


def number(value, dtype=torch.float64):
    return torch.full((1, 1, 1, 1), value, dtype=dtype)


def run(tools, name, frame, **params):
    return tools.run_stage(name, frame, params).pixels


@names
def test_engine_laws(tools, name):
    tools.assert_engine_laws(name, tools.picture(CODES, low=-0.1, high=1.2), DRAWN[name])


@names
def test_gradient(tools, name):
    tools.assert_gradient(name, tools.picture(CODES, batch=1, size=(3, 2), low=-0.2, high=1.2), DRAWN[name])


@names
def test_precision(tools, name):
    tools.assert_precision(name, tools.picture(CODES, dtype=torch.float64), DRAWN[name], bound=1e-6)


@names
def test_neutral_is_nothing_to_the_last_bit(tools, name):
    frame = tools.picture(CODES, low=-1, high=2)
    assert torch.equal(run(tools, name, frame, **NEUTRAL[name]), frame.pixels)
    assert torch.equal(tools.run_stage(name, frame).pixels, frame.pixels), "the default is neutral"


@names
def test_signal_is_left_but_for_the_codes(tools, name):
    frame = tools.picture(CODES, size=(2, 2))
    after = tools.run_stage(name, replace(frame, signal=CODES.changed({"bit_depth": 8})), DRAWN[name])
    assert after.signal == CODES


@names
def test_light_is_refused(tools, name):
    _, (problem,) = tools.chain([name]).check(State(Signal(transfer="linear", reference="scene")))
    assert "srgb or bt709 or gamma" in problem.message


@names
@given(seed=st.integers(0, 99))
def test_grey_stays_grey(tools, name, seed):
    frame = tools.picture(CODES, size=(5, 4), seed=seed)
    after = tools.run_stage(
        name, replace(frame, pixels=frame.pixels[:, :1].expand_as(frame.pixels)), DRAWN[name]
    ).pixels
    assert torch.equal(after[:, :1].expand_as(after), after)
    if name in ("saturation", "hue"):
        assert torch.equal(after[:, :1], frame.pixels[:, :1])


@names
def test_inverse(tools, name):
    params = {
        "saturation": {"factor": 1.7},
        "hue": {"angle": 33},
        "contrast": {"factor": 0.3, "pivot": 0.4},
        "brightness": {"offset": 0.2},
    }[name]
    for dtype, bound in ((torch.float64, 2e-15), (torch.float32, 2e-6)):
        frame = tools.picture(CODES, low=-0.5, high=1.5, dtype=dtype)
        chain = tools.chain([{name: params}])
        assert (chain.inverse(chain.run(frame).frame).pixels - frame.pixels).abs().max() <= bound


class TestSaturation:
    @given(factors, standards)
    def test_luma_stays(self, tools, factor, standard):
        x = tools.picture(CODES, size=(5, 4), dtype=torch.float64).pixels
        y = saturated(x, number(factor), standard)
        np.testing.assert_allclose(luma(y, standard), luma(x, standard), atol=1e-14)

    @given(factors, factors, standards)
    def test_one_after_the_other_is_the_product(self, tools, a, b, standard):
        x = tools.picture(CODES, size=(5, 4), dtype=torch.float64).pixels
        both = saturated(saturated(x, number(a), standard), number(b), standard)
        np.testing.assert_allclose(both, saturated(x, number(a * b), standard), atol=1e-13)

    def test_without_colour_all_channels_are_luma_and_the_inverse_leaves_them(self, tools):
        frame = tools.picture(CODES, dtype=torch.float64)
        chain = tools.chain([{"saturation": {"factor": 0}}])
        after = chain.run(frame).frame
        np.testing.assert_allclose(after.pixels, luma(frame.pixels).expand_as(frame.pixels), atol=1e-15)
        np.testing.assert_allclose(chain.inverse(after).pixels, after.pixels, atol=1e-15)

    @pytest.mark.parametrize("factor", [0.0, 0.4, 1.6])
    def test_by_pillow(self, tools, photos, factor):
        """Pillow blends with luma by BT.601, which it rounds to a code."""
        photo = photos["chelsea"][:96, :128]
        theirs = np.asarray(ImageEnhance.Color(Image.fromarray(photo)).enhance(factor)).astype(float)
        x = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].double() / 255
        ours = saturated(x, number(factor), "bt601").clamp(0, 1)[0].permute(1, 2, 0) * 255
        assert np.abs(ours.numpy() - theirs).max() <= 1 + 0.5 * abs(1 - factor)


class TestHue:
    @given(angles, angles, standards)
    def test_angles_add_up(self, tools, a, b, standard):
        x = tools.picture(CODES, size=(5, 4), dtype=torch.float64).pixels
        both = turned(turned(x, number(a), standard), number(b), standard)
        np.testing.assert_allclose(both, turned(x, number(a + b), standard), atol=1e-14)

    @given(angles, standards)
    def test_luma_stays(self, tools, angle, standard):
        x = tools.picture(CODES, size=(5, 4), dtype=torch.float64).pixels
        np.testing.assert_allclose(luma(turned(x, number(angle), standard), standard), luma(x, standard), atol=1e-14)

    def test_once_around_is_nothing(self, tools):
        x = tools.picture(CODES, size=(5, 4), dtype=torch.float64).pixels
        half = turned(x, number(180.0))
        np.testing.assert_allclose(half - luma(x), luma(x) - x, atol=1e-14)  # colours became their complements
        np.testing.assert_allclose(turned(half, number(180.0)), x, atol=1e-14)

    @pytest.mark.parametrize(("standard", "name"), [("bt601", "BT.601"), ("bt709", "BT.709"), ("bt2020", "BT.2020")])
    @given(angle=st.floats(-180, 180))
    def test_by_colour_science(self, tools, colour, standard, name, angle):
        x = tools.picture(CODES, size=(5, 4), dtype=torch.float64).pixels.permute(0, 2, 3, 1).numpy()
        k = {"K": colour.WEIGHTS_YCBCR[f"ITU-R {name}"], "in_legal": False, "out_legal": False}
        y, cb, cr = np.moveaxis(colour.RGB_to_YCbCr(x, **k), -1, 0)
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        theirs = colour.YCbCr_to_RGB(np.stack([y, c * cb - s * cr, s * cb + c * cr], axis=-1), **k)
        ours = turned(torch.from_numpy(x).permute(0, 3, 1, 2), number(angle), standard).permute(0, 2, 3, 1)
        np.testing.assert_allclose(ours, theirs, atol=1e-13)

    @pytest.mark.parametrize(
        ("colour_", "rises", "falls"), [((1, 0, 0), 1, 2), ((0, 1, 0), 2, 0), ((0, 0, 1), 0, 1)], ids="RGB"
    )
    def test_it_turns_as_in_hsv(self, colour_, rises, falls):
        y = turned(torch.tensor(colour_, dtype=torch.float64).reshape(1, 3, 1, 1), number(20.0)).flatten()
        assert y[rises] > y[falls]


class TestContrast:
    @given(factors, factors, st.floats(0, 1))
    def test_one_after_the_other_is_the_product(self, tools, a, b, pivot):
        frame = tools.picture(CODES, size=(5, 4), dtype=torch.float64)
        if not 0.01 <= a * b <= 10:
            return
        both = tools.run_chain([{"contrast": {"factor": f, "pivot": pivot}} for f in (a, b)], frame).pixels
        np.testing.assert_allclose(both, run(tools, "contrast", frame, factor=a * b, pivot=pivot), atol=1e-13)

    @given(factors, st.floats(0, 1))
    def test_the_pivot_stays_and_the_distance_is_scaled(self, tools, factor, pivot):
        frame = tools.picture(CODES, size=(5, 4), dtype=torch.float64)
        after = run(tools, "contrast", frame, factor=factor, pivot=pivot)
        np.testing.assert_allclose(after - pivot, factor * (frame.pixels - pivot), atol=1e-13)


class TestBrightness:
    @given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
    def test_offsets_add_up(self, tools, a, b):
        frame = tools.picture(CODES, size=(5, 4), dtype=torch.float64)
        both = tools.run_chain([{"brightness": {"offset": o}} for o in (a, b)], frame).pixels
        np.testing.assert_allclose(both, frame.pixels + (a + b), atol=1e-15)
