"""The wheel: what it needs is in it, nothing else is, and it works away from the sources."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("isp_sim", "dirlearn")
DATA = {".py", ".typed", ".yaml"}
"""Kinds of files that belong to the packages."""

pytestmark = pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling, which builds the wheel, is missing")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the backend itself, without an environment of its own: that would have to be downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_it_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    about = {name for name in names if ".dist-info/" in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names - about == sources, "a file is left out, or does not belong there"
    assert {Path(name).suffix for name in sources} == DATA
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.startswith("isp_sim/cameras/profiles/") for name in names)
    assert {Path(name).name for name in about} == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}


def test_it_works_away_from_the_sources(wheel: Path, tmp_path: Path) -> None:
    """Unpacked as pip would, before what is installed here: its own metadata, plugins, profiles and pictures."""
    place = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*pip, "--target", place, wheel], check=True, capture_output=True)
    recipe = ROOT / "recipes" / "phone_night.yaml"
    code = """
import json, sys
from isp_sim import __file__ as home, cli, registry
from isp_sim.cameras.profile import shipped
from typer.testing import CliRunner

said = CliRunner().invoke(cli.app, ["--version"])
valid = CliRunner().invoke(cli.app, ["validate", sys.argv[1]])
print(json.dumps({
    "home": home, "said": said.output, "code": valid.exit_code, "output": valid.output,
    "stages": registry.names("isp_sim.stages"), "profiles": shipped(),
    "dirlearn": __import__("dirlearn.cli").__file__,
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, recipe],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["home"]).is_relative_to(place)
    assert Path(found["dirlearn"]).is_relative_to(place)
    assert found["said"].startswith("isp-sim ")
    assert found["code"] == 0, found["output"]
    assert "white_balance" in found["stages"]
    assert "generic_phone" in found["profiles"]
