import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.colorimetry import WHITES, adaptation, conversion, xyz
from isp_sim.colour_temperature import cct_to_xy, xy_to_cct
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal
from isp_sim.stages.camera_matrix import CALIBRATION_ILLUMINANTS, CameraColour

DATA = os.environ.get("ISP_SIM_DATA")
CAMERA = Signal(colour="camera", white_balanced=True, transfer="linear", reference="scene")

COLOR = np.array(
    [
        [[0.7546, -0.1435, -0.0929], [-0.3846, 1.1488, 0.2692], [-0.0332, 0.1209, 0.6370]],
        [[0.7034, -0.0804, -0.1014], [-0.4420, 1.2564, 0.2058], [-0.0851, 0.1994, 0.5758]],
    ]
)
FORWARD = np.array(
    [
        [[0.7763, 0.0065, 0.1815], [0.2364, 0.8351, -0.0715], [-0.0059, -0.4228, 1.2538]],
        [[0.7464, 0.1044, 0.1135], [0.2648, 0.9173, -0.1820], [0.0113, -0.2154, 1.0292]],
    ]
)
CALIBRATION = np.array([np.diag([2.1, 1.0, 1.4]), [[2.0, 0.05, 0.0], [0.0, 1.0, 0.02], [0.03, 0.0, 1.5]]])
KELVIN = np.array([2856.0, 6504.0])

CAMERAS = {
    "colour matrices": CameraColour(COLOR, KELVIN),
    "calibrated": CameraColour(COLOR, KELVIN, CALIBRATION),
    "forward matrices": CameraColour(COLOR, KELVIN, None, FORWARD),
    "all": CameraColour(COLOR, KELVIN, CALIBRATION, FORWARD),
}
FACTS = {
    "color_matrices": torch.from_numpy(np.stack([COLOR, COLOR * 1.1, COLOR[::-1].copy()])),
    "calibration_illuminants": torch.from_numpy(np.stack([KELVIN, KELVIN, KELVIN[::-1].copy()])),
    "wb_gains": torch.tensor([[2.1, 1.0, 1.6], [1.6, 1.0, 2.2], [1.9, 1.0, 1.8]]).reshape(3, 3, 1, 1),
}

cameras = pytest.mark.parametrize("name", CAMERAS)
kelvins = st.floats(2300, 12000)
duvs = st.floats(-0.01, 0.01)


@pytest.mark.parametrize(
    "params",
    [None, {"cct": {"uniform": [2500, 8000]}, "tint": {"uniform": [-20, 20]}}, {"xy": [0.35, {"uniform": [0.3, 0.4]}]}],
    ids=["as shot", "temperature drawn", "chromaticity drawn"],
)
def test_engine_laws(tools, params):
    frame = tools.picture(CAMERA, capture=FACTS, size=(31, 29), low=-0.5, high=2)
    tools.assert_engine_laws("camera_matrix", frame, params)


def test_gradient(tools):
    capture = {name: fact[:1] for name, fact in FACTS.items()}
    tools.assert_gradient("camera_matrix", tools.picture(CAMERA, capture=capture, batch=1, size=(3, 2)))


class TestInterpolation:
    def test_both_ends_are_hit_to_the_last_bit_and_held_beyond(self):
        camera = CAMERAS["colour matrices"]
        for cct, which in ((2856.0, 0), (1700.0, 0), (6504.0, 1), (20000.0, 1)):
            assert np.array_equal(camera.xyz_to_camera(cct), COLOR[which])

    @given(kelvins, kelvins)
    def test_monotone_in_mired(self, a, b):
        cold, warm = max(a, b), min(a, b)
        camera = CAMERAS["colour matrices"]
        assert camera.share(warm) >= camera.share(cold)
        step = (camera.xyz_to_camera(warm) - camera.xyz_to_camera(cold)) * (COLOR[0] - COLOR[1])
        assert step.min() >= -1e-15

    @given(st.floats(0, 1))
    def test_linear_in_mired(self, share):
        mired = share * 1e6 / KELVIN[0] + (1 - share) * 1e6 / KELVIN[1]
        assert CAMERAS["all"].share(1e6 / mired) == pytest.approx(share, abs=1e-12)

    @given(kelvins)
    def test_the_order_of_the_illuminants_does_not_matter(self, cct):
        turned = CameraColour(COLOR[::-1], KELVIN[::-1], CALIBRATION[::-1], FORWARD[::-1])
        white = cct_to_xy(cct)
        np.testing.assert_allclose(turned.to_srgb(white), CAMERAS["all"].to_srgb(white), atol=1e-13)

    def test_equal_illuminants_take_the_first(self):
        assert np.array_equal(CameraColour(COLOR, np.array([5000.0, 5000.0])).xyz_to_camera(4000), COLOR[0])


