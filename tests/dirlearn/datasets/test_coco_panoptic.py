"""Panoptic labels as maps of classes: made-up pictures in the published layout, and COCO's own."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dirlearn.cli import Exit, app
from dirlearn.datasets.dataset import DatasetFault, build_dataset
from dirlearn.targets import IGNORE, SemanticMap

HEIGHT, WIDTH = 6, 9
PERSON, STUFF, CROWD = 1, 2 + 256 * 7 + 65536 * 200, 255 + 256 * 255
SEGMENTS = [
    {"id": PERSON, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 3, 6], "area": 18},
    {"id": STUFF, "category_id": 200, "iscrowd": 0, "bbox": [3, 0, 3, 6], "area": 18},
    {"id": CROWD, "category_id": 90, "iscrowd": 1, "bbox": [6, 0, 2, 6], "area": 12},
]


def panoptic(root: Path, segments=SEGMENTS, part: str = "val2017", **more) -> dict:
    """Two pictures, of which the second has no segment at all."""
    numbers = np.zeros((HEIGHT, WIDTH), np.uint32)
    numbers[:, :3], numbers[:, 3:6], numbers[:, 6:8] = PERSON, STUFF, CROWD
    folder = root / "annotations" / f"panoptic_{part}"
    for path in (folder, root / part):
        path.mkdir(parents=True, exist_ok=True)
    for number, values in ((4, numbers), (9, 0 * numbers)):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(root / part / f"{number:012d}.jpg")
        colours = np.stack([values & 255, values >> 8 & 255, values >> 16], axis=-1).astype(np.uint8)
        Image.fromarray(colours).save(folder / f"{number:012d}.png")
    data = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "width": WIDTH, "height": HEIGHT} for n in (9, 4)],
        "categories": [
            {"id": 200, "name": "rug-merged", "isthing": 0},
            {"id": 90, "name": "toothbrush", "isthing": 1},
            {"id": 1, "name": "person", "isthing": 1},
        ],
        "annotations": [
            {"image_id": 4, "file_name": f"{4:012d}.png", "segments_info": segments},
            {"image_id": 9, "file_name": f"{9:012d}.png", "segments_info": []},
        ],
    }
    (root / "annotations" / f"panoptic_{part}.json").write_text(json.dumps(data | more))
    return {"coco_panoptic": {"path": str(root), "part": part}}


def test_things_and_stuff_are_classes_in_the_order_of_their_numbers_and_void_does_not_count(tmp_path: Path) -> None:
    found = build_dataset(panoptic(tmp_path))
    assert found.classes == ("person", "toothbrush", "rug-merged")
    assert (found.gives, len(found), found.skipped) == ({SemanticMap}, 2, {})
    scene = found.read(0)
    assert scene.key == "val2017/000000000004"
    expected = np.full((HEIGHT, WIDTH), IGNORE)
    expected[:, :3], expected[:, 3:6], expected[:, 6:8] = 0, 2, 1
    assert np.array_equal(scene.labels["classes"], expected)
    assert (found.read(1).labels["classes"] == IGNORE).all(), "a picture without a segment is kept"
    SemanticMap.of(scene.labels).check(3)
    assert len(pickle.dumps(found)) < 5000


def test_other_folders_and_files_that_are_not_there(tmp_path: Path) -> None:
    panoptic(tmp_path)
    (tmp_path / "annotations/panoptic_val2017").rename(tmp_path / "masks")
    (tmp_path / "val2017").rename(tmp_path / "images")
    (tmp_path / "annotations/panoptic_val2017.json").rename(tmp_path / "list.json")
    places = {"pictures": "images", "segments": "masks", "annotations": "list.json"}
    node = {"coco_panoptic": {"path": str(tmp_path), **places}}
    assert len(build_dataset(node)) == 2
    (tmp_path / "masks/000000000004.png").unlink()
    assert build_dataset(node).skipped == {"pictures without a label file": 1}
    (tmp_path / "images/000000000009.jpg").unlink()
    with pytest.raises(DatasetFault, match="1 pictures without a label file, 1 label files without a picture"):
        build_dataset(node)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([{"id": 5, "category_id": 7}], "picture 4: segment 5 is of category 7, which the file does not list"),
        ([{"id": 0, "category_id": 1}], "a segment has the number 0; they are 1 to 16777215"),
        ([{"id": 5, "category_id": 1}, {"id": 5, "category_id": 90}], "segment 5 is listed twice"),
        ([{"id": "x", "category_id": 1}], "segments_info can't be read: ValueError"),
        ([{"category_id": 1}], "segments_info can't be read: KeyError"),
        (None, "segments_info can't be read: TypeError"),
    ],
)
def test_faults_of_lists(tmp_path: Path, segments, said: str) -> None:
    with pytest.raises(DatasetFault, match=said):
        build_dataset(panoptic(tmp_path, segments))


def test_segments_that_are_not_listed_and_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetFault, match=rf"000000000004.png holds the segments {CROWD}, {STUFF}, which its list"):
        build_dataset(panoptic(tmp_path, SEGMENTS[:1])).read(0)
    found = build_dataset(panoptic(tmp_path))
    path = tmp_path / "annotations/panoptic_val2017/000000000004.png"
    Image.new("RGB", (5, 5)).save(path)
    with pytest.raises(DatasetFault, match="has 5x5 pixels, and its picture 9x6"):
        found.read(0)
    Image.new("L", (WIDTH, HEIGHT)).save(path)
    with pytest.raises(DatasetFault, match="a picture of mode L; numbers of segments are written in R, G, B"):
        found.read(0)
    with pytest.raises(DatasetFault, match="not of COCO's panoptic format: KeyError: 'segments_info'"):
        build_dataset(panoptic(tmp_path, annotations=[{"image_id": 4, "file_name": "a.png"}]))
    many = [{"id": n, "name": str(n)} for n in range(1, 300)]
    with pytest.raises(DatasetFault, match="lists 299 categories; at most 255"):
        build_dataset(panoptic(tmp_path, categories=many))


def test_they_are_checked_before_anything_is_trained(tmp_path: Path, tiny_text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(tiny_text)
    (node,) = panoptic(tmp_path / "coco").values()
    override = f"data.train={json.dumps({'coco_panoptic': node})}"
    found = CliRunner().invoke(app, ["data", "check", str(path), "--read", "-s", override])
    assert "data.train: coco_panoptic: 2 pictures; SemanticMap of 3 classes" in found.output
    assert found.exit_code == 0
    panoptic(tmp_path / "coco", SEGMENTS[:1])
    found = CliRunner().invoke(app, ["data", "check", str(path), "--read", "-s", override])
    assert found.exit_code == Exit.PLACES
    assert "which its list does not" in found.output


def test_coco_as_published() -> None:
    """Beside maps of the categories' numbers, which others made of the same files."""
    root = Path(os.environ.get("ISP_SIM_DATA", "")) / "coco128"
    if not os.environ.get("ISP_SIM_DATA") or not (root / "panoptic_train2017.json").is_file():
        pytest.skip("ISP_SIM_DATA names no folder with coco128")
    places = {"pictures": "images", "segments": "panoptic_masks", "annotations": "panoptic_train2017.json"}
    found = build_dataset({"coco_panoptic": {"path": str(root), **places}})
    assert (len(found), len(found.classes), found.skipped) == (100, 133, {})
    listed = json.loads((root / "panoptic_train2017.json").read_text())
    numbers = sorted(c["id"] for c in listed["categories"])
    for index in range(0, 100, 10):
        scene = found.read(index)
        classes = scene.labels["classes"]
        theirs = np.asarray(Image.open(root / "sem_masks" / f"{Path(scene.key).name}.png"))
        expected = np.where(theirs == 0, IGNORE, np.searchsorted(numbers, theirs))
        assert np.array_equal(classes, expected)
