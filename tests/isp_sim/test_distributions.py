import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isp_sim.distributions import LAW_NAMES, is_law, parse_law, pick, truncated_normal

GIVEN = {"shot": 0.01}


def sample(law, count, given=None, seed=0):
    rng = np.random.default_rng(seed)
    return [law.draw(rng, given or {}) for _ in range(count)]


class Fixed:
    """A generator whose one uniform number is known."""

    def __init__(self, u):
        self.u = u

    def random(self):
        return self.u


numbers = st.floats(-1e6, 1e6, allow_nan=False)
pairs = st.tuples(numbers, numbers).map(sorted)
positive_pairs = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).map(sorted)
whole_pairs = st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)).map(sorted)
spreads = st.floats(0, 1e3)
line = {"of": st.just("shot"), "slope": numbers, "intercept": numbers, "sd": spreads}

bounded = st.one_of(
    st.builds(lambda v: {"constant": v}, numbers),
    st.builds(lambda v: {"uniform": v}, pairs),
    st.builds(lambda v: {"loguniform": v}, positive_pairs),
    st.builds(lambda v: {"randint": v}, whole_pairs),
    st.builds(
        lambda m, s, e: {"truncated_normal": {"mean": m, "sd": s, "low": e[0], "high": e[1]}},
        numbers,
        spreads,
        pairs,
    ),
    st.builds(
        lambda v: {"choice": v},
        st.lists(st.one_of(numbers, st.text(), st.booleans()), min_size=1, max_size=4),
    ),
    st.builds(
        lambda v: {"choice": {"values": [a for a, _ in v], "weights": [b for _, b in v]}},
        st.lists(st.tuples(numbers, st.floats(0.1, 9)), min_size=1, max_size=4),
    ),
)
recipes = st.one_of(
    bounded,
    st.builds(lambda m, s: {"normal": [m, s]}, numbers, spreads),
    st.builds(lambda **v: {"linear": v}, **line),
    st.builds(lambda **v: {"log_linear": v}, log_base=st.sampled_from(["e", 2, 10]), **line),
)


