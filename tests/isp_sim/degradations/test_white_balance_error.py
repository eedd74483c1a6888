import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.colorimetry import WHITES, chromaticity, conversion
from isp_sim.colour_temperature import xy_to_cct
from isp_sim.signal import Signal
from isp_sim.stages.camera_matrix import camera_colour

LIGHT = Signal(transfer="linear")
CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
BAYER = CAMERA.changed({"layout": "mosaic", "cfa": "GBRG"})
XYZ_TO_CAMERA = [[0.7, -0.08, -0.1], [-0.44, 1.26, 0.2], [-0.09, 0.2, 0.58]]
TUNGSTEN = [[0.8, -0.1, -0.1], [-0.4, 1.2, 0.25], [-0.05, 0.15, 0.65]]
FACTS = {
    "color_matrices": torch.tensor([TUNGSTEN, XYZ_TO_CAMERA]).repeat(3, 1, 1, 1),
    "calibration_illuminants": torch.tensor([[2856.0, 6504.0]]).repeat(3, 1),
    "wb_gains": torch.tensor([[2.1, 1.0, 1.6], [1.9, 1.0, 1.8], [1.7, 1.0, 2.0]]).reshape(3, 3, 1, 1),
}
DRAWN = {"mired": {"uniform": [-40, 40]}, "tint": {"normal": [0, 5]}}
errors = st.floats(-60, 60), st.floats(-30, 30)


@pytest.mark.parametrize("facts", [None, FACTS], ids=["no facts", "facts"])
@pytest.mark.parametrize("signal", [CAMERA, BAYER], ids=["rgb", "mosaic"])
def test_engine_laws(tools, signal, facts):
    tools.assert_engine_laws("white_balance_error", tools.picture(signal, size=(37, 41), capture=facts), DRAWN)


def test_gradient(tools):
    tools.assert_gradient("white_balance_error", tools.picture(BAYER, batch=1, size=(3, 5)), {"mired": 30})


def gains(tools, signal, params, facts=None):
    """(B, 3), the gains that the error multiplies by."""
    frame = tools.picture(signal, size=(2, 2), low=0.5, dtype=torch.float64, capture=facts)
    found = tools.run_stage("white_balance_error", frame, params)
    assert found.signal == frame.signal
    return (found.pixels / frame.pixels).numpy()[:, :, 0, 0], frame


@settings(max_examples=20)
@given(*errors)
def test_the_light_that_looks_neutral_is_off_by_as_much(tools, mired, tint):
    ratio, frame = gains(tools, CAMERA, {"mired": mired, "tint": tint}, FACTS)
    for sample in range(3):
        camera = camera_colour(frame, sample)
        right = FACTS["wb_gains"][sample].flatten().double().numpy()
        before, after = (xy_to_cct(*camera.white(1 / g)) for g in (right, right * ratio[sample]))
        assert 1e6 / after[0] - 1e6 / before[0] == pytest.approx(mired, abs=1e-3)
        assert (after[1] - before[1]) * 3000 == pytest.approx(tint, abs=1e-3)
    np.testing.assert_allclose(ratio[:, 1], 1, rtol=1e-14)


@settings(max_examples=20)
@given(*errors, st.sampled_from(["srgb", "display_p3", "rec2020", "camera"]))
def test_without_facts_the_light_is_d65_in_the_space_of_the_picture(tools, mired, tint, space):
    ratio, _ = gains(tools, LIGHT.changed({"colour": space}), {"mired": mired, "tint": tint})
    to_xyz = conversion("srgb" if space == "camera" else space, "xyz")
    cct, duv = xy_to_cct(*chromaticity(to_xyz @ (1 / ratio[0])))
    d65 = xy_to_cct(*WHITES["D65"])
    assert 1e6 / cct - 1e6 / d65[0] == pytest.approx(mired, abs=1e-6)
    assert (duv - d65[1]) * 3000 == pytest.approx(tint, abs=1e-6)


def test_set_for_warmer_light_it_turns_blue_and_for_greener_magenta(tools):
    red, green, blue = gains(tools, LIGHT, {"mired": 40})[0][0]
    assert red < green < blue
    red, green, blue = gains(tools, LIGHT, {"tint": 20})[0][0]
    assert green < min(red, blue)


@pytest.mark.parametrize("facts", [None, FACTS], ids=["no facts", "facts"])
def test_no_error_is_nothing(tools, facts):
    frame = tools.picture(CAMERA, size=(5, 7), capture=facts)
    assert torch.equal(tools.run_stage("white_balance_error", frame).pixels, frame.pixels)


def test_a_setting_ends_at_25000_k(tools):
    far, _ = gains(tools, LIGHT, {"mired": -150})
    end, _ = gains(tools, LIGHT, {"mired": 40 - 1e6 / xy_to_cct(*WHITES["D65"])[0]})
    np.testing.assert_allclose(far, end, rtol=1e-9)


def test_an_impossible_light_is_told(tools):
    blind = {**FACTS, "color_matrices": torch.tensor([[[1.0, 0, 0], [0, 1, 0], [-0.4, 0, 1]]] * 2).repeat(3, 1, 1, 1)}
    with pytest.raises(ValueError, match="must be positive"):
        gains(tools, CAMERA, {"mired": 150, "tint": 50}, blind)
