"""A recipe is safe to open, whoever made it."""

import os
import sys
import time
from pathlib import Path

import pytest

from isp_sim import located_yaml, recipe
from isp_sim.cameras import profile
from isp_sim.recipe import RecipeError

GOOD = "version: 1\nstages: [clip]\n"


def reasons(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["os.system", "os:system", "isp_sim.stages.mosaic:Mosaic", "builtins.eval", "__import__", "../evil", "clip()"],
)
def test_a_recipe_names_only_what_is_registered(name: str) -> None:
    before = set(sys.modules)
    assert f"unknown degradation or stage '{name}'" in reasons(f"version: 1\nstages: [{{'{name}': {{}}}}]\n")
    assert "unknown reader" in reasons(GOOD + f"input: {{reader: '{name}'}}\n")
    assert "unknown writer" in reasons(GOOD + f"output: {{writer: '{name}'}}\n")
    assert "evil" not in "".join(set(sys.modules) - before)


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\nstages: !!python/object/apply:os.system [echo]\n",
        "version: 1\nstages: [clip]\nseed: !!python/name:os.system\n",
        "version: 1\nstages: [clip]\n<<: {seed: 3}\n",
        "version: 1\nstages: [clip]\ninput: {path: !ENV $HOME}\n",
        "version: 1\nstages: [clip]\ninput: !include other.yaml\n",
    ],
)
def test_what_is_not_plain_is_refused(text: str) -> None:
    assert reasons(text)


@pytest.mark.parametrize("path", ["$HOME/x", "${HOME}/x", "~/x", "%HOME%/x", "{HOME}/x", "$(id)", "`id`"])
def test_nothing_in_a_path_is_expanded(path: str) -> None:
    found = recipe.parse(GOOD + f"input: {{path: '{path}'}}\noutput: {{path: '{path}'}}\n")
    assert found.reader.params.path == found.writer.params.path == path  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["/etc/passwd.yaml", "../../x.yaml", "a/../../x.yaml", "link.yaml", "x\0.yaml"])
def test_camera_profiles_lie_below_the_working_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "x.yaml").write_text("name: x\n")
    (here / "link.yaml").symlink_to(tmp_path / "x.yaml")
    monkeypatch.chdir(here)
    with pytest.raises(profile.ProfileFault, match="below the working directory"):
        profile.load(name)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x" + ", x" * 99 + "]\nb: &b [*a" + ", *a" * 99 + "]\nc: &c [*b" + ", *b" * 99 + "]\nstages: *c\n",
        "stages: &s [{maybe: {p: 0.5, stages: *s}}]\n",
        "stages: " + "[{maybe: {p: 1, stages: " * 300,
        "stages: [" + "clip, " * 40_000 + "]\n",
        "x" * 200_000 + ": 1\n",
        "stages: [{" + "y" * 200_000 + ": 1}]\n",
    ],
    ids=["aliases", "itself", "depth", "many", "long key", "long name"],
)
def test_bombs_cost_neither_time_nor_memory(text: str) -> None:
    start = time.process_time()
    assert reasons("version: 1\n" + text)
    assert time.process_time() - start < 10


def test_a_recipe_without_an_end_is_refused(tmp_path: Path) -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("this system has no /dev/zero")
    with pytest.raises(RecipeError, match=str(located_yaml.LARGEST)):
        recipe.read("/dev/zero")
    sparse = tmp_path / "a.yaml"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RecipeError, match=str(located_yaml.LARGEST)):
        recipe.read(sparse)
    with pytest.raises(RecipeError, match="can't read"):
        recipe.read(os.fspath(tmp_path))