class TestParsing:
    @settings(max_examples=100)
    @given(recipes)
    def test_a_law_written_and_read_again_is_the_same(self, node):
        law = parse_law(node)
        assert parse_law(law.to_recipe()) == law

    @settings(max_examples=100)
    @given(bounded, st.integers(0, 2**32))
    def test_draws_lie_within_the_ends(self, node, seed):
        law = parse_law(node)
        ends = law.ends({})
        for value in sample(law, 20, seed=seed):
            assert value in ends if "choice" in node or "constant" in node else min(ends) <= value <= max(ends)

    @pytest.mark.parametrize(
        ("node", "message"),
        [
            ({}, "one name"),
            ({"uniform": [0, 1], "normal": [0, 1]}, "one name"),
            (0.5, "one name"),
            ({"unifrom": [0, 1]}, "did you mean uniform"),
            ({"zipf": [0, 1]}, "there are"),
            ({"uniform": [1]}, r"takes \[low, high\]"),
            ({"uniform": [1, 2, 3]}, r"takes \[low, high\]"),
            ({"uniform": 1}, r"takes \[low, high\]"),
            ({"uniform": {"low": 1}}, "needs high"),
            ({"uniform": {"low": 1, "high": 2, "mid": 3}}, "no argument mid"),
            ({"uniform": [2, 1]}, "lies above"),
            ({"uniform": ["0", 1]}, "low must be a finite number"),
            ({"uniform": [True, 1]}, "low must be a finite number"),
            ({"uniform": [0, math.inf]}, "high must be a finite number"),
            ({"uniform": [0, math.nan]}, "high must be a finite number"),
            ({"uniform": [0, 10**400]}, "high must be a finite number"),
            ({"loguniform": [0, 1]}, "above 0"),
            ({"randint": [0.5, 2]}, "whole numbers"),
            ({"randint": [3, 2]}, "lies above"),
            ({"normal": [0, -1]}, "sd must not be negative"),
            ({"truncated_normal": [0, 1, 2, 1]}, "lies above"),
            ({"choice": []}, "at least one"),
            ({"choice": "abc"}, "at least one"),
            ({"choice": {"weights": [1]}}, "values and weights"),
            ({"choice": {"values": [1, 2], "weights": [1]}}, "weights"),
            ({"choice": {"values": [1, 2], "weights": 1}}, "weights"),
            ({"choice": {"values": [1, 2], "weights": [0, 0]}}, "not all be 0"),
            ({"choice": {"values": [1, 2], "weights": [-1, 2]}}, "not be negative"),
            ({"choice": [{"uniform": [0, 1]}]}, "one_of"),
            ({"linear": {"slope": 1, "intercept": 0}}, "needs `of`"),
            ({"linear": [1, 2]}, "needs `of`"),
            ({"linear": {"of": "shot", "slope": 1}}, "needs intercept"),
            ({"log_linear": {"of": "shot", "slope": 1, "intercept": 0}}, "name the log_base"),
            ({"log_linear": {"of": "shot", "slope": 1, "intercept": 0, "log_base": 3}}, "one of e, 2 and 10"),
            (
                {"log_linear": {"of": "shot", "slope": 1, "intercept": 0, "log_base": [2]}},
                "one of e, 2 and 10",
            ),
            ({"log_linear": 3}, "name the log_base"),
        ],
    )
    def test_a_mistake_is_named(self, node, message):
        with pytest.raises(ValueError, match=message):
            parse_law(node)

    @settings(max_examples=150)
    @given(
        st.dictionaries(
            st.sampled_from(LAW_NAMES),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=4),
                    st.dictionaries(
                        st.sampled_from(
                            [
                                "of",
                                "slope",
                                "intercept",
                                "sd",
                                "log_base",
                                "low",
                                "high",
                                "mean",
                                "values",
                                "weights",
                            ]
                        ),
                        inner,
                        max_size=5,
                    ),
                ),
                max_leaves=8,
            ),
            min_size=1,
            max_size=1,
        )
    )
    def test_no_other_error_than_value_error(self, node):
        try:
            law = parse_law(node)
        except ValueError:
            return
        assert parse_law(law.to_recipe()) == law or "nan" in repr(law)

    def test_only_a_mapping_is_meant_as_a_law(self):
        assert is_law({"uniform": [0, 1]})
        assert not any(is_law(node) for node in (1, "uniform", [0, 1], None, True))


