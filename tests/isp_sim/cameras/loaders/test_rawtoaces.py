import json
import os
from pathlib import Path

import numpy as np
import pytest

from isp_sim.cameras import profile
from isp_sim.cameras.document import to_yaml
from isp_sim.cameras.loaders import LoaderFault, read
from isp_sim.cameras.loaders.rawtoaces import matrices

DATA = os.environ.get("ISP_SIM_DATA")


def table(path, wavelengths, curves, licence="Apache-2.0"):
    data = {
        "header": {"manufacturer": "A", "model": "One", "license": licence, "document_creator": "me"},
        "spectral_data": {
            "index": {"main": ["R", "G", "B"]},
            "data": {"main": {str(int(w)): list(map(float, row)) for w, row in zip(wavelengths, curves, strict=True)}},
        },
    }
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def observer(colour):
    shape = colour.SpectralShape(400, 700, 5)
    return shape.wavelengths, colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"].copy().align(shape).values


def test_an_eye_in_place_of_a_camera_has_a_diagonal_matrix(observer):
    """Sensitivities that are the observer's give its XYZ, scaled so that the greatest answer to white is 1."""
    for matrix in matrices(list(observer[0]), observer[1]):
        np.testing.assert_allclose(matrix, np.eye(3) * matrix[0, 0], atol=1e-9)


def test_a_mixture_of_the_observer_s_is_that_mixture(observer):
    mixture = np.array([[0.9, 0.3, -0.1], [-0.2, 1.1, 0.2], [0.0, 0.1, 0.8]])
    for matrix in matrices(list(observer[0]), observer[1] @ mixture.T):
        np.testing.assert_allclose(matrix / matrix[1, 1], mixture / mixture[1, 1], atol=1e-9)


def test_white_is_kept(colour, observer):
    rng = np.random.default_rng(1)
    curves = np.abs(observer[1] + 0.1 * rng.random(observer[1].shape))
    for light, matrix in zip(("A", "D65"), matrices(list(observer[0]), curves), strict=True):
        spectrum = colour.SDS_ILLUMINANTS[light].copy().align(colour.SpectralShape(400, 700, 5)).values
        xyz, rgb = spectrum @ observer[1], spectrum @ curves
        np.testing.assert_allclose(matrix @ (xyz / xyz[1]), rgb / rgb.max(), rtol=1e-9)


def test_a_profile(tmp_path, observer):
    path = table(tmp_path / "one.json", *observer)
    found = profile.parse(to_yaml(read("rawtoaces", path)).encode(), "x")
    assert (found.name, found.licence) == ("A One", "Apache-2.0")
    assert found.state.constants.illuminants == (2856, 6504)
    assert len(found.sensor.sensitivities.wavelengths) == 61


@pytest.mark.parametrize("text", ["{}", '{"header": {}, "spectral_data": {}}', "3"])
def test_other_files(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(LoaderFault):
        read("rawtoaces", path)


@pytest.mark.skipif(not DATA, reason="needs ISP_SIM_DATA, a folder of test data")
@pytest.mark.parametrize(("name", "file"), [("eld_nikon_d850", "Nikon_D850"), ("eld_sony_a7s2", "Sony_ILCE-7SM2")])
def test_the_shipped_matrices_follow_from_the_spectra(colour, name, file):
    found = list(Path(str(DATA)).rglob(f"{file}_380_780_5.json"))
    if not found:
        pytest.skip("the test data hold no spectra of this camera")
    expected = read("rawtoaces", found[0])["xyz_to_camera"]
    np.testing.assert_allclose(profile.load(name).state.constants.xyz_to_camera, expected, atol=2e-5)
