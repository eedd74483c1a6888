import builtins
import json
from pathlib import Path

import pytest

from isp_sim.render import manifest, parquet
from isp_sim.render.job import render
from tests.isp_sim.render.sets import random_pictures, recipe, shards


def test_the_table_says_what_the_manifest_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parquet, "GROUP", 2)
    pictures = random_pictures(tmp_path / "in", 5)
    (pictures / "0003.png").write_bytes(b"no picture")
    render(shards(pictures, tmp_path / "out"))
    rows = manifest.read(tmp_path / "out" / manifest.MANIFEST)
    table = pyarrow.read_table(tmp_path / "out" / parquet.TABLE).to_pylist()
    assert [row["key"] for row in table] == [row["key"] for row in rows]
    for line, row in zip(table, rows, strict=True):
        assert line["status"] == row["status"]
        assert line["reason"] == row.get("reason")
        assert line["height"] == (row["size"][0] if "size" in row else None)
        for name in ("drawn", "files", "members"):
            assert (line[name] and json.loads(line[name])) == row.get(name)


def test_without_pyarrow_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importer = builtins.__import__

    def without(name: str, *arguments: object, **options: object) -> object:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return importer(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    render(recipe(random_pictures(tmp_path / "in", 1), tmp_path / "out"))
    assert not (tmp_path / "out" / parquet.TABLE).exists()
    assert (tmp_path / "out" / manifest.MANIFEST).is_file()
