from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isp_sim.cameras import profile
from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import State
from isp_sim.signal import Signal
from isp_sim.stages.colour_matrix import ccm_from_xyz_to_camera
from isp_sim.stages.unprocess import camera_facts

DEVELOP = ["white_balance", "colour_matrix", "tone_curve", "srgb_oetf"]
CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
HALF_A_CODE = 0.5 / 255
COLOURED = [name for name in profile.shipped() if profile.load(name).state is not None]


def photo_frame(tools, photos, name, keys, dtype=torch.float32, step=7):
    pixels = torch.from_numpy(photos[name][::step, ::step].copy()).permute(2, 0, 1).to(dtype) / 255
    frame = tools.picture(Signal(), batch=len(keys), size=pixels.shape[-2:], dtype=dtype, keys=tuple(keys))
    return replace(frame, pixels=pixels.expand(len(keys), -1, -1, -1).contiguous())


def test_engine_laws(tools):
    tools.assert_engine_laws("unprocess", tools.picture(Signal(), batch=4))


def test_precision(tools):
    tools.assert_precision("unprocess", tools.picture(Signal(), dtype=torch.float64), bound=3e-6)


def test_gradient(tools):
    tools.assert_gradient("unprocess", tools.picture(Signal(), batch=1, size=(3, 2), low=0.1, high=0.9))


class TestRoundTrip:
    """Each stage's own inverse is run, so forward and backward can't drift apart."""

    @pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_developed_again_it_is_the_photo_to_less_than_half_a_code(self, tools, photos, name, dtype):
        frame = photo_frame(tools, photos, name, [f"camera {i}" for i in range(8)], dtype)
        again = tools.run_chain(["unprocess", *DEVELOP], frame)
        outside = ~again.maps["saturated"].expand_as(frame.pixels)
        error = (again.pixels - frame.pixels).abs()[outside].max().item()
        assert error < HALF_A_CODE
        # the law asks for half a code; the arithmetic gives far more, saturated or not
        assert (again.pixels - frame.pixels).abs().max() < (1e-3 if dtype == torch.float32 else 1e-6)
        for field in ("layout", "levels", "colour", "white_balanced", "transfer", "reference"):
            assert getattr(again.signal, field) == getattr(frame.signal, field)

    @given(st.integers(0, 10**6))
    def test_for_any_camera_and_any_colour(self, tools, seed):
        frame = tools.picture(Signal(), batch=2, size=(5, 5), keys=(f"a{seed}", f"b{seed}"), seed=seed % 100)
        again = tools.run_chain(["unprocess", *DEVELOP], frame, seed=seed)
        assert (again.pixels - frame.pixels).abs().max() < HALF_A_CODE / 4

    def test_with_half_of_the_chain(self, tools):
        frame = tools.picture(Signal())
        develop = ["white_balance", "colour_matrix", "srgb_oetf"]
        again = tools.run_chain([{"unprocess": {"develop": develop}}, *develop], frame)
        assert (again.pixels - frame.pixels).abs().max() < HALF_A_CODE / 4

    def test_is_not_the_photo_in_between(self, tools, photos):
        frame = photo_frame(tools, photos, "chelsea", ["a"])
        raw = tools.run_stage("unprocess", frame)
        assert raw.signal == CAMERA
        assert (raw.pixels - frame.pixels).abs().mean() > 0.1
        assert raw.pixels.mean() < frame.pixels.mean()

    def test_an_error_of_white_balance_is_not_cancelled(self, tools):
        frame = tools.picture(Signal(), size=(9, 9))
        wrong = [{"white_balance": {"deviate": {"gains.0": {"factor": 1.2}}}}, *DEVELOP[1:]]
        assert (tools.run_chain(["unprocess", *wrong], frame).pixels - frame.pixels).abs().max() > 0.02

    def test_is_the_stages_inverses_run_by_hand(self, tools):
        frame = tools.picture(Signal(), dtype=torch.float64, size=(9, 9))
        raw = tools.run_stage("unprocess", frame)
        by_hand = tools.chain(DEVELOP).inverse(replace(frame, capture=raw.capture))
        assert torch.equal(by_hand.pixels, raw.pixels)


