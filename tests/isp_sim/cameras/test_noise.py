import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from isp_sim.cameras import profile
from isp_sim.cameras.noise import interpolated, noise_profile_of, read_noise_law, tukey_lambda_variance

ELD = [name for name in profile.shipped() if name.startswith("eld_")]
POINTS = {
    "law": "points",
    "span": 1000.0,
    "points": [
        {"iso": 100.0, "gain": [0.5], "read": [1.0], "shape": 0.1, "row": 0.2, "colour_bias": [0.0, 1.0, 2.0, 3.0]},
        {"iso": 1600.0, "gain": [8.0], "read": [4.0], "shape": -0.1, "row": 0.8, "colour_bias": [4.0, 1.0, 2.0, 3.0]},
    ],
}


def law_of(data):
    law, faults = read_noise_law(data)
    assert faults == []
    return law


@pytest.mark.parametrize("name", ELD)
class TestELD:
    def test_gain_is_proportional_to_the_speed(self, name):
        law = profile.load(name).noise
        assert law.at(6400).gain[0] == pytest.approx(64 * law.at(100).gain[0], rel=1e-12)

    def test_read_and_row_noise_lie_on_their_lines(self, name):
        law = profile.load(name).noise
        for iso in (100.0, 317.0, 6400.0):
            state = law.at(iso, 1.5, -0.5)
            log_k = math.log(state.gain[0])
            assert math.log(state.read[0]) == pytest.approx(
                law.read.intercept + law.read.slope * log_k + 1.5 * law.read.sd
            )
            assert math.log(state.row) == pytest.approx(law.row.intercept + law.row.slope * log_k - 0.5 * law.row.sd)

    def test_both_fits_of_the_read_noise_agree(self, name):
        """The scale of a Tukey lambda law times its own standard deviation is the normal law's, or it would be taken
        for what it is not. The two were fitted apart, so they agree to a few parts in ten."""
        law = profile.load(name).noise
        for iso in (200.0, 3200.0):
            state = law.at(iso)
            sd = state.read[0] * stats.tukeylambda.std(state.shape)
            assert sd == pytest.approx(law.gaussian_read.at(state.gain[0], 0.0), rel=0.35)

    def test_says_where_it_comes_from(self, name):
        found = profile.load(name)
        assert "ELD" in found.source
        assert "MIT" in found.licence
        assert found.noise.log_base == "e"


@given(st.floats(100, 1600))
def test_points_are_interpolated_between_logarithms(iso):
    state, t = law_of(POINTS).at(iso), math.log(iso / 100) / math.log(16)
    assert state.gain[0] == pytest.approx(0.5 * 16**t)
    assert state.read[0] == pytest.approx(4**t)
    assert state.row == pytest.approx(0.2 * 4**t)
    assert state.shape == pytest.approx(0.1 - 0.2 * t)
    assert state.offsets == pytest.approx((4 * t, 1, 2, 3))


def test_a_speed_measured_twice_is_averaged():
    assert interpolated([100, 100, 200], [(1.0,), (3.0,), (5.0,)], 100) == (2.0,)
    assert interpolated([100, 100, 200], [(1.0,), (3.0,), (5.0,)], 5000) == (5.0,)


def test_a_value_of_zero_has_no_logarithm():
    assert interpolated([100, 400], [(0.0,), (4.0,)], 200, log=True) == pytest.approx((2.0,))


@given(st.floats(1, 1e6))
def test_speeds_beyond_the_law_are_refused(iso):
    law = law_of(POINTS)
    if 100 <= iso <= 1600:
        law.at(iso)
    elif not 100 * (1 - 1e-6) <= iso <= 1600 * (1 + 1e-6):
        with pytest.raises(ValueError, match="ISO 100 to 1600"):
            law.at(iso)


def test_noise_profile_counts_every_term():
    ((shot, dark),) = noise_profile_of(law_of(POINTS).at(100), 1000.0)
    assert shot == pytest.approx(0.5 / 1000)
    assert dark == pytest.approx((tukey_lambda_variance(0.1) + 0.04 + 1 / 12) / 1e6)


@given(st.floats(-0.45, 2))
def test_variance_is_scipy_s(shape):
    assert tukey_lambda_variance(shape) == pytest.approx(stats.tukeylambda.var(shape), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"law": "lines"}, "law"),
        ({"span": -1.0}, "span"),
        ({"points": POINTS["points"][::-1]}, "rise"),
        ({"points": []}, "points"),
        ({"points": [{**POINTS["points"][0], "shape": None}, POINTS["points"][1]]}, "every speed or at none"),
        ({"points": [{**POINTS["points"][0], "gain": [1.0, 1.0, 1.0]}, POINTS["points"][1]]}, "as many colours"),
        ({"points": [{**POINTS["points"][0], "scale": 1.0}]}, "scale"),
    ],
)
def test_mistakes(change, message):
    law, faults = read_noise_law(POINTS | change)
    assert law is None
    assert message in " ".join(text for _, text in faults)
