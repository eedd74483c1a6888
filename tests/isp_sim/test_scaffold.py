"""A new plugin, as its author meets it: written, installed, used, checked."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from isp_sim import scaffold


def installed(folder: Path, site: Path) -> dict[str, str]:
    """An environment in which a package counts as installed: on the path, with its metadata."""
    text = (folder / "pyproject.toml").read_text()
    name = re.search(r'^name = "(.+)"', text, re.M)
    points = re.search(r'entry-points\."(.+)"\]\n(.+)\n', text)
    assert name
    assert points
    info = site / f"{name[1].replace('-', '_')}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name[1]}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(f"[{points[1]}]\n{points[2].replace(chr(34), '')}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "src"), str(site)])}


def run(*command: object, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", list(scaffold.GROUPS))
def test_what_is_written_works(kind: str, tmp_path: Path) -> None:
    folder = scaffold.new(f"my-{kind}", kind, tmp_path)
    env = installed(folder, tmp_path / "site")
    tests = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder / "tests", env=env)
    assert tests.returncode == 0, tests.stdout
    assert "2 passed" in tests.stdout
    recipe = re.search(r"```yaml\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert recipe
    (tmp_path / "recipe.yaml").write_text(recipe[1])
    validated = run(Path(sys.executable).with_name("isp-sim"), "validate", tmp_path / "recipe.yaml", env=env)
    # a stage that ends in its own transfer is warned of by the writer, and that is right
    assert validated.returncode == 0, validated.stderr
    listed = run(Path(sys.executable).with_name("isp-sim"), "list", env=env)
    assert f"my_{kind}   (my-{kind})" in listed.stdout


@pytest.mark.parametrize("kind", list(scaffold.GROUPS))
def test_what_is_written_is_clean(kind: str, tmp_path: Path) -> None:
    folder = scaffold.new("of-mine", kind, tmp_path)
    ruff = Path(sys.executable).with_name("ruff")
    linted = run(
        ruff, "check", "--isolated", "--line-length", 120, "--select", "E,F,W,B,UP", folder, env=dict(os.environ)
    )
    assert linted.returncode == 0, linted.stdout
    formatted = run(ruff, "format", "--isolated", "--line-length", 120, "--check", folder, env=dict(os.environ))
    assert formatted.returncode == 0, formatted.stdout


@pytest.mark.parametrize(
    "name", ["", "My-Stage", "1st", "a b", "../evil", "class", "a--b", "-a", "a/b", "torch", "isp-sim", "jpeg"]
)
def test_names_that_can_be_no_package_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="package's name"):
        scaffold.new(name, "stage", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_and_an_existing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="degradation"):
        scaffold.new("mine", "filter", tmp_path)
    scaffold.new("mine", "stage", tmp_path)
    with pytest.raises(FileExistsError):
        scaffold.new("mine", "stage", tmp_path)