class TestState:
    def raw(self, tools, count=50):
        frame = tools.picture(Signal(), batch=count, size=(2, 2), dtype=torch.float64)
        outcome = tools.chain(["unprocess"]).run(frame)
        return outcome.frame, [values["unprocess"] for values in outcome.values]

    def test_the_capture_holds_what_the_develop_stages_read(self, tools):
        frame, _ = self.raw(tools)
        assert sorted(frame.capture) == ["ccm", "noise_profile", "tone_curve", "wb_gains"]
        assert frame.capture["wb_gains"].shape == (50, 3, 1, 1)
        assert frame.capture["ccm"].shape == (50, 3, 3)
        assert frame.capture["tone_curve"].shape == (50, 5, 2)
        assert frame.capture["noise_profile"].shape == (50, 1, 2)
        assert torch.equal(frame.capture["wb_gains"].amin(dim=1), torch.ones(50, 1, 1, dtype=torch.float64))
        np.testing.assert_allclose(frame.capture["ccm"].sum(dim=-1), 1, atol=1e-12)
        assert (frame.capture["tone_curve"].diff(dim=1) > 0).all()

    def test_the_capture_is_what_the_record_says(self, tools):
        frame, drawn = self.raw(tools, 6)
        matrices = np.asarray(profile.load("generic_phone").state.constants.xyz_to_camera)
        for i, values in enumerate(drawn):
            gains = np.asarray(values["wb_gains"])
            np.testing.assert_allclose(frame.capture["wb_gains"][i, :, 0, 0], gains / gains.min(), rtol=1e-15)
            mix = np.asarray(values["mix"])
            mixed = sum(w * m for w, m in zip(mix / mix.sum(), matrices, strict=True))
            np.testing.assert_allclose(frame.capture["ccm"][i], ccm_from_xyz_to_camera(mixed), atol=1e-12)
            np.testing.assert_array_equal(frame.capture["tone_curve"][i], np.asarray(values["tone_curve"]))
            assert frame.capture["noise_profile"][i, 0].tolist() == [values["shot"], values["read"]]
            assert "xyz_to_camera" not in values  # which never varies

    def test_gains_are_scaled_so_that_the_smallest_is_1(self):
        """Which the profile at hand has of itself: brightness is the exposure's, not the white balance's."""
        drawn = SimpleNamespace(
            wb_gains=torch.tensor([[4.0, 2.0, 3.0], [1.0, 0.5, 0.25]]).reshape(2, 3, 1, 1),
            mix=torch.ones(2, 1, 1, 1),
            xyz_to_camera=(((1.0, -0.3, -0.2), (-0.5, 1.4, 0.1), (-0.1, 0.2, 0.6)),),
            illuminants=None,
            tone_curve=torch.tensor([[[0.0, 0.0], [1.0, 1.0]]] * 2),
            dimming=torch.ones(2, 1, 1, 1),
            gamut_weights=(),
            shot=torch.zeros(2, 1, 1, 1),
            read=torch.zeros(2, 1, 1, 1),
        )
        assert camera_facts(drawn)["wb_gains"].flatten().tolist() == [2, 1, 1.5, 4, 2, 1]

    def test_every_sample_has_a_camera_of_its_own(self, tools):
        frame, _ = self.raw(tools)
        for fact in frame.capture.values():
            assert len({fact[i].numpy().tobytes() for i in range(50)}) == 50

    def test_the_laws_of_the_profile(self, tools):
        from scipy import stats

        _, drawn = self.raw(tools, 400)
        tools.assert_law([v["wb_gains"][0] for v in drawn], stats.uniform(1.9, 0.5))
        tools.assert_law([v["wb_gains"][2] for v in drawn], stats.uniform(1.5, 0.4))
        tools.assert_law([v["shot"] for v in drawn], stats.loguniform(1e-4, 1.2e-2))
        scatter = [np.log(v["read"]) - 2.18 * np.log(v["shot"]) - 1.2 for v in drawn]
        tools.assert_law(scatter, stats.norm(0, 0.26))

    def test_what_it_says_it_writes_it_writes(self, tools):
        for develop in (DEVELOP, ["white_balance", "colour_matrix", "srgb_oetf"]):
            chain = tools.chain([{"unprocess": {"develop": develop}}])
            state, _ = chain.steps[0].check(State(Signal()))
            assert state.facts == frozenset(chain.run(tools.picture(Signal(), size=(2, 2))).frame.capture)

    def test_forward_stages_may_be_told_otherwise(self, tools):
        raw = tools.run_stage("unprocess", tools.picture(Signal(), size=(5, 5)))
        told = tools.run_stage("white_balance", raw, {"gains": [2, 1, 2]})
        factor = torch.tensor([2.0, 1, 2]).reshape(1, 3, 1, 1)
        assert torch.equal(told.pixels, raw.pixels * factor)


