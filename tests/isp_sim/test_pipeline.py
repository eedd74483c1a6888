from dataclasses import replace
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field

from isp_sim.frame import Boxes, Capture, Frame, Masks
from isp_sim.parameters import Parameters, StageParams, Static, Structural
from isp_sim.pipeline import Pipeline, SignalFault, StageStep, State
from isp_sim.signal import IMAGE, OPEN, RAW, Signal
from isp_sim.stage import Degradation, NotInvertible, Result, Stage, StageFault

LINEAR = Signal(transfer="linear")
CAMERA = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")


class Plain(Stage):
    """Does what it is told; the base of the stages of these tests."""

    def apply(self, frame, p, rng):
        return frame.pixels


def pipeline(*stages, seed=1, **params):
    """Stages under their class names in lower case, with params by that name."""
    steps = []
    for stage in stages:
        name = stage.__name__.lower()
        steps.append(StageStep(name, name, stage(), Parameters.bind(stage.Params, params.get(name))))
    return Pipeline(tuple(steps), seed)


def messages(problems, fatal=True):
    return [problem.message for problem in problems if problem.fatal == fatal]


class TestCheck:
    def test_the_signals_of_a_right_chain(self, tools):
        chain = tools.chain(["unprocess", "mosaic", "clip", {"quantise": {"bits": 10}}, "white_balance", "demosaic"])
        signals, problems = chain.check(State(IMAGE))
        assert not messages(problems)
        after = dict(signals)
        assert [id for id, _ in signals] == [step.id for step in chain.steps]
        assert after["unprocess"] == CAMERA
        assert after["mosaic"] == replace(CAMERA, layout="mosaic", cfa="RGGB")
        assert after["quantise"].bit_depth == 10
        assert after["white_balance"] == replace(after["mosaic"], white_balanced=True)
        assert after["demosaic"] == replace(CAMERA, white_balanced=True)

    def test_what_the_check_says_is_what_a_run_gives(self, tools):
        entries = ["unprocess", "mosaic", "shot_read_noise", "clip", {"quantise": {"bits": 10}}, "white_balance"]
        entries += ["demosaic", "colour_matrix", "tone_curve", {"crop": {"height": 9, "width": 7}}, "srgb_oetf", "jpeg"]
        chain = tools.chain(entries)
        frame = tools.picture(Signal(bit_depth=8), size=(16, 19))
        signals, problems = chain.check(State(frame.signal))
        assert not messages(problems)
        assert chain.run(frame).signals == signals

    def test_a_wrong_order_says_what_was_found_needed_and_who_gives_it(self, tools):
        _, problems = tools.chain(["mosaic"]).check(State(IMAGE))
        (message,) = messages(problems)
        assert "mosaic needs transfer linear, found srgb" in message
        assert "srgb_eotf" in message
        assert "would give that" in message

    def test_one_mistake_is_reported_once(self, tools):
        chain = tools.chain(["demosaic", "colour_matrix", "tone_curve", "srgb_oetf"])
        _, problems = chain.check(State(RAW, None))
        # white balance and levels are missing; what follows from that is not said again
        assert [p.step for p in problems if p.fatal] == ["colour_matrix"]

    def test_two_mistakes_are_reported_both(self, tools):
        chain = tools.chain(["mosaic", "demosaic", "srgb_oetf", "jpeg", {"exposure": {"ev": 1}}])
        _, problems = chain.check(State(IMAGE))
        assert [p.step for p in problems if p.fatal] == ["mosaic", "exposure"]

    def test_a_fact_that_nothing_gives(self, tools):
        chain = tools.chain(["white_balance"])
        _, problems = chain.check(State(CAMERA))
        assert "takes wb_gains from the capture, and nothing before it gives that" in messages(problems)[0]
        assert not chain.check(State(CAMERA, frozenset({"wb_gains"})))[1]
        assert not chain.check(State(CAMERA, None))[1]  # a file may bring it
        given = tools.chain([{"white_balance": {"gains": [2, 1, 2]}}])
        assert not given.check(State(CAMERA))[1]
        assert not tools.chain(["unprocess", "white_balance"]).check(State(IMAGE))[1][1:]

    def test_an_open_field_waits_for_the_file(self, tools):
        chain = tools.chain(["normalise", "demosaic"])
        assert not messages(chain.check(State(RAW, None))[1])
        capture = {"black_level": torch.zeros(1, 1, 1, 1), "white_level": torch.ones(1, 1, 1, 1)}
        frame = tools.picture(RAW.changed({"cfa": "RGBG", "bit_depth": None}), batch=1, size=(4, 4), capture=capture)
        with pytest.raises(SignalFault, match="RGBG"):
            chain.run(frame)
        assert (
            chain.run(replace(frame, signal=RAW.changed({"cfa": "GBRG", "bit_depth": None}))).frame.signal.cfa is None
        )

    def test_a_picture_of_another_signal_is_refused_at_the_stage(self, tools):
        with pytest.raises(SignalFault, match="srgb_oetf needs transfer linear, found srgb"):
            tools.chain(["srgb_oetf"]).run(tools.picture(Signal(), size=(4, 4)))

    def test_a_static_parameter_decides_the_signal(self):
        class Convert(Plain):
            class Params(StageParams):
                to: Annotated[str, Static] = Field("p3", description="space")

            def output_signal(self, signal, p):
                return signal.changed({"colour": p.to})

        signals, _ = pipeline(Convert, convert={"to": "rec2020"}).check(State(IMAGE))
        assert signals[0][1].colour == "rec2020"

    def test_bit_depth_is_lost_unless_codes_are_kept(self):
        class Keeps(Plain):
            keeps_codes = True

        deep = Signal(bit_depth=10)
        assert pipeline(Keeps).check(State(deep))[0][0][1].bit_depth == 10
        assert pipeline(Plain).check(State(deep))[0][0][1].bit_depth is None


