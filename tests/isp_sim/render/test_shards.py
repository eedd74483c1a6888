import errno
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from isp_sim import recipe as recipes
from isp_sim.render import atomic, manifest
from isp_sim.render.invert import invert
from isp_sim.render.job import render
from isp_sim.render.manifest import OutputFault
from isp_sim.render.replay import replay
from isp_sim.render.shards import MTIME, Shard
from isp_sim.render.worker import Settings
from tests.isp_sim.render.photos import tree
from tests.isp_sim.render.sets import random_pictures, recipe, shards


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return random_pictures(tmp_path / "in", 7)


def content(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(folder).items() if path != manifest.RUN}


def test_the_bytes_do_not_depend_on_workers_batches_time_or_place(pictures: Path, tmp_path: Path) -> None:
    render(shards(pictures, tmp_path / "a"), views=2)
    os.utime(pictures / "0001.png", (1, 1))
    for i, (workers, batch) in enumerate([(1, 5), (2, 2)]):
        render(shards(pictures, tmp_path / f"b{i}"), views=2, workers=workers, settings=Settings(batch_size=batch))
        assert content(tmp_path / f"b{i}") == content(tmp_path / "a")


def test_members_are_those_of_webdataset(pictures: Path, tmp_path: Path) -> None:
    (pictures / "x.y").mkdir()
    (pictures / "0000.png").rename(pictures / "x.y" / "ü.1.png")
    made = shards(pictures, tmp_path / "out", samples=20, stages="[{clip: {}}]")
    render(made, views=2)
    assert [path.name for path in tmp_path.glob("out/*.tar")] == ["shard-000000.tar"]
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as tar:
        members = tar.getmembers()
        assert [member.name for member in members[-4:]] == [
            f"x.y/ü_1{view}.{kind}" for view in ("", "_view1") for kind in ("png", "json")
        ]
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(MTIME, 0, 0, "", "", 0o644)}
        row = json.loads(tar.extractfile("0001_view1.json").read())
        picture = tar.extractfile("0001_view1.png").read()
    assert (row["key"], row["view"], row["files"]) == ("0001.png", 1, {"0001_view1.png": atomic.sha256(picture)})
    files = recipe(pictures, tmp_path / "files", stages="[{clip: {}}]")
    render(files, views=2)
    assert (tmp_path / "files" / "0001.view1.png").read_bytes() == picture


def test_rows_say_where_in_which_shard_a_picture_lies(pictures: Path, tmp_path: Path) -> None:
    render(shards(pictures, tmp_path / "out"))
    rows = manifest.read(tmp_path / "out" / manifest.MANIFEST)
    assert [row["key"] for row in rows] == [f"{i:04d}.png" for i in range(7)]
    for row in rows:
        data = manifest.content(tmp_path / "out", row, row["output"])
        assert atomic.sha256(data) == row["files"][row["output"]]
        with tarfile.open(tmp_path / "out" / row["shard"]) as tar:
            member = tar.getmember(row["output"])
            assert [member.offset_data, member.size] == row["members"][row["output"]]


def test_long_and_odd_names_are_read_by_tarfile(tmp_path: Path) -> None:
    names = ["a" * 150 + ".png", "d/" * 160 + "x.png", "ü.png", os.fsdecode(b"caf\xe9.png")]
    with (tmp_path / "a.tar").open("wb") as file:
        shard = Shard(file)
        places = [shard.add(name, name.encode("utf-8", "surrogateescape")) for name in names]
        digest = shard.close()
    data = (tmp_path / "a.tar").read_bytes()
    assert atomic.sha256(data) == digest
    assert len(data) == shard.size
    assert shard.size % tarfile.RECORDSIZE == 0
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == names
        assert [(m.offset_data, m.size) for m in tar] == places
    listed = subprocess.run(["tar", "tf", tmp_path / "a.tar"], capture_output=True, check=True)
    assert listed.stderr == b""
    assert listed.stdout.count(b"\n") == 4


