import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.cameras import profile
from isp_sim.cameras.illuminant import D65, adaptation, mixture, white
from isp_sim.signal import Signal
from isp_sim.stages.colour_matrix import XYZ_FROM_SRGB


def chromaticity(xyz):
    return xyz[:2] / xyz.sum()


@pytest.mark.parametrize("temperature", [1700.0, 2000.0, 2500.0, 2856.0, 3500.0, 3990.0])
def test_black_bodies_follow_planck_s_law(colour, temperature):
    spectrum = colour.sd_blackbody(temperature, colour.SpectralShape(360, 780, 1))
    expected = colour.sd_to_XYZ(spectrum)
    np.testing.assert_allclose(chromaticity(white(temperature)), chromaticity(expected), atol=1e-3)


@pytest.mark.parametrize("temperature", [5000.0, 6504.0, 7500.0, 20000.0])
def test_daylight_is_colour_science_s(colour, temperature):
    expected = colour.temperature.CCT_to_xy_CIE_D(temperature)
    np.testing.assert_allclose(chromaticity(white(temperature)), expected, atol=1e-9)


def test_d65():
    np.testing.assert_allclose(white(6504), D65, atol=1e-3)


@given(st.floats(1700, 24000))
def test_is_continuous_and_grows_bluer(temperature):
    before, after = white(temperature), white(temperature * 1.001)
    assert np.abs(after - before).max() < 0.01
    assert after[2] > before[2]


@pytest.mark.parametrize("temperature", [1000.0, 26000.0])
def test_no_such_light(temperature):
    with pytest.raises(ValueError, match="1667 to 25000"):
        white(temperature)


@given(st.floats(1700, 24000), st.floats(1700, 24000))
def test_adaptation_takes_white_to_white_and_back(source, target):
    a, b = white(source), white(target)
    np.testing.assert_allclose(adaptation(a, b) @ a, b, rtol=1e-9)
    np.testing.assert_allclose(adaptation(b, a) @ adaptation(a, b), np.eye(3), atol=1e-9)


def test_adaptation_is_colour_science_s(colour):
    a, b = white(2856), white(6504)
    expected = colour.adaptation.matrix_chromatic_adaptation_VonKries(a, b, transform="Bradford")
    np.testing.assert_allclose(adaptation(a, b), expected, atol=2e-4)


@given(st.floats(1700, 24000), st.floats(1700, 24000))
def test_mixture_hits_both_ends_and_is_monotone_in_mired(a, b):
    lights = [2856.0, 6504.0]
    np.testing.assert_allclose(mixture(lights, 2856.0), [1, 0])
    np.testing.assert_allclose(mixture(lights, 6504.0), [0, 1])
    low, high = sorted((a, b))
    assert mixture(lights, low)[0] >= mixture(lights, high)[0]
    assert mixture(lights, a).sum() == pytest.approx(1)
    middle = 2e6 / (1e6 / 2856 + 1e6 / 6504)
    np.testing.assert_allclose(mixture(lights[::-1], middle), [0.5, 0.5])


@pytest.mark.parametrize("name", ["eld_sony_a7s2", "eld_nikon_d850", "eld_canon_5d4"])
def test_a_neutral_surface_is_developed_grey_under_any_light(tools, name):
    """Its camera RGB under each light, by the interpolated matrix, times the gains that the profile derives."""
    frame = tools.picture(Signal(), batch=6, size=(2, 2), dtype=torch.float64)
    outcome = tools.chain([{"unprocess": {"profile": name, "iso": 100.0}}]).run(frame)
    matrices = np.asarray(profile.load(name).state.constants.xyz_to_camera)
    temperatures = [values["unprocess"]["temperature"] for values in outcome.values]
    assert len(set(temperatures)) == 6
    for i, temperature in enumerate(temperatures):
        matrix = np.einsum("k,kij->ij", mixture([2856.0, 6504.0], temperature), matrices)
        balanced = matrix @ white(temperature) * outcome.frame.capture["wb_gains"][i, :, 0, 0].numpy()
        np.testing.assert_allclose(balanced, balanced[0], rtol=1e-9)
        np.testing.assert_allclose(outcome.frame.capture["ccm"][i].sum(dim=1), 1, atol=1e-9)
    gains = outcome.frame.capture["wb_gains"][:, :, 0, 0].numpy()
    order = np.argsort(temperatures)
    red_over_blue = (gains[:, 0] / gains[:, 2])[order]
    assert (np.diff(red_over_blue) > 0).all()  # bluer light needs more red


def test_a_camera_that_sees_xyz_sees_colours_adapted_to_the_light(tools, tmp_path, monkeypatch):
    """Its matrix is the identity, so its raw pixels are the XYZ of sRGB's colours as they look under tungsten."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eye.yaml").write_text(
        "name: eye\ndescription: b\nsource: c\nlicence: d\nilluminants: [2856.0]\ntemperature: 2856.0\n"
        "xyz_to_camera: [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]\n"
    )
    frame = tools.picture(Signal(transfer="linear"), batch=1, size=(5, 5), dtype=torch.float64)
    develop = ["white_balance", "colour_matrix"]
    raw = tools.run_stage("unprocess", frame, {"profile": "eye.yaml", "develop": develop}).pixels[0].flatten(1).numpy()
    seen = adaptation(D65, white(2856)) @ XYZ_FROM_SRGB @ frame.pixels[0].flatten(1).numpy()
    ratio = raw / seen
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