class TestMoments:
    N = 4000

    def test_uniform(self, tools):
        tools.assert_law(sample(parse_law({"uniform": [-2, 3]}), self.N), stats.uniform(-2, 5))

    def test_loguniform(self, tools):
        tools.assert_law(sample(parse_law({"loguniform": [1e-4, 1.2e-2]}), self.N), stats.loguniform(1e-4, 1.2e-2))

    def test_randint_holds_both_ends(self, tools):
        draws = sample(parse_law({"randint": [10, 13]}), self.N)
        assert {type(value) for value in draws} == {int}
        assert set(draws) == {10, 11, 12, 13}
        for value in range(10, 14):
            tools.assert_count(draws.count(value), self.N, 1 / 4)

    def test_choice_by_weight(self, tools):
        draws = sample(parse_law({"choice": {"values": ["a", "b", "c"], "weights": [1, 0, 3]}}), self.N)
        assert "b" not in draws
        tools.assert_count(draws.count("c"), self.N, 3 / 4)
        equal = sample(parse_law({"choice": ["a", "b", "c"]}), self.N)
        for value in "abc":
            tools.assert_count(equal.count(value), self.N, 1 / 3)

    def test_normal(self, tools):
        tools.assert_law(sample(parse_law({"normal": [0.5, 2]}), self.N), stats.norm(0.5, 2))

    def test_constant(self):
        assert sample(parse_law({"constant": 0.25}), 3) == [0.25] * 3

    @pytest.mark.parametrize(
        ("mean", "sd", "low", "high"),
        [
            (0.0, 1.0, -1.0, 2.0),
            (0.5, 0.1, 0.0, 1.0),
            (0.0, 1.0, 3.0, 5.0),  # all in the upper tail
            (0.0, 1.0, -5.0, -3.0),  # all in the lower tail
            (0.0, 1.0, 30.0, math.inf),  # where the distribution function has run out of digits
            (0.0, 1.0, -math.inf, -30.0),
            (0.0, 1.0, -math.inf, 0.5),
            (1.0, 0.001, 0.9995, 1.01),
        ],
    )
    def test_truncated_normal(self, tools, mean, sd, low, high):
        rng = np.random.default_rng(1)
        draws = [truncated_normal(rng, mean, sd, low, high) for _ in range(self.N)]
        a, b = (low - mean) / sd, (high - mean) / sd
        assert min(draws) >= low
        assert max(draws) <= high
        if abs(a) < 10 or abs(b) < 10:
            tools.assert_law(draws, stats.truncnorm(a, b, loc=mean, scale=sd))
        else:  # so far out the tail is exponential: P(x > edge + t) = exp(-edge t - t^2 / 2), up to 1 / edge^2
            excess = np.abs(np.asarray(draws)) - 30
            tools.assert_law(30 * excess + excess**2 / 2, stats.expon())

    @given(st.floats(1e-6, 1 - 1e-6), st.floats(-6, 6), st.floats(0.05, 8))
    def test_one_uniform_number_decides_by_the_inverse(self, u, a, width):
        found = truncated_normal(Fixed(u), 0.0, 1.0, a, a + width)
        expected = float(stats.truncnorm.ppf(u, a, a + width))
        assert found == pytest.approx(expected, abs=1e-7)

    def test_truncated_normal_is_monotone_in_its_number(self):
        for low, high in ((-1, 2), (3, 5), (-5, -3), (-math.inf, math.inf), (40, 41)):
            draws = [truncated_normal(Fixed(u), 0.0, 1.0, low, high) for u in np.linspace(0, 1 - 2**-53, 101)]
            assert draws == sorted(draws)
            assert len(set(draws)) > 90
            assert all(map(math.isfinite, draws))

    def test_no_spread_is_the_nearest_value_allowed(self):
        assert truncated_normal(Fixed(0.3), 0.5, 0.0, 0.0, 1.0) == 0.5
        assert truncated_normal(Fixed(0.3), 5.0, 0.0, 0.0, 1.0) == 1.0
        assert truncated_normal(Fixed(0.3), 5.0, 1e-200, 0.0, 1.0) == 1.0
        assert truncated_normal(Fixed(0.3), -5.0, 1e-200, 0.0, 1.0) == 0.0


class TestTruncation:
    @pytest.mark.parametrize(
        "node", [{"uniform": [0.2, 9]}, {"loguniform": [0.2, 9]}, {"randint": [0, 9]}, {"choice": [9]}]
    )
    def test_a_bounded_law_is_not_narrowed_in_silence(self, node):
        law = parse_law(node)
        assert law.truncated(0, 1) == law

    def test_an_unbounded_law_is_cut_and_says_so(self):
        law = parse_law({"normal": [0.5, 1]}).truncated(0, 1)
        assert law.to_recipe() == {"truncated_normal": {"mean": 0.5, "sd": 1, "low": 0, "high": 1}}
        assert law.ends({}) == (0, 1)
        assert all(0 <= value <= 1 for value in sample(law, 200))

    def test_limits_of_the_recipe_stay(self):
        node = {"truncated_normal": {"mean": 0.5, "sd": 1, "low": 0.4, "high": 2}}
        law = parse_law(node).truncated(0, 1)
        assert law.to_recipe() == node
        assert law.ends({}) == (0.4, 2)  # where the upper one will be refused

    @pytest.mark.parametrize(("own", "ends"), [({"low": 0.4}, (0.4, 1)), ({"high": 0.6}, (0, 0.6))])
    def test_a_side_left_open_is_cut_at_the_bound(self, own, ends):
        law = parse_law({"truncated_normal": {"mean": 0.5, "sd": 3, **own}}).truncated(0, 1)
        assert law.ends({}) == ends
        assert all(ends[0] <= value <= ends[1] for value in sample(law, 200))

    def test_limits_of_a_line_stay(self):
        node = {"linear": {"of": "shot", "slope": 0, "intercept": 0.5, "sd": 1, "low": 0.4, "high": 0.6}}
        law = parse_law(node).truncated(0, 1)
        assert law.to_recipe() == node
        draws = sample(law, 200, GIVEN)
        assert 0.4 <= min(draws) < 0.45
        assert 0.55 < max(draws) <= 0.6