class TestRun:
    CHAIN: tuple = (
        {"exposure": {"ev": {"uniform": [-1, 1]}}},
        {"shot_read_noise": {"shot": {"loguniform": [1e-4, 1e-2]}}},
        {"gaussian_noise": {"sigma": {"uniform": [0, 0.1]}}},
    )

    def test_batch_is_loop_whatever_the_order(self, tools):
        chain = tools.chain(self.CHAIN)
        frame = tools.picture(LINEAR, batch=4, size=(9, 11))
        whole = chain.run(frame)
        for order in ([0], [3], [2, 0], [3, 2, 1, 0]):
            part = chain.run(frame.select(order))
            tools.assert_same_frame(part.frame, whole.frame.select(order))
            assert part.values == [whole.values[i] for i in order]

    def test_other_stages_do_not_change_the_draws(self, tools):
        frame = tools.picture(LINEAR, size=(9, 11))
        alone = tools.chain(self.CHAIN[2:]).run(frame)
        after_others = tools.chain([{"clip": None}, *self.CHAIN]).run(frame)
        for mine, theirs in zip(alone.values, after_others.values, strict=True):
            assert mine["gaussian_noise"] == theirs["gaussian_noise"]

        class Trace:
            def __init__(self):
                self.before = {}
                self.noise = {}
                self.last = frame.pixels

            def __call__(self, step, after):
                self.noise[step.id] = after.pixels.double() - self.last.double()
                self.last = after.pixels

        first, second = Trace(), Trace()
        dark = replace(frame, pixels=torch.zeros_like(frame.pixels))  # where what is added can be read exactly
        first.last = second.last = dark.pixels
        tools.chain(self.CHAIN[2:]).run(dark, watch=first)
        tools.chain([{"exposure": {"ev": 1}}, self.CHAIN[2]]).run(dark, watch=second)
        assert torch.equal(first.noise["gaussian_noise"], second.noise["gaussian_noise"])
        assert first.noise["gaussian_noise"].abs().max() > 0

    def test_a_second_stage_of_a_kind_has_draws_of_its_own(self, tools):
        twice = [{"gaussian_noise": {"sigma": {"uniform": [0, 0.1]}}}] * 2
        outcome = tools.chain(twice, ids=["first", "second"]).run(tools.picture(LINEAR, size=(4, 4)))
        for values in outcome.values:
            assert values["first"]["sigma"] != values["second"]["sigma"]
        fixed = [{"gaussian_noise": {"sigma": 0.1}}] * 2
        dark = replace(tools.picture(LINEAR, size=(4, 4)), pixels=torch.zeros(3, 3, 4, 4))
        seen = []
        tools.chain(fixed, ids=["first", "second"]).run(dark, watch=lambda step, frame: seen.append(frame.pixels))
        assert not torch.allclose(seen[1], 2 * seen[0])

    def test_a_batch_that_is_split_draws_for_its_own_samples(self):
        class Split(Plain):
            class Params(StageParams):
                kind: str = Field("a", description="splits the batch")

            def apply(self, frame, p, rng):
                assert rng.keys == frame.keys
                return rng.normal(frame.pixels)

        frame = Frame(torch.zeros(6, 3, 2, 2), IMAGE, keys=tuple("abcdef"))
        chain = pipeline(Split, split={"kind": {"choice": ["a", "b", "c"]}})
        whole = chain.run(frame)
        assert len({values["split"]["kind"] for values in whole.values}) > 1
        for i in range(6):
            assert torch.equal(chain.run(frame.select([i])).frame.pixels[0], whole.frame.pixels[i])

    def test_seed_and_view_change_the_draws(self, tools):
        frame = tools.picture(LINEAR, batch=1, size=(4, 4))
        runs = [
            tools.chain(self.CHAIN, seed=seed).run(frame, view).frame.pixels
            for seed, view in ((1, 0), (2, 0), (1, 1), (1, 0))
        ]
        assert torch.equal(runs[0], runs[3])
        assert not torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0], runs[2])

    def test_global_generators_are_left_alone(self, tools):
        before = tools.global_generators()
        chain = tools.chain([*self.CHAIN, {"clip": {"low": {"uniform": [0, 0.1]}}}])
        chain.run(tools.picture(LINEAR, size=(4, 4)))
        assert tools.global_generators() == before

    def test_the_trace(self, tools):
        chain = tools.chain(self.CHAIN)
        seen = []
        outcome = chain.run(tools.picture(LINEAR, size=(4, 4)), watch=lambda step, frame: seen.append((step.id, frame)))
        assert [id for id, _ in seen] == [step.id for step in chain.steps]
        tools.assert_same_frame(seen[-1][1], outcome.frame)
        assert [(id, frame.signal) for id, frame in seen] == outcome.signals

    def test_values_hold_every_parameter_of_every_step(self, tools):
        outcome = tools.chain(self.CHAIN).run(tools.picture(LINEAR, size=(4, 4)))
        assert len(outcome.values) == 3
        for values in outcome.values:
            assert list(values) == ["exposure", "shot_read_noise", "gaussian_noise"]
            assert set(values["shot_read_noise"]) == {"shot", "read", "law"}

    def test_a_structural_number_splits_the_batch_and_comes_plain(self):
        class Kernel(Plain):
            class Params(StageParams):
                size: Annotated[int, Structural] = Field(3, ge=1, le=9, description="[px]")
                gain: float = Field(1.0, ge=0, le=9, description="[1]")

            def apply(self, frame, p, rng):
                assert isinstance(p.size, int)
                assert p.gain.shape == (frame.batch, 1, 1, 1)
                return torch.full_like(frame.pixels, p.size) * p.gain

        node = {"size": {"choice": [3, 5, 7]}, "gain": {"uniform": [1, 2]}}
        frame = Frame(torch.zeros(12, 3, 2, 2), IMAGE, keys=tuple("abcdefghijkl"))
        outcome = pipeline(Kernel, kernel=node).run(frame)
        sizes = [values["kernel"]["size"] for values in outcome.values]
        assert len(set(sizes)) == 3
        expected = [
            size * np.float32(values["kernel"]["gain"]) for size, values in zip(sizes, outcome.values, strict=True)
        ]
        np.testing.assert_array_equal(outcome.frame.pixels[:, 0, 0, 0], np.array(expected, np.float32))
        assert outcome.frame.keys == frame.keys

    def test_facts_and_maps_travel(self):
        class Measures(Plain):
            def apply(self, frame, p, rng):
                facts = {"iso": torch.full((frame.batch, 1, 1, 1), 800.0)}
                return Result(frame.pixels, facts, {"bright": frame.pixels[:, :1] > 0.5})

        frame = Frame(
            torch.rand(2, 3, 4, 4),
            IMAGE,
            Capture({"exposure_time": torch.ones(2, 1, 1, 1)}),
            ("a", "b"),
            {"sigma": torch.ones(2, 1, 4, 4)},
            {"masks": Masks(torch.ones(2, 4, 4, dtype=torch.long))},
        )
        after = pipeline(Measures).run(frame).frame
        assert sorted(after.capture) == ["exposure_time", "iso"]
        assert sorted(after.maps) == ["bright", "sigma"]
        assert torch.equal(after.targets["masks"].labels, frame.targets["masks"].labels)
        assert sorted(frame.capture) == ["exposure_time"]
        assert sorted(frame.maps) == ["sigma"]

    def test_a_geometric_stage_moves_all(self, tools):
        frame = tools.picture(Signal(), batch=1, size=(6, 8))
        frame = replace(
            frame,
            maps={"sigma": frame.pixels[:, :1] * 2},
            targets={"boxes": Boxes((torch.tensor([[2.0, 1.0, 4.0, 3.0]]),))},
        )
        cut = tools.run_stage("crop", frame, {"height": 2, "width": 4, "y": 1.0, "x": 0.5})
        assert torch.equal(cut.pixels, frame.pixels[..., 4:6, 2:6])
        assert torch.equal(cut.maps["sigma"], frame.maps["sigma"][..., 4:6, 2:6])
        assert cut.targets["boxes"].xyxy[0].tolist() == [[0.0, -3.0, 2.0, -1.0]]