def test_a_run_goes_on_with_the_shards_that_are_not_whole(pictures: Path, tmp_path: Path) -> None:
    made = shards(pictures, tmp_path / "out")
    render(made)
    whole = content(tmp_path / "out")
    before = (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns
    (tmp_path / "out" / "shard-000001.json").unlink()
    (tmp_path / "out" / "shard-000002.tar").write_bytes(whole["shard-000002.tar"][:-1] + b"!")
    (tmp_path / "out" / f".shard-000003.tar.12{atomic.PART}").write_bytes(b"half")
    (tmp_path / "out" / "shard-000009.tar").write_bytes(b"of a run without limit that was killed")
    (tmp_path / "out" / manifest.MANIFEST).unlink()
    summary = render(made)
    assert (summary.rendered, summary.kept) == (4, 3)
    assert content(tmp_path / "out") == whole
    assert (tmp_path / "out" / "shard-000000.tar").stat().st_mtime_ns == before


def test_what_a_limit_cut_off_is_completed_and_other_views_are_refused(pictures: Path, tmp_path: Path) -> None:
    made = shards(pictures, tmp_path / "out")
    render(made, limit=3)
    summary = render(made)
    assert (summary.rendered, summary.kept) == (5, 2)
    render(shards(pictures, tmp_path / "whole"))
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    for options in ({"views": 2}, {"limit": 3}):
        with pytest.raises(OutputFault, match="other inputs or views"):
            render(made, **options)
    (pictures / "0000a.png").write_bytes((pictures / "0000.png").read_bytes())
    with pytest.raises(OutputFault, match="other inputs or views"):
        render(made)
    with pytest.raises(OutputFault, match="seed"):
        render(made.with_places(seed=8))
    render(made.with_places(seed=8), overwrite=True, limit=2)
    assert [path.name for path in (tmp_path / "out").glob("*.tar")] == ["shard-000000.tar"]


def test_a_failed_picture_costs_a_row_and_is_tried_again(pictures: Path, tmp_path: Path) -> None:
    data = (pictures / "0002.png").read_bytes()
    (pictures / "0002.png").write_bytes(b"no picture")
    made = shards(pictures, tmp_path / "out")
    first = render(made)
    assert ([row["key"] for row in first.failed], first.rendered) == (["0002.png"], 6)
    before = (tmp_path / "out" / "shard-000001.tar").stat().st_mtime_ns
    again = render(made)
    assert (len(again.failed), again.rendered, again.kept) == (1, 0, 6)
    assert (tmp_path / "out" / "shard-000001.tar").stat().st_mtime_ns == before, "the others are not made again"
    (pictures / "0002.png").write_bytes(data)
    assert render(made).failed == ()
    render(shards(pictures, tmp_path / "whole"))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_names_that_become_one_in_a_shard_are_refused(pictures: Path, tmp_path: Path) -> None:
    from isp_sim.formats.reader import InputFault

    (pictures / "a.b.png").write_bytes(b"")
    (pictures / "a_b.png").write_bytes(b"")
    with pytest.raises(InputFault, match=r"a\.b\.png and a_b\.png"):
        render(shards(pictures, tmp_path / "out"))


def test_replay_and_invert_read_from_shards(pictures: Path, tmp_path: Path) -> None:
    made = shards(pictures, tmp_path / "out")
    render(made, views=2)
    again = replay(tmp_path / "out" / manifest.MANIFEST, 4)
    assert (again.key, again.view, again.differences) == ("0001.png", 1, ())
    done = invert(made, tmp_path / "out", tmp_path / "back")
    assert (done.written, done.failed) == (14, ())
    assert not any("not as it was" in note for note in done.notes)


def test_no_room_leaves_nothing_half_written(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = [], os.fsync

    def filling(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    for writer in ("files", "shards, samples: 2"):
        folder = tmp_path / writer[:5]
        made = recipe(pictures, folder, writer=writer)
        synced.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", filling)
            with pytest.raises(OutputFault, match="No space left"):
                render(made)
        assert not [path for path in folder.rglob("*") if path.suffix == atomic.PART or path.name == ".lock"]
        render(made)
        render(recipe(pictures, tmp_path / "whole", writer=writer), overwrite=True)
        assert content(folder) == content(tmp_path / "whole")


def test_what_may_not_be_written_is_said(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(OutputFault, match="Permission denied"):
        render(shards(pictures, tmp_path / "out"))


def test_killed_with_its_workers_a_run_goes_on(tmp_path: Path) -> None:
    pictures = random_pictures(tmp_path / "in", 300, (40, 40))
    made = shards(pictures, tmp_path / "whole", samples=10)
    (tmp_path / "r.yaml").write_text(made.text)
    folder = tmp_path / "out"
    command = [str(Path(sys.executable).with_name("isp-sim")), "render", "-r", str(tmp_path / "r.yaml")]
    command += ["-i", str(pictures), "-o", str(folder), "--seed", "7", "--quiet", "--workers", "2"]
    process = subprocess.Popen(command)
    while process.poll() is None and len(list(folder.glob("*.tar"))) < 3:
        time.sleep(0.005)
    children = _children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "workers outlive the run that started them"
        time.sleep(0.01)
    done = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    render(recipes.read(tmp_path / "r.yaml").with_places(str(pictures), str(folder), 7))
    assert all(path.stat().st_mtime_ns == when for path, when in done.items() if path.name != manifest.RUN)
    render(made)
    assert content(folder) == content(tmp_path / "whole")


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_webdataset_reads_the_same_pictures(pictures: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    from isp_sim.datasets import Rendered

    render(shards(pictures, tmp_path / "out", samples=3))
    urls = sorted(str(path) for path in (tmp_path / "out").glob("*.tar"))
    theirs = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode("rgb8"))
    ours = list(Rendered(tmp_path / "out"))
    assert [sample["__key__"] for sample in theirs] == [Path(sample.key).stem for sample in ours]
    for their, our in zip(theirs, ours, strict=True):
        assert (their["png"] == our.pixels).all()
        assert their["json"]["drawn"] == our.row["drawn"]
