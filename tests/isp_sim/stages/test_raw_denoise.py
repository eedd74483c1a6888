from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal, cfa_rows

CFAS = ("RGGB", "GRBG", "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG", "RRGGRRGGGGBBGGBB")
NOISE = {"noise_profile": torch.tensor([[[1e-3, 1e-5]], [[4e-3, 1e-4]]])}


def signal(cfa="RGGB"):
    return Signal(layout="mosaic", cfa=cfa, colour="camera", white_balanced=False, transfer="linear", reference="scene")


def flat(tools, colours, cfa="RGGB", size=(120, 130), batch=1):
    """A field of one brightness for each colour."""
    frame = tools.picture(signal(cfa), batch=batch, size=size, dtype=torch.float64)
    light = frame.spread(torch.tensor(colours, dtype=torch.float64).reshape(1, 3, 1, 1))
    return replace(frame, pixels=light.expand_as(frame.pixels).clone())


def noisy(tools, frame, shot, read, seed=5):
    return tools.run_stage("shot_read_noise", frame, {"shot": shot, "read": read}, seed=seed)


def of_colour(frame, pixels, letter, border=6):
    """The samples of a colour, away from the border."""
    index = frame.spread(torch.arange(3.0).reshape(1, 3, 1, 1).expand(frame.batch, -1, -1, -1))
    inside = torch.zeros_like(index, dtype=torch.bool)
    inside[..., border:-border, border:-border] = True
    return pixels[inside & (index == "RGB".index(letter))].numpy()


def weights(cfa, y, x, radius, spread):
    """Offsets of the same colour and their weights by distance, from the CFA alone."""
    rows = cfa_rows(cfa)
    near = {}
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            same = rows[(y + dy) % len(rows)][(x + dx) % len(rows[0])] == rows[y % len(rows)][x % len(rows[0])]
            if same and dy * dy + dx * dx <= radius * radius:
                near[dy, dx] = np.exp(-(dy * dy + dx * dx) / (2 * spread**2))
    return near


@pytest.mark.parametrize("cfa", ["GRBG", CFAS[2]])
@pytest.mark.parametrize("params", [None, {"shot": {"uniform": [0, 0.01]}, "read": 1e-4, "radius": 3}])
def test_engine_laws(tools, cfa, params):
    frame = tools.picture(signal(cfa), batch=2, size=(67, 61), low=-0.05, high=1.1, capture=NOISE)
    tools.assert_engine_laws("raw_denoise", frame, params)


def test_gradient(tools):
    frame = tools.picture(signal("GBRG"), batch=1, size=(5, 6), high=0.2)
    tools.assert_gradient("raw_denoise", frame, {"shot": 0.05, "read": 1e-3})


@pytest.mark.parametrize("cfa", CFAS)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=10)
def test_flat_fields_are_left_to_the_bit(tools, cfa, r, g, b):
    frame = flat(tools, [r, g, b], cfa, size=(14, 15))
    after = tools.run_stage("raw_denoise", frame, {"shot": 0.01, "read": 1e-4})
    assert torch.equal(after.pixels, frame.pixels)
    assert after.signal == frame.signal


@pytest.mark.parametrize("params", [{"shot": 0.0}, {"shot": 0.01, "read": 0.01, "strength": 0.0}])
def test_without_noise_or_strength_it_is_nothing_to_the_bit(tools, params):
    for dtype in (torch.float32, torch.float64):
        frame = tools.picture(signal(), size=(31, 33), dtype=dtype)
        assert torch.equal(tools.run_stage("raw_denoise", frame, params).pixels, frame.pixels)


@pytest.mark.parametrize("cfa", CFAS)
def test_is_the_bilateral_filter(tools, cfa):
    """Against the definition, one sample after the other."""
    frame = tools.picture(signal(cfa), batch=1, size=(13, 14), high=0.6, dtype=torch.float64)
    shot, read, strength, radius, spread = 0.02, 0.003, 1.5, 3, 1.7
    after = tools.run_stage(
        "raw_denoise",
        frame,
        {"shot": shot, "read": read, "strength": strength, "radius": radius, "spread": spread},
    )
    x = frame.pixels[0, 0].numpy()
    for y0 in range(13):
        for x0 in range(14):
            near = {
                (dy, dx): w
                for (dy, dx), w in weights(cfa, y0, x0, radius, spread).items()
                if 0 <= y0 + dy < 13 and 0 <= x0 + dx < 14
            }
            values = np.array([x[y0 + dy, x0 + dx] for dy, dx in near])
            variance = shot * values.mean() + read
            w = np.array(list(near.values())) * np.exp(-((values - x[y0, x0]) ** 2) / (2 * strength**2 * variance))
            assert after.pixels[0, 0, y0, x0].item() == pytest.approx((w * values).sum() / w.sum(), rel=1e-12)


