import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from isp_sim.cli import Exit, app
from tests.isp_sim.render.photos import RECIPES, photo

NIGHT = str(RECIPES / "phone_night.yaml")
BIN = Path(sys.executable).parent / "isp-sim"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    photo("astronaut", (40, 52)).save(folder / "a.png")
    photo("coffee", (40, 52)).save(folder / "b.png")
    return folder


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "stages"], ["render", "--help"]])
def test_help_and_list_do_not_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from isp_sim.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_render_says_where_the_pictures_are(photos: Path, tmp_path: Path) -> None:
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--views", 2)
    assert result.exit_code == Exit.DONE
    assert "4 rendered" in result.stderr
    assert str(tmp_path / "out") in result.stderr
    again = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--views", 2)
    assert "4 were there already" in again.stderr


def test_quiet_is_quiet(photos: Path, tmp_path: Path) -> None:
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "-q")
    assert (result.exit_code, result.output) == (Exit.DONE, "")


def test_a_failed_picture_is_named_and_changes_the_exit_code(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "-q")
    assert result.exit_code == Exit.SOME_FAILED
    assert "broken.png" in result.stderr
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a.png", "b.png"]


def test_strict_stops(photos: Path, tmp_path: Path) -> None:
    (photos / "0.png").write_bytes(b"")
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--strict")
    assert result.exit_code == Exit.SOME_FAILED
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda place: (place / "in").mkdir(), "no pictures"),
        (lambda place: None, "does not exist"),
    ],
)
def test_input_that_is_not_there(prepare: object, message: str, tmp_path: Path) -> None:
    prepare(tmp_path)  # type: ignore[operator]
    result = run("render", "-r", NIGHT, "-i", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == Exit.PLACES
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_whose_parent_is_a_file(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "file" / "out")
    assert result.exit_code == Exit.PLACES
    assert "file" in result.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_other_output_is_refused_without_overwrite(photos: Path, tmp_path: Path) -> None:
    run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--seed", 1)
    refused = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--seed", 2)
    assert refused.exit_code == Exit.PLACES
    assert "--overwrite" in refused.stderr
    assert run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--seed", 2, "--overwrite").exit_code == 0


def test_no_output_and_no_device_are_said(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "nowhere.yaml").write_text("version: 1\nstages: [jpeg]\n")
    assert "--output" in run("render", "-r", tmp_path / "nowhere.yaml", "-i", photos).stderr
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--device", "nonsense")
    assert result.exit_code == Exit.USAGE
    assert "nonsense" in result.stderr


FIVE = """version: 1
seed: 1
input: {reader: images, path: nowhere}
stages:
  - unprocess
  - mosaic
  - shot_read_nose: {shot: 0.01}
  - white_balance: {gain: [2, 1, 2]}
  - demosaic
  - srgb_oetf
  - colour_matrix
  - jpeg: {quality: {randint: [10, 130]}}
seed: 2
"""


def test_five_mistakes_are_five_messages_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "five.yaml"
    path.write_text(FIVE)
    for result in (run("validate", path), run("render", "-r", path, "-o", tmp_path / "out")):
        assert result.exit_code == Exit.RECIPE
        lines = [line for line in result.stderr.splitlines() if "five.yaml:" in line]
        numbers = [int(line.split("five.yaml:")[1].split(":")[0]) for line in lines]
        assert numbers == [7, 8, 10, 12, 13]
        assert "did you mean 'shot_read_noise'" in lines[0]
        assert "did you mean 'gains'" in lines[1]
        assert "camera_matrix and colour_matrix and primaries would give that" in lines[2]
        assert "130" in lines[3]
        assert "line 2" in lines[4]
    assert not (tmp_path / "out").exists()


def test_validate_takes_many(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    recipes = [path for path in sorted(RECIPES.glob("*.yaml")) if path.read_text().startswith("# isp-sim")]
    assert len(recipes) > 4
    result = run("validate", *recipes, tmp_path / "bad.yaml", tmp_path / "missing.yaml")
    assert result.exit_code == Exit.RECIPE
    assert result.stdout.count("valid") == len(recipes)
    assert "needs stages" in result.stderr
    assert "missing.yaml" in result.stderr


def test_explain_shows_signals_and_supports() -> None:
    result = run("explain", NIGHT)
    assert result.exit_code == 0
    assert "mosaic RGGB, camera, linear, unbalanced" in result.stdout
    assert "{randint: [10, 30]}" in result.stdout
    assert "log_base: e" in result.stdout


def test_show_knows_every_plugin() -> None:
    from isp_sim import registry

    for name in registry.names(*registry.GROUPS):
        result = run("show", name)
        assert result.exit_code == 0, result.output
        assert "no description" not in result.stdout
    assert "0 and <= 1" in run("show", "shot_read_noise").stdout
    assert "0.02 mean absolute difference" in run("show", "jpeg").stdout
    assert "did you mean 'jpeg'" in run("show", "jpg").stderr


def test_preview_is_a_sheet_of_inputs_by_draws(photos: Path, tmp_path: Path) -> None:
    result = run("preview", NIGHT, "-i", photos, "-o", tmp_path / "p.png", "--draws", 2, "--size", 64)
    assert result.exit_code == 0
    with Image.open(tmp_path / "p.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] > 3 * 200
    assert pixels.std() > 10
    failed = run("preview", NIGHT, "-i", photos, "-o", photos / "a.png" / "p.png")
    assert failed.exit_code == Exit.PLACES


def test_replay_is_bit_equal_and_notices_a_change(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("render", "-r", NIGHT, "-i", photos, "-o", out, "--views", 2, "--batch-size", 4, "-q")
    manifest = out / "manifest.jsonl"
    for row in range(1, 5):
        again = run("replay", manifest, row, "-o", tmp_path / f"{row}.png")
        assert again.exit_code == 0, again.output
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert (tmp_path / "2.png").read_bytes() == (out / rows[1]["output"]).read_bytes()
    # moved inputs are found again, changed ones are noticed
    photos.rename(tmp_path / "moved")
    assert run("replay", manifest, 1).exit_code == Exit.PLACES
    assert run("replay", manifest, 1, "-i", tmp_path / "moved").exit_code == 0
    photo("chelsea", (40, 52)).save(tmp_path / "moved" / "a.png")
    changed = run("replay", manifest, 1, "-i", tmp_path / "moved")
    assert changed.exit_code == Exit.SOME_FAILED
    assert "input has changed" in changed.stderr
    assert run("replay", manifest, 9).exit_code == Exit.PLACES


def test_a_dry_run_says_what_would_be_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--views", 3, "--dry-run")
    assert result.exit_code == Exit.DONE
    assert result.stdout.startswith("6 pictures, about ")
    assert "by 6 of them, rendered and not written" in result.stdout
    assert not (tmp_path / "out").exists()
    (photos / "b.png").write_bytes(b"no picture")
    result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == Exit.SOME_FAILED
    assert "would fail: b.png" in result.stderr


def test_verify_finds_a_changed_file(photos: Path, tmp_path: Path) -> None:
    assert run("verify", tmp_path).exit_code == Exit.PLACES
    run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "-q")
    whole = run("verify", tmp_path / "out")
    assert whole.exit_code == Exit.DONE
    assert "2 pictures in 2 files compared" in whole.stderr
    (tmp_path / "out" / "a.png").write_bytes(b"other")
    changed = run("verify", tmp_path / "out", "-q")
    assert changed.exit_code == Exit.SOME_FAILED
    assert "row 1 (a.png, view 0): a.png has other bytes" in changed.stderr


def test_a_stopped_run_has_the_exit_code_of_its_signal(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isp_sim.render import job

    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):

        def stopped(self: object, receipt: object, number: int = number) -> None:
            os.kill(os.getpid(), number)

        monkeypatch.setattr(job.FilesOutput, "add", stopped)
        result = run("render", "-r", NIGHT, "-i", photos, "-o", tmp_path / "out", "-q")
        assert result.exit_code == code
        assert "the same command goes on" in result.stderr


def test_schema_is_json() -> None:
    schema = json.loads(run("schema").stdout)
    assert "jpeg" in schema["$defs"]["step"]["oneOf"][0]["enum"]


def test_the_program_runs_from_the_shell(photos: Path, tmp_path: Path) -> None:
    for workers, folder in ((1, "one"), (2, "two")):
        command = [BIN, "render", "-r", NIGHT, "-i", photos, "-o", tmp_path / folder, "--workers", str(workers)]
        subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "one" / "a.png").read_bytes() == (tmp_path / "two" / "a.png").read_bytes()
    assert (tmp_path / "one" / "manifest.jsonl").read_bytes() == (tmp_path / "two" / "manifest.jsonl").read_bytes()


def _p3() -> bytes:
    import imagecodecs

    red, green, blue = (0.680, 0.320, 1.0), (0.265, 0.690, 1.0), (0.150, 0.060, 1.0)
    white = [0.3127, 0.3290, 1.0]
    profile: bytes = imagecodecs.cms_profile("rgb", whitepoint=white, primaries=[*red, *green, *blue], gamma=2.2)
    return profile


def test_odd_input_renders_and_what_was_done_is_said(tmp_path: Path) -> None:
    import imagecodecs

    folder = tmp_path / "odd"
    folder.mkdir()
    image = photo("astronaut", (31, 43))
    rgb = np.asarray(image)
    image.convert("RGBA").save(folder / "alpha.png")
    grey = rgb[..., 0].astype(np.uint16) * 257
    (folder / "grey16.png").write_bytes(imagecodecs.png_encode(grey))
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    image.save(folder / "p3.png", icc_profile=_p3())
    Image.new("RGB", (2, 2), (90, 120, 60)).save(folder / "small.png")
    result = run("render", "-r", NIGHT, "-i", folder, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = {(row := json.loads(line))["key"]: row for line in (tmp_path / "out" / "manifest.jsonl").open()}
    said = {key: " ".join(row["notes"]) for key, row in rows.items()}
    assert "alpha dropped" in said["alpha.png"]
    assert "grey" in said["grey16.png"]
    assert "CMYK" in said["cmyk.jpg"]
    assert "orientation" in said["turned.jpg"]
    assert "sRGB" in said["p3.png"]
    assert rows["turned.jpg"]["size"] == [43, 31]
    for note in ("alpha dropped", "orientation"):
        assert note in result.stderr


def test_a_text_file_named_dng_fails_well(tmp_path: Path) -> None:
    (tmp_path / "note.dng").write_text("this is no photo")
    develop = RECIPES / "develop_raw.yaml"
    result = run("render", "-r", develop, "-i", tmp_path / "note.dng", "-o", tmp_path / "out")
    assert result.exit_code == Exit.SOME_FAILED
    assert "RAW" in result.stderr
    assert "Traceback" not in result.output