class TestFaultsOfAStage:
    FRAME = Frame(torch.rand(2, 3, 4, 6), IMAGE, keys=("a", "b"))

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (lambda x: x.numpy(), "returned ndarray"),
            (lambda x: None, "returned NoneType"),
            (lambda x: x.double(), "turned torch.float32 pixels into torch.float64"),
            (lambda x: x[:, :1], "3 channels; found 1"),
            (lambda x: x[:1], "keys"),
            (lambda x: x[0], "floating"),
            (lambda x: x[..., :-1], "4x6"),
            (lambda x: x.transpose(2, 3), "4x6"),
            (lambda x: Result(x, {"iso": torch.ones(1)}), "'iso' is for 1"),
        ],
    )
    def test_what_no_stage_may_return(self, result, message):
        class Wrong(Plain):
            def apply(self, frame, p, rng):
                return result(frame.pixels)

        with pytest.raises(StageFault, match=message) as caught:
            pipeline(Wrong).run(self.FRAME)
        assert "wrong" in str(caught.value)

    def test_a_degradation_leaves_the_signal(self):
        with pytest.raises(TypeError, match="can't set transfer"):

            class Declared(Degradation):
                gives = Signal.change(transfer="linear")

        class Sneaky(Plain, Degradation):
            def output_signal(self, signal, p):
                return signal.changed({"transfer": "linear"})

        _, problems = pipeline(Sneaky).check(State(IMAGE))
        assert "must leave the signal as it was" in messages(problems)[0]
        with pytest.raises(TypeError, match="must leave the signal as it was"):
            pipeline(Sneaky).run(self.FRAME)

    def test_a_degradation_may_set_the_bit_depth(self):
        class Coarse(Plain, Degradation):
            gives = Signal.change(bit_depth=4)

        assert pipeline(Coarse).run(self.FRAME).frame.signal.bit_depth == 4

    def test_a_remark_is_no_fault(self):
        class Odd(Plain):
            def remarks(self, p, later):
                return [f"before {', '.join(later)}"]

        _, problems = pipeline(Odd, Plain).check(State(IMAGE))
        assert not messages(problems)
        assert messages(problems, fatal=False) == ["odd: before plain"]


