"""The command line, from a recipe to restored pictures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dirlearn.cli import Exit, app

ROOT = Path(__file__).parents[2]


def run(*args: object):
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("done")
    text = (Path(__file__).parent / "conftest.py").read_text().split('"""')[3]
    (folder / "tiny.yaml").write_text(text.replace("\\\n", "", 1).replace("RUN", str(folder / "run")))
    result = run("run", folder / "tiny.yaml")
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_a_run_leaves_everything(done: Path) -> None:
    assert {p.name for p in done.iterdir()} >= {
        "recipe.yaml", "environment.json", "stage1", "methods", "results.json", "report.html", "samples", "embedding",
    }  # fmt: skip
    stage = {p.name for p in (done / "stage1").iterdir()}
    assert stage >= {"checkpoints", "final", "metrics.jsonl", "samples", "tensorboard"}
    rows = json.loads((done / "results.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["degraded", "r0", "aligned"]
    page = (done / "report.html").read_text()
    assert "data:image/png;base64" in page
    assert 'src="http' not in page
    assert "degraded" in page


def test_restore_writes_pictures_of_the_same_size(done: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in" / "deep" / "x.png")
    result = run("restore", done, tmp_path / "in", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "out" / "deep" / "x.png").size == (70, 37)
    result = run("restore", done, tmp_path / "in" / "deep" / "x.png", "-o", tmp_path / "same", "-m", "degraded")
    assert result.exit_code == 0, result.output
    assert np.array_equal(np.asarray(Image.open(tmp_path / "same" / "x.png")), pixels)


def test_embed_writes_a_row_a_picture(done: Path, tmp_path: Path) -> None:
    for i in range(2):
        Image.fromarray(np.full((20, 24, 3), 90 * i, np.uint8)).save(tmp_path / f"{i}.png")
    result = run("embed", done, "--as-is", "--data", tmp_path, "-o", tmp_path / "e")
    assert result.exit_code == 0, result.output
    found = np.load(tmp_path / "e" / "vectors.npz", allow_pickle=False)
    assert found["names"].tolist() == ["0.png", "1.png"]
    assert {found[name].shape for name in ("r0", "pilot", "refined")} == {(2, 4)}
    assert run("embed", done, "--as-is", "-d", tmp_path, "-m", "r0").exit_code == Exit.FAILED
    assert run("embed", done, "--as-is").exit_code == Exit.USAGE


def test_a_run_is_probed_and_embed_probes_it_again(done: Path) -> None:
    before = json.loads((done / "results.json").read_text())
    assert set(before["probes"]["latents"]) == {"picture", "pilot", "r0", "r+", "r*"}
    assert before["probes"]["copies"] == 4
    result = run("embed", done, "--scenes", 3, "--copies", 5)
    assert result.exit_code == 0, result.output
    assert "gaussian_noise.sigma" in result.output
    after = json.loads((done / "results.json").read_text())
    assert after["rows"] == before["rows"]
    assert after["probes"]["copies"] == 16
    assert len(json.loads((done / "embedding" / "points.json").read_text())) == 3 * (3 * 5 + 1)
    assert "gaussian_noise.sigma" in (done / "report.html").read_text()


def test_embed_of_other_pictures_leaves_the_run_as_it_is(done: Path, tmp_path: Path) -> None:
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    before = {p: p.read_bytes() for p in done.rglob("*") if p.is_file()}
    result = run("embed", done, "-d", tmp_path, "-o", tmp_path / "e", "--copies", 4)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "e" / "probes.json").read_text())["pictures"] == 3
    assert {p: p.read_bytes() for p in done.rglob("*") if p.is_file()} == before


def test_evaluate_again_gives_the_same(done: Path) -> None:
    before = json.loads((done / "results.json").read_text())
    result = run("evaluate", done, "--quiet")
    assert result.exit_code == 0, result.output
    assert json.loads((done / "results.json").read_text()) == before


def test_evaluate_on_other_pictures_and_another_recipe(done: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    result = run("evaluate", done, "--data", tmp_path, "--recipe", ROOT / "recipes" / "unseen_noise.yaml")
    assert result.exit_code == 0, result.output
    found = json.loads((done / f"results-{tmp_path.name}-unseen_noise.json").read_text())
    assert {row["degradation"] for row in found["rows"]} == {"unseen_noise"}


def test_a_moved_run_can_be_used(done: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(done, tmp_path / "moved")
    assert run("evaluate", tmp_path / "moved", "-q").exit_code == 0


def test_mistakes_are_explained(done: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nstages: []\n")
    result = run("run", bad)
    assert result.exit_code == Exit.RECIPE
    assert run("validate", bad).exit_code == Exit.RECIPE
    assert run("restore", tmp_path, bad, "-o", tmp_path / "o").exit_code == Exit.FAILED
    assert run("restore", done, tmp_path / "none.png", "-o", tmp_path / "o").exit_code == Exit.PLACES
    assert run("restore", done, bad, "-o", tmp_path / "o", "-m", "nothing").exit_code == Exit.FAILED
    assert run("list", "stages").exit_code == Exit.USAGE
    assert run("show", "lihgt").exit_code == Exit.USAGE


def test_list_and_show() -> None:
    assert "guided" in run("list", "alignments").output
    shown = run("show", "alignments/guided").output
    assert "width" in shown
    assert "Guo2024" in shown
    both = run("show", "light").output
    assert "encoders/light" in both
    assert "decoders/light" in both


@pytest.mark.parametrize("args", [["--help"], ["list"], ["run", "--help"]])
def test_help_and_list_do_not_import_torch(args: list[str]) -> None:
    call = f"import sys; from dirlearn.cli import app\ntry: app({args!r})\nexcept SystemExit: pass\n"
    code = call + "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
