from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_validator

from isp_sim.parameters import ParameterFaults, Parameters, StageParams, Static, Structural, bounds, collate
from isp_sim.randomness import generator

Gain = Annotated[float, Field(gt=0, le=10)]


class Model(StageParams):
    strength: float = Field(0.25, ge=0, le=1, description="[1]")
    scatter: float | None = Field(None, ge=0, lt=2, description="[1]")
    count: int = Field(3, ge=1, le=9, description="[1]")
    gains: tuple[Gain, Gain, Gain] = Field((1.0, 1.0, 1.0), description="[factor]")
    matrix: tuple[tuple[float, float], tuple[float, float]] = Field(((1.0, 0.0), (0.0, 1.0)), description="[1]")
    mode: Literal["fast", "slow"] = Field("fast", description="mode")
    flag: bool = Field(False, description="flag")
    kernel: Annotated[int, Structural] = Field(3, ge=1, le=31, description="[px]")
    space: Annotated[str, Static] = Field("srgb", description="space")
    knots: tuple[float, ...] = Field((0.0, 1.0), description="[1]")

    @field_validator("knots")
    @classmethod
    def _rise(cls, knots):
        if sorted(set(knots)) != list(knots):
            raise ValueError("knots must rise")
        return knots


class Ordered(StageParams):
    low: float = Field(0.0, ge=-1, le=1, description="[1]")
    high: float = Field(1.0, ge=-1, le=1, description="[1]")

    @model_validator(mode="after")
    def _ordered(self):
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must lie below high {self.high}")
        return self


def faults(node, model=Model):
    with pytest.raises(ParameterFaults) as caught:
        Parameters.bind(model, node)
    return caught.value.faults


def rng(key, seed=1):
    return lambda purpose: generator(seed, key, 0, "stage", purpose)