class TestWhite:
    @cameras
    @settings(max_examples=30)
    @given(cct=kelvins, duv=duvs)
    def test_the_light_is_found_from_what_looks_neutral_under_it(self, name, cct, duv):
        white = cct_to_xy(cct, duv)
        camera = CAMERAS[name]
        assert camera.white(3 * camera.neutral(white)) == pytest.approx(white, abs=1e-9)

    def test_gains_that_no_light_explains(self):
        with pytest.raises(ValueError, match="no light looks neutral"):
            CAMERAS["colour matrices"].white(np.array([0.01, 0.01, 1.0]))

    def test_a_light_that_the_camera_can_t_see(self):
        with pytest.raises(ValueError, match="must be positive"):
            CameraColour(-COLOR, KELVIN).neutral(WHITES["D65"])


class TestMatrix:
    @cameras
    @given(cct=kelvins, duv=duvs)
    def test_rows_sum_to_1_so_grey_stays_grey(self, name, cct, duv):
        np.testing.assert_allclose(CAMERAS[name].to_srgb(cct_to_xy(cct, duv)).sum(axis=1), 1, atol=1e-12)

    @given(kelvins, duvs)
    def test_without_forward_matrices_it_undoes_what_the_camera_sees(self, cct, duv):
        """Colours under a light, seen by the camera and balanced, come back as what Bradford makes of them."""
        camera, white = CAMERAS["calibrated"], cct_to_xy(cct, duv)
        colours = np.random.default_rng(0).uniform(0.05, 1, (20, 3))
        balanced = colours @ camera.xyz_to_camera(xy_to_cct(*white)[0]).T / camera.neutral(white)
        expected = colours @ (conversion("xyz", "srgb") @ adaptation(white, WHITES["D65"])).T
        np.testing.assert_allclose(balanced @ camera.to_srgb(white).T, expected, atol=1e-10)

    def test_by_colour_science(self, colour):
        """The same with its adaptation and its sRGB."""
        camera, white = CAMERAS["colour matrices"], cct_to_xy(4200, 0.002)
        colours = np.random.default_rng(0).uniform(0.05, 1, (20, 3))
        balanced = colours @ camera.xyz_to_camera(4200).T / camera.neutral(white)
        theirs = colour.XYZ_to_RGB(colours, "sRGB", white, "Bradford")
        np.testing.assert_allclose(balanced @ camera.to_srgb(white).T, theirs, atol=3e-3)  # sRGB's printed matrix

    @given(st.sampled_from([0, 1]))
    def test_with_forward_matrices_white_is_d50_and_the_rest_is_theirs(self, which):
        camera, white = CAMERAS["forward matrices"], cct_to_xy(float(KELVIN[which]))
        np.testing.assert_allclose(camera.to_xyz_d50(white).sum(axis=1), xyz(WHITES["D50"]), atol=1e-13)
        np.testing.assert_allclose(camera.to_xyz_d50(white), FORWARD[which], atol=5e-4)  # printed with four digits

    @given(kelvins)
    def test_a_diagonal_calibration_cancels(self, cct):
        diagonal = CameraColour(COLOR, KELVIN, np.stack([np.diag([2.1, 1.0, 1.4])] * 2), FORWARD)
        white = cct_to_xy(cct)
        np.testing.assert_allclose(diagonal.to_srgb(white), CAMERAS["forward matrices"].to_srgb(white), atol=1e-12)

    @given(kelvins)
    def test_a_camera_with_the_primaries_of_srgb_needs_only_adaptation(self, cct):
        matrix = np.linalg.inv(conversion("srgb", "xyz"))
        camera = CameraColour(np.stack([matrix, matrix]), KELVIN)
        np.testing.assert_allclose(camera.to_srgb(WHITES["D65"]), np.eye(3), atol=1e-13)


