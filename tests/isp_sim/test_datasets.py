import pickle
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from isp_sim.datasets import KeyedShuffle, Rendered, Sample
from isp_sim.formats.reader import InputFault
from isp_sim.render import manifest
from isp_sim.render.job import render
from tests.isp_sim.render.sets import random_pictures, recipe


def key_and_sum(sample: Sample) -> tuple[str, int, int]:
    return sample.key, sample.view, int(sample.pixels.astype(np.int64).sum())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = random_pictures(tmp_path_factory.mktemp("set") / "in", 7)
    (folder / "0003.png").write_bytes(b"no picture")
    return folder


def rendered(pictures: Path, folder: Path, writer: str, **options: object) -> Path:
    render(recipe(pictures, folder, writer=writer), views=2, **options)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize(
    "form", ["format: png", "format: png, bits: 16", "format: tiff", "format: jpeg", "format: npy"]
)
def test_files_and_shards_hold_the_same_samples(pictures: Path, tmp_path: Path, form: str) -> None:
    files = Rendered(rendered(pictures, tmp_path / "files", f"files, {form}, keep: [gaussian_noise]"))
    shards = Rendered(rendered(pictures, tmp_path / "shards", f"shards, {form}, samples: 3, keep: [gaussian_noise]"))
    assert len(files) == len(shards) == 12
    for one, other in zip(files, shards, strict=True):
        assert (one.key, one.view, one.labels) == (other.key, other.view, other.labels)
        assert one.pixels.dtype == other.pixels.dtype
        assert one.pixels.shape == (12, 14, 3)
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert [(s.key, s.view) for s in files][:3] == [("0000.png", 0), ("0000.png", 1), ("0001.png", 0)]


def test_pixels_are_those_that_were_rendered(pictures: Path, tmp_path: Path) -> None:
    from isp_sim.render.renderer import Renderer

    made = recipe(pictures, tmp_path / "out", writer="shards")
    render(made)
    from PIL import Image

    sample = Rendered(tmp_path / "out").read(2)
    again = Renderer(made)(np.asarray(Image.open(pictures / sample.key)), key=sample.key)
    np.testing.assert_array_equal(sample.pixels, again)


def test_the_order_does_not_depend_on_the_loaders_workers(pictures: Path, tmp_path: Path) -> None:
    found = Rendered(rendered(pictures, tmp_path / "out", "shards, samples: 3"), key_and_sum)
    assert len(pickle.dumps(found)) < 4000
    order = KeyedShuffle(len(found), seed=7, epoch=3)
    batches = [
        list(DataLoader(found, batch_size=5, sampler=order, num_workers=workers, collate_fn=list)) for workers in (0, 2)
    ]
    assert batches[0] == batches[1]
    assert sorted(sample for batch in batches[0] for sample in batch) == sorted(found)


def test_a_training_goes_on_with_the_next_sample() -> None:
    whole = list(KeyedShuffle(101, seed=3, epoch=2))
    assert sorted(whole) == list(range(101))
    for start in (0, 1, 50, 101):
        assert list(KeyedShuffle(101, seed=3, epoch=2, start=start)) == whole[start:]
        parts = [KeyedShuffle(101, seed=3, epoch=2, start=start, rank=rank, world=3) for rank in range(3)]
        assert sorted(i for part in parts for i in part) == sorted(whole[start:])
        assert [len(part) for part in parts] == [len(list(part)) for part in parts]
        assert [next(iter(part), None) for part in parts] == [*whole[start : start + 3], None, None, None][:3]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [list(KeyedShuffle(50, seed, epoch=epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    following = KeyedShuffle(50, 0, start=20)
    following.next_epoch()
    assert list(following) == orders[1]
    assert list(KeyedShuffle(4, shuffle=False)) == [0, 1, 2, 3]


@pytest.mark.parametrize("wrong", [{"start": 6}, {"start": -1}, {"rank": 2, "world": 2}])
def test_what_no_order_has_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must lie"):
        KeyedShuffle(5, **wrong)


def test_what_is_missing_or_damaged_is_said(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="that isp-sim has rendered"):
        Rendered(tmp_path)
    folder = rendered(pictures, tmp_path / "out", "shards, samples: 4")
    found = Rendered(folder)
    tar = folder / "shard-000000.tar"
    tar.write_bytes(tar.read_bytes()[:700])
    with pytest.raises(InputFault, match="was cut off"):
        found.read(1)
    tar.unlink()
    assert found.read(11).key == "0006.png"
    with pytest.raises(InputFault, match="No such file"):
        Rendered(folder).read(0)
    (folder / manifest.MANIFEST).write_bytes(b"")
    with pytest.raises(InputFault, match="lists no picture"):
        Rendered(folder)