class TestBind:
    def test_defaults(self):
        parameters = Parameters.bind(Model)
        assert parameters.constants == Model()
        assert not parameters.laws
        assert parameters.draw(rng("a")) == Model().model_dump()

    def test_values_and_laws(self):
        parameters = Parameters.bind(
            Model, {"strength": {"uniform": [0, 1]}, "gains": [{"uniform": [1, 2]}, 1, 2.5], "mode": "slow"}
        )
        assert list(parameters.laws) == [("strength",), ("gains", 0)]
        drawn = parameters.draw(rng("a"))
        assert 0 <= drawn["strength"] <= 1
        assert 1 <= drawn["gains"][0] <= 2
        assert drawn["gains"][1:] == (1.0, 2.5)
        assert drawn["mode"] == "slow"

    def test_an_unknown_name_offers_the_nearest(self):
        ((path, message),) = faults({"strenght": 1})
        assert path == ("strenght",)
        assert "did you mean 'strength'" in message
        ((_, message),) = faults({"zzz": 1})
        assert "it takes strength, scatter" in message

    @pytest.mark.parametrize(
        "node",
        [
            {"strength": 1.5},
            {"strength": -0.1},
            {"strength": "0.5"},
            {"strength": True},
            {"strength": float("nan")},
            {"strength": float("inf")},
            {"strength": None},
            {"strength": [0.5]},
            {"scatter": 2},
            {"count": 2.5},
            {"count": True},
            {"count": 10},
            {"gains": [1, 2]},
            {"gains": [0, 1, 1]},
            {"gains": [1, 1, 11]},
            {"matrix": [[1, 0]]},
            {"mode": "medium"},
            {"flag": 1},
            {"flag": "no"},
            {"kernel": 0},
        ],
    )
    def test_a_value_out_of_bounds_or_of_another_kind_is_refused(self, node):
        ((path, message),) = faults(node)
        assert path[0] == next(iter(node))
        assert message.startswith(next(iter(node)))

    @given(st.floats(-1, 2), st.floats(-1, 2))
    def test_both_ends_of_a_law_are_checked(self, a, b):
        low, high = sorted((a, b))
        node = {"strength": {"uniform": [low, high]}}
        wrong = [name for name, end in (("lower end", low), ("upper end", high)) if not 0 <= end <= 1]
        if wrong:
            found = faults(node)
            assert [path for path, _ in found] == [("strength",)] * len(wrong)
            assert all(f"the {name} of" in message for name, (_, message) in zip(wrong, found, strict=True))
        else:
            assert Parameters.bind(Model, node).laws

    @pytest.mark.parametrize(
        ("node", "path"),
        [
            ({"strength": {"loguniform": [0.1, 1.5]}}, ("strength",)),
            ({"strength": {"randint": [0, 2]}}, ("strength",)),
            ({"strength": {"choice": [0.5, 2]}}, ("strength",)),
            ({"strength": {"constant": 2}}, ("strength",)),
            ({"strength": {"truncated_normal": {"mean": 0.5, "sd": 1, "low": 0, "high": 2}}}, ("strength",)),
            ({"strength": {"linear": {"of": "count", "slope": 1, "intercept": 0}}}, ("strength",)),
            (
                {"scatter": {"log_linear": {"of": "strength", "slope": -999, "intercept": 0, "log_base": 10}}},
                ("scatter",),
            ),
            ({"gains": [1, {"uniform": [1, 11]}, 1]}, ("gains", 1)),
            ({"count": {"choice": [1, 2.5]}}, ("count",)),
            ({"mode": {"choice": ["fast", "medium"]}}, ("mode",)),
            ({"count": {"uniform": [1, 2]}}, ("count",)),
            ({"strength": {"unifrom": [0, 1]}}, ("strength",)),
            ({"space": {"choice": ["srgb"]}}, ("space",)),
        ],
    )
    def test_a_law_that_can_leave_the_bounds_is_refused(self, node, path):
        ((found, _),) = faults(node)
        assert found == path

    def test_whole_numbers_and_statics_say_why(self):
        assert "use randint" in faults({"count": {"normal": [3, 1]}})[0][1]
        assert "decides what the stage gives" in faults({"space": {"choice": ["srgb", "p3"]}})[0][1]

    def test_every_fault_at_once(self):
        found = faults({"strength": 2, "gains": [0, 1, {"uniform": [1, 99]}], "cuont": 3, "mode": {"choice": ["a"]}})
        assert {path for path, _ in found} == {
            ("strength",),
            ("gains", 0),
            ("gains", 2),
            ("cuont",),
            ("mode",),
        }

    def test_a_rule_between_parameters_holds_for_the_ends_too(self):
        assert faults({"low": 0.5, "high": 0.5}, Ordered)[0][0] == ()
        ((path, message),) = faults({"low": {"uniform": [0, 0.9]}, "high": 0.5}, Ordered)
        assert path == ("low",)
        assert "low 0.9 must lie below high 0.5" in message
        assert "upper end" in message
        # each could be right alone; a pair of draws could not
        ((path, message),) = faults({"low": {"uniform": [0, 0.6]}, "high": {"uniform": [0.5, 1]}}, Ordered)
        assert path == ("low",)
        assert Parameters.bind(Ordered, {"low": {"uniform": [0, 0.4]}, "high": {"uniform": [0.5, 1]}}).laws
        # a rule inside one parameter
        ((path, message),) = faults({"knots": [0, {"uniform": [0.2, 0.9]}, 0.5, 1]})
        assert path == ("knots", 1)
        assert "must rise" in message
        assert "upper end" in message
        assert Parameters.bind(Model, {"knots": [0, {"uniform": [0.2, 0.4]}, 0.5, 1]}).laws
        # where one follows from the other, the ends of both do not meet
        follows = {"linear": {"of": "low", "slope": 1, "intercept": 0.1}}
        assert Parameters.bind(Ordered, {"low": {"uniform": [0, 0.6]}, "high": follows}).laws

    def test_an_unbounded_law_is_cut_to_the_bounds(self):
        parameters = Parameters.bind(Model, {"strength": {"normal": [0.5, 10]}, "scatter": {"normal": [0, 1]}})
        drawn = [parameters.draw(rng(str(i))) for i in range(200)]
        assert all(0 <= values["strength"] <= 1 and 0 <= values["scatter"] < 2 for values in drawn)
        law = parameters.resolved()["strength"]
        assert law == {"truncated_normal": {"mean": 0.5, "sd": 10, "low": 0, "high": 1}}

    def test_bounds_reach_into_tuples(self):
        low, high = bounds(Model.model_fields["gains"])
        assert 0 < low < 1e-300
        assert high == 10
        low, high = bounds(Model.model_fields["scatter"])
        assert low == 0
        assert 1.999 < high < 2
        assert bounds(Model.model_fields["matrix"]) == (-float("inf"), float("inf"))


