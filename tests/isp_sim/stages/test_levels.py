from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import RAW

DN = RAW.changed({"cfa": "RGGB", "bit_depth": None})
BLACK = torch.tensor([[64.0, 65.5], [63.25, 70.0]])


def levels(batch, black=BLACK, white=1023.0):
    black = torch.as_tensor(black).reshape(1, 1, *torch.as_tensor(black).shape[-2:])
    return {
        "black_level": torch.cat([black + 3 * b for b in range(batch)]),
        "white_level": torch.cat([torch.full_like(black, white) + 16 * b for b in range(batch)]),
    }


def raw(tools, batch=3, size=(107, 103), **more):
    return tools.picture(DN, batch=batch, size=size, low=-20, high=1100, capture=levels(batch), **more)


SPANS = ("least", "site", "greatest")


@pytest.mark.parametrize(("name", "params"), [("black_level", None), *(("normalise", {"span": s}) for s in SPANS)])
def test_engine_laws(tools, name, params):
    tools.assert_engine_laws(name, raw(tools), params)


@pytest.mark.parametrize(("name", "bound"), [("black_level", 1e-4), ("normalise", 2e-7)])
def test_precision(tools, name, bound):
    tools.assert_precision(name, raw(tools, dtype=torch.float64), bound=bound)


@pytest.mark.parametrize("name", ["black_level", "normalise"])
def test_gradient(tools, name):
    tools.assert_gradient(name, raw(tools, batch=2, size=(3, 5)), eps=1e-3)


class TestNormalise:
    @pytest.mark.parametrize("span", SPANS)
    @given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
    def test_each_site_by_its_black_level(self, tools, span, height, width, seed):
        frame = raw(tools, size=(height, width), dtype=torch.float64, seed=seed)
        found = tools.run_stage("normalise", frame, {"span": span}).pixels
        for b, y, x in product(range(3), range(height), range(width)):
            black = BLACK[y % 2, x % 2].item() + 3 * b
            level = {"least": 70.0, "greatest": 63.25, "site": BLACK[y % 2, x % 2].item()}[span] + 3 * b
            expected = (frame.pixels[b, 0, y, x].item() - black) / (1023 + 16 * b - level)
            assert found[b, 0, y, x].item() == pytest.approx(expected, abs=1e-15)

    @pytest.mark.parametrize("span", SPANS)
    def test_black_is_exactly_0(self, tools, span):
        frame = raw(tools, size=(5, 7))
        flat = frame.tiled(frame.capture["black_level"])
        black = frame.__class__(flat, frame.signal, frame.capture, frame.keys)
        assert not tools.run_stage("normalise", black, {"span": span}).pixels.any()

    def saturated(self, tools, params):
        frame = raw(tools, size=(4, 6))
        flat = frame.tiled(frame.capture["white_level"])
        white = frame.__class__(flat, frame.signal, frame.capture, frame.keys)
        return tools.run_stage("normalise", white, params).pixels

    def test_white_is_exactly_1_where_each_site_has_its_own_span(self, tools):
        assert bool((self.saturated(tools, {"span": "site"}) == 1).all())

    def test_no_saturated_site_falls_short_of_1(self, tools):
        white = self.saturated(tools, None)
        assert white.min() == 1
        assert bool((white[..., 1::2, 1::2] == 1).all())  # the site with the highest black level
        assert 1 < white.max() < 1.01
        assert self.saturated(tools, {"span": "greatest"}).max() == 1

    def test_equal_light_is_equal_at_every_site(self, tools):
        """DN of one gain upon different black levels: by one span they are told apart no longer."""
        frame = raw(tools, size=(6, 8), dtype=torch.float64)
        lit = frame.__class__(frame.tiled(frame.capture["black_level"]) + 400, frame.signal, frame.capture, frame.keys)
        for span in SPANS:
            after = tools.run_stage("normalise", lit, {"span": span}).pixels
            assert after[0].unique().numel() == (4 if span == "site" else 1)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_a_plane_has_its_own_span(self, tools, channels):
        signal = DN if channels == 1 else DN.changed({"layout": "rgb", "cfa": None})
        capture = {
            "black_level": torch.tensor([10.0, 20.0, 30.0]).reshape(1, 3, 1, 1)[:, :channels],
            "white_level": torch.tensor([110.0, 220.0, 330.0]).reshape(1, 3, 1, 1)[:, :channels],
        }
        frame = tools.picture(signal, batch=1, size=(3, 4), low=0, high=300, capture=capture, dtype=torch.float64)
        expected = (frame.pixels - capture["black_level"]) / torch.tensor([100.0, 200.0, 300.0]).reshape(1, 3, 1, 1)[
            :, :channels
        ]
        np.testing.assert_allclose(tools.run_stage("normalise", frame).pixels, expected, rtol=1e-15)

    def test_beyond_black_and_white_nothing_is_clipped(self, tools):
        after = tools.run_stage("normalise", raw(tools)).pixels
        assert after.min() < -0.01
        assert after.max() > 1.01

    @pytest.mark.parametrize("span", SPANS)
    def test_inverse(self, tools, span):
        for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 2.5e-4)):
            frame = raw(tools, dtype=dtype)
            chain = tools.chain([{"normalise": {"span": span}}])
            after = chain.run(frame).frame
            back = chain.inverse(after)
            assert back.signal == frame.signal
            assert (back.pixels - frame.pixels).abs().max() < bound

    def test_a_crop_by_odd_offsets_keeps_each_site_s_level(self, tools):
        frame = raw(tools, size=(9, 11))
        whole = tools.run_stage("normalise", frame).pixels
        for (top, left), size in product(((0, 1), (1, 0), (1, 1), (3, 4)), ((5, 6), (1, 1))):
            # a window smaller than a period keeps the span of the whole period
            cut = tools.run_stage("normalise", frame.crop(top, left, *size)).pixels
            assert torch.equal(cut, whole[..., top : top + size[0], left : left + size[1]])

    def test_signal(self, tools):
        after = tools.run_stage("normalise", raw(tools, size=(4, 4)))
        assert after.signal == DN.changed({"levels": "unit"})

    @pytest.mark.parametrize("white", [63.0, 64.0])
    def test_a_white_level_that_is_not_above_black(self, tools, white):
        capture = levels(1, torch.full((1, 1), 64.0), white)
        frame = tools.picture(DN, batch=1, size=(4, 4), capture=capture)
        with pytest.raises(ValueError, match="must lie above the black level"):
            tools.run_stage("normalise", frame)


class TestBlackLevel:
    def test_black_becomes_0_and_the_facts_follow(self, tools):
        frame = raw(tools, size=(5, 7), dtype=torch.float64)
        after = tools.run_stage("black_level", frame)
        np.testing.assert_allclose(after.pixels, frame.pixels - frame.tiled(frame.capture["black_level"]), atol=0)
        assert not after.capture["black_level"].any()
        before = frame.capture["white_level"] - frame.capture["black_level"]
        assert torch.equal(after.capture["white_level"], before)
        assert after.pixels.min() < 0
        assert after.signal == DN

    def test_then_normalise_is_normalise(self, tools):
        frame = raw(tools, dtype=torch.float64)
        once = tools.run_stage("normalise", frame)
        twice = tools.run_chain(["black_level", "normalise"], frame)
        assert (once.pixels - twice.pixels).abs().max() < 1e-15
        assert once.signal == twice.signal

    def test_a_second_time_is_nothing(self, tools):
        once = tools.run_stage("black_level", raw(tools))
        tools.assert_same_frame(tools.run_stage("black_level", once), once)
