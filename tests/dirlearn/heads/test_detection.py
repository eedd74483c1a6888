"""Heads that find objects: boxes and masks in pixels whatever the size, pictures without objects, crowds."""

import numpy as np
import pytest
import torch

from dirlearn.heads.detection import in_pixels, normalised, surest
from dirlearn.heads.detection_light import middles
from dirlearn.heads.head import build_head
from dirlearn.targets import Boxes, Masks, ScoredBoxes, ScoredMasks, TargetFault, batch_of

SMALL = {
    "detection_light": {"width": 4, "levels": 2},
    "rt_detr": {"size": "tiny", "queries": 12},
    "yolos": {"queries": 5},
    "mask2former": {"size": "nano", "queries": 6},
}


def head(name: str):
    if name != "detection_light":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    return build_head({name: {"classes": 4, **SMALL[name]}})


def boxes(corners, classes, crowd=None) -> Boxes:
    labels = {"boxes": np.array(corners, float).reshape(-1, 4), "box_classes": np.array(classes, int)}
    return Boxes.of(labels | ({} if crowd is None else {"box_crowd": np.array(crowd)}))


def masks(size, classes, crowd=None) -> Masks:
    labels = {"masks": np.zeros((*size, len(classes)), np.uint8), "box_classes": np.array(classes, int)}
    for i in range(len(classes)):
        labels["masks"][5 * i : 5 * i + 20, 8:30, i] = 1
    return Masks.of(labels | ({} if crowd is None else {"box_crowd": np.array(crowd)}))


def targets(name: str, size, classes, crowd=None):
    if name == "mask2former":
        return masks(size, classes, crowd)
    return boxes([[3 + i, 4, 20 + i, 30] for i in range(len(classes))], classes, crowd)


@pytest.mark.parametrize("name", SMALL)
def test_pictures_with_and_without_objects_teach_and_gradients_reach_them(name: str) -> None:
    made, size = head(name).train(), (45, 70)
    picture = torch.rand(2, 3, *size, requires_grad=True)
    loss = made.loss(picture, [targets(name, size, [0, 3]), targets(name, size, [])])
    loss.backward()
    assert loss.ndim == 0
    assert loss.isfinite()
    assert picture.grad.abs().sum() > 0
    made.zero_grad()
    nothing = made.loss(picture, [targets(name, size, []), targets(name, size, [])])
    nothing.backward()
    assert nothing.isfinite()
    learnt = {name: p.grad is not None for name, p in made.named_parameters() if p.requires_grad}
    assert [name for name, has in learnt.items() if not has] == [], "several processes need a gradient of each"


@pytest.mark.parametrize("name", SMALL)
def test_findings_lie_in_the_picture(name: str) -> None:
    made, size = head(name).eval(), (45, 70)
    with torch.no_grad():
        found = made.predict(torch.rand(2, 3, *size))
    for one in found:
        assert len(one.scores) == len(one.classes)
        assert bool(((one.scores >= 0) & (one.scores <= 1)).all())
        assert bool((one.classes < 4).all())
        if isinstance(one, ScoredMasks):
            assert one.masks.shape[1:] == size
            assert bool(one.masks.flatten(1).any(dim=1).all())
        else:
            assert isinstance(one, ScoredBoxes)
            assert bool((one.xyxy >= 0).all() & (one.xyxy <= torch.tensor([70, 45, 70, 45])).all())


@pytest.mark.parametrize("name", ["detection_light", "rt_detr", "yolos"])
def test_crowds_are_not_learnt_from(name: str) -> None:
    made, size = head(name).eval(), (32, 32)
    picture = torch.rand(1, 3, *size)
    with torch.no_grad():
        alone = made.loss(picture, [targets(name, size, [2])])
        crowded = made.loss(picture, [targets(name, size, [2, 1], [False, True])])
        both = made.loss(picture, [targets(name, size, [2, 1])])
    assert alone == crowded != both