class TestLines:
    def test_without_scatter_it_is_the_line(self):
        law = parse_law({"linear": {"of": "shot", "slope": 2, "intercept": 0.5}})
        assert law.depends_on == "shot"
        assert sample(law, 1, {"shot": 3.0}) == [6.5]
        assert law.ends({"shot": (1, 3)}) == (2.5, 6.5)

    def test_the_base_of_the_logarithm_matters(self):
        values = {}
        for base, exponential in (("e", math.exp), (2, lambda y: 2**y), (10, lambda y: 10**y)):
            law = parse_law({"log_linear": {"of": "shot", "slope": 2.18, "intercept": 1.2, "log_base": base}})
            (values[base],) = sample(law, 1, {"shot": 1e-3})
            logarithm = math.log(1e-3) / math.log(exponential(1))
            assert values[base] == pytest.approx(exponential(2.18 * logarithm + 1.2), rel=1e-12)
        # the same constants to base 10 and e are cameras 4.77 times apart in read variance
        assert values[10] / values["e"] == pytest.approx(4.77, abs=0.01)

    def test_the_scatter_is_normal_about_the_line(self, tools):
        law = parse_law({"log_linear": {"of": "shot", "slope": 2.18, "intercept": 1.2, "sd": 0.26, "log_base": "e"}})
        shots = np.exp(np.random.default_rng(3).uniform(math.log(1e-4), math.log(1.2e-2), 3000))
        rng = np.random.default_rng(4)
        reads = [law.truncated(0, 1).draw(rng, {"shot": shot}) for shot in shots]
        tools.assert_law(np.log(reads) - 2.18 * np.log(shots) - 1.2, stats.norm(0, 0.26))
        ten = parse_law({"log_linear": {"of": "shot", "slope": 1.85, "intercept": 0.3, "sd": 0.2, "log_base": 10}})
        reads = [ten.truncated(0, 1).draw(rng, {"shot": shot}) for shot in shots]
        tools.assert_law(np.log10(reads) - 1.85 * np.log10(shots) - 0.3, stats.norm(0, 0.2))

    def test_scatter_stays_within_the_bounds(self):
        law = parse_law({"log_linear": {"of": "shot", "slope": 0, "intercept": 0, "sd": 2, "log_base": 10}})
        draws = sample(law.truncated(0, 1), 300, GIVEN)
        assert max(draws) <= 1
        assert min(draws) < 1e-3

    def test_an_end_beyond_all_numbers_is_infinite(self):
        # so that the parameter's bounds refuse it, as they do any value that is too large
        law = parse_law({"log_linear": {"of": "shot", "slope": -1000, "intercept": 0, "log_base": "e"}})
        assert law.ends({"shot": (0.01, 1.0)}) == (math.inf, 1.0)


class TestPick:
    @given(
        st.lists(st.floats(0, 10), min_size=1, max_size=6).filter(lambda w: sum(w) > 1e-3),
        st.floats(0, 1 - 2**-53),
    )
    def test_the_branch_whose_share_holds_the_number(self, weights, u):
        index = pick(Fixed(u), tuple(weights))
        assert weights[index] > 0 or math.isclose(u, 1)
        shares = np.cumsum(weights) / np.sum(weights)
        assert (shares[index - 1] if index else 0) - 1e-12 <= u <= shares[index] + 1e-12
