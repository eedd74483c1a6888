import itertools
import json
from dataclasses import replace

import pytest
import torch

from isp_sim import recipe
from isp_sim.pipeline import Run, SignalFault, State, run_steps, walk
from isp_sim.signal import Signal

NOISE = "gaussian_noise: {sigma: {uniform: [0.1, 0.2]}}"


def parse(*stages):
    lines = "".join(f"  - {stage}\n" for stage in stages)
    return recipe.parse(f"version: 1\nseed: 1\nstages:\n{lines}")


def faults(*stages):
    with pytest.raises(recipe.RecipeError) as caught:
        parse(*stages)
    return [fault.message for fault in caught.value.faults]


def run(*stages, batch=8, size=(4, 4), tools):
    return parse(*stages).pipeline.run(tools.picture(Signal(), batch=batch, size=size))


class TestEvery:
    ENTRIES = (
        f"one_of: [{{{NOISE}}}, [clip, {{quantise: {{bits: 4}}}}], jpeg]",
        f"maybe: {{p: 0.5, stages: [{{{NOISE}}}, jpeg]}}",
        f"shuffle: [{{{NOISE}}}, jpeg, {{quantise: {{bits: 3}}}}]",
        f"maybe: {{p: 0.6, stages: [{{one_of: [jpeg, {{{NOISE}}}]}}, {{shuffle: [clip, {{{NOISE}}}]}}]}}",
    )

    @pytest.mark.parametrize("entry", ENTRIES)
    def test_batch_is_loop_whatever_the_order(self, tools, entry):
        pipeline = parse(entry).pipeline
        frame = tools.picture(Signal(), batch=8, size=(9, 11))
        whole = pipeline.run(frame)
        for order in (*([i] for i in range(8)), [5, 2], list(reversed(range(8)))):
            part = pipeline.run(frame.select(order))
            # a map that only some branches leave is there only if the batch holds one of them
            assert tools.bits(part.frame.pixels) == tools.bits(whole.frame.pixels[order])
            assert part.frame.signal == whole.frame.signal
            assert part.values == [whole.values[i] for i in order]

    @pytest.mark.parametrize("entry", ENTRIES)
    @pytest.mark.parametrize("depth", [None, 4, 8])
    def test_what_the_check_says_is_what_a_run_gives(self, tools, entry, depth):
        pipeline = parse(entry).pipeline
        frame = tools.picture(Signal(bit_depth=depth), batch=1, size=(4, 4))
        ((_, signal),), _ = pipeline.check(State(frame.signal))
        for i in range(12):
            assert pipeline.run(replace(frame, keys=(str(i),))).frame.signal == signal

    @pytest.mark.parametrize("entry", ENTRIES)
    def test_the_resolved_recipe_is_the_same_recipe(self, tools, entry):
        first = parse(entry)
        again = recipe.parse(json.dumps(first.resolved))
        assert again.resolved == first.resolved
        assert again.hash == first.hash
        frame = tools.picture(Signal(), size=(5, 5))
        tools.assert_same_frame(again.pipeline.run(frame).frame, first.pipeline.run(frame).frame)

    @pytest.mark.parametrize("entry", ENTRIES)
    def test_the_record_says_what_was_run(self, tools, entry):
        pipeline = parse(entry).pipeline
        known = {step.id for step in walk(pipeline.steps)}
        outcome = pipeline.run(tools.picture(Signal(), batch=12, size=(4, 4)))
        assert all(set(values) <= known for values in outcome.values)
        assert len({tuple(values) for values in outcome.values}) > 1 or "shuffle" in entry

    def test_ids_inside_are_paths(self):
        steps = parse(
            "one_of: [jpeg, [clip, jpeg, {jpeg: {quality: 3}, id: last}]]",
            "{maybe: {stages: jpeg}, id: sometimes}",
            "shuffle: [clip, {maybe: {stages: [jpeg]}}]",
        ).pipeline.steps
        assert [step.id for step in walk(steps)] == [
            "one_of", "one_of/0/jpeg", "one_of/1/clip", "one_of/1/jpeg", "one_of/1/last",
            "sometimes", "sometimes/jpeg",
            "shuffle", "shuffle/clip", "shuffle/maybe", "shuffle/maybe/jpeg",
        ]  # fmt: skip

    def test_faults_inside_have_their_line(self):
        text = """\
version: 1
stages:
  - one_of:
      - jpeg:
          quality: 0
      - [clip,
         {jpge: {}}]
"""
        with pytest.raises(recipe.RecipeError) as caught:
            recipe.parse(text)
        assert [fault.line for fault in caught.value.faults] == [5, 7]

    def test_draws_are_keyed_by_the_id(self, tools):
        entry = "{{one_of: [clip, jpeg], id: {}}}"
        a, b, c = (run(entry.format(id), batch=64, tools=tools).values for id in ("first", "second", "first"))
        branches = [[values[id]["branch"] for values in v] for id, v in (("first", a), ("second", b), ("first", c))]
        assert branches[0] == branches[2]
        assert branches[0] != branches[1]
        with_more = run("clip", "{quantise: {bits: 8}}", entry.format("first"), batch=64, tools=tools).values
        assert [values["first"]["branch"] for values in with_more] == branches[0]

    def test_equal_stages_in_two_branches_draw_apart(self, tools):
        outcome = run(f"one_of: [{{{NOISE}}}, {{{NOISE}}}]", batch=32, tools=tools)
        sigmas = [v[f"one_of/{v['one_of']['branch']}/gaussian_noise"]["sigma"] for v in outcome.values]
        assert len(set(sigmas)) == 32


