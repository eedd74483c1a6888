import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isp_sim.cameras import profile
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import Signal

SPAN = 1000.0
QUIET = {"span": SPAN, "quantisation": "none"}
ELD = ["eld_canon_5d4", "eld_canon_700d", "eld_canon_70d", "eld_nikon_d850", "eld_sony_a7s2"]
PROFILED = {"profile": "eld_sony_a7s2", "iso": {"loguniform": [100, 12800]}}


@pytest.mark.parametrize(
    "params",
    [
        PROFILED,
        {**PROFILED, "ratio": {"uniform": [1, 300]}, "quantisation": {"choice": ["round", "uniform", "none"]}},
        {"span": SPAN, "read": 2.0, "shape": 0.1, "row": 1.0, "column": 1.0, "dsnu": 1.0, "prnu": 0.01, "dark": 3.0},
    ],
    ids=["profile", "dark profile", "given"],
)
def test_engine_laws(tools, flat, params):
    tools.assert_engine_laws("sensor_noise", flat(0.01, 0.2, 0.7, size=(47, 43)), params)


@settings(max_examples=12)
@given(
    gain=st.floats(0.1, 8),
    read=st.floats(0.5, 5),
    row=st.floats(0.2, 3),
    x=st.floats(0.02, 1),
    law=st.sampled_from(["poisson", "gaussian"]),
    quantisation=st.sampled_from(["uniform", "round", "none"]),
    seed=st.integers(0, 99),
)
def test_unbiased_with_the_variance_it_reports(tools, flat, gain, read, row, x, law, quantisation, seed):
    """Within rows the variance is that of all terms but the rows'; between rows, theirs and what the mean leaves."""
    params = {"span": SPAN, "gain": gain, "read": read, "row": row, "photons": law, "quantisation": quantisation}
    frame = flat(*[x] * 4, size=(100, 120))
    after = tools.run_stage("sensor_noise", frame, params, seed=seed)
    noise = (after.pixels - frame.pixels).numpy() * SPAN
    own = gain * x * SPAN + read**2 + (0 if quantisation == "none" else 1 / 12)
    np.testing.assert_allclose(after.maps["sigma"] * SPAN, math.sqrt(own + row**2), rtol=1e-6)
    rows = noise.mean(axis=-1).ravel()
    tools.assert_mean(rows, 0, math.sqrt(row**2 + own / 120))
    tools.assert_unit_variance(rows / math.sqrt(row**2 + own / 120))
    within = noise - noise.mean(axis=-1, keepdims=True)
    # each row of 120 holds 119 independent deviations; few photons have a fourth cumulant of their own
    fourth = gain**3 * x * SPAN if law == "poisson" else 0
    tools.assert_mean((within**2).sum(axis=-1) / 119, own, math.sqrt(2 * own**2 / 119 + fourth / 120))
    shot, dark = after.capture["noise_profile"][0, 0].tolist()
    assert shot == pytest.approx(gain / SPAN, rel=1e-6)
    assert dark == pytest.approx((own - gain * x * SPAN + row**2) / SPAN**2, rel=1e-6)


def test_regression_of_variance_on_mean_returns_gain_and_read_noise(tools, flat):
    gain, read, x = 2.0, 6.0, np.linspace(0.02, 0.9, 10)
    frame = flat(*x)
    after = tools.run_stage("sensor_noise", frame, {**QUIET, "gain": gain, "read": read})
    noise = ((after.pixels - frame.pixels).numpy() * SPAN).reshape(len(x), -1)
    truth = gain * x * SPAN + read**2
    spread = np.sqrt((2 * truth**2 + gain**3 * x * SPAN) / noise.shape[1])
    design = np.stack([x * SPAN, np.ones_like(x)], axis=1) / spread[:, None]
    covariance = np.linalg.inv(design.T @ design)
    found = covariance @ design.T @ ((noise**2).mean(axis=1) / spread)
    allowed = tools.normal_quantile() * np.sqrt(np.diag(covariance))
    assert (np.abs(found - [gain, read**2]) <= allowed).all()
    assert allowed[0] < 0.05 * gain
    assert allowed[1] < 0.25 * read**2


def test_the_terms_alone_are_the_stages_of_their_own(tools, flat):
    """In law: the same variance, the same pattern, the same offsets."""
    frame = flat(0.0, size=(40, 40))
    bias = {"colour_bias": [1.0, 2.0, 3.0, 4.0]}
    alone = tools.run_stage("colour_bias", frame, {"span": SPAN, "offsets": bias["colour_bias"]})
    np.testing.assert_allclose(tools.run_stage("sensor_noise", frame, {**QUIET, **bias}).pixels, alone.pixels)
    frame = flat(0.5, size=(40, 40))
    pattern = {"prnu": 0.02, "dsnu": 3.0, "sensor": "x"}
    alone = tools.run_stage("fixed_pattern", frame, {"span": SPAN, **pattern})
    both = tools.run_stage("sensor_noise", frame, {**QUIET, **pattern, "gain": 1e-3, "photons": "gaussian"})
    z = (both.pixels - alone.pixels).numpy() * SPAN / math.sqrt(1e-3 * 500)
    tools.assert_mean(z, 0, 1.001)