class TestDependence:
    LINE: ClassVar = {"linear": {"of": "strength", "slope": 1.5, "intercept": 0.1}}

    def test_the_other_is_drawn_first_whatever_the_order(self):
        for node in (
            {"scatter": self.LINE, "strength": {"uniform": [0, 1]}},
            {"strength": {"uniform": [0, 1]}, "scatter": self.LINE},
        ):
            drawn = Parameters.bind(Model, node).draw(rng("a"))
            assert drawn["scatter"] == pytest.approx(1.5 * drawn["strength"] + 0.1)

    def test_on_a_constant_or_a_default(self):
        assert Parameters.bind(Model, {"scatter": self.LINE}).draw(rng("a"))["scatter"] == pytest.approx(0.475)

    def test_its_ends_follow_from_the_other_s(self):
        ((path, message),) = faults(
            {
                "scatter": {"linear": {"of": "strength", "slope": 4, "intercept": 0}},
                "strength": {"uniform": [0, 1]},
            }
        )
        assert path == ("scatter",)
        assert "4.0" in message

    def test_circles_and_strangers_are_refused(self):
        circle = {"scatter": self.LINE, "strength": {"linear": {"of": "scatter", "slope": 1, "intercept": 0}}}
        assert "depends on itself" in faults(circle)[0][1]
        assert "depends on itself" in faults({"strength": self.LINE})[0][1]
        assert (
            "'sot', which is no parameter"
            in faults({"scatter": {"linear": {"of": "sot", "slope": 1, "intercept": 0}}})[0][1]
        )

    @pytest.mark.parametrize("of", ["scatter", "mode", "gains"])
    def test_on_what_is_no_number_is_refused(self, of):
        ((path, message),) = faults({"strength": {"linear": {"of": of, "slope": 1, "intercept": 0}}})
        assert path == ("strength",)
        assert "does not follow" in message


class TestDraw:
    NODE: ClassVar = {"strength": {"uniform": [0, 1]}, "gains": [{"uniform": [1, 2]}, 1, {"uniform": [1, 2]}]}

    def test_one_draw_does_not_move_another(self):
        full = Parameters.bind(Model, self.NODE).draw(rng("a"))
        alone = Parameters.bind(Model, {"gains": [1, 1, {"uniform": [1, 2]}]}).draw(rng("a"))
        more = Parameters.bind(Model, {**self.NODE, "count": {"randint": [1, 9]}}).draw(rng("a"))
        assert full["gains"][2] == alone["gains"][2]
        assert {k: v for k, v in more.items() if k != "count"} == {k: v for k, v in full.items() if k != "count"}
        assert full["gains"][0] != full["gains"][2]

    def test_draws_differ_between_samples(self):
        parameters = Parameters.bind(Model, self.NODE)
        assert len({parameters.draw(rng(key))["strength"] for key in "abcdefgh"}) == 8

    def test_drawing_leaves_the_constants(self):
        parameters = Parameters.bind(Model, self.NODE)
        before = parameters.constants.model_dump()
        parameters.draw(rng("a"))
        assert parameters.constants.model_dump() == before