class TestOneOf:
    def test_weights_are_honoured(self, tools):
        entry = "one_of: {branches: [clip, {clip: {high: 0.5}}, {clip: {low: 0.5}}], weights: [1, 0, 3]}"
        outcome = run(entry, batch=3000, size=(1, 1), tools=tools)
        drawn = [values["one_of"]["branch"] for values in outcome.values]
        assert drawn.count(1) == 0
        tools.assert_count(drawn.count(2), 3000, 3 / 4)

    def test_without_weights_all_are_alike(self, tools):
        outcome = run("one_of: [clip, clip, clip]", batch=3000, size=(1, 1), tools=tools)
        drawn = [values["one_of"]["branch"] for values in outcome.values]
        for branch in range(3):
            tools.assert_count(drawn.count(branch), 3000, 1 / 3)

    def test_runs_the_branch_that_it_records(self, tools):
        outcome = run("one_of: [{clip: {low: 0.7}}, [clip, {clip: {low: 0.2, high: 0.4}}]]", batch=16, tools=tools)
        before = tools.picture(Signal(), batch=16, size=(4, 4)).pixels
        branches = [values["one_of"]["branch"] for values in outcome.values]
        assert set(branches) == {0, 1}
        for i, branch in enumerate(branches):
            expected = before[i].clamp(0.2, 0.4) if branch else before[i].clamp(0.7, 1)
            assert torch.equal(outcome.frame.pixels[i], expected)

    def test_branches_must_end_alike(self):
        (message,) = faults("one_of: [clip, srgb_eotf]")
        assert "its branches must end in equal signals" in message
        assert "srgb, balanced" in message
        assert "linear, balanced" in message

    def test_branches_may_end_alike_by_two_ways(self):
        assert parse("one_of: [[srgb_eotf, {exposure: {ev: 1}}, srgb_oetf], clip]").signals[-1][1].transfer == "srgb"

    def test_facts_are_sure_only_if_all_branches_give_them(self):
        noise, own = "{shot_read_noise: {shot: 0.01}}", "shot_read_noise"
        assert "noise_profile" in faults("srgb_eotf", f"one_of: [{noise}, clip]", own)[0]
        assert parse("srgb_eotf", f"one_of: [{noise}, [clip, {noise}]]", own)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("[clip]", "at least two branches"),
            ("clip", "at least two branches"),
            ("{branches: [clip, jpeg], weights: [1]}", "2 branches and 1 weights"),
            ("{branches: [clip, jpeg], weights: [0, 0]}", "not all be 0"),
            ("{branches: [clip, jpeg], weights: [-1, 2]}", "must not be negative"),
            ("{branches: [clip, jpeg], weights: {uniform: [0, 1]}}", "no distribution may stand here"),
            ("{branches: [clip, jpeg], wieghts: [1, 2]}", "did you mean 'weights'"),
            ("{weights: [1, 2]}", "needs 'branches'"),
            ("", "at least two branches"),
        ],
    )
    def test_mistakes(self, value, message):
        assert message in faults(f"one_of: {value}")[0]