def test_is_opencvs_bilateral_filter_on_the_plane_of_a_colour(tools):
    cv2 = pytest.importorskip("cv2")
    frame = tools.picture(signal(), batch=1, size=(60, 64), high=0.6)
    after = tools.run_stage("raw_denoise", frame, {"shot": 0.0, "read": 0.01, "strength": 2.0, "spread": 2.4})
    for y in (0, 1):  # red and blue: every second site, so distances are half as long
        plane = frame.pixels[0, 0, y::2, y::2].contiguous().numpy()
        expected = cv2.bilateralFilter(plane, 5, sigmaColor=0.2, sigmaSpace=1.2)
        np.testing.assert_allclose(after.pixels[0, 0, y::2, y::2][2:-2, 2:-2], expected[2:-2, 2:-2], atol=2e-5)


@pytest.mark.parametrize("cfa", CFAS)
def test_noise_of_a_flat_field_falls_as_much_as_its_weights_say(tools, cfa):
    """With a wide range only distances count, and the variance falls by sum w^2 / (sum w)^2."""
    frame = flat(tools, [0.2, 0.4, 0.3], cfa)
    shot, read = 1e-3, 1e-5
    spoilt = noisy(tools, frame, shot, read)
    after = tools.run_stage("raw_denoise", spoilt, {"strength": 50.0})
    rows = cfa_rows(cfa)
    for level, letter in ((0.2, "R"), (0.4, "G"), (0.3, "B")):
        places = [(y, x) for y, row in enumerate(rows) for x, found in enumerate(row) if found == letter]
        shares = []
        for y, x in places:
            w = np.array(list(weights(cfa, y, x, 4, 2.0).values()))
            shares.append((w * w).sum() / w.sum() ** 2)
        found = of_colour(frame, after.pixels, letter)
        # neighbours share most of their samples, so there are fewer independent ones, by about the share
        independent = found.size * min(shares)
        expected = np.mean(shares) * (shot * level + read)
        assert found.var() == pytest.approx(expected, rel=tools.normal_quantile() * np.sqrt(2 / independent))
        assert abs(found.mean() - level) < tools.normal_quantile() * np.sqrt((shot * level + read) / found.size)


@pytest.mark.parametrize("level", [0.02, 0.3])
def test_the_default_halves_noise_at_least_and_does_not_shift_the_mean(tools, level):
    """At every brightness alike: the range follows the noise."""
    shot, read = 4e-3, 1e-5
    frame = flat(tools, [level] * 3, size=(200, 200))
    spoilt = noisy(tools, frame, shot, read)
    after = tools.run_stage("raw_denoise", spoilt)
    sd = np.sqrt(shot * level + read)
    for letter in "RGB":
        found = of_colour(frame, after.pixels, letter)
        assert 0.2 < found.std() / sd < 0.5
        # what signal-dependent noise does to the mean, beyond chance, is far less than a hundredth of its size
        assert abs(found.mean() - level) < 0.01 * sd + tools.normal_quantile() * sd / np.sqrt(found.size)


def test_an_edge_much_higher_than_the_noise_stays(tools):
    frame = flat(tools, [0.1, 0.1, 0.1], size=(60, 64))
    frame.pixels[..., 32:] = 0.5
    spoilt = noisy(tools, frame, 1e-4, 1e-5)
    after = tools.run_stage("raw_denoise", spoilt)
    sd = np.sqrt(1e-4 * 0.5 + 1e-5)
    for columns, level in ((slice(28, 32), 0.1), (slice(32, 36), 0.5)):
        error = after.pixels[..., 6:-6, columns] - level
        assert error.abs().max() < 4 * sd
        assert error.std() < 0.7 * (spoilt.pixels[..., 6:-6, columns] - level).std()
    assert torch.equal(tools.run_stage("raw_denoise", frame, {"shot": 1e-5, "read": 1e-7}).pixels, frame.pixels)


def test_each_colour_has_its_own_noise(tools):
    profile = torch.tensor([[[1e-2, 1e-4], [0.0, 0.0], [1e-2, 1e-4]]], dtype=torch.float64)
    frame = tools.picture(signal(), batch=1, size=(20, 22), dtype=torch.float64, capture={"noise_profile": profile})
    after = tools.run_stage("raw_denoise", frame)
    assert np.array_equal(of_colour(frame, after.pixels, "G"), of_colour(frame, frame.pixels, "G"))
    for letter in "RB":
        assert not np.isclose(of_colour(frame, after.pixels, letter), of_colour(frame, frame.pixels, letter)).any()
    wrong = replace(frame, capture=frame.capture.with_facts({"noise_profile": profile[:, :2]}))
    with pytest.raises(ValueError, match="2 planes"):
        tools.run_stage("raw_denoise", wrong)


@pytest.mark.parametrize("params", [{"read": 0.1}, {"radius": 7}, {"strength": -1}])
def test_what_is_refused(tools, params):
    with pytest.raises(ParameterFaults):
        tools.chain([{"raw_denoise": params}])
