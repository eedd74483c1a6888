import json
from pathlib import Path

import numpy as np
import pytest
import rawpy
from PIL import Image
from typer.testing import CliRunner, Result

from isp_sim import recipe as recipes
from isp_sim.cli import Exit, app
from isp_sim.formats.files import Files
from isp_sim.formats.reader import InputFault
from isp_sim.formats.samples import Samples
from isp_sim.render import invert
from isp_sim.render.job import render
from tests.isp_sim.render.photos import RECIPES, photo

PLAIN = """version: 1
seed: 4
input: {reader: images}
stages:
  - unprocess
  - mosaic
  - clip
  - demosaic: {method: bilinear}
  - white_balance
  - colour_matrix
  - tone_curve
  - srgb_oetf
  - maybe: {p: 0.5, stages: [{jpeg: {quality: 20}}]}
output: {writer: files, format: FORMAT}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("astronaut", "coffee", "chelsea"):
        photo(name, (36, 44)).save(folder / f"{name}.png")
    return folder


def rendered(tmp_path: Path, photos: Path, form: str = "png") -> tuple[Path, Path]:
    """A recipe file, and the folder that it rendered."""
    path, out = tmp_path / "plain.yaml", tmp_path / "out"
    path.write_text(PLAIN.replace("FORMAT", form))
    render(recipes.read(path).with_places(str(photos), str(out)), views=2)
    return path, out


def ledger(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "ledger.json").read_text())
    return found


def test_what_was_rendered_is_measured(photos: Path, tmp_path: Path) -> None:
    path, out = rendered(tmp_path, photos)
    result = run("invert", path, "-i", out, "-o", tmp_path / "back")
    assert result.exit_code == Exit.DONE, result.output
    found = ledger(tmp_path / "back")
    assert found["measured"]
    assert len(found["pictures"]) == 6  # type: ignore[arg-type]
    for row in found["pictures"]:  # type: ignore[attr-defined]
        steps = {step["step"]: step for step in row["steps"]}
        assert next(iter(steps)) == "output"
        assert list(steps)[-1] == "unprocess"
        assert row["reached"] == "input"
        assert steps["white_balance"]["alone"]["psnr"] > 120
        assert steps["demosaic"]["alone"]["psnr"] is None
        assert (
            steps["output"]["alone"]["psnr"] is None if "maybe/jpeg" in steps else steps["output"]["alone"]["psnr"] > 50
        )
        for kind in ("picture", "view", "lost", "off"):
            with Image.open(tmp_path / "back" / row["files"][kind]) as image:
                assert image.size == (44, 36)
        with Image.open(tmp_path / "back" / row["files"]["off"]) as image:
            assert row["off"] == pytest.approx(np.mean(np.asarray(image) > 0))
    assert "demosaic by malvar2004" in result.stdout
    jpegs = sum("maybe/jpeg" in {s["step"] for s in row["steps"]} for row in found["pictures"])  # type: ignore[attr-defined]
    assert 0 < jpegs < 6


@pytest.mark.parametrize("form", ["png", "tiff", "npy", "jpeg"])
def test_every_kind_of_file_is_read_again(photos: Path, tmp_path: Path, form: str) -> None:
    path, out = rendered(tmp_path, photos, form)
    done = invert.invert(recipes.read(path), out, tmp_path / "back", invert.Options(rows=(1,), to="srgb_oetf"))
    (output, *_) = done.lines
    assert output.entry.step == "output"
    assert output.alone is not None
    assert output.alone > {"png": 50, "tiff": 60, "npy": 200, "jpeg": 25}[form]


def test_one_row_to_one_step_as_numbers(photos: Path, tmp_path: Path) -> None:
    path, out = rendered(tmp_path, photos)
    arguments = ("--row", 3, "--to", "mosaic", "--format", "npy", "-q")
    result = run("invert", path, "-i", out / "manifest.jsonl", "-o", tmp_path / "back", *arguments)
    assert (result.exit_code, result.output) == (Exit.DONE, "")
    (row,) = ledger(tmp_path / "back")["pictures"]  # type: ignore[misc]
    assert row["reached"] == "mosaic"
    assert row["signal"]["cfa"] == "RGGB"
    assert np.load(tmp_path / "back" / row["files"]["picture"]).shape == (36, 44)


def test_changed_files_and_moved_originals_are_said(photos: Path, tmp_path: Path) -> None:
    path, out = rendered(tmp_path, photos)
    photo("rocket", (36, 44)).save(out / "astronaut.png")
    photos.rename(tmp_path / "moved")
    missing = run("invert", path, "-i", out, "-o", tmp_path / "back")
    assert missing.exit_code == Exit.PLACES
    result = run("invert", path, "-i", out, "-o", tmp_path / "back", "--originals", tmp_path / "moved", "--limit", 3)
    assert result.exit_code == Exit.DONE, result.output
    assert "the file is not as it was rendered" in result.stderr


def test_from_photos_to_a_RAW_that_develops_into_them(tmp_path: Path) -> None:
    """The DNG that a photo is taken back to is developed by the same recipe to the photo, where nothing is marked."""
    folder = tmp_path / "photos"
    folder.mkdir()
    smooth = photo("chelsea", (20, 26)).resize((104, 80), Image.Resampling.BICUBIC)
    smooth.save(folder / "a.png")
    develop = RECIPES / "develop_raw.yaml"
    arguments = ("--profile", "generic_phone", "--cfa", "GBRG", "--format", "dng")
    result = run("invert", develop, "-i", folder, "-o", tmp_path / "raw", *arguments)
    assert result.exit_code == Exit.DONE, result.output
    with rawpy.imread(str(tmp_path / "raw" / "a.dng")) as raw:
        assert raw.raw_pattern.tolist() == [[3, 2], [0, 1]]
    again = run("render", "-r", develop, "-i", tmp_path / "raw" / "a.dng", "-o", tmp_path / "again", "-q")
    assert again.exit_code == Exit.DONE, again.output
    rows = np.asarray(invert_read(tmp_path / "again" / "a.png")) * (255 / 65535)
    with Image.open(tmp_path / "raw" / "masks" / "a.lost.png") as mask:
        known = np.asarray(mask) == 0
    error = np.abs(rows - np.asarray(smooth, dtype=float))[known]
    assert np.median(error) < 1
    assert error.mean() < 3


def invert_read(path: Path) -> object:
    from isp_sim.formats.images import decode

    return decode(path.read_bytes())[0]


def test_a_photo_is_taken_back_with_the_recipes_own_camera(photos: Path, tmp_path: Path) -> None:
    """What `unprocess` would make of the photo, the tone curve and the gains drawn for its key."""
    path = tmp_path / "r.yaml"
    stages = "[unprocess, white_balance, colour_matrix, tone_curve, srgb_oetf]"
    path.write_text(f"version: 1\nseed: 8\nstages: {stages}\noutput: {{format: npy, keep: [unprocess]}}\n")
    result = run("invert", path, "-i", photos, "-o", tmp_path / "raw", "--format", "npy")
    assert result.exit_code == Exit.DONE, result.output
    assert {row["reached"] for row in ledger(tmp_path / "raw")["pictures"]} == {"unprocess"}  # type: ignore[attr-defined]
    render(recipes.read(path).with_places(str(photos), str(tmp_path / "out")))
    for name in ("astronaut", "coffee", "chelsea"):
        kept = np.load(tmp_path / "out" / "kept" / "unprocess" / f"{name}.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "raw" / f"{name}.npy"), kept)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--to", "mosiac"), Exit.USAGE, "no step 'mosiac' to go back to; it has input, normalise"),
        ((), Exit.USAGE, "say with --cfa which it was"),
        (("--cfa", "RGG"), Exit.USAGE, "3 sites"),
        (("--cfa", "RGGB"), Exit.USAGE, "say with --profile whose is to be taken"),
        (("--cfa", "RGGB", "--profile", "generic_phne"), Exit.USAGE, "did you mean 'generic_phone'"),
        (("--cfa", "RGGB", "--profile", "generic_phone", "--to", "input"), Exit.USAGE, "no profile tells that"),
        (("--row", "1"), Exit.USAGE, "rows are of a manifest"),
    ],
)
def test_what_is_missing_is_asked_for(
    photos: Path, tmp_path: Path, arguments: tuple[str, ...], code: Exit, message: str
) -> None:
    result = run("invert", RECIPES / "develop_raw.yaml", "-i", photos, "-o", tmp_path / "raw", *arguments)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert not list((tmp_path / "raw").rglob("*.png"))


def test_another_recipe_and_other_places_are_refused(photos: Path, tmp_path: Path) -> None:
    path, out = rendered(tmp_path, photos)
    other = run("invert", RECIPES / "quickstart.yaml", "-i", out, "-o", tmp_path / "back")
    assert other.exit_code == Exit.PLACES
    assert f"give {out / 'recipe.yaml'}" in other.stderr
    assert run("invert", out / "recipe.yaml", "-i", out, "-o", tmp_path / "back", "--limit", 1).exit_code == Exit.DONE
    again = run("invert", path, "-i", out, "-o", tmp_path / "back")
    assert again.exit_code == Exit.PLACES
    assert "--overwrite" in again.stderr
    assert run("invert", path, "-i", out, "-o", tmp_path / "b", "--row", 9).exit_code == Exit.USAGE
    assert run("invert", path, "-i", tmp_path / "nowhere", "-o", tmp_path / "b").exit_code == Exit.PLACES
    assert run("invert", tmp_path / "no.yaml", "-i", out, "-o", tmp_path / "b").exit_code == Exit.RECIPE
    in_a_file = run("invert", path, "-i", out, "-o", photos / "coffee.png" / "b")
    assert in_a_file.exit_code == Exit.PLACES


def test_a_way_back_that_ends_early_says_where(photos: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "r.yaml", tmp_path / "out"
    path.write_text("version: 1\nstages: [srgb_eotf, {crop: {height: 8, width: 8}}, srgb_oetf]\n")
    render(recipes.read(path).with_places(str(photos), str(out)))
    result = run("invert", path, "-i", out, "-o", tmp_path / "back")
    assert result.exit_code == Exit.DONE
    assert "nothing" in result.stdout
    assert "what lay outside the window of 8x8" in result.stdout
    asked = run("invert", path, "-i", out, "-o", tmp_path / "b", "--to", "input")
    assert asked.exit_code == Exit.SOME_FAILED
    assert "the way back ends after crop, before input" in asked.stderr


def test_a_picture_that_fails_costs_itself(photos: Path, tmp_path: Path) -> None:
    path, out = rendered(tmp_path, photos)
    (out / "coffee.png").write_bytes(b"")
    result = run("invert", path, "-i", out, "-o", tmp_path / "back")
    assert result.exit_code == Exit.SOME_FAILED
    assert "coffee.png" in result.stderr
    found = ledger(tmp_path / "back")
    assert [row["key"] for row in found["failed"]] == ["coffee.png"]  # type: ignore[attr-defined]
    assert len(found["pictures"]) == 5  # type: ignore[arg-type]


def test_explain_shows_the_way_back() -> None:
    result = run("explain", RECIPES / "phone_night.yaml", "--inverse")
    assert result.exit_code == Exit.DONE
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("mosaic ")]
    assert line.split()[1:5] == ["approximate", "demosaic", "by", "malvar2004"]
    assert "6 of 13 steps are undone exactly" in result.stdout
    assert "ends after" not in result.stdout


def test_a_file_of_another_size_is_no_file_of_the_picture() -> None:
    samples = Samples(Samples.Params())
    frame = samples.read(samples.items()[0]).frame
    writer = Files(Files.Params())
    data = writer.encode(frame)
    assert (writer.decode(data, frame) == frame.pixels).all()
    with pytest.raises(InputFault, match="the file holds"):
        writer.decode(data, frame.crop(0, 0, 8, 8))


def test_brooks2019_is_rendered_and_gone_back(photos: Path, tmp_path: Path) -> None:
    """The recipe of the paper: its tone curve and digital gain are there both ways, and noise is what is lost most."""
    recipe = RECIPES / "brooks2019.yaml"
    assert run("render", "-r", recipe, "-i", photos, "-o", tmp_path / "out", "-q").exit_code == Exit.DONE
    done = invert.invert(recipes.read(recipe), tmp_path / "out", tmp_path / "back")
    lines = {line.entry.step: line for line in done.lines}
    assert [lines[name].entry.how for name in ("smoothstep", "digital_gain", "white_balance")] == ["exact"] * 3
    assert min(lines[name].alone or 0 for name in ("smoothstep", "digital_gain", "white_balance")) > 110
    assert lines["unprocess"].entry.how == "approximate"  # by safe gains
    assert done.failed == ()
