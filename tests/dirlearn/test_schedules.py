"""Weights and rates as functions of the step."""

import math
from itertools import pairwise

import pytest
from pydantic import ValidationError

from dirlearn.schedules import Rate, Schedule


def test_laws() -> None:
    def at(node: object, *steps: int) -> list[float]:
        schedule = Schedule.model_validate(node)
        assert Schedule.model_validate(schedule.to_recipe()) == schedule
        return [schedule.at(step) for step in steps]

    assert at(0.5, 0, 10**6) == [0.5, 0.5]
    assert at({"linear": {"from": 0, "to": 2, "steps": 4}}, 0, 1, 4, 9) == [0, 0.5, 2, 2]
    found = at({"exponential": {"from": 1e-3, "to": 1, "steps": 30}}, 0, 10, 30, 31)
    assert found == pytest.approx([1e-3, 1e-2, 1, 1])
    assert at({"saturating": {"to": 2, "steps": 10}}, 0, 10) == pytest.approx([0, 2 * (1 - math.exp(-1))])


@pytest.mark.parametrize(
    "node",
    [
        True,
        -1,
        "soon",
        {"exponential": {"from": 0, "to": 1, "steps": 3}},
        {"linear": {"to": 1, "steps": 3}},
        {"linear": {"from": 0, "to": 1, "steps": 3, "power": 2}},
        {"cubic": {}},
    ],
)
def test_what_is_no_schedule(node: object) -> None:
    with pytest.raises(ValidationError):
        Schedule.model_validate(node)


@pytest.mark.parametrize("decay", ["step", "linear", "cosine", "exponential"])
def test_the_rate_is_held_then_goes_to_its_end(decay: str) -> None:
    rate = Rate(initial=1e-3, final=1e-6, hold=0.5, decay=decay)
    rates = [rate.at(step, 100) for step in range(101)]
    assert rates[:50] == [1e-3] * 50
    assert rates[100] == pytest.approx(1e-6)
    assert all(a >= b for a, b in pairwise(rates))


def test_warm_up_grows_from_above_zero() -> None:
    rate = Rate(initial=1e-3, warmup=4)
    rates = [rate.at(step, 100) for step in range(5)]
    assert rates == pytest.approx([2e-4, 4e-4, 6e-4, 8e-4, 1e-3])
