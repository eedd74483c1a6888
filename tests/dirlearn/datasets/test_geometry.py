"""Picture and labels move together, and labels are never mixed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dirlearn.datasets.dataset import Scene
from dirlearn.datasets.geometry import turned, window
from dirlearn.targets import Masks

HEIGHT, WIDTH = 13, 17


def scene(seed: int) -> Scene:
    """Every pixel says where it came from; objects are rectangles, so box and mask say the same."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    low = np.stack([rng.integers(0, WIDTH - 1, 4), rng.integers(0, HEIGHT - 1, 4)], axis=1)
    high = low + 1 + np.stack([rng.integers(0, WIDTH - low[:, 0]), rng.integers(0, HEIGHT - low[:, 1])], axis=1)
    high = np.minimum(high, [WIDTH, HEIGHT])
    inside = (x >= low[:, 0, None, None]) & (x < high[:, 0, None, None])
    inside &= (y >= low[:, 1, None, None]) & (y < high[:, 1, None, None])
    labels = {
        "classes": y * 100 + x,
        "boxes": np.concatenate([low, high], axis=1).astype(np.float64),
        "box_classes": np.arange(4),
        "box_crowd": np.arange(4) == 2,
        "masks": inside.transpose(1, 2, 0).astype(np.uint8),
    }
    return Scene("s", np.stack([y, x, 0 * y], axis=-1).astype(np.uint8), labels)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_labels_say_the_same_of_the_same_pixels(data) -> None:
    top, left = data.draw(st.integers(0, HEIGHT - 1)), data.draw(st.integers(0, WIDTH - 1))
    height, width = data.draw(st.integers(1, HEIGHT - top)), data.draw(st.integers(1, WIDTH - left))
    turns = data.draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    found = turned(window(scene(data.draw(st.integers(0, 99))), top, left, height, width), *turns)
    assert found.pixels.shape[:2] == ((width, height) if turns[2] else (height, width))
    y, x, _ = found.pixels.astype(int).transpose(2, 0, 1)
    assert np.array_equal(found.labels["classes"], y * 100 + x)
    rows, columns = np.mgrid[: found.pixels.shape[0], : found.pixels.shape[1]]
    masks = found.labels["masks"].transpose(2, 0, 1)
    assert len(masks) == len(found.labels["boxes"]) == len(found.labels["box_classes"])
    for (x0, y0, x1, y1), mask in zip(found.labels["boxes"], masks, strict=True):
        inside = (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)
        assert mask.any()
        assert np.array_equal(inside, mask)


def test_objects_outside_are_dropped_with_all_that_is_known_of_them() -> None:
    whole = scene(3)
    boxes = np.array([[0, 0, 4, 4], [4.5, 0, 9, 9], [3.2, 0, 9, 9], [0, 0, 0.5, 0.5]])
    whole = Scene("s", whole.pixels, {**whole.labels, "boxes": boxes})
    found = window(whole, 0, 0, 4, 4)
    assert found.labels["box_classes"].tolist() == [0, 3], "a sliver is dropped, what was small before is not"
    assert found.labels["box_crowd"].tolist() == [False, False]
    assert found.labels["masks"].shape == (4, 4, 2)
    assert np.array_equal(found.labels["boxes"], boxes[[0, 3]])


def test_objects_whose_pixels_lie_outside_have_no_mask() -> None:
    instances = np.zeros((6, 6), np.int32)
    instances[5, 5], instances[0, 5] = 7, 8
    labels = {"boxes": np.array([[0, 0, 6, 6], [5, 0, 6, 1]]), "box_classes": np.array([1, 2])}
    labels |= {"instances": instances, "box_instances": np.array([7, 8])}
    whole = Scene("s", np.zeros((6, 6, 3), np.uint8), labels)
    assert Masks.of(whole.labels).masks.sum() == 2
    found = Masks.of(window(whole, 0, 2, 3, 4).labels)
    assert found.classes.tolist() == [2]
    assert np.argwhere(found.masks[0].numpy()).tolist() == [[0, 3]]


def test_the_whole_window_is_the_scene_itself() -> None:
    whole = scene(0)
    assert window(whole, 0, 0, HEIGHT, WIDTH) is whole
