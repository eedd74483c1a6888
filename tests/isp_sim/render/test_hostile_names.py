"""Names that data bring along stay below the folder they are for, and off the terminal's commands."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isp_sim.cli import _say
from isp_sim.datasets import Rendered
from isp_sim.formats.ade20k import ADE20K
from isp_sim.formats.coco import COCO
from isp_sim.formats.reader import InputFault
from isp_sim.render import invert, manifest
from isp_sim.render.job import render
from isp_sim.render.manifest import MANIFEST, RUN, OutputFault, parsed
from isp_sim.render.plan import plan
from isp_sim.render.verify import verify
from tests.isp_sim.render.photos import photo, tree
from tests.isp_sim.render.sets import random_pictures, recipe, shards

OUTSIDE = ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "..", "a/..", "//evil.png"]


def tar(path: Path, members: dict[str, bytes], links: dict[str, bytes] | None = None) -> Path:
    """A tar file of pictures, and of links and devices by their type."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(data), {"path": name}
            file.addfile(info, io.BytesIO(data))
        for name, kind in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
    return path


def picture() -> bytes:
    buffer = io.BytesIO()
    photo("coffee", (12, 14)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil.png", "leads out"),
        ("/evil.png", "leads out"),
        ("a/../../evil.png", "leads out"),
        ("a\0b.png", "no name of a file"),
        ("x" * 300 + ".png", "too long"),
        ("d/" * 1500 + "a.png", "too long"),
    ],
)
@pytest.mark.parametrize("writer", ["files", "shards"])
def test_members_that_lead_out_are_refused_before_anything_is_made(
    name: str, reason: str, writer: str, tmp_path: Path
) -> None:
    place = tar(tmp_path / "set.tar", {name: picture(), "good.png": picture()})
    with pytest.raises(InputFault, match=reason) as caught:
        plan(recipe(place, tmp_path / "out", writer=writer))
    assert len(str(caught.value)) < 500
    with pytest.raises(InputFault, match=reason):
        render(recipe(place, tmp_path / "out", writer=writer))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.tar"]


def test_links_and_devices_in_a_tar_file_are_no_pictures(tmp_path: Path) -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
    place = tar(tmp_path / "set.tar", {"good.png": picture()}, {f"{i}.png": kind for i, kind in enumerate(kinds)})
    tasks, _ = plan(recipe(place, tmp_path / "out"))
    assert [task.item.key for task in tasks] == ["good.png"]


def test_names_that_are_merely_odd_are_rendered(tmp_path: Path) -> None:
    names = ["..x.png", "a b\n.png", "-rf.png", "$HOME.png", "~.png", "%s.png", "\x1b[31m.png", "x" * 220 + ".png"]
    place = tar(tmp_path / "set.tar", dict.fromkeys(names, picture()))
    kept = [name for name in names if not name.startswith(".")]
    assert render(recipe(place, tmp_path / "out")).rendered == len(kept)
    assert {name for name in tree(tmp_path / "out") if name.endswith(".png")} == set(kept)


def test_a_name_is_no_command_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _say("failed: \x1b]0;title\x07\x1b[2J\x9b31m\x7f.png: [bold]é\n")
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in capsys.readouterr().err)


# -- manifests -------------------------------------------------------------------------------------------------

ROW: dict[str, Any] = {"key": "a", "view": 0, "status": "ok", "output": "a.png", "files": {"a.png": "0"}}
SHARD = {**ROW, "shard": "shard-000000.tar", "members": {"a.png": [0, 9]}}
BAD_ROWS = {
    **{f"output {name}": {**ROW, "output": name, "files": {name: "0"}} for name in OUTSIDE[:3]},
    **{f"label {name}": {**ROW, "files": {"a.png": "0", name: "0"}} for name in OUTSIDE},
    **{f"shard {name}": {**SHARD, "shard": name} for name in OUTSIDE},
    "member": {**SHARD, "members": {"a.png": [0, 9], "../evil.png": [0, 9]}},
    "null byte": {**ROW, "output": "a\0", "files": {"a\0": "0"}},
    "no files": {**ROW, "files": None},
    "files as a list": {**ROW, "files": ["a.png"]},
    "output of another": {**ROW, "output": "b.png"},
    "output as a list": {**ROW, "output": None},
    "members missing": {**SHARD, "members": {}},
    "member before": {**SHARD, "members": {"a.png": [-1, 9]}},
    "member to the end": {**SHARD, "members": {"a.png": [0, -1]}},
    "member as text": {**SHARD, "members": {"a.png": "0"}},
    "shard as number": {**SHARD, "shard": 3},
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_row_that_reaches_out_is_none(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"leads out|no name|no files|does not say|must be"):
        parsed(json.dumps(BAD_ROWS[kind]).encode())
    (tmp_path / MANIFEST).write_text(json.dumps(BAD_ROWS[kind], separators=(",", ":")) + "\n")
    (tmp_path / RUN).write_text('{"recipe": "", "seed": 0}')
    with pytest.raises(OutputFault, match=r":1:"):
        verify(tmp_path)
    with pytest.raises(InputFault, match="no row of a manifest"):
        Rendered(tmp_path).read(0)


def test_rows_as_they_are_written_are_rows() -> None:
    assert parsed(json.dumps(ROW).encode()) == ROW
    assert parsed(json.dumps(SHARD).encode()) == SHARD


@pytest.mark.parametrize("text", ["[" * 100_000, '{"key": ' * 50_000, "[1]", "3", "nonsense", "\xff"])
def test_json_of_any_depth_is_read_or_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parsed(text.encode("latin1"))
    (tmp_path / RUN).write_bytes(text.encode("latin1"))
    with pytest.raises(OutputFault, match="no run"):
        verify(tmp_path)


def test_a_row_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "LARGEST", 1000)
    (tmp_path / MANIFEST).write_text(json.dumps(ROW) + "\n" + " " * 2000)
    with pytest.raises(OutputFault, match=r":2: .*more than 1000 bytes"):
        manifest.read(tmp_path / MANIFEST)