def released_unprocess(image, ccm, gains, digital_gain):
    """Brooks et al. 2019 in NumPy, (N, 3), plain gains, with sRGB's curve in place of the power 2.2."""
    image = 0.5 - np.sin(np.arcsin(1 - 2 * image) / 3)
    image = np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)
    return image @ np.linalg.inv(ccm).T / np.asarray(gains) / digital_gain


class TestProfiles:
    """Every profile that comes with the package is its own inverse."""

    @pytest.mark.parametrize("name", COLOURED)
    @pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 100), (torch.float64, 200)])
    def test_developed_again_it_is_the_photo(self, tools, photos, name, dtype, least):
        frame = photo_frame(tools, photos, "coffee", [f"camera {i}" for i in range(4)], dtype, step=9)
        develop = list(profile.load(name).develop)
        chain = tools.chain([{"unprocess": {"profile": name, "develop": develop}}, *develop])
        again = chain.run(frame).frame
        kept = ~again.maps["saturated"].expand_as(frame.pixels)
        error = (again.pixels - frame.pixels).double()[kept]
        assert -10 * torch.log10(error.square().mean()) > least
        if "lost" in again.maps:
            assert not again.maps["lost"].any()

    @pytest.mark.parametrize("name", COLOURED)
    def test_its_develop_stages_need_no_more_than_it_draws(self, tools, name):
        develop = list(profile.load(name).develop)
        chain = tools.chain([{"unprocess": {"profile": name, "develop": develop}}, *develop])
        assert chain.check(State(Signal()))[1] == []

    def test_another_develop_is_a_remark(self, tools):
        chain = tools.chain([{"unprocess": {"profile": "brooks2019"}}, *DEVELOP])
        (problem,) = chain.check(State(Signal()))[1]
        assert "profile brooks2019 has digital_gain, smoothstep, which develop does not hold" in problem.message
        assert not problem.fatal

    def test_brooks2019_is_the_published_inverse(self, tools):
        frame = tools.picture(Signal(), batch=3, size=(9, 7), dtype=torch.float64, low=0.02, high=0.98)
        develop = list(profile.load("brooks2019").develop)
        outcome = tools.chain([{"unprocess": {"profile": "brooks2019", "develop": develop}}]).run(frame)
        for i, values in enumerate(outcome.values):
            drawn, pixels = values["unprocess"], frame.pixels[i].reshape(3, -1).T.numpy()
            ccm = outcome.frame.capture["ccm"][i].numpy()
            expected = released_unprocess(pixels, ccm, drawn["wb_gains"], 1 / drawn["dimming"])
            np.testing.assert_allclose(outcome.frame.pixels[i].reshape(3, -1).T, expected, atol=1e-12)

    def test_the_laws_of_brooks2019(self, tools):
        from scipy import stats

        frame = tools.picture(Signal(), batch=400, size=(1, 2))
        outcome = tools.chain([{"unprocess": {"profile": "brooks2019"}}]).run(frame)
        drawn = [values["unprocess"] for values in outcome.values]
        tools.assert_law([v["dimming"] for v in drawn], stats.norm(0.8, 0.1))
        tools.assert_law([v["wb_gains"][0] for v in drawn], stats.uniform(1.9, 0.5))
        tools.assert_law([v["wb_gains"][2] for v in drawn], stats.uniform(1.5, 0.4))
        tools.assert_law([v["shot"] for v in drawn], stats.loguniform(1e-4, 1.2e-2))
        scatter = [np.log(v["read"]) - 2.18 * np.log(v["shot"]) - 1.2 for v in drawn]
        tools.assert_law(scatter, stats.norm(0, 0.26))

    def test_safe_highlights_keep_white_at_the_top(self, tools, photos):
        frame = photo_frame(tools, photos, "astronaut", ["a", "b"])
        develop = list(profile.load("brooks2019").develop)
        entry = {"profile": "brooks2019", "develop": develop}
        plain = tools.run_chain([{"unprocess": entry}], frame)
        safe = tools.run_chain([{"unprocess": {**entry, "highlights": "safe"}}], frame)
        assert "lost" not in plain.maps
        lost = safe.maps["lost"].expand_as(frame.pixels)
        assert 0.001 < lost.double().mean() < 0.2
        assert (safe.pixels >= plain.pixels - 1e-6).all()
        assert torch.equal(safe.pixels[~lost], plain.pixels[~lost])
        white = (frame.pixels == 1).all(dim=1, keepdim=True).expand_as(lost)
        assert white.any()
        assert (safe.pixels[white] - 1).abs().max() < 1e-5
        assert plain.pixels[white].max() < 0.95

    def test_matrices_of_another_profile_are_those(self):
        mine, theirs = (profile.load(n).state.constants.xyz_to_camera for n in ("brooks2019", "generic_phone"))
        assert mine == theirs

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("xyz_to_camera: generic_phne", "p.yaml:6: unknown camera profile 'generic_phne': did you mean"),
            ("xyz_to_camera: generic_phone\ndevelop: []", "develop is a list"),
            ("xyz_to_camera: generic_phone\nmix: [1]", "4 matrices need as many weights, found 1"),
            (
                "xyz_to_camera: generic_phone\nmix: [1, 1, 1, 1]\ngamut_centres: [[0, 0, 0]]\n"
                "gamut_weights: [[0, {uniform: [0, 0.5]}, 0]]",
                "too large for a gamut map that can be undone",
            ),
        ],
    )
    def test_a_profile_that_is_wrong_is_refused_with_its_line(self, change, message):
        head = "name: p\ndescription: d\nsource: s\nlicence: l\nwb_gains: [2, 1, 2]\n"
        with pytest.raises(profile.ProfileFault, match=message):
            profile.parse(f"{head}{change}\n".encode(), "p.yaml")