class TestMaybe:
    def test_the_probability_is_honoured(self, tools):
        for p in (0.0, 0.2, 1.0):
            outcome = run(f"maybe: {{p: {p}, stages: clip}}", batch=3000, size=(1, 1), tools=tools)
            tools.assert_count(sum(values["maybe"]["taken"] for values in outcome.values), 3000, p)
            assert all(("maybe/clip" in values) == values["maybe"]["taken"] for values in outcome.values)

    def test_not_taken_the_picture_passes_untouched(self, tools):
        outcome = run(f"maybe: {{p: 0.5, stages: [{{{NOISE}}}]}}", batch=16, tools=tools)
        before = tools.picture(Signal(), batch=16, size=(4, 4)).pixels
        for i, values in enumerate(outcome.values):
            assert torch.equal(outcome.frame.pixels[i], before[i]) != values["maybe"]["taken"]

    def test_a_jpeg_may_or_may_not_be_and_the_codes_are_not_sure(self):
        signals = dict(parse("{quantise: {bits: 10}}", "maybe: {stages: jpeg}").signals)
        assert signals["quantise"].bit_depth == 10
        assert signals["maybe"].bit_depth is None
        same = dict(parse("{quantise: {bits: 8}}", "maybe: {stages: jpeg}").signals)
        assert same["maybe"].bit_depth == 8

    def test_what_changes_the_signal_can_not_be_left_out(self):
        assert "must end in equal signals" in faults("maybe: {stages: srgb_eotf}")[0]

    @pytest.mark.parametrize(
        ("value", "message"),
        [("{p: 2, stages: clip}", "less than or equal to 1"), ("{p: 0.5}", "needs 'stages'"),
         ("{p: {uniform: [0, 1]}, stages: clip}", "no distribution may stand here")],
    )  # fmt: skip
    def test_mistakes(self, value, message):
        assert message in faults(f"maybe: {value}")[0]


class TestShuffle:
    THREE = "shuffle: [{exposure: {ev: 1}}, {gaussian_noise: {sigma: 0.1}}, {clip: {high: 0.5}}]"

    def test_every_order_is_as_likely(self, tools):
        outcome = run("srgb_eotf", self.THREE, batch=3000, size=(1, 1), tools=tools)
        orders = [tuple(values["shuffle"]["order"]) for values in outcome.values]
        for order in itertools.permutations(range(3)):
            tools.assert_count(orders.count(order), 3000, 1 / 6)

    def test_runs_in_the_order_that_it_records(self, tools):
        pipeline = parse("srgb_eotf", self.THREE).pipeline
        frame = tools.picture(Signal(), batch=12, size=(4, 4))
        outcome = pipeline.run(frame)
        shuffle = pipeline.steps[1]
        for i, values in enumerate(outcome.values):
            chain = [pipeline.steps[0], *(shuffle.chains[0][k] for k in values["shuffle"]["order"])]
            by_hand = replace(pipeline, steps=tuple(chain)).run(frame.select([i]))
            assert torch.equal(by_hand.frame.pixels[0], outcome.frame.pixels[i])

    @pytest.mark.parametrize(
        "steps",
        [
            "srgb_eotf, srgb_oetf",
            "srgb_eotf",
            "srgb_eotf, srgb_oetf, srgb_eotf",  # right as written and backwards, wrong in other orders
            "srgb_eotf, {exposure: {ev: 1}}, srgb_oetf",
        ],
    )
    def test_steps_that_hang_together_are_refused(self, steps):
        assert faults(f"shuffle: [{steps}]")

    def test_any_order_that_passes_the_check_runs(self, tools):
        outcome = run("shuffle: [jpeg, clip, {quantise: {bits: 4}}, {gaussian_noise: {sigma: 0.1}}]", tools=tools)
        assert len({tuple(values["shuffle"]["order"]) for values in outcome.values}) > 1

    def test_a_fact_that_one_step_gives_the_other_can_not_be_shuffled(self):
        (message, *_) = faults("srgb_eotf", "shuffle: [{shot_read_noise: {shot: 0.1}}, {shot_read_noise: {}, id: own}]")
        assert "noise_profile" in message


def test_an_error_at_run_time_names_the_step(tools):
    steps = parse("maybe: {p: 1, stages: [srgb_eotf, srgb_oetf]}").pipeline.steps
    frame = tools.picture(Signal(transfer="linear"), batch=1, size=(2, 2))
    with pytest.raises(SignalFault, match="srgb_eotf needs transfer srgb, found linear"):
        run_steps(steps, frame, Run(1, values=[{}]))