class TestResolved:
    @pytest.mark.parametrize(
        "node",
        [
            None,
            {"strength": 0.5, "flag": True},
            {"strength": {"normal": [0.5, 1]}, "gains": [{"loguniform": [1, 2]}, 1, 2]},
            {
                "count": {"randint": [1, 3]},
                "mode": {"choice": {"values": ["fast", "slow"], "weights": [1, 2]}},
            },
            {"gains": {"choice": [[1, 1, 1], [2, 1, 2]]}},
            {"scatter": {"log_linear": {"of": "strength", "slope": 1, "intercept": -1, "sd": 0.1, "log_base": "e"}}},
        ],
    )
    def test_read_again_it_is_the_same(self, node):
        parameters = Parameters.bind(Model, node)
        again = Parameters.bind(Model, parameters.resolved())
        assert again.resolved() == parameters.resolved()
        assert set(parameters.resolved()) == set(Model.model_fields)  # every default explicit
        for key in "abc":
            assert again.draw(rng(key)) == parameters.draw(rng(key))


class TestCollate:
    LIKE = torch.zeros(1, dtype=torch.float32)

    def one(self, **values):
        drawn = {**Model().model_dump(), **values}
        ((_, p),) = collate(Model.model_fields, [drawn, drawn], self.LIKE)
        return p

    def test_ready_to_broadcast(self):
        p = self.one(scatter=0.5)
        shapes = {
            "strength": (2, 1, 1, 1),
            "scatter": (2, 1, 1, 1),
            "count": (2, 1, 1, 1),
            "gains": (2, 3, 1, 1),
        }
        for name, shape in {**shapes, "matrix": (2, 2, 2)}.items():
            assert getattr(p, name).shape == shape
            assert getattr(p, name).dtype == (torch.int64 if name == "count" else torch.float32)
        assert (p.mode, p.flag, p.kernel, p.space) == ("fast", False, 3, "srgb")
        assert self.one().scatter is None

    def test_a_whole_number_for_a_float_is_a_float(self):
        assert self.one(strength=1, gains=(1, 2, 3)).strength.dtype == torch.float32
        assert self.one(gains=(1, 2, 3)).gains.dtype == torch.float32

    def test_dtype_of_the_pixels(self):
        drawn = Model().model_dump()
        ((_, p),) = collate(Model.model_fields, [drawn], torch.zeros(1, dtype=torch.float64))
        assert p.strength.dtype == torch.float64

    @given(
        st.lists(
            st.fixed_dictionaries(
                {
                    "strength": st.floats(0, 1, width=32),
                    "scatter": st.one_of(st.none(), st.floats(0, 1, width=32)),
                    "count": st.integers(1, 9),
                    "mode": st.sampled_from(["fast", "slow"]),
                    "kernel": st.sampled_from([3, 5]),
                    "gains": st.tuples(*[st.floats(1, 2, width=32)] * 3),
                }
            ).map(lambda values: dict(sorted(values.items()))),
            min_size=1,
            max_size=9,
        )
    )
    def test_each_sample_finds_its_own_values(self, drawn):
        groups = collate(Model.model_fields, drawn, self.LIKE)
        seen = []
        for indices, p in groups:
            for row, index in enumerate(indices):
                seen.append(index)
                own = drawn[index]
                assert (p.mode, p.kernel) == (own["mode"], own["kernel"])
                assert (p.scatter is None) == (own["scatter"] is None)
                assert p.strength[row].item() == own["strength"]
                assert p.count[row].item() == own["count"]
                np.testing.assert_array_equal(p.gains[row, :, 0, 0], own["gains"])
        assert sorted(seen) == list(range(len(drawn)))
        # numbers never split a batch, plain values always do
        plain = {(d["mode"], d["kernel"], d["scatter"] is None) for d in drawn}
        assert len(groups) == len(plain)
