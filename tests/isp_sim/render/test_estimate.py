from pathlib import Path

import pytest

from isp_sim.render import estimate as module
from isp_sim.render.estimate import estimate
from isp_sim.render.job import render
from tests.isp_sim.render.photos import tree
from tests.isp_sim.render.sets import random_pictures, recipe


@pytest.mark.parametrize("writer", ["files", "shards, samples: 2"])
def test_size_and_number_are_those_of_the_run(tmp_path: Path, writer: str) -> None:
    pictures = random_pictures(tmp_path / "in", 9, (60, 60))
    made = recipe(pictures, tmp_path / "deep" / "out", writer=writer)
    found = estimate(made, views=2, limit=5, workers=2, sample=4)
    assert not (tmp_path / "deep").exists(), "nothing is written"
    assert (found.pictures, found.shards, found.measured) == (10, 5 if "shards" in writer else 0, 4)
    assert found.seconds > 0
    render(made, views=2, limit=5)
    size = sum(len(data) for path, data in tree(tmp_path / "deep" / "out").items() if not path.endswith(".parquet"))
    assert found.bytes == pytest.approx(size, rel=0.15)


def test_time_is_that_of_all_pictures_shared_by_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = random_pictures(tmp_path / "in", 12)
    clock = iter([0.0, 2.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    assert estimate(recipe(pictures, tmp_path / "out"), workers=3, sample=4).seconds == 2.0


def test_what_would_fail_is_known_before(tmp_path: Path) -> None:
    pictures = random_pictures(tmp_path / "in", 3)
    (pictures / "0001.png").write_bytes(b"no picture")
    assert [row["key"] for row in estimate(recipe(pictures, tmp_path / "out")).failed] == ["0001.png"]
