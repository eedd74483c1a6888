"""What was drawn comes along with the pictures, by names."""

import math

import pytest
import torch

from dirlearn.views import load_views

PICTURES = torch.full((3, 3, 16, 16), 0.5)
KEYS = ["a", "b", "c"]


def drawn(*stages: object) -> list[dict[str, float | str]]:
    views, _ = load_views({"seed": 1, "stages": list(stages)}, None)  # type: ignore[arg-type]  # no path in it
    pictures, found = views.drawn(PICTURES, KEYS, 5)
    assert torch.equal(pictures, views.render(PICTURES, KEYS, [5] * 3, 0, 1))
    return found


def test_laws_by_name_and_nothing_that_is_fixed() -> None:
    found = drawn(
        {"gaussian_noise": {"sigma": {"uniform": [0.1, 0.2]}}}, "clip", {"jpeg": {"quality": {"randint": [1, 9]}}}
    )
    assert [set(row) for row in found] == [{"gaussian_noise.sigma", "jpeg.quality"}] * 3
    assert all(0.1 <= row["gaussian_noise.sigma"] <= 0.2 and row["jpeg.quality"] in range(1, 10) for row in found)


def test_what_is_even_in_the_logarithm_comes_as_logarithm() -> None:
    found = drawn({"gaussian_noise": {"sigma": {"loguniform": [0.01, 0.1]}}})
    assert all(math.log(0.01) <= row["gaussian_noise.sigma"] <= math.log(0.1) for row in found)


def test_branches_and_choices_are_texts() -> None:
    branch = {"one_of": [{"gaussian_noise": {"sigma": {"uniform": [0.1, 0.2]}}}, "clip"]}
    found = drawn(branch, {"jpeg": {"subsampling": {"choice": ["4:4:4", "4:2:0"]}}})
    for row in found:
        assert row["one_of.branch"] in ("0", "1")
        assert row["jpeg.subsampling"] in ("4:4:4", "4:2:0")
        assert any(name.endswith("sigma") for name in row) == (row["one_of.branch"] == "0")


def test_of_the_camera_only_the_gains_and_deviations_by_their_mode() -> None:
    found = drawn(
        {"unprocess": {"profile": "generic_phone"}},
        {"white_balance": {"deviate": {"gains.0": {"factor": {"uniform": [0.8, 1.2]}}}}},
        {"colour_matrix": {"to": "srgb"}},
        "tone_curve",
        "clip",
        "srgb_oetf",
    )
    names = {"unprocess.wb_gains.0", "unprocess.wb_gains.2", "white_balance.gains.0 factor"}
    assert [set(row) for row in found] == [names] * 3
    assert all(0.8 <= row["white_balance.gains.0 factor"] <= 1.2 for row in found)
    assert found[0] != found[1]


@pytest.mark.parametrize("view", [0, 7])
def test_another_view_draws_anew(view: int) -> None:
    views, _ = load_views({"seed": 1, "stages": [{"gaussian_noise": {"sigma": {"uniform": [0, 1]}}}]}, None)  # type: ignore[arg-type]
    assert views.drawn(PICTURES, KEYS, view)[1] != views.drawn(PICTURES, KEYS, view + 1)[1]
