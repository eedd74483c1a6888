import json

import pytest
from typer.testing import CliRunner

from isp_sim.cameras import profile
from isp_sim.cli import Exit, app
from tests.isp_sim.cameras.loaders.test_eld import PARAMETERS


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISP_SIM_CAMERAS", str(tmp_path / "own"))
    return tmp_path


def test_list(here):
    (here / "own").mkdir()
    (here / "own" / "broken.yaml").write_text("name: [")
    result = run("cameras", "list")
    assert result.exit_code == Exit.DONE
    for name in profile.shipped():
        assert name in result.stdout
    assert str(here / "own") in result.stdout
    assert "broken.yaml" in result.stderr  # said, and in nobody's way


def test_show_has_provenance_and_a_table():
    result = run("cameras", "show", "eld_sony_a7s2")
    assert result.exit_code == Exit.DONE
    for text in ("MIT (ELD)", "Kmin and Kmax", "K [DN/e-]", "25600", "0.0939"):
        assert text in result.stdout


def test_import_then_use(here):
    (here / "x_params.json").write_text(json.dumps(PARAMETERS))
    result = run("cameras", "import", "eld", "x_params.json", "--camera", "X", "-o", "own/x.yaml")
    assert result.exit_code == Exit.DONE, result.output
    assert "x (own)" in run("cameras", "list").stdout
    assert run("cameras", "show", "x").exit_code == Exit.DONE
    assert run("cameras", "import", "eld", "x_params.json", "-o", "own/x.yaml").exit_code == Exit.PLACES
    printed = run("cameras", "import", "eld", "x_params.json").stdout
    assert profile.parse(printed.encode(), "x").noise is not None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "none"), Exit.USAGE, "unknown camera profile"),
        (("import", "exif", "x"), Exit.USAGE, "rawspeed"),
        (("import", "eld", "none.npy"), Exit.PLACES, "can't read none.npy"),
    ],
)
def test_mistakes(here, arguments, code, message):
    result = run("cameras", *arguments)
    assert result.exit_code == code
    assert message in result.output
