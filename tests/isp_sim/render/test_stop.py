import os
import signal
from pathlib import Path

import pytest

from isp_sim.render import manifest
from isp_sim.render.atomic import PART
from isp_sim.render.job import render
from isp_sim.render.stop import Stopped, on_signals
from tests.isp_sim.render.photos import tree
from tests.isp_sim.render.sets import random_pictures, recipe


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return random_pictures(tmp_path / "in", 8)


def content(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in tree(folder).items() if path != manifest.RUN}


@pytest.mark.parametrize(
    ("number", "writer", "workers"),
    [
        (signal.SIGINT, "files", 1),
        (signal.SIGTERM, "shards, samples: 2", 1),
        (signal.SIGTERM, "shards, samples: 1", 2),
    ],
)
def test_a_signal_stops_after_what_is_being_made(
    pictures: Path, tmp_path: Path, number: int, writer: str, workers: int
) -> None:
    made = recipe(pictures, tmp_path / "out", writer=writer)
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            os.kill(os.getpid(), number)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped) as stopped:
        render(made, workers=workers, progress=progress)
    assert stopped.value.number == number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert 1 <= seen[-1] < 8 or workers > 1
    assert not list((tmp_path / "out").rglob(f"*{PART}"))
    assert not (tmp_path / "out" / ".lock").exists()
    summary = render(made)
    assert summary.kept == seen[-1], "what was done when it stopped is not made again"
    render(recipe(pictures, tmp_path / "whole", writer=writer))
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_the_second_signal_interrupts_at_once() -> None:
    with on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
