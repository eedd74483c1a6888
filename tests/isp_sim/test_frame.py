from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.frame import Boxes, Capture, Frame, Masks, MissingFact, Move, Points, Warp
from isp_sim.signal import RAW, Signal, cfa_rows

CFAS = ("RGGB", "GBRG", "RG/GB/BG", "RGB/GBR", "R/G/B", "GBGGRG/RGRBGB/GBGGRG/GRGGBG/BGBRGR/GRGGBG")


def raw(cfa):
    return RAW.changed({"cfa": cfa, "bit_depth": None})


def index_frame(size, cfa, tile, batch=2, seed=0):
    """A mosaic whose every pixel, map and label is the number of its site, with levels of their own a site."""
    height, width = size
    index = torch.arange(height * width, dtype=torch.float64).reshape(1, 1, height, width)
    pixels = torch.cat([index + 10_000 * b for b in range(batch)])
    rng = np.random.default_rng(seed)
    levels = torch.from_numpy(rng.uniform(1, 2, (batch, 1, *tile)))
    corners = [torch.from_numpy(rng.uniform(0, 1, (3, 2, 2)) * [width, height]) for _ in range(batch)]
    boxes = tuple(torch.cat([c.amin(dim=1), c.amax(dim=1)], dim=1) for c in corners)
    points = tuple(torch.from_numpy(rng.integers(0, [width, height], (4, 2)) + 0.5) for _ in range(batch))
    return Frame(
        pixels,
        raw(cfa),
        Capture({"black_level": levels, "white_level": 100 * levels, "iso": torch.ones(batch, 1, 1, 1)}),
        tuple(map(str, range(batch))),
        {"sigma": -pixels, "clipped": pixels % 2 == 0},
        {
            "masks": Masks(pixels[:, 0].long()),
            "boxes": Boxes(boxes, tuple(torch.arange(3) for _ in boxes)),
            "points": Points(points),
        },
    )


def sites(frame):
    """The letter of each site, from the CFA alone."""
    rows = cfa_rows(frame.signal.cfa)
    height, width = frame.size
    return np.array([[rows[y % len(rows)][x % len(rows[0])] for x in range(width)] for y in range(height)])


def brute(array, move):
    """A move by its definition: turn, mirror, mirror, cut, on the last two axes of an array."""
    if move.transpose:
        array = np.swapaxes(array, -1, -2)
    if move.mirror_x:
        array = array[..., ::-1]
    if move.mirror_y:
        array = array[..., ::-1, :]
    if move.window:
        top, left, height, width = move.window
        array = array[..., top : top + height, left : left + width]
    return array


@st.composite
def moves(draw):
    height, width = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    transpose = draw(st.booleans())
    rows, columns = (width, height) if transpose else (height, width)
    window = None
    if draw(st.booleans()):
        top, left = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
        window = (top, left, draw(st.integers(1, rows - top)), draw(st.integers(1, columns - left)))
    return Move((height, width), transpose, draw(st.booleans()), draw(st.booleans()), window)


