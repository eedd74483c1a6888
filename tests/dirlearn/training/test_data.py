"""Batches are functions of the seed and the step."""

import dataclasses

import numpy as np
import pytest
import torch

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene
from dirlearn.training.data import Needs, Stream, batches, order


class Plain(Dataset):
    """Pictures that say where each of their pixels came from."""

    def __init__(self, count: int = 5, size: tuple[int, int] = (20, 24)) -> None:
        super().__init__(None)
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, epoch: int = 0) -> Scene:
        y, x = np.mgrid[: self.size[0], : self.size[1]]
        pixels = np.stack([y, x, np.full_like(y, index)], axis=-1).astype(np.uint8)
        labels = {
            "classes": (y * 100 + x),
            "boxes": np.array([[3, 4, 9, 11]], np.float32),
            "box_classes": np.array([2]),
        }
        return Scene(f"p{index}", pixels, labels)


def stream(recipe, **changes) -> Stream:
    made = Stream(Plain(), recipe.views, Needs(views=2, noise=((4, 2, 2),), labels=True), 3, batch=4, patch=8)
    return dataclasses.replace(made, **changes)


def same(a, b) -> bool:
    tensors = zip((a.clean, *a.views, *a.noise), (b.clean, *b.views, *b.noise), strict=True)
    return a.keys == b.keys and all(torch.equal(x, y) for x, y in tensors)


def test_the_same_step_is_the_same_batch_whatever_came_before(tiny) -> None:
    a, b = stream(tiny()), stream(tiny())
    for number in (0, 1, 2):
        a[number]
    assert same(a[2], b[2])
    assert not same(a[2], a[3])


def test_every_epoch_is_a_permutation_of_its_own() -> None:
    first, second = (order(3, epoch, 50).tolist() for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert order(4, 0, 50).tolist() != first


def test_every_picture_is_seen_once_an_epoch(tiny) -> None:
    s = stream(tiny(), batch=5)
    assert sorted(s[0].keys) == sorted(s[1].keys) == [f"p{i}" for i in range(5)]


def test_processes_share_a_batch_out(tiny) -> None:
    whole = stream(tiny())[1]
    parts = [stream(tiny(), rank=rank, world=2)[1] for rank in range(2)]
    assert parts[0].keys + parts[1].keys == whole.keys
    assert torch.equal(torch.cat([p.clean for p in parts]), whole.clean)
    assert torch.equal(torch.cat([p.views[1] for p in parts]), whole.views[1])
    assert torch.equal(torch.cat([p.noise[0] for p in parts]), whole.noise[0])


def test_views_differ_from_each_other_and_between_epochs(tiny) -> None:
    s = stream(tiny(), batch=5, flips=False)
    a, b = s[0], s[1]
    assert not torch.equal(a.views[0], a.views[1])
    noise = {key: a.views[0][i] - a.clean[i] for i, key in enumerate(a.keys)}
    assert not any(torch.allclose(noise[key], b.views[0][i] - b.clean[i]) for i, key in enumerate(b.keys))


def test_views_are_those_of_the_simulator(tiny) -> None:
    s = stream(tiny(), batch=5)
    batch = s[2]  # epoch 2: views 4 and 5
    for which in (0, 1):
        expected = s.views.renderer(batch.clean, batch.keys, 4 + which).clamp(0, 1)
        assert torch.equal(batch.views[which], expected)


def test_a_batch_over_the_end_of_an_epoch(tiny) -> None:
    s = stream(tiny())
    batch = s[1]
    assert batch.epochs == (0, 1, 1, 1)
    for i in range(4):
        alone = s.views.renderer(batch.clean[i : i + 1], batch.keys[i : i + 1], 2 * batch.epochs[i]).clamp(0, 1)
        assert torch.equal(batch.views[0][i : i + 1], alone)
    assert (batch.identities[:, None] == batch.identities).sum() == 4 + 2 * (len(batch.keys) - len(set(batch.keys)))


def test_labels_move_with_the_picture(tiny) -> None:
    s = stream(tiny(), batch=5)
    for number in range(4):
        batch = s[number]
        for clean, labels in zip(batch.clean, batch.labels, strict=True):
            y, x, _ = (clean * 255).round().long()
            assert np.array_equal(labels["classes"], (y * 100 + x).numpy())
            inside = ((x >= 3) & (x < 9) & (y >= 4) & (y < 11)).numpy()
            if len(labels["boxes"]):
                x0, y0, x1, y1 = labels["boxes"][0].astype(int)
                expected = np.zeros_like(inside)
                expected[y0:y1, x0:x1] = True
                assert np.array_equal(inside, expected)
            else:
                assert not inside.any()


def test_workers_change_nothing(tiny) -> None:
    recipe = tiny()
    from dirlearn.datasets.dataset import build_dataset

    s = stream(recipe, dataset=build_dataset(recipe.data.train))
    alone = list(batches(s, range(1, 3), 0, torch.device("cpu")))
    shared = list(batches(s, range(1, 3), 1, torch.device("cpu")))
    assert all(same(a, b) for a, b in zip(alone, shared, strict=True))


def test_a_patch_that_does_not_fit_is_refused(tiny) -> None:
    with pytest.raises(DatasetFault, match="patches of 21 don't fit"):
        stream(tiny(), patch=21)[0]


def test_batches_are_those_of_their_numbers(tiny) -> None:
    s = stream(tiny())
    state = torch.get_rng_state()
    found = list(batches(s, range(1, 4), 0, torch.device("cpu")))
    assert len(found) == 3
    for number, batch in enumerate(found, 1):
        assert same(batch, s[number])
    assert torch.equal(torch.get_rng_state(), state)
