"""Deviations: errors on top of what is right, of parameters and of facts of the capture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim import recipe
from isp_sim.parameters import ParameterFaults
from isp_sim.signal import RAW, Signal

CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")
GAINS = {"wb_gains": torch.tensor([[2.1, 1.0, 1.6], [1.9, 1.0, 2.2], [1.0, 1.3, 3.0]]).reshape(3, 3, 1, 1)}
DEVELOP = ["white_balance", "colour_matrix", "tone_curve", "clip", "srgb_oetf"]

HEAD = "version: 1\ninput: {reader: samples}\nstages:\n  - unprocess\n"


def faults(stage, head=HEAD):
    with pytest.raises(recipe.RecipeError) as caught:
        recipe.parse(head + stage)
    return [(fault.line, fault.message) for fault in caught.value.faults]


def unprocessed(tools):
    photo = tools.picture(Signal(), batch=3, size=(9, 11), low=0.05, high=0.9)
    return tools.run_chain(["unprocess"], photo)


class TestParameters:
    @given(st.floats(0.5, 4), st.floats(0.5, 2), st.sampled_from(["factor", "add", "set"]))
    def test_the_stage_runs_with_what_the_mode_makes_of_it(self, tools, gain, error, mode):
        made = {"factor": gain * error, "add": gain + error, "set": error}[mode]
        frame = tools.picture(CAMERA, size=(3, 4), dtype=torch.float64)
        found = tools.run_stage("white_balance", frame, {"gains": [gain, 1, 2], "deviate": {"gains.0": {mode: error}}})
        tools.assert_same_frame(found, tools.run_stage("white_balance", frame, {"gains": [made, 1, 2]}))

    def test_one_number_for_all_or_one_for_each(self, tools):
        frame = tools.picture(CAMERA, size=(3, 4))
        right = {"gains": [2.0, 1.0, 1.5]}

        def run(errors):
            return tools.run_stage("white_balance", frame, {**right, "deviate": {"gains": {"add": errors}}})

        tools.assert_same_frame(run(0.5), run([0.5, 0.5, 0.5]))
        tools.assert_same_frame(run(0.5), tools.run_stage("white_balance", frame, {"gains": [2.5, 1.5, 2.0]}))

    def test_no_error_is_nothing(self, tools):
        frame = tools.picture(CAMERA, capture=GAINS)
        nothing = {"deviate": {"gains": {"factor": 1}}}
        tools.assert_same_frame(
            tools.run_stage("white_balance", frame, nothing), tools.run_stage("white_balance", frame)
        )

    def test_an_error_on_a_drawn_value(self, tools):
        frame = tools.picture(Signal(), size=(16, 16), keys=("a", "b", "c"))
        right = {"quality": {"randint": [20, 60]}}
        chain = tools.chain([{"jpeg": {**right, "deviate": {"quality": {"add": {"randint": [-10, 10]}}}}}])
        alone = tools.chain([{"jpeg": right}]).run(frame).values
        for values, undeviated in zip(chain.run(frame).values, alone, strict=True):
            record = values["jpeg"]
            assert record["quality"] == undeviated["jpeg"]["quality"], "a deviation must not change other draws"
            assert -10 <= record["deviate"]["quality"]["add"] <= 10

    def test_an_unbounded_law_is_cut_where_the_value_would_leave_its_bounds(self, tools):
        frame = tools.picture(Signal(), size=(2, 2), batch=40, keys=tuple(map(str, range(40))))
        chain = tools.chain([{"gaussian_noise": {"sigma": 0.9, "deviate": {"sigma": {"add": {"normal": [0, 5]}}}}}])
        errors = [v["gaussian_noise"]["deviate"]["sigma"]["add"] for v in chain.run(frame).values]
        assert min(errors) >= -0.9
        assert max(errors) <= 0.1 + 1e-12
        assert np.ptp(errors) > 0.5

    @pytest.mark.parametrize(
        ("stage", "line", "message"),
        [
            ("  - white_balance:\n      deviate:\n        gains.3: {factor: 1}\n", 7, "there is no gains.3"),
            (
                "  - white_balance:\n      gains: [2, 1, 1]\n      deviate:\n        gains.3: {add: 1}\n",
                8,
                "no entry 3",
            ),
            ("  - white_balance: {deviate: {gans.0: {add: 1}}}\n", 5, "did you mean 'gains'"),
            ("  - white_balance: {deviate: {wb_gains.0: {add: 1}}}\n", 5, "the setting is called gains.0"),
            ("  - white_balance: {deviate: {gains.0: {times: 1}}}\n", 5, "needs one of factor, add, set"),
            ("  - white_balance: {deviate: {gains.0: 1}}\n", 5, "needs one of factor, add, set"),
            ("  - white_balance: {deviate: {gains: {factor: 1}, gains.0: {add: 1}}}\n", 5, "deviates twice"),
            ("  - white_balance: {deviate: {gains.0: {factor: {uniform: [0, 1]}}}}\n", 5, "out of bounds"),
            ("  - white_balance: {deviate: {gains.0: {factor: {unifrm: [0, 1]}}}}\n", 5, "did you mean uniform"),
            (
                "  - white_balance: {deviate: {gains.0: {factor: {linear: {of: gains, slope: 1, intercept: 0}}}}}\n",
                5,
                "follow",
            ),
            ("  - white_balance: {deviate: 3}\n", 5, "needs settings"),
            ("  - mosaic\n  - mosaic: {deviate: {cfa: {set: 1}}}\n", 6, "decides what the stage gives"),
            ("  - shot_read_noise: {deviate: {shot: {factor: 2}}}\n", 5, "give shot"),
            ("  - shot_read_noise: {shot: 0.01, deviate: {law: {set: 2}}}\n", 5, "only numbers deviate"),
            ("  - exposure: {ev: 19, deviate: {ev: {add: {uniform: [-1, 2]}}}}\n", 5, "less than or equal to 20"),
            ("  - exposure: {ev: {uniform: [-20, 0]}, deviate: {ev: {add: -1}}}\n", 5, "greater than or equal to -20"),
            ("  - clip: {deviate: {low: {add: 2}}}\n", 5, "low 2.0 must lie below high 1.0"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(self, stage, line, message):
        found = faults(stage)
        assert any(at == line and message in text for at, text in found), found

    def test_whole_numbers(self):
        head = "version: 1\nstages:\n"
        for law, message in [("add: {uniform: [0, 1]}", "use randint"), ("factor: 2", "use add or set")]:
            ((line, text),) = faults(f"  - jpeg: {{deviate: {{quality: {{{law}}}}}}}\n", head)
            assert line == 3
            assert message in text

    def test_a_picture_fails_where_values_no_longer_go_together(self, tools):
        curve = {"points": [[0, 0], [0.4, 0.5], [0.6, 0.7], [1, 1]]}
        signal = replace(CAMERA, white_balanced=True)
        with pytest.raises(ParameterFaults, match="must rise"):
            tools.chain([{"tone_curve": {**curve, "deviate": {"points.1.0": {"add": 0.3}}}}])
        both = {"points.1.0": {"add": 0.15}, "points.2.0": {"add": -0.15}}
        chain = tools.chain([{"tone_curve": {**curve, "deviate": both}}])
        with pytest.raises(ValueError, match="deviate too far"):
            chain.run(tools.picture(signal, size=(3, 3)))


class TestFacts:
    @pytest.mark.parametrize(
        ("stage", "deviate", "fact", "change"),
        [
            ("white_balance", {"gains.0": {"factor": 1.2}}, "wb_gains", lambda x: x[:, 0].mul_(1.2)),
            (
                "white_balance",
                {"gains": {"add": [0.1, 0, 0.2]}},
                "wb_gains",
                lambda x: x.add_(torch.tensor([[[0.1]], [[0]], [[0.2]]])),
            ),
            ("colour_matrix", {"matrix.0.1": {"add": 0.1}}, "ccm", lambda x: x[:, 0, 1].add_(0.1)),
            ("tone_curve", {"points.1.1": {"add": -0.005}}, "tone_curve", lambda x: x[:, 1, 1].add_(-0.005)),
        ],
    )
    def test_the_stage_sees_the_error_and_the_capture_keeps_what_is_right(self, tools, stage, deviate, fact, change):
        frame = tools.run_chain(DEVELOP[: DEVELOP.index(stage)], unprocessed(tools))
        found = tools.run_stage(stage, frame, {"deviate": deviate})
        wrong = frame.capture[fact].clone()
        change(wrong)
        expected = tools.run_stage(stage, replace(frame, capture=frame.capture.with_facts({fact: wrong})))
        assert tools.bits(found.pixels) == tools.bits(expected.pixels)
        assert not torch.equal(found.pixels, tools.run_stage(stage, frame).pixels)
        assert found.capture[fact] is frame.capture[fact]

    def test_black_level_in_dn(self, tools):
        signal = RAW.changed({"cfa": "RGGB", "bit_depth": None})
        facts = {"black_level": torch.full((3, 1, 2, 2), 64.0), "white_level": torch.full((3, 1, 2, 2), 1023.0)}
        frame = tools.picture(signal, size=(4, 6), low=0, high=1023, capture=facts, dtype=torch.float64)
        found = tools.run_stage("normalise", frame, {"deviate": {"black_level": {"add": -8}}})
        np.testing.assert_allclose(found.pixels, (frame.pixels - 56) / (1023 - 56), rtol=1e-14)
        assert found.capture["black_level"] is frame.capture["black_level"]
        after = tools.run_stage("black_level", frame, {"deviate": {"black_level": {"add": -8}}})
        np.testing.assert_array_equal(after.pixels, frame.pixels - 56)
        assert after.capture["white_level"].unique().tolist() == [1023 - 56], "what the stage sets stays"

    def test_noise_is_recorded_as_it_is(self, tools):
        profile = {"noise_profile": torch.tensor([[[1e-3, 1e-5]]]).repeat(3, 1, 1)}
        frame = tools.picture(CAMERA, size=(4, 6), capture=profile)
        found = tools.run_stage("shot_read_noise", frame, {"deviate": {"noise_profile.0.0": {"factor": 4}}})
        expected = tools.run_stage("shot_read_noise", frame, {"shot": 4e-3, "read": 1e-5})
        np.testing.assert_allclose(found.pixels, expected.pixels, rtol=1e-5)
        np.testing.assert_allclose(found.capture["noise_profile"], expected.capture["noise_profile"], rtol=1e-6)

    @pytest.mark.parametrize(
        ("stage", "deviate", "message"),
        [
            ("normalise", {"black_level.0.0.0": {"add": 1}}, "as a whole"),
            ("normalise", {"black_level": {"add": [1, 2, 3, 4]}}, "as a whole"),
            ("normalise", {"iso": {"add": 1}}, "takes no such fact"),
            ("lens_shading", {"gain_map_geometry.0": {"add": 1}}, "no setting that could be off"),
        ],
    )
    def test_facts_that_can_not_deviate(self, tools, stage, deviate, message):
        with pytest.raises(ParameterFaults, match=message):
            tools.chain(
                [
                    {
                        stage: {"model": "gain_map", "deviate": deviate}
                        if stage == "lens_shading"
                        else {"deviate": deviate}
                    }
                ]
            )

    def test_too_far_for_the_bounds_fails_the_picture(self, tools):
        frame = tools.picture(CAMERA, capture=GAINS, size=(3, 3))
        with pytest.raises(ValueError, match="deviate too far"):
            tools.run_stage("white_balance", frame, {"deviate": {"gains.0": {"factor": 90}}})

    def test_a_number_that_the_fact_has_not(self, tools):
        frame = tools.run_chain(["white_balance", "colour_matrix"], unprocessed(tools))
        with pytest.raises(ValueError, match="no such number"):
            tools.run_stage("tone_curve", frame, {"deviate": {"points.99.1": {"add": 0.01}}})

    def test_engine_laws(self, tools):
        drawn = {"deviate": {"gains": {"factor": [{"normal": [1, 0.1]}, 1, {"uniform": [0.8, 1.2]}]}}}
        tools.assert_engine_laws("white_balance", tools.picture(CAMERA, capture=GAINS), drawn)


class TestEngine:
    def test_unprocess_and_develop_with_an_error_do_not_cancel(self, tools):
        photo = tools.picture(Signal(), size=(9, 11), low=0.05, high=0.9, dtype=torch.float64)
        right = tools.run_chain(["unprocess", *DEVELOP], photo).pixels
        wrong = tools.run_chain(
            ["unprocess", {"white_balance": {"deviate": {"gains.0": {"factor": 1.3}}}}, *DEVELOP[1:]], photo
        ).pixels
        assert (right - photo.pixels).abs().max() < 1e-6
        assert (wrong - photo.pixels).abs().max() > 0.02

    @pytest.mark.parametrize("params", [{"gains": [2, 1, 1.5]}, {}], ids=["given", "as shot"])
    def test_an_inverse_undoes_what_is_right_alone(self, tools, params):
        frame = tools.picture(CAMERA, capture=GAINS, dtype=torch.float64)
        chain = tools.chain([{"white_balance": {**params, "deviate": {"gains.0": {"factor": 1.5}}}}])
        back = chain.inverse(chain.run(frame).frame)
        np.testing.assert_allclose(back.pixels[:, 0], 1.5 * frame.pixels[:, 0], rtol=1e-14)
        np.testing.assert_allclose(back.pixels[:, 1:], frame.pixels[:, 1:], rtol=1e-14)

    def test_recorded_under_the_stage_and_resolved_to_the_same_recipe(self):
        text = HEAD + "  - {white_balance: {deviate: {gains.0: {factor: {loguniform: [0.8, 1.25]}}}}, id: wb}\n"
        first = recipe.parse(text)
        again = recipe.parse(str(first.resolved).replace("None", "null").replace("True", "true"))
        assert again.hash == first.hash != recipe.parse(text.replace("0.8", "0.9")).hash
        item = first.reader.items()[0]
        frame = first.reader.read(item).frame.crop(0, 0, 8, 8)
        outcome, other = (made.pipeline.run(frame) for made in (first, again))
        error = outcome.values[0]["wb"]["deviate"]["gains.0"]["factor"]
        assert 0.8 <= error <= 1.25
        assert other.values == outcome.values
        assert torch.equal(other.frame.pixels, outcome.frame.pixels)