class TestMoved:
    @settings(max_examples=200)
    @given(
        moves(),
        st.sampled_from(CFAS),
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
        st.integers(0, 99),
    )
    def test_everything_moves_together(self, move, cfa, tile, seed):
        frame = index_frame(move.size, cfa, tile, seed=seed)
        moved = frame.moved(move)

        np.testing.assert_array_equal(moved.pixels, brute(frame.pixels.numpy(), move))
        np.testing.assert_array_equal(sites(moved), brute(sites(frame), move))
        for name in ("black_level", "white_level"):
            over_the_picture = frame.tiled(frame.capture[name]).expand(2, 1, *frame.size)
            after = moved.tiled(moved.capture[name]).expand(2, 1, *moved.size)
            np.testing.assert_array_equal(after, brute(over_the_picture.numpy(), move))
        for name in ("sigma", "clipped"):
            np.testing.assert_array_equal(moved.maps[name], brute(frame.maps[name].numpy(), move))
        np.testing.assert_array_equal(moved.targets["masks"].labels, brute(frame.targets["masks"].labels.numpy(), move))
        assert torch.equal(moved.capture["iso"], frame.capture["iso"])
        assert moved.keys == frame.keys

    @given(moves(), st.integers(0, 99))
    def test_a_point_stays_on_its_pixel(self, move, seed):
        frame = index_frame(move.size, "RGGB", (2, 2), seed=seed)
        moved = frame.moved(move)
        for b in range(frame.batch):
            for before, after in zip(frame.targets["points"].xy[b], moved.targets["points"].xy[b], strict=True):
                x, y = (int(v) for v in after.floor())
                inside = 0 <= y < moved.size[0] and 0 <= x < moved.size[1]
                value = frame.pixels[b, 0, int(before[1]), int(before[0])]
                assert inside == bool((moved.pixels[b] == value).any())
                assert not inside or moved.pixels[b, 0, y, x] == value

    @given(moves(), st.integers(0, 99))
    def test_a_box_holds_the_same_pixels(self, move, seed):
        frame = index_frame(move.size, "RGGB", (2, 2), seed=seed)
        moved = frame.moved(move)

        def held(f, b, box):
            y, x = np.mgrid[: f.size[0], : f.size[1]] + 0.5
            x0, y0, x1, y1 = box.tolist()
            return f.pixels[b, 0].numpy()[(x > x0) & (x < x1) & (y > y0) & (y < y1)]

        left = set(moved.pixels.flatten().tolist())
        for b in range(frame.batch):
            boxes = zip(frame.targets["boxes"].xyxy[b], moved.targets["boxes"].xyxy[b], strict=True)
            for before, after in boxes:
                assert bool((after[:2] <= after[2:]).all())
                assert sorted(held(moved, b, after)) == sorted(left & set(held(frame, b, before)))
            assert torch.equal(moved.targets["boxes"].labels[b], frame.targets["boxes"].labels[b])

    def test_an_odd_crop_changes_the_phase(self):
        # the plainest case, spelled out: black levels R 1, Gr 2, Gb 3, B 4 on an RGGB mosaic
        black = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
        frame = Frame(torch.zeros(1, 1, 6, 6), raw("RGGB"), Capture({"black_level": black}), ("a",))
        for (top, left), (cfa, levels) in {
            (0, 0): ("RGGB", [1, 2, 3, 4]),
            (0, 1): ("GRBG", [2, 1, 4, 3]),
            (1, 0): ("GBRG", [3, 4, 1, 2]),
            (1, 1): ("BGGR", [4, 3, 2, 1]),
            (2, 4): ("RGGB", [1, 2, 3, 4]),
        }.items():
            cut = frame.crop(top, left, 2, 2)
            assert cut.signal.cfa == cfa
            assert cut.capture["black_level"].flatten().tolist() == levels

    def test_mirroring_an_even_and_an_odd_width(self):
        for width, cfa in ((6, "GRBG"), (7, "RGGB")):
            frame = Frame(torch.zeros(1, 1, 4, width), raw("RGGB"), keys=("a",))
            assert frame.moved(Move(frame.size, mirror_x=True)).signal.cfa == cfa

    @given(st.data())
    def test_crop_of_crop_is_crop(self, data):
        frame = index_frame((11, 12), "RG/GB/BG", (3, 2))
        top, left, dy, dx = (data.draw(st.integers(0, 4)) for _ in range(4))
        once = frame.crop(top + dy, left + dx, 3, 4)
        twice = frame.crop(top, left, 7, 8).crop(dy, dx, 3, 4)
        assert torch.equal(once.pixels, twice.pixels)
        assert (sites(once) == sites(twice)).all()
        assert torch.equal(once.tiled(once.capture["black_level"]), twice.tiled(twice.capture["black_level"]))
        assert torch.equal(once.targets["points"].xy[0], twice.targets["points"].xy[0])

    def test_an_rgb_picture_has_no_phase_to_move(self):
        frame = Frame(torch.rand(1, 3, 5, 7), Signal(), keys=("a",))
        assert frame.crop(1, 1, 3, 3).signal == Signal()

    @pytest.mark.parametrize("window", [(0, 0, 0, 1), (-1, 0, 2, 2), (0, 5, 2, 3), (4, 0, 2, 2), (0, 0, 6, 7)])
    def test_a_window_outside_is_refused(self, window):
        frame = Frame(torch.zeros(1, 3, 5, 7), Signal(), keys=("a",))
        with pytest.raises(ValueError, match="does not lie inside a picture of 5x7"):
            frame.crop(*window)