class TestInverse:
    def test_undoes_a_chain_last_step_first(self, tools):
        chain = tools.chain(
            [
                {"exposure": {"ev": 0.5}},
                {"white_balance": {"gains": [2, 1, 1.5]}},
                {"colour_matrix": {"matrix": [[1.5, -0.3, -0.2], [-0.2, 1.4, -0.2], [0, -0.5, 1.5]]}},
                {"tone_curve": {"points": [[0, 0], [0.3, 0.5], [1, 1]]}},
                "srgb_oetf",
            ]
        )
        frame = tools.picture(CAMERA, size=(7, 5), dtype=torch.float64)
        developed = chain.run(frame).frame
        assert (developed.pixels - frame.pixels).abs().max() > 0.1
        undone = chain.inverse(developed)
        assert (undone.pixels - frame.pixels).abs().max() < 1e-12
        for field in ("layout", "colour", "white_balanced", "transfer", "levels", "reference"):
            assert getattr(undone.signal, field) == getattr(frame.signal, field)

    def test_what_has_no_inverse_says_so(self, tools):
        frame = tools.picture(Signal(), batch=1, size=(4, 4))
        with pytest.raises(NotInvertible, match="Clip can't be undone"):
            tools.chain(["clip"]).inverse(frame)


def test_a_field_left_open_is_no_fault_but_stays_open(tools):
    signals, problems = tools.chain(["clip"]).check(State(IMAGE.changed({"colour": OPEN})))
    assert not problems
    assert signals[0][1].colour == OPEN


