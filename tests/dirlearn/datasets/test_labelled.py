"""Data sets with labels, on made-up pictures in their published layouts."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dirlearn.datasets.camvid import CLASSES
from dirlearn.datasets.dataset import DatasetFault, build_dataset
from dirlearn.datasets.split import check_split
from dirlearn.heads.head import build_head
from dirlearn.targets import IGNORE, Boxes, Masks, SemanticMap
from isp_sim.parameters import ParameterFaults

SIZE = (12, 9)  # width, height
HEIGHT, WIDTH = SIZE[1], SIZE[0]


def picture(path: Path, seed: int = 0, mode: str = "RGB", size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def codes(path: Path, values, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A label file with these codes in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.resize(np.array(values, np.uint8), (size[1], size[0]))
    Image.fromarray(array).save(path)
    return array


def camvid(root: Path, values=range(12), part: str = "train", name: str = "a") -> dict:
    picture(root / part / f"{name}.png", seed=len(name))
    codes(root / f"{part}annot" / f"{name}.png", values)
    return {"camvid": {"path": str(root), "part": part}}


def test_camvid(tmp_path: Path) -> None:
    found = build_dataset(camvid(tmp_path))
    scene = found.read(0)
    assert (scene.key, scene.pixels.shape) == ("train/a", (HEIGHT, WIDTH, 3))
    expected = np.resize(np.arange(12), (HEIGHT, WIDTH))
    assert np.array_equal(scene.labels["classes"], np.where(expected == 11, IGNORE, expected))
    assert found.classes == CLASSES
    assert found.gives == {SemanticMap}
    SemanticMap.of(scene.labels).check(len(CLASSES))


def test_ade20k_counts_from_one_and_leaves_zero_out(tmp_path: Path) -> None:
    picture(tmp_path / "images/validation/ADE_val_00000001.jpg")
    array = codes(tmp_path / "annotations/validation/ADE_val_00000001.png", [0, 1, 150])
    node = {"ade20k": {"path": str(tmp_path), "part": "validation"}}
    found = build_dataset(node)
    assert found.classes[149] == "class 149"
    table = ["Idx\tRatio\tTrain\tVal\tStuff\tName"] + [f"{i}\t0.1\t1\t1\t0\tthing {i}, other" for i in range(1, 151)]
    (tmp_path / "objectInfo150.txt").write_text("\n".join([*table, "", "151"]))
    found = build_dataset(node)
    assert (len(found.classes), found.classes[0], found.classes[149]) == (150, "thing 1", "thing 150")
    classes = found.read(0).labels["classes"]
    assert [set(classes[array == code]) for code in (0, 1, 150)] == [{IGNORE}, {0}, {149}]


def test_cityscapes(tmp_path: Path) -> None:
    for city, stem in (("ulm", "ulm_000001_000019"), ("bonn", "bonn_000000_000019")):
        picture(tmp_path / f"leftImg8bit/val/{city}/{stem}_leftImg8bit.png")
        array = codes(tmp_path / f"gtFine/val/{city}/{stem}_gtFine_labelIds.png", [0, 7, 8, 9, 33, 255])
    found = build_dataset({"cityscapes": {"path": str(tmp_path), "part": "val"}})
    assert [found.read(i).key for i in range(2)] == ["val/bonn/bonn_000000_000019", "val/ulm/ulm_000001_000019"]
    assert len(found.classes) == 19
    classes = found.read(1).labels["classes"]
    expected = {0: IGNORE, 7: 0, 8: 1, 9: IGNORE, 33: 18, 255: IGNORE}
    assert {code: set(classes[array == code]) for code in expected} == {k: {v} for k, v in expected.items()}


BOX = "<object><name>{}</name>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def voc(root: Path, *objects: str) -> dict:
    picture(root / "JPEGImages/2007_000027.jpg")
    codes(root / "SegmentationClass/2007_000027.png", [0, 20, 255])
    for kind in ("Segmentation", "Main"):
        (root / "ImageSets" / kind).mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / kind / "val.txt").write_text("2007_000027\n2007_000099\n\n")
    (root / "Annotations").mkdir(exist_ok=True)
    (root / "Annotations/2007_000027.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
    return {"path": str(root), "part": "val"}


def test_voc_as_maps(tmp_path: Path) -> None:
    found = build_dataset({"voc": voc(tmp_path)})
    assert found.skipped == {"pictures without a label file": 1}
    assert set(np.unique(found.read(0).labels["classes"])) == {0, 20, IGNORE}
    assert (found.gives, len(found.classes), found.classes[20]) == ({SemanticMap}, 21, "tvmonitor")


def test_voc_as_boxes(tmp_path: Path) -> None:
    objects = (
        BOX.format("cat", "<difficult>1</difficult>", 1, 1, 12, 9),
        BOX.format("tvmonitor", "", 3, 4, 3, 4),
        BOX.format("dog", "", 9, 4, 3, 4),
    )
    found = build_dataset({"voc": {**voc(tmp_path, *objects), "labels": "boxes"}})
    boxes = Boxes.of(found.read(0).labels)
    assert boxes.xyxy.tolist() == [[0, 0, 12, 9], [2, 3, 3, 4]], "pixels are counted from 1, both ends included"
    assert [found.classes[c] for c in boxes.classes] == ["cat", "tvmonitor"]
    assert boxes.crowd.tolist() == [True, False]
    assert found.skipped["boxes without area"] == 1
    boxes.check(20)


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        (BOX.format("unicorn", "", 1, 1, 2, 2), "holds the object 'unicorn'"),
        (BOX.format("cat", "", "x", 1, 2, 2), "without a whole bndbox"),
        ("<object>", "can't read"),
    ],
)
def test_voc_faults(tmp_path: Path, objects: str, said: str) -> None:
    with pytest.raises(DatasetFault, match=said):
        build_dataset({"voc": {**voc(tmp_path, objects), "labels": "boxes"}})


def coco(root: Path, annotations: list[dict], part: str = "val2017", files: tuple[int, ...] = (9, 4), **more) -> dict:
    for number in files:
        picture(root / part / f"{number:012d}.jpg", seed=number)
    data = {
        "images": [{"id": n, "file_name": f"{n:012d}.jpg", "width": WIDTH, "height": HEIGHT} for n in (9, 4)],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": i + 1, "iscrowd": 0, **a} if isinstance(a, dict) else a for i, a in enumerate(annotations)
        ],
    }
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / f"instances_{part}.json").write_text(json.dumps(data | more))
    return {"path": str(root), "part": part}


SQUARE = {"segmentation": [[2, 1, 6, 1, 6, 5, 2, 5]], "bbox": [2, 1, 4, 4], "area": 16}
RUNS = {"counts": [WIDTH * HEIGHT - 9, 9], "size": [HEIGHT, WIDTH]}


def test_coco(tmp_path: Path) -> None:
    annotations = [
        {"image_id": 9, "category_id": 90, **SQUARE, "area": 11.5},
        {"image_id": 9, "category_id": 1, "bbox": [11, 0, 1, 9], "area": 9, "iscrowd": 1, "segmentation": RUNS},
        {"image_id": 9, "category_id": 1, "bbox": [3, 3, 0, 4], "area": 0, "segmentation": []},
    ]
    found = build_dataset({"coco": coco(tmp_path, annotations)})
    assert found.classes == ("person", "toothbrush"), "in the order of their numbers"
    assert [found.read(i).key for i in range(2)] == ["val2017/000000000004", "val2017/000000000009"]
    assert found.skipped == {"boxes without area": 1}
    assert len(Boxes.of(found.read(0).labels).xyxy) == 0, "a picture without objects is kept"
    boxes = Boxes.of(found.read(1).labels)
    assert boxes.xyxy.tolist() == [[2, 1, 6, 5], [11, 0, 12, 9]]
    assert (boxes.classes.tolist(), boxes.crowd.tolist(), boxes.areas.tolist()) == ([1, 0], [False, True], [11.5, 9])
    assert found.gives == {Boxes}
    assert found.size(1) == SIZE
    assert len(pickle.dumps(found)) < 5000


def test_coco_with_masks(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    annotations = [
        {"image_id": 9, "category_id": 90, **SQUARE},
        {"image_id": 9, "category_id": 1, "bbox": [11, 0, 1, 9], "iscrowd": 1, "segmentation": RUNS},
    ]
    found = build_dataset({"coco": {**coco(tmp_path, annotations), "masks": True}})
    assert found.gives == {Boxes, Masks}
    masks = Masks.of(found.read(1).labels)
    expected = np.zeros((2, HEIGHT, WIDTH), bool)
    expected[0, 1:5, 2:6], expected[1, :, 11] = True, True
    assert np.array_equal(masks.masks.numpy(), expected)
    assert Masks.of(found.read(0).labels).masks.shape == (0, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ({"image_id": 9, "category_id": 2, **SQUARE}, "annotation 1 is of category 2, which the file does not list"),
        ({"image_id": 8, "category_id": 1, **SQUARE}, "annotation 1 is of picture 8"),
        ({"image_id": 9, "category_id": 1, "bbox": [1, 2, 3]}, "bbox must be"),
        ({"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, float("nan")]}, "bbox must be"),
        ({"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, "4"]}, "bbox must be"),
        ({"image_id": 9, "category_id": 1}, "bbox must be .* found None"),
        ({"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4], "area": None}, "area must be a number of pixels"),
    ],
)
def test_coco_faults(tmp_path: Path, annotation: dict, said: str) -> None:
    with pytest.raises(DatasetFault, match=said):
        build_dataset({"coco": coco(tmp_path, [annotation])})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"images": [{"id": 9, "file_name": "a.jpg"}]}, "not of COCO's format: KeyError: 'width'"),
        ({"images": [{"id": 9, "width": 3, "height": 3}]}, "not of COCO's format: KeyError: 'file_name'"),
        ({"categories": [{"id": 1}]}, "not of COCO's format: KeyError: 'name'"),
        ({"annotations": ["x"]}, "an annotation is a mapping; found 'x'"),
        ({"annotations": [{"id": 3, "image_id": [9], "category_id": 1}]}, "annotation 3 can't be read: unhashable"),
        ({"annotations": [{"id": 3, "image_id": 9}]}, "annotation 3 is of category None"),
    ],
)
def test_coco_lists_that_are_not_whole(tmp_path: Path, more: dict, said: str) -> None:
    with pytest.raises(DatasetFault, match=said):
        build_dataset({"coco": coco(tmp_path, **{"annotations": [], **more})})


def test_pictures_without_objects_are_kept_and_taught_from(tmp_path: Path) -> None:
    parts = (
        build_dataset({"coco": coco(tmp_path, [])}),
        build_dataset({"voc": {**voc(tmp_path / "voc"), "labels": "boxes"}}),
    )
    for found in parts:
        boxes = Boxes.of(found.read(0).labels)
        boxes.check(len(found.classes))
        assert boxes.xyxy.shape == (0, 4)
        assert found.skipped.total() == (1 if found is parts[1] else 0), "a name of VOC's list without a file"
        head = build_head({"detection_light": {"classes": len(found.classes), "width": 4, "levels": 1}})
        assert head.loss(torch.rand(1, 3, 16, 16), [boxes]).isfinite()


def test_coco_files_that_do_not_fit(tmp_path: Path) -> None:
    found = build_dataset({"coco": coco(tmp_path, [], files=(4,))})
    assert (len(found), found.skipped) == (1, {"pictures of the list without a file": 1})
    picture(tmp_path / "val2017/000000000004.jpg", size=(30, 20))
    with pytest.raises(DatasetFault, match="has 30x20 pixels, and 12x9 by the annotations"):
        found.read(0)
    (tmp_path / "annotations/instances_val2017.json").write_text('{"images": [}')
    with pytest.raises(DatasetFault, match="not of COCO's format"):
        build_dataset({"coco": {"path": str(tmp_path), "part": "val2017"}})


@pytest.mark.parametrize("segmentation", [[[1, 2]], None, {"counts": "?"}, {"size": [1, 1], "counts": [1]}])
def test_segmentations_that_can_not_be_read(tmp_path: Path, segmentation) -> None:
    pytest.importorskip("faster_coco_eval")
    annotation = {"image_id": 9, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": segmentation}
    found = build_dataset({"coco": {**coco(tmp_path, [annotation]), "masks": True}})
    with pytest.raises(DatasetFault, match="val2017/000000000009, annotation 1"):
        found.read(1)


NODES = {
    "camvid": "git clone",
    "ade20k": "ADEChallengeData2016.zip",
    "cityscapes": "gtFine_trainvaltest.zip",
    "voc": "VOCtrainval_11-May-2012.tar",
    "coco": "annotations_trainval2017.zip",
    "coco_panoptic": "panoptic_annotations_trainval2017.zip",
}


@pytest.mark.parametrize("name", NODES)
def test_what_is_missing_is_said_with_the_way_to_get_it(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(DatasetFault, match=NODES[name]) as error:
            build_dataset({name: {"path": str(folder)}})
        assert "DIRLEARN_DATA" in str(error.value)
        assert str(folder) in str(error.value)


def test_codes_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    found = build_dataset(camvid(tmp_path, [3, 12, 13, 200]))
    with pytest.raises(DatasetFault, match=r"a\.png holds 12, 13, 200; known are 0 to 11"):
        found.read(0)


def test_labels_of_another_size_or_in_colour_are_refused(tmp_path: Path) -> None:
    node = camvid(tmp_path)
    codes(tmp_path / "trainannot/a.png", [0], size=(5, 4))
    with pytest.raises(DatasetFault, match="has 5x4 pixels, and its picture 12x9"):
        build_dataset(node).read(0)
    picture(tmp_path / "trainannot/a.png")
    with pytest.raises(DatasetFault, match="a picture of mode RGB; needed is one code"):
        build_dataset(node).read(0)


def test_pictures_without_labels_and_labels_without_pictures_are_counted(tmp_path: Path) -> None:
    camvid(tmp_path, name="aa")
    node = camvid(tmp_path)
    (tmp_path / "trainannot/a.png").unlink()
    found = build_dataset(node)
    assert (len(found), found.read(0).key) == (1, "train/aa")
    assert found.skipped == {"pictures without a label file": 1}


def test_grey_pictures_and_palettes_are_read(tmp_path: Path) -> None:
    node = camvid(tmp_path)
    picture(tmp_path / "train/a.png", mode="L")
    Image.open(tmp_path / "trainannot/a.png").convert("P").save(tmp_path / "trainannot/a.png")
    pixels = build_dataset(node).read(0).pixels
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_pictures_of_more_bits_are_not_clipped_in_silence(tmp_path: Path, mode: str) -> None:
    node = camvid(tmp_path)
    values = np.linspace(0, 40000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    (tmp_path / "train/a.png").unlink()
    path = tmp_path / "train/a.tif"
    Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.float32)).save(path)
    for found in (build_dataset(node), build_dataset({"images": {"path": str(path.parent)}})):
        with pytest.raises(DatasetFault, match=rf"a\.tif has samples of more than 8 bits \(mode {mode}\)"):
            found.read(0)


def test_small_pictures_can_be_left_out(tmp_path: Path) -> None:
    camvid(tmp_path, name="aa")
    node = camvid(tmp_path)
    picture(tmp_path / "train/a.png", size=(40, 8))
    node["camvid"]["smallest"] = 9
    found = build_dataset(node)
    assert (len(found), found.skipped) == (1, {"pictures with a side under 9 px": 1})
    node["camvid"]["smallest"] = 50
    with pytest.raises(DatasetFault, match="2 pictures with a side under 50 px"):
        build_dataset(node)


def test_a_letterbox_gives_all_one_size_and_splits_still_see_the_files(tmp_path: Path) -> None:
    node = camvid(tmp_path)
    plain = build_dataset(node)
    node["camvid"]["letterbox"] = [32, 24]
    found = build_dataset(node)
    scene = found.read(0)
    assert scene.pixels.shape == (32, 24, 3)
    assert set(np.unique(scene.labels["classes"])) <= {*range(11), IGNORE}
    assert np.array_equal(found.pixels(0), plain.pixels(0))
    with pytest.raises(DatasetFault, match="test pictures must not be trained on"):
        check_split(plain, {"test": found})
    node["camvid"]["letterbox"] = [8, 8]
    with pytest.raises(ParameterFaults, match="letterbox"):
        build_dataset(node)


def test_a_letterbox_moves_boxes_and_masks(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval")
    node = {**coco(tmp_path, [{"image_id": 9, "category_id": 90, **SQUARE}]), "masks": True, "letterbox": [36, 24]}
    labels = build_dataset({"coco": node}).read(1).labels
    assert labels["boxes"].tolist() == [[4, 2 + 9, 12, 10 + 9]]
    assert labels["box_areas"].tolist() == [64]
    assert np.argwhere(labels["masks"][..., 0]).min(axis=0).tolist() == [11, 4]
    assert labels["masks"].sum() == 64


def test_damaged_files_are_named(tmp_path: Path) -> None:
    node = camvid(tmp_path)
    path = tmp_path / "train/a.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DatasetFault, match=r"can't read .*a\.png"):
        build_dataset(node).read(0)


def test_camvid_as_published() -> None:
    root = os.environ.get("ISP_SIM_DATA")
    if not root or not (Path(root) / "CamVid_half").is_dir():
        pytest.skip("ISP_SIM_DATA names no folder with CamVid_half")
    parts = {p: build_dataset({"camvid": {"path": f"{root}/CamVid_half", "part": p}}) for p in ("train", "val")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 367, "val": 101}
    classes = np.concatenate([np.unique(parts["val"].read(i).labels["classes"]) for i in range(0, 101, 20)])
    assert set(classes) == {*range(11), IGNORE}