class TestFrame:
    def test_what_is_no_batch_of_pictures_is_refused(self):
        ok = torch.zeros(2, 3, 4, 4)
        for pixels in (ok[0], ok.to(torch.uint8)):
            with pytest.raises(ValueError, match="floating"):
                Frame(pixels, Signal(), keys=("a", "b"))
        with pytest.raises(ValueError, match="3 channels; found 1"):
            Frame(ok[:, :1], Signal(), keys=("a", "b"))
        with pytest.raises(ValueError, match="1 channels; found 3"):
            Frame(ok, raw("RGGB"), keys=("a", "b"))
        with pytest.raises(ValueError, match="2 pictures need 2 keys"):
            Frame(ok, Signal(), keys=("a",))
        with pytest.raises(ValueError, match="'iso' is for 3"):
            Frame(ok, Signal(), Capture({"iso": torch.zeros(3, 1, 1, 1)}), ("a", "b"))

    @given(st.sampled_from(CFAS[:4]), st.integers(1, 9), st.integers(1, 9))
    def test_spread_gives_each_site_its_colour(self, cfa, height, width):
        gains = torch.tensor([[2.0, 1.0, 3.0], [4.0, 5.0, 6.0]]).reshape(2, 3, 1, 1)
        frame = Frame(torch.zeros(2, 1, height, width), raw(cfa), keys=("a", "b"))
        spread = frame.spread(gains).expand(2, 1, height, width)
        expected = [[[gains[b, "RGB".index(site), 0, 0] for site in row] for row in sites(frame)] for b in range(2)]
        np.testing.assert_array_equal(spread[:, 0], np.array(expected))

    def test_spread_over_rgb_is_the_argument(self):
        gains = torch.rand(1, 3, 1, 1)
        assert Frame(torch.zeros(1, 3, 2, 2), Signal(), keys=("a",)).spread(gains) is gains

    def test_spread_over_a_foreign_colour_is_refused(self):
        frame = Frame(torch.zeros(1, 1, 4, 4), raw("RCCB"), keys=("a",))
        with pytest.raises(ValueError, match="none for the W sites of the CFA RWWB"):
            frame.spread(torch.ones(1, 3, 1, 1))

    def test_to_takes_everything_along(self):
        moved = index_frame((4, 5), "RGGB", (2, 2)).to("meta")
        targets = moved.targets
        tensors = [moved.pixels, *moved.capture.values(), *moved.maps.values(), targets["masks"].labels]
        tensors += [*targets["boxes"].xyxy, *targets["boxes"].labels, *targets["points"].xy]
        assert {tensor.device.type for tensor in tensors} == {"meta"}


class TestSelectAndJoin:
    @given(st.permutations(range(5)), st.integers(1, 4))
    def test_join_undoes_select(self, order, cut):
        frame = index_frame((4, 5), "RGGB", (2, 2), batch=5)
        parts = [(part, frame.select(part)) for part in (order[:cut], order[cut:])]
        joined = Frame.join(parts)
        assert joined.keys == frame.keys
        assert joined.signal == frame.signal
        assert torch.equal(joined.pixels, frame.pixels)
        for name in frame.capture:
            assert torch.equal(joined.capture[name], frame.capture[name])
        for name in frame.maps:
            assert torch.equal(joined.maps[name], frame.maps[name])
        mine, theirs = joined.targets, frame.targets
        assert torch.equal(mine["masks"].labels, theirs["masks"].labels)
        for found, expected in (
            (mine["boxes"].xyxy, theirs["boxes"].xyxy),
            (mine["boxes"].labels, theirs["boxes"].labels),
            (mine["points"].xy, theirs["points"].xy),
        ):
            assert len(found) == len(expected) == 5
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))

    def test_select_keeps_the_order_asked_for(self):
        frame = index_frame((4, 5), "RGGB", (2, 2), batch=3)
        picked = frame.select([2, 0])
        assert picked.keys == ("2", "0")
        assert picked.pixels[:, 0, 0, 0].tolist() == [20_000, 0]
        assert torch.equal(picked.targets["points"].xy[0], frame.targets["points"].xy[2])
        assert torch.equal(picked.capture["black_level"][1], frame.capture["black_level"][0])

    def test_what_only_some_have_is_empty_for_the_others(self):
        def part(key, **more):
            return Frame(torch.zeros(1, 3, 2, 2), Signal(), keys=(key,), **more)

        has = part(
            "b",
            capture=Capture({"iso": torch.full((1, 1, 1, 1), 800.0)}),
            maps={"sigma": torch.ones(1, 1, 2, 2)},
        )
        joined = Frame.join([([1], has), ([0], part("a"))])
        assert joined.keys == ("a", "b")
        assert joined.maps["sigma"][:, 0, 0, 0].tolist() == [0, 1]
        assert bool(joined.capture["iso"][0].isnan())
        assert joined.capture["iso"][1] == 800
        flags = part("b", maps={"clipped": torch.ones(1, 1, 2, 2, dtype=torch.bool)})
        clipped = Frame.join([([1], flags), ([0], part("a"))]).maps["clipped"]
        assert clipped.dtype == torch.bool
        assert clipped[:, 0, 0, 0].tolist() == [False, True]

    def test_unlike_pictures_are_refused(self):
        a = Frame(torch.zeros(1, 3, 2, 2), Signal(), keys=("a",))
        for b in (
            replace(a, signal=Signal(transfer="linear")),
            replace(a, pixels=torch.zeros(1, 3, 2, 3)),
        ):
            with pytest.raises(ValueError, match="must end alike"):
                Frame.join([([0], a), ([1], b)])