def test_the_light_head_finds_what_it_was_told() -> None:
    """Maps made of the labels give back the labels."""
    made = build_head({"detection_light": {"classes": 4, "detections": 3}})
    known = boxes([[3, 4, 21, 30], [40, 10, 60, 20], [0, 30, 10, 45]], [1, 2, 2])
    heat, place = middles(known.xyxy.float(), known.classes, 4, 24, 36)
    assert [heat[c, y, x].item() for c, (x, y) in zip([1, 2, 2], place.tolist(), strict=True)] == [1, 1, 1]
    assert heat.sum(dim=(1, 2))[[0, 3]].tolist() == [0, 0]
    at = (place + 0.5) * 2
    distances = torch.ones(1, 4, 24, 36)
    distances[0][:, place[:, 1], place[:, 0]] = torch.cat([at - known.xyxy[:, :2], known.xyxy[:, 2:] - at], 1).T.float()
    made.maps = lambda picture: (heat[None].clamp(1e-4, 1 - 1e-4).logit(), distances)
    (found,) = made.predict(torch.zeros(1, 3, 45, 70))
    order = found.xyxy[:, 0].argsort()
    assert found.classes[order].tolist() == [2, 1, 2]
    torch.testing.assert_close(found.xyxy[order], known.xyxy[[2, 0, 1]].float())


def test_the_light_head_learns() -> None:
    """White squares on black: two of them found, where they are."""
    torch.manual_seed(0)
    made = build_head({"detection_light": {"classes": 1, "width": 8, "levels": 2, "detections": 2}})
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)

    def scene(x: int, y: int) -> tuple[torch.Tensor, Boxes]:
        picture = torch.zeros(3, 32, 32)
        picture[:, y : y + 8, x : x + 8] = 1
        picture[:, 22:28, 2:8] = 1
        return picture, boxes([[x, y, x + 8, y + 8], [2, 22, 8, 28]], [0, 0])

    for step in range(60):
        pictures, labels = zip(*[scene(4 * ((step + 3 * i) % 5), 2 * ((step + i) % 5)) for i in range(4)], strict=True)
        loss = made.loss(torch.stack(pictures), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    picture, known = scene(10, 5)
    (found,) = made.eval().predict(picture[None])
    order = found.xyxy[:, 0].argsort(descending=True)
    assert (found.xyxy[order] - known.xyxy).abs().max() < 3


def test_boxes_go_to_parts_of_the_picture_and_back() -> None:
    known = boxes([[3, 4, 21, 30], [0, 0, 70, 45]], [1, 2])
    (labels,) = normalised([known], torch.zeros(1, 3, 64, 96))
    assert labels["boxes"][0].tolist() == pytest.approx([12 / 96, 17 / 64, 18 / 96, 26 / 64])
    back = in_pixels(labels["boxes"], (64, 96), (45, 70))
    torch.testing.assert_close(back, known.xyxy.float())
    beyond = in_pixels(torch.tensor([[0.9, 0.9, 0.4, 0.4]]), (64, 96), (45, 70))
    assert beyond.tolist()[0][2:] == [70, 45]


def test_the_surest_pairs_of_box_and_class() -> None:
    found = surest(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([[0.0] * 4, [1.0] * 4]), 3)
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.2])
    assert found.classes.tolist() == [1, 0, 1]
    assert found.xyxy[:, 0].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("corners", "classes", "said"),
    [
        ([[1, 1, 5, 5]], [4], "found class 4; classes are 0 to 3"),
        ([[1, 1, 5, 5]], [-1], "found class -1"),
        ([[5, 1, 1, 5]], [0], "a box has no area"),
        ([[1, 1, float("nan"), 5]], [0], "a box has an edge that is no finite number"),
        ([[1, 1, 5, 5]], [0, 1], "1 objects, 2 classes"),
    ],
)
def test_boxes_that_are_not_valid_are_refused_with_their_picture(corners, classes, said: str) -> None:
    labels = {"boxes": np.array(corners, float), "box_classes": np.array(classes)}
    with pytest.raises(TargetFault, match=f"p7: {said}"):
        batch_of(Boxes, [labels], ["p7"], 4)


def test_labels_of_another_kind_are_refused() -> None:
    with pytest.raises(TargetFault, match="p7: there are no labels 'boxes'; there are 'classes'"):
        batch_of(Boxes, [{"classes": np.zeros((3, 3))}], ["p7"], 4)
