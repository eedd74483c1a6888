"""Average precision against COCO's own tools."""

import contextlib
import io

import numpy as np
import pytest
import torch

from dirlearn.metrics.average_precision import FIGURES
from dirlearn.metrics.metric import build_metric
from dirlearn.targets import Boxes, Masks, ScoredBoxes, ScoredMasks, TargetFault

pytest.importorskip("faster_coco_eval")
SIDE = 160
CLASSES = ("a", "b", "c", "never")


def boxes_of(rng, count: int) -> np.ndarray:
    low = rng.uniform(0, SIDE - 4, (count, 2))
    return np.concatenate([low, np.minimum(low + np.exp(rng.uniform(1, 4.8, (count, 2))), SIDE)], axis=1)


def scene(rng, kind: str):
    """Labels with crowds, and detections that are near some of them."""
    count = int(rng.integers(0, 9))
    known = boxes_of(rng, count)
    near = np.clip(known + rng.normal(0, 1.5, known.shape), 0, SIDE)
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    found = np.concatenate([near, boxes_of(rng, int(rng.integers(0, 4)))])
    classes = rng.integers(0, 3, count)
    guesses = np.concatenate([np.where(rng.random(count) < 0.8, classes, 0), np.zeros(len(found) - count)]).astype(int)
    crowd, scores = rng.random(count) < 0.2, rng.random(len(found))
    areas = rng.uniform(0.4, 1, count) * np.prod(known[:, 2:] - known[:, :2], axis=1)
    about = (torch.from_numpy(classes), torch.from_numpy(crowd), torch.from_numpy(areas))
    guessed = (torch.from_numpy(scores), torch.from_numpy(guesses))
    if kind == "boxes":
        return Boxes(torch.from_numpy(known), *about), ScoredBoxes(torch.from_numpy(found), *guessed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5

    def discs(b: np.ndarray) -> torch.Tensor:
        middle, radius = (b[:, :2] + b[:, 2:]) / 2, (b[:, 2:] - b[:, :2]) / 2
        inside = [((x - m[0]) / r[0]) ** 2 + ((y - m[1]) / r[1]) ** 2 <= 1 for m, r in zip(middle, radius, strict=True)]
        return torch.from_numpy(np.array(inside, bool).reshape(-1, SIDE, SIDE))

    return Masks(discs(known), *about), ScoredMasks(discs(found), *guessed)


def by_pycocotools(scenes, kind: str) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools import mask as tools
    from pycocotools.cocoeval import COCOeval

    def outline(o, i):
        if kind == "boxes":
            x0, y0, x1, y1 = o.xyxy[i].tolist()
            return {"bbox": [x0, y0, x1 - x0, y1 - y0]}
        return {"segmentation": tools.encode(np.asfortranarray(o.masks[i].numpy().astype(np.uint8)))}

    truth, found = [], []
    for number, (known, guessed) in enumerate(scenes):
        for i, (c, crowd, area) in enumerate(zip(known.classes, known.crowd, known.areas, strict=True)):
            one = {"id": len(truth) + 1, "image_id": number, "category_id": int(c), "iscrowd": int(crowd)}
            truth.append(one | {"area": float(area)} | outline(known, i))
        for i, (score, c) in enumerate(zip(guessed.scores, guessed.classes, strict=True)):
            found.append({"image_id": number, "category_id": int(c), "score": float(score)} | outline(guessed, i))
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = {
            "images": [{"id": n, "height": SIDE, "width": SIDE} for n in range(len(scenes))],
            "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
            "annotations": truth,
        }
        known.createIndex()
        measured = COCOeval(known, known.loadRes(found), "bbox" if kind == "boxes" else "segm")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return measured.stats[:6].tolist()


@pytest.mark.parametrize("kind", ["boxes", "masks"])
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_pycocotools(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scenes = [scene(rng, kind) for _ in range(12)]
    metric = build_metric("average_precision", Boxes if kind == "boxes" else Masks, CLASSES)
    for known, guessed in scenes:
        metric.update(guessed, known)
    expected = by_pycocotools(scenes, kind)
    assert expected[0] > 0.05
    found = metric.compute()
    assert list(found) == list(FIGURES)
    for value, wanted in zip(found.values(), expected, strict=True):
        assert (-1 if value is None else value) == pytest.approx(wanted, abs=1e-9)
    classes = metric.by_class()
    assert classes["never"] is None
    assert np.mean([v for v in classes.values() if v is not None]) == pytest.approx(expected[0], abs=1e-9)


def test_what_two_counted_is_what_one_counts() -> None:
    rng = np.random.default_rng(7)
    scenes = [scene(rng, "boxes") for _ in range(6)]
    whole, first, second = (build_metric("average_precision", Boxes, CLASSES) for _ in range(3))
    for number, (known, guessed) in enumerate(scenes):
        whole.update(guessed, known)
        (first if number < 3 else second).update(guessed, known)
    first.merge(second)
    assert first.compute() == whole.compute()
    assert first.pictures == 6


def test_nothing_labelled_and_nothing_found() -> None:
    metric = build_metric("average_precision", Boxes, CLASSES)
    none = Boxes.of({"boxes": np.zeros((0, 4)), "box_classes": np.zeros(0, int)})
    metric.update(ScoredBoxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()), none)
    assert set(metric.compute().values()) == {None}
    known, _ = scene(np.random.default_rng(0), "boxes")
    metric.update(ScoredBoxes(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()), known)
    assert metric.compute()["AP"] == 0


def test_scores_that_are_no_numbers_are_refused() -> None:
    metric = build_metric("average_precision", Boxes, CLASSES)
    known, _ = scene(np.random.default_rng(0), "boxes")
    with pytest.raises(TargetFault, match="diverged"):
        metric.update(ScoredBoxes(torch.zeros(1, 4), torch.tensor([torch.nan]), torch.zeros(1).long()), known)
