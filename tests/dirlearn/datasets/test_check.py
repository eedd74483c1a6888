"""`dirlearn data check`: what is there, and what is missing."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dirlearn.cli import Exit, app


@pytest.fixture
def recipe(tmp_path: Path, tiny_text: str) -> Path:
    path = tmp_path / "r.yaml"
    path.write_text(tiny_text)
    return path


def check(*args: object):
    return CliRunner().invoke(app, ["data", "check", *map(str, args)])


def test_what_is_there(recipe: Path) -> None:
    found = check(recipe, "--read")
    assert found.exit_code == 0, found.output
    assert "data.train: dead_leaves: 6 pictures; Boxes, Masks, SemanticMap of 4 classes" in found.output
    assert "evaluation.sets.leaves: dead_leaves: 2 pictures" in found.output


def test_everything_that_is_missing_at_once(recipe: Path) -> None:
    found = check(recipe, "-s", "data.train=ade20k", "-s", "data.validation={coco: {path: nowhere}}")
    assert found.exit_code == Exit.PLACES
    assert "ADEChallengeData2016.zip" in found.output
    assert "annotations_trainval2017.zip" in found.output
    assert "evaluation.sets.leaves: dead_leaves: 2 pictures" in found.output


def test_a_run_without_its_data_ends_at_once_with_the_way_to_get_them(recipe: Path) -> None:
    found = CliRunner().invoke(app, ["run", str(recipe), "-s", "data.train=ade20k"])
    assert found.exit_code == Exit.PLACES
    assert "ADEChallengeData2016.zip" in found.output


def test_labels_are_checked_when_asked_for(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dirlearn.datasets.dead_leaves.DeadLeaves.classes", ("disc",))
    assert check(recipe).exit_code == 0
    found = check(recipe, "--read")
    assert found.exit_code == Exit.PLACES
    assert "found class 1" in found.output
