import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isp_sim import recipe as recipes
from isp_sim.formats.reader import InputFault
from isp_sim.render import atomic, manifest
from isp_sim.render.job import render
from isp_sim.render.manifest import OutputFault
from isp_sim.render.plan import MemberNames, Names, plan
from isp_sim.render.worker import RenderFault, Settings
from tests.isp_sim.render.photos import RECIPES, tree

NIGHT = RECIPES / "phone_night.yaml"


def night(photos: Path, output: Path, seed: int = 7) -> recipes.Recipe:
    return recipes.read(NIGHT).with_places(str(photos), str(output), seed)


@pytest.fixture
def reference(photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "reference"
    render(night(photos, folder), views=2)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """What must be equal: everything but run.json, which names the input."""
    return {path: data for path, data in tree(folder).items() if path != manifest.RUN}


def test_the_bytes_do_not_depend_on_workers_or_batches(photos: Path, tmp_path: Path, reference: Path) -> None:
    for i, (workers, batch_size) in enumerate([(1, 1), (4, 1), (1, 16), (3, 2)]):
        folder = tmp_path / f"out{i}"
        render(night(photos, folder), views=2, workers=workers, settings=Settings(batch_size=batch_size))
        assert content(folder) == content(reference), (workers, batch_size)


def test_another_seed_view_or_name_draws_anew(photos: Path, tmp_path: Path, reference: Path) -> None:
    render(night(photos, tmp_path / "other", seed=8))
    pictures = tree(reference)
    assert pictures["a.png"] != tree(tmp_path / "other")["a.png"]
    assert pictures["a.png"] != pictures["a.view1.png"]
    rows = manifest.read(reference / manifest.MANIFEST)
    drawn = [json.dumps(row["drawn"]["shot_read_noise"]["shot"]) for row in rows]
    assert len(set(drawn)) == len(rows) == 10


def test_a_row_says_what_was_done(reference: Path) -> None:
    row = manifest.read(reference / manifest.MANIFEST)[0]
    assert row["key"] == "a.png"
    assert row["recipe"] == recipes.read(NIGHT).hash
    assert row["files"] == {"a.png": atomic.sha256((reference / "a.png").read_bytes())}
    assert 10 <= row["drawn"]["jpeg"]["quality"] <= 30
    assert row["drawn"]["white_balance"]["gains"] is None
    assert 0.7 < row["drawn"]["white_balance"]["deviate"]["gains.0"]["factor"] < 1.3
    assert [entry["id"] for entry in row["signals"]][:3] == ["input", "unprocess", "exposure"]
    assert row["signals"][-1]["bit_depth"] == 8
    assert row["capture"]["wb_gains"][1] == [[1.0]]
    assert row["versions"]["torch"]


def test_a_finished_run_is_not_done_again(photos: Path, reference: Path) -> None:
    before = {path: (reference / path).stat().st_mtime_ns for path in tree(reference)}
    summary = render(night(photos, reference), views=2)
    assert (summary.rendered, summary.kept) == (0, 10)
    after = {path: (reference / path).stat().st_mtime_ns for path in tree(reference)}
    pictures = [path for path in before if path.endswith(".png")]
    assert [before[p] for p in pictures] == [after[p] for p in pictures]


def test_a_run_goes_on_where_it_stopped(photos: Path, tmp_path: Path, reference: Path) -> None:
    folder = tmp_path / "out"
    render(night(photos, folder), views=2, limit=3)
    (folder / "b.png").write_bytes(b"damaged")
    (folder / "a.png").unlink()
    (folder / f".c.png.123{atomic.PART}").write_bytes(b"half")
    with (folder / manifest.MANIFEST).open("a") as file:
        file.write('{"key": "deep/a.png", "vi')  # the line being written when the power failed
    summary = render(night(photos, folder), views=2)
    assert (summary.rendered, summary.kept) == (6, 4)
    assert content(folder) == content(reference)


def test_killed_at_any_moment_nothing_is_lost(photos: Path, tmp_path: Path, reference: Path) -> None:
    folder = tmp_path / "out"
    command = [str(Path(sys.executable).with_name("isp-sim")), "render", "-r", str(NIGHT), "-i", str(photos)]
    command += ["-o", str(folder), "--views", "2", "--quiet"]
    for pictures in (1, 4):
        process = subprocess.Popen(command)
        while process.poll() is None and len(list(folder.rglob("*.png"))) < pictures:
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for path in folder.rglob("*.png"):
            name = path.relative_to(folder).as_posix()
            assert path.read_bytes() == (reference / name).read_bytes(), "a file under its final name is whole"
    assert subprocess.run(command, check=False).returncode == 0
    assert content(folder) == content(reference)


def test_one_bad_file_costs_a_row(photos: Path, tmp_path: Path) -> None:
    data = (photos / "a.png").read_bytes()
    (photos / "b.png").write_bytes(data[: len(data) // 2])
    (photos / "deep" / "tiny.png").write_bytes(_png_of_one_pixel())
    folder = tmp_path / "out"
    summary = render(night(photos, folder), workers=2, settings=Settings(batch_size=2))
    assert summary.rendered == 4
    reasons = {row["key"]: row["reason"] for row in summary.failed}
    assert "damaged" in reasons["b.png"]
    assert "1x1" in reasons["deep/tiny.png"]
    rows = {row["key"]: row["status"] for row in manifest.read(folder / manifest.MANIFEST)}
    assert rows["b.png"] == rows["deep/tiny.png"] == "failed"
    assert not (folder / "b.png").exists()
    # once the file is mended, the same command makes what is missing
    (photos / "b.png").write_bytes(data)
    assert render(night(photos, folder)).rendered == 1
    assert (folder / "b.png").exists()


def _png_of_one_pixel() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_fault_in_a_batch_costs_only_its_picture(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures beside a failed one must be those of a run without it."""
    from isp_sim.degradations.jpeg import JPEG

    good = tmp_path / "good"
    render(night(photos, good))
    apply = JPEG.apply

    def failing(self, frame, p, rng):  # type: ignore[no-untyped-def]
        if "b.png" in frame.keys:
            raise RuntimeError("no")
        return apply(self, frame, p, rng)

    monkeypatch.setattr(JPEG, "apply", failing)
    folder = tmp_path / "out"
    summary = render(night(photos, folder), settings=Settings(batch_size=8))
    assert [row["key"] for row in summary.failed] == ["b.png"]
    assert (folder / "a.png").read_bytes() == (good / "a.png").read_bytes()
    assert (folder / "c.png").read_bytes() == (good / "c.png").read_bytes()


def test_strict_stops_at_the_first(photos: Path, tmp_path: Path) -> None:
    (photos / "a.png").write_bytes(b"no picture")
    with pytest.raises(RenderFault, match=r"a\.png"):
        render(night(photos, tmp_path / "out"), settings=Settings(strict=True))
    assert not (tmp_path / "out" / "deep").exists()


def test_another_output_is_refused(photos: Path, tmp_path: Path, reference: Path) -> None:
    with pytest.raises(OutputFault, match="seed"):
        render(night(photos, reference, seed=8))
    other = recipes.read(RECIPES / "ablation_noise_jpeg.yaml").with_places(str(photos), str(reference))
    with pytest.raises(OutputFault, match="another recipe"):
        render(other)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputFault, match="no run of isp-sim"):
        render(night(photos, mine))
    render(night(photos, mine), overwrite=True)
    assert (mine / "thesis.txt").exists(), "overwriting deletes only what an earlier run wrote"
    render(other, overwrite=True)
    assert not (reference / "a.view1.png").exists()
    assert (reference / "a.png").exists()


def test_inputs_that_are_gone_are_noticed(photos: Path, reference: Path) -> None:
    (photos / "a.png").unlink()
    with pytest.raises(OutputFault, match=r"a\.png"):
        render(night(photos, reference), views=2)


def test_an_output_below_a_file_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputFault):
            render(night(photos, place))


def test_two_inputs_with_one_output_name_are_refused(photos: Path, tmp_path: Path) -> None:
    (photos / "a.jpg").write_bytes((photos / "deep" / "er" / "d.jpg").read_bytes())
    with pytest.raises(InputFault, match=r"a\.jpg and a\.png"):
        render(night(photos, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_empty_and_missing_input(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("empty", "missing"):
        with pytest.raises(InputFault, match=place):
            plan(night(tmp_path / place, tmp_path / "out"))


def test_stages_and_kept_steps_are_written(photos: Path, tmp_path: Path) -> None:
    text = NIGHT.read_text().replace("format: png}", "format: png, keep: [exposure, mosaic]}")
    recipe = recipes.parse(text).with_places(str(photos), str(tmp_path / "out"))
    render(recipe, limit=1, settings=Settings(stages=True))
    files = tree(tmp_path / "out")
    steps = ["input", *(step.id for step in recipe.pipeline.steps)]
    assert [f"stages/a/{i:02d}_{id}.png" for i, id in enumerate(steps)] == [f for f in files if f.startswith("stages/")]
    assert {"kept/exposure/a.png", "kept/mosaic/a.png"} <= set(files)
    import imagecodecs

    raw = imagecodecs.png_decode(files["kept/exposure/a.png"])
    mosaic = imagecodecs.png_decode(files["kept/mosaic/a.png"])
    assert mosaic.dtype == raw.dtype == "uint16"  # linear light does not fit 8 bits
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        assert (mosaic[y::2, x::2] == raw[y::2, x::2, channel]).all()


def test_the_resolved_recipe_beside_the_output_renders_the_same(photos: Path, tmp_path: Path, reference: Path) -> None:
    recipe = recipes.read(reference / manifest.RECIPE)
    render(recipe.with_places(output=str(tmp_path / "again")), views=2)
    assert content(tmp_path / "again") == content(reference)


def test_names_from_data_stay_below_the_output() -> None:
    for key in ("../a.png", "/etc/a.png", "a/../../b.png"):
        for names in (Names, MemberNames):
            with pytest.raises(InputFault, match="out of the output"):
                names.stem(key, 0)


def test_a_manifest_with_a_broken_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / manifest.MANIFEST
    path.write_text('{"key": "a", "view": 0}\nnonsense\n{"key": "b", "view": 0}\n')
    with pytest.raises(OutputFault, match=r":2:"):
        manifest.read(path)


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_atomically(tmp_path / "a.png", b"data")
    assert list(tmp_path.iterdir()) == []


def test_an_output_below_the_input_is_no_input(photos: Path) -> None:
    first = render(night(photos, photos / "out"))
    again = render(night(photos, photos / "out"))
    assert (first.rendered, again.rendered, again.kept) == (5, 0, 5)


def test_inputs_are_never_overwritten(photos: Path) -> None:
    before = tree(photos)
    with pytest.raises(InputFault, match="would be overwritten"):
        render(night(photos, photos), overwrite=True)
    with pytest.raises(InputFault, match="would be overwritten"):
        render(night(photos / "a.png", photos), overwrite=True)
    assert tree(photos) == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse file names that are not valid text")
def test_file_names_that_are_no_text(tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "bytes"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    (folder / name).write_bytes((photos / "a.png").read_bytes())
    assert render(night(folder, tmp_path / "out")).rendered == 1
    assert manifest.read(tmp_path / "out" / manifest.MANIFEST)[0]["key"] == name
    assert render(night(folder, tmp_path / "out")).kept == 1