def test_dark_electrons_have_shot_noise_and_no_mean(tools, flat, noise_of):
    noise = noise_of("sensor_noise", flat(0.0), {**QUIET, "gain": 0.5, "dark": 30.0}, span=SPAN)
    tools.assert_mean(noise, 0, 0.5 * math.sqrt(30))
    tools.assert_mean(noise**2, 0.25 * 30, 0.25 * math.sqrt(2 * 900 + 30))


@settings(max_examples=10)
@given(ratio=st.floats(1, 300), x=st.floats(0.1, 1), seed=st.integers(0, 99))
def test_a_dark_scene_amplified(tools, flat, ratio, x, seed):
    frame = flat(x, size=(150, 150))
    after = tools.run_stage("sensor_noise", frame, {**QUIET, "read": 2.0, "ratio": ratio}, seed=seed)
    variance = ratio**2 * (x * SPAN / ratio + 4)
    noise = (after.pixels - frame.pixels).numpy() * SPAN
    tools.assert_mean(noise, 0, math.sqrt(variance))
    tools.assert_mean(noise**2, variance, math.sqrt(2 * variance**2 + ratio**4 * x * SPAN / ratio))
    np.testing.assert_allclose(after.maps["sigma"] * SPAN, math.sqrt(variance), rtol=1e-6)


class TestQuantisation:
    @pytest.mark.parametrize("quantisation", ["uniform", "round"])
    def test_error_has_a_twelfth_of_a_squared_dn(self, tools, flat, quantisation):
        frame = flat(*np.linspace(0.2, 0.6, 4))
        params = {"span": SPAN, "gain": 1e-3, "read": 4.0}
        exact, coarse = (
            tools.run_stage("sensor_noise", frame, {**params, "quantisation": q}).pixels for q in ("none", quantisation)
        )
        error = (coarse - exact).numpy() * SPAN
        assert np.abs(error).max() <= 0.5 + 1e-6
        tools.assert_mean(error, 0, math.sqrt(1 / 12))
        tools.assert_mean(error**2, 1 / 12, math.sqrt(1 / 180))
        tools.assert_law(error.ravel()[::7], stats.uniform(-0.5, 1))

    def test_rounded_are_whole_dn(self, tools, flat, levels):
        params = {"read": 3.0, "quantisation": "round"}
        whole = tools.run_stage("sensor_noise", flat(0.3, size=(30, 30), capture=levels), params).pixels * SPAN
        assert (whole - whole.round()).abs().max() < 1e-9
        odd = {**levels, "black_level": levels["black_level"] + 0.25}
        frame = flat(333.3, size=(30, 30), capture=odd)
        frame = replace(frame, signal=frame.signal.changed({"levels": "dn"}))
        whole = tools.run_stage("sensor_noise", frame, params).pixels
        assert (whole - whole.round()).abs().max() < 1e-9


