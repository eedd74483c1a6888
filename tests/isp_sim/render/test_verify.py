import json
from pathlib import Path

import pytest

from isp_sim.render import manifest
from isp_sim.render.job import render
from isp_sim.render.manifest import OutputFault
from isp_sim.render.verify import verify
from tests.isp_sim.render.sets import random_pictures, recipe


@pytest.fixture(params=["files", "shards, samples: 2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    pictures = random_pictures(tmp_path / "in", 5)
    (pictures / "0003.png").write_bytes(b"no picture")
    render(recipe(pictures, tmp_path / "out", writer=request.param))
    return tmp_path / "out"


def test_a_whole_folder_has_no_faults(folder: Path) -> None:
    seen = []
    verdict = verify(folder, lambda done, total: seen.append((done, total)))
    assert (verdict.pictures, verdict.failed, verdict.files, verdict.faults) == (4, 1, 4, ())
    assert seen == [(i, 5) for i in range(1, 6)]


def test_a_changed_byte_is_found(folder: Path) -> None:
    path = next(iter([*folder.glob("shard-000001.tar"), folder / "0002.png"]))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 1
    path.write_bytes(data)
    faults = verify(folder).faults
    assert any("row 3 (0002.png, view 0): 0002.png has other bytes" in fault for fault in faults)
    assert len(faults) == (2 if path.suffix == ".tar" else 1)


def test_missing_doubled_and_foreign_rows_are_found(folder: Path) -> None:
    path = folder / manifest.MANIFEST
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[0], lines[1].replace(b'"seed":7', b'"seed":8')]))
    faults = "\n".join(verify(folder).faults)
    assert "row 2 (0000.png, view 0): there is a row of it already" in faults
    assert "row 3 (0001.png, view 0): rendered by another recipe or seed" in faults
    assert "has 3 rows of 5 pictures" in faults


def test_missing_files_and_a_run_that_did_not_finish_are_found(folder: Path) -> None:
    for path in [*folder.glob("*.tar"), *folder.glob("*.png")]:
        path.unlink()
    run = json.loads((folder / manifest.RUN).read_text())
    del run["finished"]
    (folder / manifest.RUN).write_text(json.dumps(run))
    (folder / ".0000.png.1.part").touch()
    faults = verify(folder).faults
    assert faults[0] == "the run has not finished: the same command goes on"
    assert faults[1] == ".0000.png.1.part: left by a run that was killed"
    assert sum("No such file" in fault for fault in faults) >= 4


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputFault, match="holds no run"):
        verify(tmp_path)
