import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.formats.coco import COCO, area, clipped, mask_of, runs_of
from isp_sim.formats.reader import InputFault
from isp_sim.render.job import render
from isp_sim.render.manifest import MANIFEST, read
from tests.isp_sim.render.photos import photo
from tests.isp_sim.render.sets import recipe, shards

SIZE = (20, 30)


def annotation(id: int, box: list[float], image: int = 1, **more: object) -> dict[str, object]:
    return {"id": id, "image_id": image, "category_id": 3, "iscrowd": 0, "bbox": box, "area": box[2] * box[3], **more}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two pictures: one with a polygon, a box and a region, one without objects."""
    root = tmp_path / "coco"
    (root / "val").mkdir(parents=True)
    (root / "annotations").mkdir()
    photo("astronaut", SIZE).save(root / "val" / "1.png")
    photo("coffee", SIZE).save(root / "val" / "2.png")
    region = np.zeros(SIZE, np.uint8)
    region[4:8, 2:7] = 1
    objects = [
        annotation(
            11, [2.5, 3.25, 10.0, 8.0], segmentation=[[2.5, 3.25, 12.5, 3.25, 12.5, 11.25, 2.5, 11.25]], area=79.9
        ),
        annotation(12, [20.0, 10.0, 9.0, 9.0]),
        annotation(13, [2.0, 4.0, 5.0, 4.0], segmentation={"counts": runs_of(region), "size": list(SIZE)}, iscrowd=1),
    ]
    images = [{"id": n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1], "licence": 4} for n in (1, 2)]
    document = {
        "info": {"year": 2017},
        "images": images,
        "annotations": objects,
        "categories": [{"id": 3, "name": "cat"}],
    }
    (root / "annotations" / "instances_val.json").write_text(json.dumps(document))
    return root


def written(folder: Path) -> dict:
    return json.loads((folder / "annotations" / "instances_val.json").read_text())


def test_what_does_not_move_stays_to_the_digit(coco: Path, tmp_path: Path) -> None:
    render(recipe(coco, tmp_path / "out", reader="coco"))
    assert written(tmp_path / "out") == json.loads((coco / "annotations" / "instances_val.json").read_text())
    assert (tmp_path / "out" / "val" / "1.png").is_file()


def test_a_crop_moves_and_cuts_labels(coco: Path, tmp_path: Path) -> None:
    render(recipe(coco, tmp_path / "out", reader="coco", stages="[{crop: {height: 10, width: 15, x: 0.2, y: 0.2}}]"))
    found = written(tmp_path / "out")
    assert [(image["height"], image["width"]) for image in found["images"]] == [(10, 15)] * 2
    polygon, region = found["annotations"]
    assert polygon["id"] == 11, "the box at the lower right lies outside"
    assert polygon["bbox"] == [0.0, 1.25, 9.5, 8.0]
    assert polygon["area"] == pytest.approx(9.5 * 8.0)
    corners = polygon["segmentation"][0]
    assert set(zip(corners[::2], corners[1::2], strict=True)) == {(0, 1.25), (9.5, 1.25), (9.5, 9.25), (0, 9.25)}
    assert region["bbox"] == [0.0, 2.0, 4.0, 4.0]
    assert region["area"] == 16
    mask = mask_of(region["segmentation"]["counts"], (10, 15))
    assert mask[2:6, :4].all()
    assert mask.sum() == 16


def test_a_scale_takes_labels_along(coco: Path, tmp_path: Path) -> None:
    render(recipe(coco, tmp_path / "out", reader="coco", stages="[{scale: {factor: 2}}]"))
    polygon, box, region = written(tmp_path / "out")["annotations"]
    assert polygon["bbox"] == [5.0, 6.5, 20.0, 16.0]
    assert box["bbox"] == [40.0, 20.0, 18.0, 18.0]
    assert box["area"] == 18 * 18
    assert region["area"] == 80


def test_views_and_shards_have_numbers_and_names_of_their_own(coco: Path, tmp_path: Path) -> None:
    render(shards(coco, tmp_path / "out", reader="coco"), views=2)
    found = written(tmp_path / "out")
    assert [(image["id"], image["file_name"]) for image in found["images"]] == [
        (1, "1.png"),
        (4, "1_view1.png"),
        (2, "2.png"),
        (5, "2_view1.png"),
    ]
    assert [(one["id"], one["image_id"]) for one in found["annotations"]] == [
        *((11, 1), (12, 1), (13, 1)),
        *((25, 4), (26, 4), (27, 4)),
    ]
    rows = read(tmp_path / "out" / MANIFEST)
    assert [len(row["labels"]["objects"]) for row in rows] == [3, 3, 0, 0]


def test_a_peer_reads_what_was_written(coco: Path, tmp_path: Path) -> None:
    faster = pytest.importorskip("faster_coco_eval")
    render(recipe(coco, tmp_path / "out", reader="coco", stages="[{crop: {height: 10, width: 15, x: 0.2, y: 0.2}}]"))
    peer = faster.COCO(str(tmp_path / "out" / "annotations" / "instances_val.json"))
    ours = {one["id"]: one["area"] for one in written(tmp_path / "out")["annotations"]}
    assert {
        one["id"]: pytest.approx(peer.annToMask(one).sum(), abs=8) for one in peer.loadAnns(peer.getAnnIds())
    } == ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [1, 2, 2]}, "keypoints"),
        ({"segmentation": {"counts": "abc", "size": [20, 30]}}, "compressed"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three corners"),
    ],
)
def test_what_can_not_be_carried_is_refused(coco: Path, change: dict, message: str) -> None:
    path = coco / "annotations" / "instances_val.json"
    document = json.loads(path.read_text())
    document["annotations"][0].update(change)
    path.write_text(json.dumps(document))
    with pytest.raises(InputFault, match=message):
        COCO(COCO.Params(path=str(coco))).items()


def test_a_picture_of_another_size_than_annotated_costs_itself(coco: Path, tmp_path: Path) -> None:
    photo("coffee", (20, 31)).save(coco / "val" / "2.png")
    summary = render(recipe(coco, tmp_path / "out", reader="coco"))
    assert [row["key"] for row in summary.failed] == ["val/2.png"]
    assert "annotated as 30x20" in summary.failed[0]["reason"]
    assert [image["id"] for image in written(tmp_path / "out")["images"]] == [1]


def test_names_that_lead_out_are_refused(coco: Path) -> None:
    path = coco / "annotations" / "instances_val.json"
    path.write_text(path.read_text().replace('"2.png"', '"../../2.png"'))
    with pytest.raises(InputFault, match="leads out"):
        COCO(COCO.Params(path=str(coco))).items()


@given(st.lists(st.integers(0, 1), min_size=12, max_size=12))
def test_run_lengths_are_masks(values: list[int]) -> None:
    mask = np.array(values, np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(mask_of(runs_of(mask), (3, 4)), mask)


@given(st.lists(st.tuples(st.floats(-9, 17), st.floats(-9, 14)), min_size=3, max_size=7))
def test_a_clipped_polygon_lies_inside(corners: list[tuple[float, float]]) -> None:
    cut = clipped(corners, (5, 8))
    assert all(0 <= x <= 8 and 0 <= y <= 5 for x, y in cut)
    if all(0 <= x <= 8 and 0 <= y <= 5 for x, y in corners):
        assert cut == corners


def test_a_clipped_triangle_has_the_area_of_the_part_inside() -> None:
    assert area(clipped([(-4.0, 0.0), (4.0, 0.0), (-4.0, 8.0)], (8, 8))) == pytest.approx(8)
