"""Severities: what they stand for, and that a photo gets worse from one to the next."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from isp_sim import recipe, registry
from isp_sim.frame import Frame
from isp_sim.parameters import ParameterFaults, StageParams
from isp_sim.pipeline import StageStep
from isp_sim.signal import Signal
from isp_sim.stage import Degradation
from isp_sim.surroundings import NoSurroundings, Surroundings, at_severity, psnr, sample_photo
from isp_sim.testing import check_stage

OWN = [
    name
    for name in registry.names("isp_sim.degradations")
    if registry.origin(name, "isp_sim.degradations") == "isp-sim"
]
NOISE = registry.load("shot_read_noise", "isp_sim.degradations")


def stages(*entries):
    return recipe.parse("version: 1\nstages:\n" + "".join(f"  - {entry}\n" for entry in entries))


def faults(*entries):
    with pytest.raises(recipe.RecipeError) as caught:
        stages(*entries)
    return [(fault.line, fault.message) for fault in caught.value.faults]


class TestRecipe:
    @pytest.mark.parametrize("level", range(1, 6))
    def test_it_stands_for_the_parameters(self, level):
        quality = registry.load("jpeg", "isp_sim.degradations").severities["quality"][level - 1]
        short = stages(f"jpeg: {{severity: {level}, subsampling: '4:4:4'}}")
        assert short.hash == stages(f"jpeg: {{quality: {quality}, subsampling: '4:4:4'}}").hash

    def test_resolved_it_is_explicit_and_the_same_recipe(self):
        first = stages("srgb_eotf", "shot_read_noise: {severity: {randint: [2, 4]}}")
        noise = first.resolved["stages"][1]["shot_read_noise"]
        assert noise["shot"] == {"choice": list(NOISE.severities["shot"][1:4])}
        assert "severity" not in noise
        again = recipe.parse(str(first.resolved).replace("None", "null").replace("True", "true"))
        assert again.hash == first.hash

    @given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    def test_drawn_for_each_sample_all_parameters_belong_to_one_severity(self, tools, levels):
        light = Signal(transfer="linear")
        frame = tools.picture(light, batch=12, size=(2, 2), keys=tuple(map(str, range(12))))
        chain = tools.chain([{"shot_read_noise": {"severity": {"choice": levels}}}])
        rows = list(zip(*NOISE.severities.values(), strict=True))
        for values in chain.run(frame).values:
            drawn = values["shot_read_noise"]["shot"], values["shot_read_noise"]["read"]
            assert rows.index(drawn) + 1 in levels

    def test_weights(self, tools):
        frame = tools.picture(Signal(), batch=60, size=(2, 2), keys=tuple(map(str, range(60))))
        severity = {"choice": {"values": [1, 5], "weights": [0, 1]}}
        values = tools.chain([{"gaussian_noise": {"severity": severity}}]).run(frame).values
        assert {v["gaussian_noise"]["sigma"] for v in values} == {0.35}

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("jpeg: {severity: 0}", "from 1 to 5"),
            ("jpeg: {severity: 6}", "from 1 to 5"),
            ("jpeg: {severity: 2.0}", "from 1 to 5"),
            ("jpeg: {severity: true}", "from 1 to 5"),
            ("jpeg: {severity: [1, 2]}", "from 1 to 5"),
            ("jpeg: {severity: {randint: [0, 5]}}", "from 1 to 5"),
            ("jpeg: {severity: {uniform: [1, 5]}}", "from 1 to 5"),
            ("jpeg: {severity: {randnt: [1, 5]}}", "did you mean randint"),
            ("jpeg: {severity: 3, quality: 10}", "leave out one of them"),
            ("quantise: {severity: {choice: [1, 2]}}", "no distribution may stand here"),
            ("saturation: {severity: 3}", "no table of severities"),
            ("one_of: {branches: [jpeg, clip], severity: 3}", "unknown parameter 'severity'"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(self, entry, message):
        ((line, text),) = faults("clip", entry)
        assert line == 4
        assert message in text

    def test_the_line_of_the_parameter_that_is_given_twice(self):
        assert [line for line, _ in faults("jpeg:\n      severity: 3\n      quality: 10")] == [5]


class TestTables:
    @pytest.mark.parametrize("name", OWN)
    def test_every_degradation_has_one_and_gets_worse_by_it(self, name):
        plugin = registry.load(name, "isp_sim.degradations")
        assert plugin.severities
        photo = sample_photo("coffee.png", 96)
        steps = [at_severity(name, plugin, level) for level in range(1, 6)]
        around = Surroundings.of(steps[0], photo)
        clean = around.render(photo, None).pixels
        found = [psnr(around.render(photo, step).pixels, clean) for step in steps]
        assert all(better > worse for better, worse in pairwise(found)), found

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ({"amount": (1.0, 2.0)}, "5 values"),
            ({"amount": [1.0, 2.0, 3.0, 4.0, 5.0]}, "tuple"),
            ({"amont": (1.0, 2.0, 3.0, 4.0, 5.0)}, "no parameter"),
            ({"amount": (1.0, 2.0, 2.0, 4.0, 5.0)}, "different"),
        ],
    )
    def test_a_table_that_is_none_is_refused(self, table, message):
        with pytest.raises(TypeError, match=message):
            _darker(table)

    def test_the_kit_finds_a_table_in_the_wrong_order(self):
        good, bad = (0.05, 0.1, 0.2, 0.3, 0.4), (0.05, 0.1, 0.3, 0.2, 0.4)
        assert check_stage(_darker({"amount": good}))["severities"].outcome == "passed"
        found = check_stage(_darker({"amount": bad}))["severities"]
        assert found.outcome == "failed"
        assert "dB" in found.found

    def test_the_kit_finds_values_out_of_bounds(self):
        found = check_stage(_darker({"amount": (0.1, 0.2, 0.3, 0.4, 7.0)}))["severities"]
        assert found.outcome == "failed"
        assert "less than or equal to 1" in found.found


def _darker(table):
    class Darker(Degradation):
        """Takes some of every code value. Any signal; does not clip."""

        needs = Signal.where(levels="unit")
        halo = 0
        severities = table

        class Params(StageParams):
            amount: float = Field(0.1, ge=0, le=1, description="what is taken [fraction]")

        def apply(self, frame: Frame, p, rng):
            return frame.pixels * (1 - p.amount)

    return Darker


class TestSurroundings:
    @pytest.mark.parametrize(
        ("name", "before"),
        [
            ("jpeg", []),
            ("shot_read_noise", ["unprocess", "mosaic"]),
            ("gamma_error", []),
            ("exposure", ["unprocess", "mosaic"]),
        ],
    )
    def test_light_comes_as_a_mosaic_where_it_can(self, name, before):
        step = at_severity(name, registry.load(name, "isp_sim.degradations"), 1)
        assert [step.name for step in Surroundings.of(step, sample_photo(side=16)).before] == before

    def test_the_undegraded_photo_comes_back(self):
        photo = sample_photo(side=32)
        step = at_severity("jpeg", registry.load("jpeg", "isp_sim.degradations"), 1)
        assert psnr(Surroundings.of(step, photo).render(photo, None).pixels, photo.pixels) > 100

    def test_none_leads_to_digital_numbers(self):
        class Numbers(Degradation):
            """On DN."""

            needs = Signal.where(levels="dn")

            def apply(self, frame, p, rng):
                return frame.pixels

        with pytest.raises(NoSurroundings, match="no chain from a photo leads to numbers"):
            Surroundings.of(StageStep.read("numbers", "numbers", Numbers), sample_photo(side=16))

    def test_a_severity_must_be_in_the_table(self):
        with pytest.raises(ParameterFaults, match="from 1 to 5"):
            at_severity("jpeg", registry.load("jpeg", "isp_sim.degradations"), 6)
