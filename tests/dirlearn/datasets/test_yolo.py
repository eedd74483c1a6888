"""Boxes as shares of the picture: where they lie in pixels, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dirlearn.datasets.dataset import DatasetFault, build_dataset
from dirlearn.targets import Boxes


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.25 0.5 0.5\n0 0.05 0.5 0.2 0.1\n")
    (tmp_path / "labels" / "b.txt").write_text("\n")
    (tmp_path / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n")
    return tmp_path


def opened(folder: Path, **more: object):
    return build_dataset({"yolo": {"path": str(folder), **more}})


def test_boxes_are_in_pixels(folder) -> None:
    dataset = opened(folder)
    assert (len(dataset), dataset.classes) == (2, ("cat", "dog"))
    assert dataset.skipped == {"pictures without a text file": 1}
    found = Boxes.of(dataset.read(0).labels)
    assert found.xyxy.numpy() == pytest.approx(np.array([[20, 0, 60, 20], [0, 18, 12, 22]])), "cut at the edge"
    assert found.classes.tolist() == [1, 0]
    found.check(2)
    assert len(Boxes.of(dataset.read(1).labels).xyxy) == 0


@pytest.mark.parametrize("names", ["names: [cat, dog]\n", "path: .\nnames:\n  0: cat\n  1: dog\n"])
def test_names_may_be_a_list(folder, names: str) -> None:
    (folder / "data.yaml").write_text(names)
    assert opened(folder).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("0 0.5 0.5 0.1", "class, x, y"),
        ("0 20 10 5 5", r"\[0, 1\]"),
        ("0 nan 0.5 0.1 0.1", "share"),
        ("cat 0.5 0.5 0.1 0.1", "can't read"),
    ],
)
def test_wrong_lines_are_named(folder, line: str, said: str) -> None:
    (folder / "labels" / "a.txt").write_text(line + "\n")
    with pytest.raises(DatasetFault, match=said) as fault:
        opened(folder)
    assert "a.txt" in str(fault.value)


def test_missing_files_are_named(folder) -> None:
    (folder / "data.yaml").write_text("train: x\n")
    with pytest.raises(DatasetFault, match="names"):
        opened(folder)
    (folder / "data.yaml").unlink()
    with pytest.raises(DatasetFault, match=r"data\.yaml"):
        opened(folder)


@pytest.mark.skipif("ISP_SIM_DATA" not in os.environ, reason="ISP_SIM_DATA names no folder of test data")
def test_coco128_is_read() -> None:
    folder = Path(os.environ["ISP_SIM_DATA"]) / "coco128"
    if not folder.is_dir():
        pytest.skip("no coco128 in ISP_SIM_DATA")
    dataset = opened(folder, boxes="det_yolo", names="object_detection_config.yaml")
    assert len(dataset.classes) == 80
    for index in range(0, len(dataset), 16):
        Boxes.of(dataset.read(index).labels).check(80)