class TestProfile:
    @pytest.mark.parametrize("name", ELD)
    @pytest.mark.parametrize("iso", [100.0, 1600.0])
    def test_the_noise_is_the_law_s(self, tools, flat, name, iso):
        law = profile.load(name).noise
        state = law.at(iso)
        params = {"profile": name, "iso": iso, "scatter": False, "quantisation": "none"}
        after = tools.run_stage("sensor_noise", flat(0.0), params)
        dn = after.pixels.numpy() * law.dn
        bias = dict(zip(((0, 1), (0, 0), (1, 1), (1, 0)), state.offsets, strict=True))  # GRBG
        rows = dn.copy()
        for (y, x), offset in bias.items():
            rows[..., y::2, x::2] -= offset
        read_sd = state.read[0] * stats.tukeylambda.std(state.shape)
        means = rows.mean(axis=-1).ravel()
        tools.assert_unit_variance(means / math.sqrt(state.row**2 + read_sd**2 / 200))
        alone = tools.run_stage("sensor_noise", flat(0.0), {**params, "row": 0.0}).pixels.numpy() * law.dn
        for (y, x), offset in bias.items():
            part = (alone[..., y::2, x::2] - offset) / state.read[0]
            tools.assert_law(part.ravel(), stats.tukeylambda(state.shape))
        assert after.capture["iso"].item() == iso

    def test_cameras_scatter_about_the_law(self, tools, flat):
        law = profile.load("eld_sony_a7s2").noise
        frame = flat(*[0.0] * 300, size=(2, 2), keys=tuple(map(str, range(300))))
        outcome = tools.chain([{"sensor_noise": {"profile": "eld_sony_a7s2", "iso": 800.0}}]).run(frame)
        drawn = [values["sensor_noise"] for values in outcome.values]
        for name in ("read_deviation", "row_deviation"):
            tools.assert_law([v[name] for v in drawn], stats.norm())
        for i in (0, 7):
            state = law.at(800.0, drawn[i]["read_deviation"], drawn[i]["row_deviation"])
            middle = law.at(800.0)
            expected = math.log(state.read[0] / middle.read[0])
            assert expected == pytest.approx(law.read.sd * drawn[i]["read_deviation"], rel=1e-9)
            variance = state.read[0] ** 2 * stats.tukeylambda.var(state.shape) + state.row**2 + 1 / 12
            assert outcome.frame.capture["noise_profile"][i, 0, 1] == pytest.approx(variance / law.dn**2, rel=1e-5)
        still = tools.chain([{"sensor_noise": {"profile": "eld_sony_a7s2", "iso": 800.0, "scatter": False}}]).run(frame)
        assert "read_deviation" not in still.values[0]["sensor_noise"]

    def test_unprocess_and_noise_of_one_camera_agree(self, tools):
        """The speed that unprocess draws is the one that the noise is for."""
        chain = tools.chain(
            [
                {"unprocess": {"profile": "eld_nikon_d850", "iso": {"loguniform": [100, 6400]}}},
                {"mosaic": {"cfa": "RGGB"}},
                {"sensor_noise": {"profile": "eld_nikon_d850", "scatter": False}},
            ]
        )
        frame = tools.picture(Signal(), batch=5, size=(8, 8), dtype=torch.float64)
        steps = {}
        outcome = chain.run(frame, watch=lambda step, after: steps.update({step.id: after}))
        speeds = [values["unprocess"]["iso"] for values in outcome.values]
        assert len(set(speeds)) == 5
        np.testing.assert_allclose(outcome.frame.capture["iso"].flatten(), speeds, rtol=1e-12)
        before, after = (steps[name].capture["noise_profile"] for name in ("unprocess", "sensor_noise"))
        np.testing.assert_allclose(after, before, rtol=1e-9)
        law = profile.load("eld_nikon_d850").noise
        np.testing.assert_allclose(after[:, 0, 0], [law.at(s).gain[0] / law.dn for s in speeds], rtol=1e-9)

    def test_what_is_given_replaces_it(self, tools, flat):
        params = {"profile": "eld_sony_a7s2", "iso": 400.0, "gain": 3.0, "read": 0.0, "row": 0.0}
        after = tools.run_stage("sensor_noise", flat(0.3, size=(4, 4)), params)
        assert after.capture["noise_profile"][0, 0, 0] == pytest.approx(3 / 15583)
        assert after.capture["noise_profile"][0, 0, 1] == pytest.approx(1 / 12 / 15583**2)

    def test_each_colour_of_a_noise_profile(self, tools, flat, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "own.yaml").write_text(
            "name: a\ndescription: b\nsource: c\nlicence: d\nnoise:\n  law: noise_profile\n  points:\n"
            "  - {iso: 100, shot: [0.04, 0.01, 0.02], read: [1.0e-4, 2.0e-4, 9.0e-4]}\n"
        )
        after = tools.run_stage("sensor_noise", flat(0.5, size=(240, 240)), {"profile": "own.yaml", "iso": 100.0})
        assert after.capture["noise_profile"][0].tolist() == [
            pytest.approx(pair) for pair in ([0.04, 1e-4], [0.01, 2e-4], [0.02, 9e-4])
        ]
        noise = (after.pixels - 0.5).numpy()[0, 0]
        for (y, x), shot, read in (((0, 1), 0.04, 1e-4), ((0, 0), 0.01, 2e-4), ((1, 0), 0.02, 9e-4)):
            variance, fourth = shot * 0.5 + read, shot**3 * 0.5
            part = noise[y::2, x::2]
            tools.assert_mean(part, 0, math.sqrt(variance))
            tools.assert_mean(part**2, variance, math.sqrt(2 * variance**2 + fourth))

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"profile": "eld_sony_a7s"}, "did you mean 'eld_sony_a7s2'"),
            ({"profile": "eld_sony_a7s2", "iso": 50.0}, "known from ISO 100 to 25600"),
            ({"profile": "eld_sony_a7s2", "iso": {"loguniform": [100, 51200]}}, "upper end"),
            ({"profile": "generic_phone", "iso": 100.0}, "shot_read_noise"),
            ({"iso": 100.0}, "without a profile"),
        ],
    )
    def test_mistakes(self, tools, params, message):
        with pytest.raises(ParameterFaults, match=message):
            tools.chain([{"sensor_noise": params}])
