from dataclasses import replace

import numpy as np
import pytest
import torch

from isp_sim.frame import Move
from isp_sim.signal import Signal, cfa_rows

CFAS = ("RGGB", "GRBG", "RG/GB/BG", "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", "RRGGRRGGGGBBGGBB")
HOW = ("gradient", "median")
SLOPE = 0.004


def signal(cfa):
    return Signal(layout="mosaic", cfa=cfa, colour="camera", white_balanced=False, transfer="linear", reference="scene")


def smooth(tools, cfa, batch=1, size=(15, 17)):
    """A plane for each colour, sloping by another amount."""
    frame = tools.picture(signal(cfa), batch=batch, size=size, dtype=torch.float64)
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(float)
    index = frame.spread(torch.arange(3.0).reshape(1, 3, 1, 1))[0, 0].numpy()
    light = np.choose(index.astype(int), [0.3 + SLOPE * x, 0.5 - SLOPE * y, 0.4 + SLOPE / 2 * (y - x)])
    return replace(frame, pixels=torch.from_numpy(np.broadcast_to(light, (batch, 1, *size)).copy()))


def planted(tools, cfa, value, size=(15, 17)):
    """One picture for each site, with a defect there."""
    frame = smooth(tools, cfa, size[0] * size[1], size)
    sound = frame.pixels.clone()
    where = torch.eye(size[0] * size[1], dtype=torch.bool).reshape(-1, 1, *size)
    return replace(frame, pixels=torch.where(where, value, sound)), sound, where


@pytest.mark.parametrize("cfa", ["GRBG", CFAS[3]])
@pytest.mark.parametrize("how", HOW)
def test_engine_laws(tools, cfa, how):
    frame = tools.picture(signal(cfa), batch=2, size=(61, 59))
    known = torch.from_numpy(np.random.default_rng(1).random((2, 1, 61, 59)) < 0.1)
    tools.assert_engine_laws("defective_pixels", replace(frame, maps={"defects": known}), {"replace": how})


@pytest.mark.parametrize("how", HOW)
def test_gradient(tools, how):
    frame = tools.picture(signal("RGGB"), batch=1, size=(6, 6))
    assert tools.run_stage("defective_pixels", frame, {"replace": how}).maps["repaired"].any()
    tools.assert_gradient("defective_pixels", frame, {"replace": how})


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("how", HOW)
def test_smooth_fields_are_left_to_the_bit(tools, cfa, how):
    frame = smooth(tools, cfa)
    after = tools.run_stage("defective_pixels", frame, {"replace": how})
    assert torch.equal(after.pixels, frame.pixels)
    assert not after.maps["repaired"].any()
    assert after.signal == frame.signal


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_defect_is_repaired_wherever_it_lies(tools, cfa, how, value):
    frame, sound, where = planted(tools, cfa, value)
    after = tools.run_stage("defective_pixels", frame, {"replace": how})
    assert torch.equal(after.maps["repaired"], where)
    assert torch.equal(after.pixels[~where], sound[~where])
    assert (after.pixels - sound).abs().max() <= 6 * SLOPE  # as far as a neighbour may lie off
    again = tools.run_stage("defective_pixels", after, {"replace": how})
    assert torch.equal(again.pixels, after.pixels)


def test_between_opposite_neighbours_a_slope_is_exact(tools):
    frame, sound, where = planted(tools, "RGGB", 1.0)
    after = tools.run_stage("defective_pixels", frame, {"replace": "gradient"})
    inside = torch.zeros_like(where)
    inside[..., 2:-2, 2:-2] = True
    assert ((after.pixels - sound)[inside].abs()).max() < 1e-15


def test_the_median_is_that_of_the_eight_neighbours(tools):
    frame = tools.picture(signal("RGGB"), batch=1, size=(21, 23), dtype=torch.float64)
    after = tools.run_stage("defective_pixels", frame, {"replace": "median", "threshold": 0.0})
    x, repaired = frame.pixels[0, 0].numpy(), after.maps["repaired"][0, 0].numpy()
    for y0, x0 in ((4, 6), (8, 8), *np.argwhere(repaired[2:-2, 2:-2]) + 2):
        near = 1 if (y0 + x0) % 2 else 2  # the nearest greens on the diagonals
        offsets = [(0, 2), (0, -2), (2, 0), (-2, 0), *((a * near, b * near) for a in (1, -1) for b in (1, -1))]
        values = np.array([x[y0 + dy, x0 + dx] for dy, dx in offsets])
        is_defect = x[y0, x0] > values.max() or x[y0, x0] < values.min()
        assert repaired[y0, x0] == is_defect
        expected = np.median(values) if is_defect else x[y0, x0]
        assert after.pixels[0, 0, y0, x0].item() == pytest.approx(expected, rel=1e-15)
    assert repaired[2:-2, 2:-2].sum() > 20


