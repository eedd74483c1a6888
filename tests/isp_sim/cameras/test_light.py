import numpy as np
import pytest
import torch

from isp_sim.cameras import profile
from isp_sim.colorimetry import WHITES, adaptation, xyz
from isp_sim.colour_temperature import mired_weights, reference_xy
from isp_sim.signal import Signal
from isp_sim.stages.colour_matrix import XYZ_FROM_SRGB


@pytest.mark.parametrize("name", ["eld_sony_a7s2", "eld_nikon_d850", "eld_canon_5d4"])
def test_a_neutral_surface_is_developed_grey_under_any_light(tools, name):
    """Its camera RGB under each light, by the interpolated matrix, times the gains that the profile derives."""
    frame = tools.picture(Signal(), batch=6, size=(2, 2), dtype=torch.float64)
    outcome = tools.chain([{"unprocess": {"profile": name, "iso": 100.0}}]).run(frame)
    matrices = np.asarray(profile.load(name).state.constants.xyz_to_camera)
    temperatures = [values["unprocess"]["temperature"] for values in outcome.values]
    assert len(set(temperatures)) == 6
    for i, temperature in enumerate(temperatures):
        matrix = np.einsum("k,kij->ij", mired_weights([2856.0, 6504.0], temperature), matrices)
        balanced = matrix @ xyz(reference_xy(temperature)) * outcome.frame.capture["wb_gains"][i, :, 0, 0].numpy()
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
    seen = adaptation(WHITES["D65"], reference_xy(2856)) @ XYZ_FROM_SRGB @ frame.pixels[0].flatten(1).numpy()
    ratio = raw / seen
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=4e-4)  # D65 has one blue in sRGB's matrix, one in its x and y


@pytest.mark.parametrize("name", ["eld_sony_a7s2", "eld_nikon_d850", "eld_canon_5d4"])
def test_camera_matrix_finds_the_light_and_so_the_same_colours(tools, name):
    """What the capture says of colours is of one piece: matrices, temperature, gains, and the matrix to sRGB."""
    frame = tools.picture(Signal(), batch=4, size=(5, 5), dtype=torch.float64)
    by_ccm, by_matrices = (
        tools.chain([{"unprocess": {"profile": name, "develop": ["white_balance", matrix, "srgb_oetf"]}}]).run(frame)
        for matrix in ("colour_matrix", "camera_matrix")
    )
    np.testing.assert_allclose(by_matrices.frame.pixels, by_ccm.frame.pixels, atol=5e-4)
    drawn = [[values["unprocess"]["temperature"]] * 2 for values in by_matrices.values]
    np.testing.assert_allclose(by_matrices.frame.capture["calibration_illuminants"], drawn)
