import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.colorimetry import WHITES
from isp_sim.colour_temperature import (
    COLDEST,
    ISOTHERMS,
    cct_to_xy,
    daylight_xy,
    mired_weights,
    reference_xy,
    uv_to_xy,
    xy_to_cct,
    xy_to_uv,
)

mireds = st.floats(20, 599)
duvs = st.floats(-0.03, 0.03)


@given(mireds, duvs)
def test_there_and_back(mired, duv):
    cct, back = xy_to_cct(*cct_to_xy(1e6 / mired, duv))
    assert 1e6 / cct == pytest.approx(mired, abs=1e-8)
    assert back == pytest.approx(duv, abs=1e-12)


@given(st.floats(0.25, 0.5), st.floats(0.25, 0.45))
def test_back_and_there(x, y):
    cct, duv = xy_to_cct(x, y)
    if COLDEST < cct < math.inf:
        assert cct_to_xy(cct, duv) == pytest.approx((x, y), abs=1e-10)


@given(st.floats(0.1, 0.7), st.floats(0.1, 0.7))
def test_uv_there_and_back(x, y):
    assert uv_to_xy(*xy_to_uv(x, y)) == pytest.approx((x, y), rel=1e-12)


@given(mireds, st.floats(0.01, 30), duvs)
def test_cooler_bodies_are_redder(mired, more, duv):
    warm = xy_to_uv(*cct_to_xy(max(1e6 / (mired + more), COLDEST), duv))
    cold = xy_to_uv(*cct_to_xy(1e6 / mired, duv))
    assert warm[0] > cold[0] or mired + more > 599


@pytest.mark.parametrize("entry", ISOTHERMS[1:], ids=lambda entry: f"{entry[0]:g} mired")
def test_the_entries_of_the_table_are_hit(entry):
    mired, u, v, slope = entry
    assert xy_to_uv(*cct_to_xy(1e6 / mired)) == pytest.approx((u, v), abs=1e-14)
    step = 0.01 / math.hypot(1, slope)
    cct, duv = xy_to_cct(*uv_to_xy(u - step, v - slope * step))
    assert 1e6 / cct == pytest.approx(mired, abs=1e-9)
    assert duv == pytest.approx(0.01, abs=1e-12)


def test_beyond_the_ends_of_the_table():
    assert xy_to_cct(0.60, 0.38)[0] == pytest.approx(COLDEST)
    assert xy_to_cct(0.20, 0.20)[0] == math.inf
    assert cct_to_xy(1000) == cct_to_xy(COLDEST)


class TestByColourScience:
    def test_the_table(self, colour):
        from colour.temperature import robertson1968

        np.testing.assert_array_equal(ISOTHERMS, robertson1968.DATA_ISOTEMPERATURE_LINES_ROBERTSON1968)

    @given(mireds, duvs)
    def test_chromaticity(self, colour, mired, duv):
        theirs = colour.temperature.CCT_to_uv_Robertson1968([1e6 / mired, duv])
        np.testing.assert_allclose(xy_to_uv(*cct_to_xy(1e6 / mired, duv)), theirs, atol=1e-12)

    @given(mireds, duvs)
    def test_temperature(self, colour, mired, duv):
        """Robertson divides the interval by the distances from both lines, which is not the exact inverse."""
        x, y = cct_to_xy(1e6 / mired, duv)
        cct, distance = colour.temperature.uv_to_CCT_Robertson1968(xy_to_uv(x, y))
        assert 1e6 / cct == pytest.approx(1e6 / xy_to_cct(x, y)[0], abs=2e-3)
        assert distance == pytest.approx(duv, abs=1e-6)

    @pytest.mark.parametrize("name", ["A", "D50", "D55", "D65", "D75", "FL2", "FL11"])
    def test_ohno_agrees_within_the_table_s_steps(self, colour, name):
        cct, duv = colour.temperature.uv_to_CCT_Ohno2013(np.array(xy_to_uv(*WHITES[name])))
        ours = xy_to_cct(*WHITES[name])
        assert 1e6 / ours[0] == pytest.approx(1e6 / cct, abs=0.1)
        assert ours[1] == pytest.approx(duv, abs=2e-4)


@pytest.mark.parametrize("temperature", [1700.0, 2000.0, 2500.0, 2856.0, 3500.0, 3990.0])
def test_warm_white_light_follows_planck_s_law(colour, temperature):
    spectrum = colour.sd_blackbody(temperature, colour.SpectralShape(360, 780, 1))
    found = colour.sd_to_XYZ(spectrum)
    assert reference_xy(temperature) == pytest.approx(tuple(found[:2] / found.sum()), abs=1e-3)


@pytest.mark.parametrize("temperature", [4000.0, 5000.0, 6504.0, 7500.0, 20000.0])
def test_daylight_is_colour_science_s(colour, temperature):
    assert daylight_xy(temperature) == pytest.approx(tuple(colour.temperature.CCT_to_xy_CIE_D(temperature)), abs=1e-9)


def test_white_light_of_6504_k_is_d65():
    assert reference_xy(6504) == pytest.approx(WHITES["D65"], abs=2e-4)


@given(st.floats(1700, 24000))
def test_white_light_is_continuous_and_grows_bluer(temperature):
    before, after = reference_xy(temperature), reference_xy(temperature * 1.001)
    assert np.abs(np.subtract(after, before)).max() < 0.002
    assert after[0] < before[0]


@given(st.floats(1700, 24000), st.floats(1700, 24000))
def test_weights_hit_both_ends_and_are_monotone_in_mired(a, b):
    lights = [2856.0, 6504.0]
    assert mired_weights(lights, 2856.0).tolist() == [1, 0]
    assert mired_weights(lights, 6504.0).tolist() == [0, 1]
    low, high = sorted((a, b))
    assert mired_weights(lights, low)[0] >= mired_weights(lights, high)[0]
    assert mired_weights(lights, a).sum() == pytest.approx(1)
    middle = 2e6 / (1e6 / 2856 + 1e6 / 6504)
    np.testing.assert_allclose(mired_weights(lights[::-1], middle), [0.5, 0.5])
