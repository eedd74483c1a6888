"""`isp-sim render --isolate`: the same bytes, and a lost process costs a row."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isp_sim import registry
from isp_sim.cli import app
from isp_sim.formats.isolated import Bounds
from isp_sim.render.job import render
from isp_sim.render.manifest import MANIFEST, RUN, read
from isp_sim.render.worker import Settings
from tests.isp_sim.formats.misbehaving import Misbehaving
from tests.isp_sim.render.photos import tree
from tests.isp_sim.render.sets import random_pictures, recipe


def content(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(folder).items() if name != RUN}


def test_the_bytes_are_equal_and_a_crash_costs_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.load
    monkeypatch.setattr(
        registry, "load", lambda name, *groups: Misbehaving if name == "images" else known(name, *groups)
    )
    folder = random_pictures(tmp_path / "photos", 3)
    (folder / "0003.png").write_bytes(b"fault")
    (folder / "0004.png").write_bytes(b"error")
    (folder / "0005.png").write_bytes(b"no picture, and longer than a command")
    render(recipe(folder, tmp_path / "plain"))
    settings = Settings(batch_size=2, isolate=Bounds())
    render(recipe(folder, tmp_path / "isolated"), settings=settings)
    assert content(tmp_path / "isolated") == content(tmp_path / "plain")
    (folder / "0001.png").write_bytes(b"crash")
    summary = render(recipe(folder, tmp_path / "crashed"), settings=settings)
    assert summary.rendered == 2
    rows = {row["key"]: row for row in read(tmp_path / "crashed" / MANIFEST)}
    assert "SIGSEGV" in rows["0001.png"]["reason"]
    assert rows["0002.png"]["status"] == "ok"


def test_by_two_workers_from_the_command_line(tmp_path: Path) -> None:
    folder = random_pictures(tmp_path / "photos", 3)
    path = tmp_path / "recipe.yaml"
    path.write_text("version: 1\nstages: [{gaussian_noise: {sigma: 0.1}}, clip]\n")
    command = ["render", "-r", str(path), "-i", str(folder), "--quiet"]
    for name, more in (("plain", []), ("isolated", ["--isolate", "--workers", "2", "--isolate-memory", "1024"])):
        result = CliRunner().invoke(app, [*command, "-o", str(tmp_path / name), *more])
        assert result.exit_code == 0, result.output
    assert content(tmp_path / "isolated") == content(tmp_path / "plain")


def test_nothing_is_left_of_the_processes(tmp_path: Path) -> None:
    before = children()
    render(recipe(random_pictures(tmp_path / "photos", 1), tmp_path / "out"), settings=Settings(isolate=Bounds()))
    assert children() == before


def children() -> set[str]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    if not path.is_file():
        pytest.skip("this system does not list the children of a process")
    return set(path.read_text().split())
