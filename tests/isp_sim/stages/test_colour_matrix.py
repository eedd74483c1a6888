import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.cameras import profile
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal
from isp_sim.stages.colour_matrix import XYZ_FROM_SRGB, ccm_from_xyz_to_camera

CAMERA = Signal(colour="camera", white_balanced=True, transfer="linear", reference="scene")
MATRIX = [[1.7, -0.5, -0.2], [-0.3, 1.6, -0.3], [0.1, -0.6, 1.5]]
CCM = {
    "ccm": torch.tensor([MATRIX, [[1.2, -0.1, -0.1], [0, 1, 0], [0.3, 0.3, 0.4]], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
}
CAMERAS = np.asarray(profile.load("generic_phone").state.constants.xyz_to_camera)

matrices = st.tuples(*[st.tuples(*[st.floats(-2, 2)] * 3)] * 3).filter(lambda m: abs(np.linalg.det(m)) > 0.05)


def apply(tools, frame, matrix=None):
    return tools.run_stage("colour_matrix", frame, {"matrix": [list(row) for row in matrix]} if matrix else None).pixels


@pytest.mark.parametrize(
    "params",
    [None, {"matrix": [[{"uniform": [1, 2]}, -0.3, {"normal": [0, 0.1]}], [0, 1, 0], [0, 0, 1]]}],
    ids=["the camera's", "drawn"],
)
def test_engine_laws(tools, params):
    tools.assert_engine_laws("colour_matrix", tools.picture(CAMERA, capture=CCM, low=-0.5, high=2), params)


def test_gradient(tools):
    tools.assert_gradient("colour_matrix", tools.picture(CAMERA, batch=1, size=(3, 2)), {"matrix": MATRIX})


def test_precision(tools):
    tools.assert_precision("colour_matrix", tools.picture(CAMERA, capture=CCM, dtype=torch.float64), bound=4e-7)


@given(matrices)
def test_each_pixel_by_the_matrix(tools, matrix):
    frame = tools.picture(CAMERA, size=(4, 5), dtype=torch.float64)
    expected = np.einsum("ij,bjyx->biyx", np.asarray(matrix), frame.pixels.numpy())
    np.testing.assert_allclose(apply(tools, frame, matrix), expected, atol=1e-14)


def test_the_identity_is_nothing(tools):
    frame = tools.picture(CAMERA)
    assert torch.equal(apply(tools, frame, np.eye(3).tolist()), frame.pixels)


@given(matrices, matrices)
def test_one_after_the_other_is_the_product(tools, a, b):
    frame = tools.picture(CAMERA, size=(4, 5), dtype=torch.float64)
    one = frame.__class__(apply(tools, frame, a), CAMERA, keys=frame.keys)
    product = (np.asarray(b) @ np.asarray(a)).tolist()
    if abs(np.linalg.det(product)) < 1e-9:
        return
    np.testing.assert_allclose(apply(tools, one, b), apply(tools, frame, product), atol=1e-12)


@given(matrices)
def test_inverse_within_the_condition_number(tools, matrix):
    frame = tools.picture(CAMERA, size=(4, 5), dtype=torch.float64)
    chain = tools.chain([{"colour_matrix": {"matrix": [list(row) for row in matrix]}}])
    back = chain.inverse(chain.run(frame).frame)
    assert back.signal == CAMERA
    bound = 50 * np.linalg.cond(matrix) * np.finfo(np.float64).eps
    assert (back.pixels - frame.pixels).abs().max() <= bound


def test_inverse_with_the_camera_s_own_in_single_precision(tools):
    frame = tools.picture(CAMERA, capture=CCM)
    chain = tools.chain(["colour_matrix"])
    assert (chain.inverse(chain.run(frame).frame).pixels - frame.pixels).abs().max() < 2e-6


def test_rows_that_sum_to_1_keep_grey(tools):
    grey = torch.rand(3, 1, 9, 7, dtype=torch.float64).expand(3, 3, 9, 7).contiguous()
    frame = tools.picture(CAMERA, size=(9, 7), dtype=torch.float64, capture=CCM)
    after = apply(tools, frame.__class__(grey, CAMERA, frame.capture, frame.keys))
    assert (after - grey).abs().max() < 2e-7  # the camera's matrices are of single precision


def test_out_of_gamut_is_not_clipped(tools):
    after = apply(tools, tools.picture(CAMERA), MATRIX)
    assert after.min() < -0.3
    assert after.max() > 1.3


def test_signal(tools):
    after = tools.run_stage("colour_matrix", tools.picture(CAMERA, size=(2, 2), capture=CCM)).signal
    assert after == CAMERA.changed({"colour": "srgb"})


@pytest.mark.parametrize("matrix", [[[1, 0, 0], [0, 1, 0], [1, 1, 0]], [[1, 0, 0], [0, 1, 0]], "camera"])
def test_what_has_no_inverse_is_refused(tools, matrix):
    with pytest.raises(ParameterFaults, match="matrix"):
        tools.chain([{"colour_matrix": {"matrix": matrix}}])


class TestFromXYZ:
    @pytest.mark.parametrize("xyz_to_camera", CAMERAS)
    def test_rows_sum_to_1_and_white_is_white(self, xyz_to_camera):
        np.testing.assert_allclose(ccm_from_xyz_to_camera(xyz_to_camera).sum(axis=1), 1, atol=1e-14)

    @pytest.mark.parametrize("xyz_to_camera", CAMERAS)
    def test_undoes_what_the_camera_sees(self, xyz_to_camera):
        """A colour of linear sRGB, seen by the camera, white-balanced by what it sees of white, and back."""
        colours = np.random.default_rng(0).uniform(size=(20, 3))
        seen = colours @ (xyz_to_camera @ XYZ_FROM_SRGB).T
        balanced = seen / (xyz_to_camera @ XYZ_FROM_SRGB).sum(axis=1)
        np.testing.assert_allclose(balanced @ ccm_from_xyz_to_camera(xyz_to_camera).T, colours, atol=1e-12)

    def test_the_gain_of_a_channel_does_not_matter(self):
        gains = np.diag([0.5, 1, 3])
        np.testing.assert_allclose(ccm_from_xyz_to_camera(gains @ CAMERAS[0]), ccm_from_xyz_to_camera(CAMERAS[0]))

    def test_a_camera_with_the_primaries_of_srgb_needs_no_matrix(self):
        np.testing.assert_allclose(ccm_from_xyz_to_camera(np.linalg.inv(XYZ_FROM_SRGB)), np.eye(3), atol=1e-14)

    @pytest.mark.parametrize("wrong", [np.zeros((3, 3)), -np.eye(3), np.ones((3, 3))])
    def test_what_is_no_camera(self, wrong):
        with pytest.raises(ValueError, match="no camera matrix"):
            ccm_from_xyz_to_camera(wrong)

    def test_srgb_by_colour_science(self, colour):
        srgb = colour.RGB_COLOURSPACES["sRGB"]
        d65 = colour.XYZ_to_xy([0.95047, 1, 1.08883])
        np.testing.assert_allclose(
            XYZ_FROM_SRGB, colour.models.normalised_primary_matrix(srgb.primaries, d65), atol=1e-6
        )
        # the standard rounds its white to four digits and its matrix too
        np.testing.assert_allclose(XYZ_FROM_SRGB, srgb.matrix_RGB_to_XYZ, atol=2e-4)

    @pytest.mark.parametrize("xyz_to_camera", CAMERAS)
    def test_against_colour_science_s_matrix(self, colour, xyz_to_camera):
        """The camera's answer to each primary, balanced and solved for, with the standard's own matrix."""
        answers = xyz_to_camera @ colour.RGB_COLOURSPACES["sRGB"].matrix_RGB_to_XYZ
        expected = np.linalg.solve(answers / answers.sum(axis=1, keepdims=True), np.eye(3))
        np.testing.assert_allclose(ccm_from_xyz_to_camera(xyz_to_camera), expected, atol=2e-3)