def test_a_member_beyond_its_shard_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(bytes(100))
    row = {**SHARD, "shard": "s.tar", "members": {"a.png": [50, 1 << 60]}}
    with pytest.raises(OSError, match="ends within"):
        manifest.content(tmp_path, row, "a.png")
    (tmp_path / MANIFEST).write_text(json.dumps(row, separators=(",", ":")) + "\n")
    with pytest.raises(InputFault, match="cut off"):
        Rendered(tmp_path).read(0)


# -- going back ------------------------------------------------------------------------------------------------


def test_going_back_writes_nothing_elsewhere(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    place = tar(work / "set.tar", {"../../evil.png": picture()})
    plain = recipe(place, work / "unused", stages="[clip]")
    done = invert.invert(plain, place, work / "back")
    assert "leads out" in done.failed[0][1]
    assert not list(tmp_path.glob("evil*"))
    assert not list(work.glob("evil*"))

    random_pictures(work / "photos", 1)
    rendered = shards(work / "photos", work / "out", stages="[clip]")
    render(rendered)
    text = (work / "out" / MANIFEST).read_text()
    (work / "out" / MANIFEST).write_text(text.replace('"0000.png"', '"../../evil.png"'))
    with pytest.raises(OutputFault, match="leads out"):
        invert.invert(rendered, work / "out", work / "again")
    assert not list(tmp_path.rglob("evil*"))


# -- annotations -----------------------------------------------------------------------------------------------


def coco(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    (folder / "annotations").mkdir()
    (folder / "val").mkdir()
    photo("coffee", (12, 14)).save(folder / "val" / "1.png")
    document: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "1.png", "height": 12, "width": 14}],
        "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 3, 1, 3, 3]]}],
    }
    change(document)
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(document))
    return folder


HOSTILE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name up": lambda d: d["images"][0].update(file_name="../1.png"),
    "name down and up": lambda d: d["images"][0].update(file_name="x/../../../1.png"),
    "name as a list": lambda d: d["images"][0].update(file_name=["1.png"]),
    "number as a list": lambda d: d["annotations"][0].update(image_id=[1]),
    "number as text": lambda d: d["images"][0].update(id="1"),
    "number as truth": lambda d: d["annotations"][0].update(id=True),
    "height as text": lambda d: d["images"][0].update(height="12"),
    "box of three": lambda d: d["annotations"][0].update(bbox=[1, 2, 3]),
    "box of text": lambda d: d["annotations"][0].update(bbox=["1", 2, 3, 4]),
    "box without end": lambda d: d["annotations"][0].update(bbox=[1e300, 2, 3, 4]),
    "box of no number": lambda d: d["annotations"][0].update(bbox=[float("nan"), 2, 3, 4]),
    "polygon of text": lambda d: d["annotations"][0].update(segmentation=["abcdef"]),
    "polygon of lists": lambda d: d["annotations"][0].update(segmentation=[[[1], 2, 3, 4, 5, 6]]),
    "runs below zero": lambda d: d["annotations"][0].update(segmentation={"counts": [-1, 169]}),
    "runs of text": lambda d: d["annotations"][0].update(segmentation={"counts": ["1", 167]}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_annotations_that_are_none_are_refused(kind: str, tmp_path: Path) -> None:
    reader = COCO(COCO.Params(path=str(coco(tmp_path, HOSTILE[kind]))))
    with pytest.raises(InputFault):
        reader.items()


def test_the_annotations_they_were_made_of_are_read(tmp_path: Path) -> None:
    reader = COCO(COCO.Params(path=str(coco(tmp_path, lambda d: None))))
    (item,) = reader.items()
    assert reader.read(item).frame.size == (12, 14)


def test_annotations_of_any_depth_are_refused(tmp_path: Path) -> None:
    folder = coco(tmp_path, lambda d: None)
    (folder / "annotations" / "instances_val.json").write_text('{"images": ' + "[" * 100_000)
    with pytest.raises(InputFault, match="is no JSON"):
        COCO(COCO.Params(path=str(folder))).items()


def test_a_pipe_among_pictures_is_none(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    os.mkfifo(tmp_path / "images" / "a.jpg")
    with pytest.raises(InputFault, match="no pictures"):
        ADE20K(ADE20K.Params(path=str(tmp_path))).items()
