"""What a machine does to a run: full disks, read-only folders, clocks that jump."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from isp_sim.cli import app
from isp_sim.recipe import Recipe
from isp_sim.render import manifest
from isp_sim.render.job import Summary, render
from isp_sim.render.manifest import OutputFault
from isp_sim.render.verify import verify
from tests.isp_sim.render.photos import tree
from tests.isp_sim.render.sets import STAGES, random_pictures, recipe

WRITERS = ("files", "shards, samples: 2")
PAGE = 4096
"""What a file on a tmpfs grows by [B]."""
COUNT = 6


def content(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(folder).items() if path != manifest.RUN}


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A file system of its own in a folder."""
    place.mkdir(exist_ok=True)
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as place:
        yield place


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return random_pictures(tmp_path / "in", COUNT)


def fill(place: Path, pages: int) -> Path:
    """Fill a file system up to so many pages."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    assert shutil.disk_usage(place).free == 0
    os.truncate(filler, filler.stat().st_size - pages * PAGE)
    return filler


def full_after(place: Path, done: int, pages: int) -> Callable[[int, int], None]:
    """A report of progress that fills the file system up to so many pages, once so many pictures are done."""

    def progress(now: int, total: int) -> None:
        if now >= done and not (place / "filler").exists():
            fill(place, pages)

    return progress


def outcome(made: Recipe, progress: Callable[[int, int], None]) -> str:
    """Why a run ended; empty if it did all."""
    try:
        render(made, progress=progress)
    except OutputFault as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_nothing_half_written(pictures: Path, tmp_path: Path, small: Path, writer: str) -> None:
    """Wherever it gets full: in a picture, a row, a shard, an index, or what is written at the end."""
    render(recipe(pictures, tmp_path / "whole", writer=writer))
    stopped = 0
    for pages in (0, 1, 2, 3, 5, 8, 60):
        made = recipe(pictures, small / f"out{pages}", writer=writer)
        folder = small / f"out{pages}"
        reason = outcome(made, full_after(small, 2, pages))
        if reason:
            stopped += 1
            assert "No space left on device" in reason
            assert not [path.name for path in folder.rglob(".*")], "no half-written file and no lock is left"
            assert verify(folder).faults == ("the run has not finished: the same command goes on",)
            rows = folder / manifest.MANIFEST
            assert not rows.exists() or rows.read_bytes()[-1:] in (b"", b"\n"), "rows are whole"
        (small / "filler").unlink()
        if reason:
            assert render(made).kept >= 2, "what was done is not made again"
        assert content(folder) == content(tmp_path / "whole"), f"{pages} pages"
        assert verify(folder).faults == ()
        shutil.rmtree(folder)
    assert 5 <= stopped <= 6, "the last of the runs had room enough"


def test_a_disk_that_is_full_from_the_start_is_left_as_it_was(pictures: Path, small: Path) -> None:
    fill(small, 0)
    with pytest.raises(OutputFault, match="No space left on device"):
        render(recipe(pictures, small / "out"))
    assert list((small / "out").iterdir()) == []


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_full_disk_is_told_with_what_to_do(pictures: Path, tmp_path: Path, small: Path) -> None:
    for writer in WRITERS:
        text = f"version: 1\ninput: {{reader: images}}\nstages: {STAGES}\noutput: {{writer: {writer}}}\n"
        (tmp_path / "r.yaml").write_text(text)
        run = ("render", "-r", tmp_path / "r.yaml", "-i", pictures, "-o", small / "out")
        filler = fill(small, 12)
        found = command(*run)
        assert found.exit_code == 4
        assert "No space left on device" in found.output
        assert "make room" in found.output
        assert "Traceback" not in found.output
        filler.unlink()
        assert command(*run).exit_code == 0
        assert command(*run[:-1], tmp_path / writer[:5]).exit_code == 0
        assert content(small / "out") == content(tmp_path / writer[:5])
        assert command("verify", small / "out").exit_code == 0
        shutil.rmtree(small / "out")


def test_a_folder_that_is_read_only_is_told_and_can_be_verified(pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    render(recipe(pictures, folder), limit=2)
    before = tree(folder)
    with mounted(folder, "--bind", str(folder)):
        done = subprocess.run(
            ["mount", "-o", "remount,bind,ro", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted read-only here: {done.stderr.strip()}")
        with pytest.raises(
            OutputFault, match=r"can't write to output .*out: Read-only file system; give another --output"
        ):
            render(recipe(pictures, folder))
        found = command("render", "-r", folder / manifest.RECIPE, "-i", pictures, "-o", folder)
        assert found.exit_code == 4
        assert "Read-only file system" in found.output
        assert verify(folder).faults == ()
    assert tree(folder) == before
    assert render(recipe(pictures, folder)).kept == 2


@pytest.mark.parametrize("writer", WRITERS)
def test_the_clock_decides_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """It may jump back while a run goes on, and files may come from the future or from before the first second."""
    render(recipe(pictures, tmp_path / "whole", writer=writer))
    folder = tmp_path / "out"
    now = [4e9]

    def jumps() -> float:
        now[0] -= 1e6
        return now[0]

    def in_disorder() -> None:
        for number, path in enumerate(sorted(tmp_path.rglob("*"))):
            when = (4_000_000_000, 1, 0, 1_500_000_000)[number % 4]
            os.utime(path, (when, when))

    monkeypatch.setattr(time, "time", jumps)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumps() * 1e9))
    in_disorder()
    render(recipe(pictures, folder, writer=writer), limit=2)
    (folder / ".lock").touch()  # of a run that was killed, in a year to come
    (folder / ".0005.png.1.part").touch()
    in_disorder()
    assert _kept(render(recipe(pictures, folder, writer=writer))) == (COUNT - 2, 2)
    in_disorder()
    assert verify(folder).faults == ()
    assert _kept(render(recipe(pictures, folder, writer=writer))) == (0, COUNT)
    assert content(folder) == content(tmp_path / "whole")


def _kept(summary: Summary) -> tuple[int, int]:
    return summary.rendered, summary.kept
