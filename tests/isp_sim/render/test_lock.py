import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from isp_sim.render.lock import LOCK, held
from isp_sim.render.manifest import OutputFault


def _hold(folder: Path, ready: Path) -> None:
    with held(folder):
        ready.touch()
        time.sleep(60)


def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder, ready = tmp_path / "out", tmp_path / "ready"
    folder.mkdir()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(folder, ready))
    process.start()
    while not ready.exists():
        assert process.is_alive()
        time.sleep(0.005)
    with pytest.raises(OutputFault, match=f"process {process.pid} on .* is rendering into"), held(folder):
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (folder / LOCK).exists(), "the lock of a dead process lies there"
    with held(folder):
        pass
    assert list(folder.iterdir()) == []


def test_the_lock_is_given_back_when_a_run_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), held(tmp_path):
        raise KeyError
    with held(tmp_path), pytest.raises(OutputFault, match=str(os.getpid())), held(tmp_path):
        pass


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the file and locking it, its holder may finish and remove it."""
    import fcntl

    flock, calls = fcntl.flock, []

    def late(descriptor: int, operation: int) -> None:
        if not calls:
            (tmp_path / LOCK).unlink()
        calls.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with held(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / LOCK).exists()
        monkeypatch.undo()
        with pytest.raises(OutputFault), held(tmp_path):
            pass


def test_where_nothing_can_be_locked_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def none(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.warns(UserWarning, match="can't be locked"), held(tmp_path):
        pass
