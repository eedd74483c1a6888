import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim import calibration
from isp_sim.calibration.estimate import CalibrationFault, photon_transfer, read_out, robust_line
from isp_sim.cameras import profile
from isp_sim.cameras.document import to_yaml
from tests.isp_sim.calibration.rendered import BLACK, WHITE, frames, pairs

ELD = ["eld_canon_5d4", "eld_canon_700d", "eld_canon_70d", "eld_nikon_d850", "eld_sony_a7s2"]
LEVELS = (BLACK,) * 4
STANDARD_ERRORS = 4.9
"""A normal law lies beyond in one case of a million."""


@pytest.mark.parametrize("name", ELD)
def test_a_profile_s_own_noise_comes_back(name):
    """K, read noise and row noise within 3 %, the shape within 0.02, and each within its own error bars."""
    iso = 800.0
    truth = profile.load(name).noise.at(iso)
    found = calibration.calibrated(
        pairs(name, iso, (192, 192)),
        frames(name, iso, 0.0, 16, (640, 400), "dark"),
        iso=iso,
        black=LEVELS,
        white=WHITE,
    )
    for estimate, value in (
        (found.gain, truth.gain[0]),
        (found.darks.scale, truth.read[0]),
        (found.darks.row, truth.row),
    ):
        assert estimate.value == pytest.approx(value, rel=0.03)
        assert abs(estimate.value - value) < STANDARD_ERRORS * estimate.error
        assert estimate.error < 0.03 * value
    assert found.darks.shape.value == pytest.approx(truth.shape, abs=0.02)
    assert found.darks.correlation > 0.95
    for offset, expected, black in zip(found.offsets, truth.offsets, found.darks.black, strict=True):
        assert abs(offset - expected) < STANDARD_ERRORS * black.error
    law = profile.parse(to_yaml(calibration.document([found], "own")).encode(), "own").noise
    assert law.at(iso).gain == (found.gain.value,)
    assert law.dn == WHITE - BLACK


def test_a_fixed_pattern_cancels():
    fixed = {"prnu": 0.01, "dsnu": 3.0, "sensor": "x"}
    found = photon_transfer(pairs("eld_sony_a7s2", 800, (128, 128), **fixed), LEVELS, WHITE)
    truth = profile.load("eld_sony_a7s2").noise.at(800).gain[0]
    for site in found:
        assert abs(site.gain.value - truth) < STANDARD_ERRORS * site.gain.error
        assert site.gain.error < 0.05 * truth
    darks = read_out(frames("eld_sony_a7s2", 800, 0.0, 12, (200, 100), "dark", **fixed))
    assert darks.pattern == pytest.approx(3.0, rel=0.1)


def test_saturated_flats_are_left_out():
    found = pairs("eld_nikon_d850", 800, (96, 96), levels=(0.05, 0.2, 0.4, 0.6, 0.97, 1.2))
    clipped = [tuple(np.clip(frame, 0, WHITE) for frame in pair) for pair in found]
    truth = profile.load("eld_nikon_d850").noise.at(800).gain[0]
    for site in photon_transfer(clipped, LEVELS, WHITE):
        assert site.used.tolist() == [True] * 4 + [False] * 2
        assert abs(site.gain.value - truth) < STANDARD_ERRORS * site.gain.error


@settings(max_examples=20)
@given(st.floats(0.05, 20), st.floats(0.5, 500), st.integers(0, 999))
def test_line(slope, intercept, seed):
    rng = np.random.default_rng(seed)
    x, sizes = np.linspace(50, 15000, 10), np.full(10, 4096.0)
    truth = slope * x + intercept
    measured = truth * rng.chisquare(4095, 10) / 4095
    found, dark = robust_line(x, measured, sizes)
    assert abs(found.value - slope) < 6 * found.error
    assert abs(dark.value - intercept) < 6 * dark.error
    spoilt = measured.copy()
    spoilt[4] *= 3
    robust, _ = robust_line(x, spoilt, sizes)
    assert robust.value == pytest.approx(slope, rel=0.15)


def test_intervals_hold_as_often_as_they_say():
    rng = np.random.default_rng(0)
    x, sizes = np.linspace(50, 15000, 8), np.full(8, 2000.0)
    truth = 2 * x + 30
    inside = 0
    for _ in range(300):
        found, _ = robust_line(x, truth * rng.chisquare(1999, 8) / 1999, sizes)
        low, high = found.interval
        inside += low <= 2 <= high
    assert 0.88 < inside / 300 < 0.995


def test_no_row_noise_is_none(tools):
    darks = [800 + np.random.default_rng(i).normal(0, 5, (200, 200)) for i in range(4)]
    found = read_out(darks, 0.0)
    assert found.row.value < 0.1
    assert found.row.value < STANDARD_ERRORS * max(found.row.error, 0.03)
    assert found.read_sd.value == pytest.approx(5, rel=0.02)
    assert math.isclose(found.black[0].value, 800, abs_tol=0.2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_out([]), "needs darks"),
        (lambda: read_out([np.zeros((8, 8))]), "at least"),
        (lambda: read_out([np.zeros((40, 40)), np.zeros((40, 42))]), "40x40, 40x42"),
        (lambda: read_out([np.full((100, 100), 800.0)]), "do not vary"),
        (lambda: photon_transfer([(np.zeros((8, 8)), np.zeros((8, 8)))], LEVELS, WHITE), "two levels"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(CalibrationFault, match=message):
        call()