class TestCapture:
    def test_a_missing_fact_says_what_to_do(self):
        with pytest.raises(MissingFact, match=r"no 'ccm' \(it holds iso\).*unprocess"):
            Capture({"iso": torch.ones(1)})["ccm"]
        with pytest.raises(KeyError):
            Capture()["ccm"]

    def test_immutable_mapping(self):
        facts = {"iso": torch.ones(1)}
        capture = Capture(facts)
        facts["ccm"] = torch.eye(3)[None]
        more = capture.with_facts({"exposure_time": torch.ones(1), "iso": torch.zeros(1)})
        assert list(capture) == ["iso"]
        assert capture["iso"] == 1
        assert sorted(more) == ["exposure_time", "iso"]
        assert more["iso"] == 0
        assert "ccm" not in capture
        assert capture.get("ccm") is None
        with pytest.raises(TypeError):
            capture["iso"] = torch.ones(1)  # type: ignore[index]


class TestPlacement:
    """Where a picture that was moved lies on the whole one."""

    MOVES = (
        {"window": (2, 3, 9, 7)},
        {"mirror_x": True},
        {"mirror_y": True, "window": (1, 0, 8, 11)},
        {"transpose": True},
        {"transpose": True, "mirror_x": True, "window": (3, 1, 6, 7)},
    )

    @staticmethod
    def numbered() -> Frame:
        """Every pixel holds its own row and column, as 100 y + x."""
        y, x = torch.meshgrid(torch.arange(12.0), torch.arange(14.0), indexing="ij")
        return Frame((100 * y + x)[None, None].expand(1, 3, -1, -1), Signal(), Capture(), ("a",))

    @pytest.mark.parametrize("first", MOVES, ids=str)
    @pytest.mark.parametrize("second", MOVES, ids=str)
    def test_leads_back_to_every_pixel(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        frame = self.numbered()
        for move in (first, second):
            height, width = frame.size[::-1] if move.get("transpose") else frame.size
            window = move.get("window")
            if window and (window[0] + window[2] > height or window[1] + window[3] > width):
                window = (1, 1, height - 2, width - 1)
            frame = frame.moved(Move(frame.size, **{**move, "window": window}))
            place = frame.capture["placement"][0]
            y, x = torch.meshgrid(torch.arange(frame.size[0]), torch.arange(frame.size[1]), indexing="ij")
            column, row = (p[0] * x + p[1] * y + p[2] for p in place)
            assert torch.equal(100 * row + column, frame.pixels[0, 0])
            assert place[:, 3].tolist() == [14, 12]

    def test_a_move_that_moves_nothing_leaves_none(self) -> None:
        frame = self.numbered()
        assert "placement" not in frame.crop(0, 0, 12, 14).capture
        assert "placement" not in frame.moved(Move(frame.size)).capture

    def test_parts_that_were_moved_join_with_parts_that_were_not(self) -> None:
        frame = self.numbered()
        turned = frame.moved(Move(frame.size, mirror_x=True))
        joined = Frame.join([([1], frame), ([0], turned)])
        assert torch.equal(joined.capture["placement"], torch.cat([turned.placement, frame.placement]))

    def test_a_resampled_picture_has_no_place(self) -> None:
        frame = self.numbered()
        warp = Warp(torch.ones(1, 2, 3, 4), frame.size, lambda xy, _: xy)
        assert not frame.warped(warp).capture["placement"].any()