class TestSaturated:
    def test_a_pixel_is_marked_if_any_channel_is_at_the_top(self, tools):
        frame = tools.picture(Signal(), batch=1, size=(2, 3), low=0.1, high=0.9)
        pixels = frame.pixels.clone()
        pixels[0, 1, 0, 2] = 1.0
        pixels[0, :, 1, 0] = 1.0
        marked = tools.run_stage("unprocess", replace(frame, pixels=pixels)).maps["saturated"]
        assert marked.tolist() == [[[[False, False, True], [True, False, False]]]]


class TestRefusals:
    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"profile": "generic_phne"}, "did you mean 'generic_phone'"),
            ({"develop": []}, "at least 1"),
            ({"develop": ["clip"]}, "clip can't be undone"),
            ({"develop": ["srgb_oteff"]}, "unknown"),
            ({"develop": {"choice": [["srgb_oetf"]]}}, "no distribution may stand here"),
        ],
    )
    def test_parameters(self, tools, params, message):
        with pytest.raises(ParameterFaults, match=message):
            tools.chain([{"unprocess": params}])

    @pytest.mark.parametrize(
        ("develop", "message"),
        [
            (["colour_matrix", "white_balance", "srgb_oetf"], "can't undo white_balance"),
            (["srgb_oetf"], "must lead back to linear camera RGB"),
        ],
    )
    def test_an_order_that_can_not_be(self, tools, develop, message):
        _, problems = tools.chain([{"unprocess": {"develop": develop}}]).check(State(Signal()))
        assert message in problems[0].message
        assert problems[0].fatal

    def test_what_is_linear_already(self, tools):
        _, problems = tools.chain(["unprocess"]).check(State(Signal(transfer="linear")))
        assert "unprocess needs transfer srgb, found linear" in problems[0].message


@settings(max_examples=10)
@given(st.permutations(["photo a", "photo b", "photo c"]))
def test_the_camera_belongs_to_the_key(tools, keys):
    frame = replace(tools.picture(Signal(), size=(3, 3)), keys=tuple(keys))
    same = tools.picture(Signal(), size=(3, 3), keys=("photo a", "photo b", "photo c"))
    mine, theirs = (tools.run_stage("unprocess", f).capture for f in (frame, same))
    for i, key in enumerate(keys):
        j = same.keys.index(key)
        assert all(torch.equal(mine[name][i], theirs[name][j]) for name in mine)