class TestGivenValues:
    """Tensors in place of what a recipe says: what a gradient is wanted for."""

    RAW = Signal(colour="camera", white_balanced=False, transfer="linear", reference="scene")

    def chain(self, tools):
        matrix = [[1.5, -0.3, -0.2], [-0.2, 1.4, -0.2], [0, -0.4, 1.4]]
        return tools.chain([{"white_balance": {"gains": [2, 1, 1.5]}}, {"colour_matrix": {"matrix": matrix}}])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_same_values_are_the_same_bits(self, tools, dtype):
        frame = tools.picture(self.RAW, dtype=dtype, size=(9, 7))
        plain = self.chain(tools).run(frame)
        gains = torch.tensor([2, 1, 1.5], dtype=dtype)
        for given in (gains, gains.expand(3, 3)):
            outcome = self.chain(tools).run(frame, values={"white_balance": {"gains": given}})
            tools.assert_same_frame(outcome.frame, plain.frame)
            assert outcome.values == plain.values

    def test_each_sample_may_have_its_own(self, tools):
        frame = tools.picture(self.RAW, size=(9, 7))
        gains = torch.tensor([[2, 1, 1.5], [1, 1, 1], [1.25, 2, 4]])
        outcome = self.chain(tools).run(frame, values={"white_balance": {"gains": gains}})
        for i in range(3):
            alone = self.chain(tools).run(frame.select([i]), values={"white_balance": {"gains": gains[i]}})
            tools.assert_same_frame(alone.frame, outcome.frame.select([i]))
            assert outcome.values[i]["white_balance"]["gains"] == tuple(gains[i].tolist())

    def test_they_replace_a_law_and_the_capture(self, tools):
        frame = tools.picture(self.RAW, size=(5, 4))
        chain = tools.chain([{"white_balance": {"gains": [{"uniform": [1, 3]}, 1, 1]}}])
        given = torch.tensor([0.1, 0.2, 0.3])
        outcome = chain.run(frame, values={"white_balance": {"gains": given}})
        assert torch.equal(outcome.frame.pixels, frame.pixels * given.reshape(1, 3, 1, 1))
        # in the digits that tell float32 numbers apart, which a recipe can repeat
        assert outcome.values[0]["white_balance"]["gains"] == (0.1, 0.2, 0.3)
        captured = tools.picture(self.RAW, size=(5, 4), capture={"wb_gains": torch.ones(3, 3, 1, 1)})
        again = tools.chain(["white_balance"]).run(captured, values={"white_balance": {"gains": given}})
        assert torch.equal(again.frame.pixels, outcome.frame.pixels)

    def test_gradients_flow_back_to_them(self, tools):
        frame = tools.picture(self.RAW, size=(3, 2), dtype=torch.float64, batch=2)
        gains = torch.tensor([2.0, 1, 1.5], dtype=torch.float64, requires_grad=True)
        matrix = torch.tensor([[1.5, -0.5, 0], [0, 1, 0], [0.2, 0.1, 0.7]], dtype=torch.float64, requires_grad=True)

        def run(gains, matrix):
            values = {"white_balance": {"gains": gains}, "colour_matrix": {"matrix": matrix}}
            return self.chain(tools).run(frame, values=values).frame.pixels

        assert torch.autograd.gradcheck(run, (gains, matrix))

    def test_to_the_state_of_a_camera_too(self, tools):
        frame = tools.picture(Signal(), size=(3, 2), dtype=torch.float64, batch=2, low=0.1, high=0.9)
        gains = torch.tensor([2.0, 1, 1.5], dtype=torch.float64, requires_grad=True)
        mix = torch.tensor([[0.3, 0.2, 0.5, 0.1], [0.9, 0.1, 0.2, 0.3]], dtype=torch.float64, requires_grad=True)

        def run(gains, mix):
            values = {"unprocess": {"wb_gains": gains, "mix": mix}}
            return tools.chain(["unprocess"]).run(frame, values=values).frame.pixels

        assert torch.autograd.gradcheck(run, (gains, mix))

    def test_inside_a_combinator_each_sample_keeps_its_own(self, tools):
        from isp_sim import recipe

        text = "version: 1\nseed: 3\nstages:\n  - srgb_eotf\n  - maybe: {p: 0.5, stages: [exposure]}\n  - srgb_oetf\n"
        pipeline = recipe.parse(text).pipeline
        frame = tools.picture(Signal(), batch=8, size=(3, 2))
        stops = torch.arange(1.0, 9.0)
        outcome = pipeline.run(frame, values={"maybe/exposure": {"ev": stops}})
        drawn = [values.get("maybe/exposure", {}).get("ev") for values in outcome.values]
        assert {ev for ev in drawn if ev is not None} < set(stops.tolist())
        assert all(ev in (None, stop) for ev, stop in zip(drawn, stops.tolist(), strict=True))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"white_balence": {}}, "no stage has the id 'white_balence'; there are white_balance, colour_matrix"),
            ({"white_balance": {"gain": torch.ones(3)}}, "no parameter 'gain'; it has gains"),
            ({"white_balance": {"gains": torch.ones(2, 3)}}, r"needs shape \(n,\), or that for each of 3 samples"),
            ({"white_balance": {"gains": [1, 1, 1]}}, "needs a floating tensor, found list"),
            ({"white_balance": {"gains": torch.tensor([1, 1, 0.0])}}, r"white_balance.gains.2: 0.0: .*greater than"),
            ({"white_balance": {"gains": torch.ones(4)}}, "white_balance.gains"),
            ({"white_balance": {"gains": torch.tensor([1, 1, float("nan")])}}, "finite"),
            ({"colour_matrix": {"to": torch.ones(())}}, "only a number that is neither fixed nor whole"),
            ({"colour_matrix": {"matrix": torch.ones(3, 3)}}, "no inverse"),
        ],
    )
    def test_what_a_recipe_could_not_say_is_refused(self, tools, values, message):
        with pytest.raises(ValueError, match=message):
            self.chain(tools).run(tools.picture(self.RAW, size=(3, 2)), values=values)
