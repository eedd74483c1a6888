"""Reading in a process that may be lost."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isp_sim.formats.isolated import Bounds, Isolated, Lost, Unexpected, _Unpacker
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import InputFault, Item
from tests.isp_sim.formats.dng import write_dng
from tests.isp_sim.formats.misbehaving import Labelled, Misbehaving
from tests.isp_sim.render.photos import photo


def png() -> bytes:
    buffer = io.BytesIO()
    photo("astronaut", (40, 60)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def isolated() -> Iterator[Isolated]:
    """One for all tests, as starting one takes seconds."""
    found = Isolated(Misbehaving(Misbehaving.Params()), Bounds(memory=512, seconds=20))
    yield found
    found.close()


def item(folder: Path, content: bytes) -> Item:
    path = folder / "a.png"
    path.write_bytes(content)
    return Item("deep/a.png", str(path))


def process(isolated: Isolated) -> int:
    child = isolated._child
    assert child is not None
    return child._process.pid


def test_what_a_reader_says_comes_through_and_the_process_stays(isolated: Isolated, tmp_path: Path) -> None:
    isolated.read(item(tmp_path, png()))
    before = process(isolated)
    with pytest.raises(InputFault, match=r"^damaged$") as caught:
        isolated.read(item(tmp_path, b"fault"))
    assert type(caught.value) is InputFault
    with pytest.raises(Unexpected, match=r"^KeyError: \"a reader's own mistake\"$"):
        isolated.read(item(tmp_path, b"error"))
    for command in (b"memory", b"tensor"):
        with pytest.raises(Lost, match="takes more than the 512 MiB of memory"):
            isolated.read(item(tmp_path, command))
    assert process(isolated) == before


@pytest.mark.parametrize(
    ("command", "reason"),
    [(b"crash", "SIGSEGV"), (b"exit", "exit code 3"), (b"global", "nonsense.*system")],
)
def test_a_death_costs_one_picture(isolated: Isolated, tmp_path: Path, command: bytes, reason: str) -> None:
    with pytest.raises(Lost, match=reason) as caught:
        isolated.read(item(tmp_path, command))
    assert len(str(caught.value).splitlines()) == 1
    assert isolated.read(item(tmp_path, png())).frame.size == (40, 60)


def test_a_reader_that_hangs_is_given_up(tmp_path: Path) -> None:
    isolated = Isolated(Misbehaving(Misbehaving.Params()), Bounds(seconds=1))
    with pytest.raises(Lost):  # starts it
        isolated.read(item(tmp_path, b"memory"))
    hung, start = process(isolated), time.monotonic()
    with pytest.raises(Lost, match="took more than 1 s"):
        isolated.read(item(tmp_path, b"hang"))
    assert time.monotonic() - start < 15
    with pytest.raises(ProcessLookupError):
        os.kill(hung, 0)


def test_the_process_ends_with_its_owner(tmp_path: Path) -> None:
    isolated = Isolated(Misbehaving(Misbehaving.Params()))
    isolated.read(item(tmp_path, png()))
    pid = process(isolated)
    del isolated
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_frames_are_equal_with_all_that_they_carry(tools, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    reader = Labelled(Labelled.Params())
    isolated = Isolated(reader)
    picture = item(tmp_path, png())
    found, expected = isolated.read(picture), reader.read(picture)
    isolated.close()
    tools.assert_same_frame(found.frame, expected.frame)
    assert found.notes == expected.notes
    assert found.frame.targets["m"].outside == 7  # type: ignore[union-attr]
    assert repr(found.frame.targets) == repr(expected.frame.targets)


def test_raw_frames_are_equal(tools, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    samples = np.random.default_rng(0).integers(600, 60000, (48, 62)).astype(np.uint16)
    path = write_dng(tmp_path / os.fsdecode("caf\xe9.dng".encode()), samples)
    reader = Raw(Raw.Params(orient=True))
    isolated = Isolated(reader)
    picture = Item(path.name, str(path))
    tools.assert_same_frame(isolated.read(picture).frame, reader.read(picture).frame)
    isolated.close()


def test_a_process_that_was_taken_over_can_not_run_anything_here() -> None:
    import pickle

    for thing in (os.system, eval, print, Isolated):
        with pytest.raises(pickle.UnpicklingError, match="a frame holds no"):
            _Unpacker(pickle.dumps(thing), ()).load()


def test_the_working_directory_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "json", "rawpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    place = item(tmp_path, b"fault")
    monkeypatch.chdir(tmp_path)
    isolated = Isolated(Misbehaving(Misbehaving.Params()))
    with pytest.raises(InputFault, match="damaged"):
        isolated.read(place)
    isolated.close()
