"""Picture and labels move together, and labels are never mixed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dirlearn.datasets.dataset import Scene
from dirlearn.datasets.geometry import GREY, Fit, letterboxed, turned, window
from dirlearn.targets import IGNORE, Boxes, Masks, SemanticMap

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


sides = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.integers(0, 99))
def test_boxes_go_into_a_letterbox_and_back(size, outer, seed: int) -> None:
    fit = Fit.into(*size, outer)
    low = np.random.default_rng(seed).uniform(-5, 30, (6, 2))
    boxes = np.concatenate([low, low + 7.3], axis=1)
    np.testing.assert_allclose(fit.undone(fit.boxes(boxes)), boxes, rtol=0, atol=1e-6)
    (top, left), (high, wide) = fit.corner, fit.inner
    np.testing.assert_allclose(
        fit.boxes(np.array([[0, 0, size[1], size[0]]])), [[left, top, left + wide, top + high]], rtol=1e-12
    )
    assert 0 <= top <= outer[0] - high
    assert 0 <= left <= outer[1] - wide
    assert high == outer[0] or wide == outer[1], "it is as large as it can be"
    assert abs(top - (outer[0] - high - top)) <= 1
    assert abs(left - (outer[1] - wide - left)) <= 1
    assert abs(high * size[1] - wide * size[0]) <= max(size) or 1 in fit.inner, "sides stay in proportion to the pixel"


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(8, 60), st.integers(8, 60)), st.integers(0, 99))
def test_labels_in_a_letterbox_are_labels_of_the_picture(outer, seed: int) -> None:
    whole = scene(seed)
    whole = Scene("s", whole.pixels, {**whole.labels, "box_areas": np.ones(4)})
    found = letterboxed(whole, *outer)
    fit = Fit.into(HEIGHT, WIDTH, outer)
    classes = found.labels["classes"]
    assert found.pixels.shape == (*outer, 3)
    assert set(np.unique(classes)) <= {*np.unique(whole.labels["classes"]), IGNORE}, "no class comes from between two"
    beside = np.ones(outer, bool)
    fit.within(beside)[...] = False
    assert (found.pixels[beside] == GREY).all()
    assert (classes[beside] == IGNORE).all()
    assert not found.labels["masks"][beside].any()
    # the nearest pixel: that in which the middle of the new one lies
    rows, columns = np.mgrid[: fit.inner[0], : fit.inner[1]] + 0.5
    nearest = np.floor(rows * HEIGHT / fit.inner[0]) * 100 + np.floor(columns * WIDTH / fit.inner[1])
    exact = np.abs(rows * HEIGHT / fit.inner[0] % 1 - 0.5) < 0.499
    exact &= np.abs(columns * WIDTH / fit.inner[1] % 1 - 0.5) < 0.499
    assert np.array_equal(fit.within(classes)[exact], nearest[exact])
    rows, columns = np.mgrid[: outer[0], : outer[1]] + 0.5
    for (x0, y0, x1, y1), mask in zip(found.labels["boxes"], found.labels["masks"].transpose(2, 0, 1), strict=True):
        inside = (columns > x0 + 1e-9) & (columns < x1 - 1e-9) & (rows > y0 + 1e-9) & (rows < y1 - 1e-9)
        edge = (columns >= x0 - 1e-9) & (columns <= x1 + 1e-9) & (rows >= y0 - 1e-9) & (rows <= y1 + 1e-9)
        assert (mask.astype(bool) <= edge).all()
        assert (inside <= mask.astype(bool)).all(), "a pixel belongs to the object if its middle does"
    np.testing.assert_allclose(found.labels["box_areas"], fit.scale[0] * fit.scale[1])
    assert np.array_equal(found.labels["box_classes"], whole.labels["box_classes"])
    for kind in (Boxes, Masks):
        kind.of(found.labels).check(4)


def test_a_letterbox_of_the_same_size_is_the_scene_and_fine_patterns_become_grey() -> None:
    whole = scene(1)
    assert letterboxed(whole, HEIGHT, WIDTH) is whole
    y, x = np.mgrid[:64, :64]
    checks = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=-1)
    labels = {"classes": ((x + y) % 2).astype(np.uint8), "instances": (x // 32).astype(np.int32)}
    found = letterboxed(Scene("c", checks, labels), 16, 24)
    assert np.abs(found.pixels[:, 4:20].astype(int) - 127).max() <= 3, "averaged, not picked"
    assert set(np.unique(found.labels["classes"])) <= {0, 1, IGNORE}
    assert found.labels["instances"][0].tolist() == [-1] * 4 + [0] * 8 + [1] * 8 + [-1] * 4
    SemanticMap.of(found.labels).check(2)