class TestStage:
    def run(self, tools, frame, **params):
        return tools.run_stage("camera_matrix", frame, params)

    def test_signal(self, tools):
        after = self.run(tools, tools.picture(CAMERA, size=(2, 2), capture=FACTS))
        assert after.signal == CAMERA.changed({"colour": "srgb"})

    @pytest.mark.parametrize("params", [{}, {"cct": 3200, "tint": 12}, {"xy": [0.33, 0.35]}])
    def test_inverse_within_the_condition_number(self, tools, params):
        frame = tools.picture(CAMERA, size=(5, 4), dtype=torch.float64, capture=FACTS)
        chain = tools.chain([{"camera_matrix": params}])
        back = chain.inverse(chain.run(frame).frame)
        assert back.signal == CAMERA
        worst = max(np.linalg.cond(CAMERAS["colour matrices"].to_srgb(cct_to_xy(cct))) for cct in KELVIN)
        assert (back.pixels - frame.pixels).abs().max() <= 100 * worst * np.finfo(np.float64).eps

    def test_as_shot_is_the_light_that_the_gains_balance(self, tools):
        white = cct_to_xy(3700, 0.004)
        neutral = CAMERAS["colour matrices"].neutral(white)
        capture = {
            "color_matrices": torch.from_numpy(COLOR)[None],
            "calibration_illuminants": torch.from_numpy(KELVIN)[None],
            "wb_gains": torch.from_numpy(neutral.min() / neutral).reshape(1, 3, 1, 1),
        }
        frame = tools.picture(CAMERA, batch=1, size=(5, 4), dtype=torch.float64, capture=capture)
        found = self.run(tools, frame).pixels
        np.testing.assert_allclose(self.run(tools, frame, xy=list(white)).pixels, found, atol=1e-9)
        np.testing.assert_allclose(self.run(tools, frame, cct=3700, tint=12).pixels, found, atol=1e-9)

    def test_forward_matrices_are_used_where_there_are_some(self, tools):
        forward = torch.from_numpy(np.stack([FORWARD] * 3))
        forward[1] = float("nan")
        frame = tools.picture(CAMERA, size=(5, 4), dtype=torch.float64, capture={**FACTS, "forward_matrices": forward})
        by_forward, by_color = (self.run(tools, frame, forward=used).pixels for used in (True, False))
        assert not torch.allclose(by_forward[0], by_color[0], atol=1e-3)
        assert torch.equal(by_forward[1], by_color[1])

    @pytest.mark.parametrize(
        ("params", "message"), [({"cct": 5000, "xy": [0.3, 0.3]}, "give one of them"), ({"tint": 5}, "goes with cct")]
    )
    def test_lights_that_say_too_much_or_too_little(self, tools, params, message):
        with pytest.raises(ParameterFaults, match=message):
            tools.chain([{"camera_matrix": params}])

    def test_unprocess_gives_what_it_takes(self, tools):
        develop = ["white_balance", "camera_matrix", "srgb_oetf"]
        frame = tools.picture(Signal(), size=(9, 7), dtype=torch.float64)
        back = tools.run_chain([{"unprocess": {"develop": develop}}, *develop], frame)
        assert (back.pixels - frame.pixels).abs().max() < 1e-6


@pytest.mark.parametrize(("number", "name"), [(17, "A"), (18, "B"), (19, "C"), (20, "D55"), (21, "D65"), (22, "D75")])
def test_temperatures_of_the_illuminants_by_their_chromaticity(number, name):
    assert CALIBRATION_ILLUMINANTS[number] == pytest.approx(xy_to_cct(*WHITES[name])[0], rel=2e-3)


@pytest.mark.skipif(not DATA, reason="ISP_SIM_DATA is not set")
class TestRealFiles:
    def read(self, name):
        from isp_sim.formats.raw import Raw
        from isp_sim.formats.reader import Item

        return Raw(Raw.Params()).read(Item(name, str(Path(DATA) / "raw" / name))).frame

    @pytest.mark.parametrize("name", ["tinydng_colorchart.dng", "photoprism_canon_eos_6d.dng"])
    def test_near_the_matrix_that_libraw_makes(self, tools, name):
        """LibRaw takes one matrix and adapts no white, so they agree but roughly."""
        from isp_sim.stages.camera_matrix import camera_colour

        frame = self.read(name)
        camera = camera_colour(frame, 0)
        white = camera.white(1 / frame.capture["wb_gains"][0, :, 0, 0].double().numpy())
        assert 4000 < xy_to_cct(*white)[0] < 8000
        np.testing.assert_allclose(camera.to_srgb(white), frame.capture["ccm"][0], atol=0.15)

    def test_both_routes_of_a_camera_agree_roughly(self):
        from isp_sim.stages.camera_matrix import camera_colour

        frame = self.read("photoprism_canon_eos_6d.dng")
        assert set(frame.capture) >= {"forward_matrices", "camera_calibrations"}
        assert frame.capture["calibration_illuminants"].tolist() == [[2856.0, 6504.0]]
        white = camera_colour(frame, 0).white(1 / frame.capture["wb_gains"][0, :, 0, 0].double().numpy())
        by_forward, by_color = (camera_colour(frame, 0, used).to_srgb(white) for used in (True, False))
        np.testing.assert_allclose(by_forward, by_color, atol=0.06)
        assert not np.allclose(by_forward, by_color, atol=1e-3)