def test_along_an_edge_it_is_filled_from_the_edge(tools):
    """In the direction of the least difference, so a line stays a line."""
    frame = smooth(tools, "RGGB", size=(16, 16))
    pixels = torch.full_like(frame.pixels, 0.2)
    pixels[..., 8, :] = 0.8
    spoilt = pixels.clone()
    spoilt[..., 8, 6] = 0.0
    after = tools.run_stage("defective_pixels", replace(frame, pixels=spoilt))
    np.testing.assert_allclose(after.pixels[..., 8, 6], 0.8, rtol=1e-15)


@pytest.mark.parametrize(("height", "is_defect"), [(0.0999, False), (0.1001, True)])
def test_the_threshold(tools, height, is_defect):
    frame = smooth(tools, "RGGB")
    for sign in (1, -1):
        pixels = torch.full_like(frame.pixels, 0.5)
        pixels[..., 6, 7] += sign * height
        after = tools.run_stage("defective_pixels", replace(frame, pixels=pixels), {"threshold": 0.1})
        assert bool(after.maps["repaired"].any()) == is_defect


def test_texture_that_a_neighbour_shares_is_left(tools):
    frame = smooth(tools, "RGGB")
    pixels = torch.full_like(frame.pixels, 0.2)
    pixels[..., 6, 6] = pixels[..., 6, 8] = 1.0  # two reds side by side
    assert not tools.run_stage("defective_pixels", replace(frame, pixels=pixels)).maps["repaired"].any()


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("how", HOW)
def test_known_defects_are_replaced_and_never_a_source(tools, cfa, how):
    frame = smooth(tools, cfa)
    known = torch.zeros_like(frame.pixels, dtype=torch.bool)
    known[..., 7, 8] = known[..., 8, 8] = known[..., 7, 10] = known[..., 0, 0] = known[..., 13, 3] = True
    spoilt = torch.where(known, 1e6, frame.pixels)
    for marks in (known, known.double(), torch.cat([known, ~known & False], dim=1)):
        after = tools.run_stage(
            "defective_pixels", replace(frame, pixels=spoilt, maps={"defects": marks}), {"replace": how}
        )
        assert torch.equal(after.maps["repaired"], known)
        assert (after.pixels - frame.pixels).abs().max() <= 6 * SLOPE


def test_a_pixel_without_neighbours_is_left(tools):
    frame = tools.picture(signal("RGGB"), batch=1, size=(2, 2))
    marked = replace(frame, maps={"defects": torch.ones(1, 1, 2, 2)})
    after = tools.run_stage("defective_pixels", marked)
    assert torch.equal(after.pixels[..., 0, 0], frame.pixels[..., 0, 0])
    assert not after.maps["repaired"].any()


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "turn", [{"mirror_x": True}, {"mirror_y": True}, {"transpose": True}, {"window": (1, 1, 17, 19)}], ids=str
)
def test_it_turns_with_the_picture(tools, cfa, how, turn):
    frame = tools.picture(signal(cfa), batch=1, size=(18, 21))
    move = Move((18, 21), **turn)
    moved = tools.run_stage("defective_pixels", frame.moved(move), {"replace": how, "threshold": 0.1})
    after = tools.run_stage("defective_pixels", frame, {"replace": how, "threshold": 0.1}).moved(move)
    inside = (..., slice(6, -6), slice(6, -6)) if "window" in turn else (...,)
    assert torch.equal(moved.maps["repaired"][inside], after.maps["repaired"][inside])
    assert (moved.pixels - after.pixels)[inside].abs().max() < 1e-6
    assert moved.maps["repaired"].any()


def test_a_cfa_too_wide_is_refused(tools):
    frame = tools.picture(signal("RGGGGGGG/GBBBBBBB"), batch=1, size=(20, 20))
    assert len(cfa_rows(frame.signal.cfa)[0]) == 8
    with pytest.raises(ValueError, match="no neighbour of its colour"):
        tools.run_stage("defective_pixels", frame)
