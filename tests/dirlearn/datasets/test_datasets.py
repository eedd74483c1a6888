"""Data sets, and the split between training and test."""

import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from dirlearn.datasets.dataset import DatasetFault, build_dataset
from dirlearn.datasets.dead_leaves import CLASSES
from dirlearn.datasets.split import check_split
from dirlearn.targets import IGNORE

LEAVES = {"count": 3, "size": 48, "leaves": 40, "visible": 4}


def leaves(**changes):
    return build_dataset({"dead_leaves": {**LEAVES, **changes}})


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("b.png", "a.png", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_scenes_are_functions_of_seed_and_index() -> None:
    a, b = leaves(), leaves()
    assert a.read(1).digest == b.read(1).digest == a.read(1, epoch=5).digest
    digests = {a.read(0).digest, a.read(1).digest, leaves(seed=1).read(1).digest}
    assert len(digests) == 3
    endless = leaves(endless=True)
    assert endless.endless
    assert endless.read(0, 0).digest != endless.read(0, 1).digest
    assert endless.read(0, 1).digest == endless.read(0, 1).digest


def test_labels_fit_the_scene() -> None:
    scene = leaves().read(0)
    labels = scene.labels
    assert scene.pixels.shape == (48, 48, 3)
    ground = labels["instances"] == 40
    assert (labels["classes"][ground] == IGNORE).all()
    assert labels["classes"][~ground].max() < len(CLASSES)
    seen = {int(i): int(n) for i, n in zip(*np.unique(labels["instances"], return_counts=True), strict=True) if i != 40}
    assert len(labels["boxes"]) == len(labels["box_classes"]) == sum(n >= 4 for n in seen.values()) > 3
    numbers = [i for i, n in seen.items() if n >= 4]
    assert labels["box_instances"].tolist() == numbers
    for number, box, kind in zip(numbers, labels["boxes"], labels["box_classes"], strict=True):
        ys, xs = np.nonzero(labels["instances"] == number)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert set(labels["classes"][ys, xs]) == {kind}


@pytest.mark.parametrize(("kind", "area"), [(0, np.pi), (1, 2.0), (2, 3 * np.sqrt(3) / 4)])
def test_shapes_have_their_areas(kind: int, area: float) -> None:
    from dirlearn.datasets.dead_leaves import _cover

    one = {k: np.array([v]) for k, v in {"x": 100.3, "y": 99.6, "radius": 80.0, "angle": 0.4, "kind": kind}.items()}
    assert (_cover(one, 200) == 0).sum() == pytest.approx(area * 80**2, rel=0.01)


def test_a_star_has_five_points() -> None:
    from dirlearn.datasets.dead_leaves import _reach

    angles = np.linspace(-np.pi, np.pi, 3600, endpoint=False)
    reach = _reach(np.cos(angles), np.sin(angles), 1.0, 3, 0.3)
    peaks = (reach > np.roll(reach, 1)) & (reach >= np.roll(reach, -1))
    assert peaks.sum() == 5
    assert reach.max() == pytest.approx(1.0, abs=1e-3)
    assert reach.min() == pytest.approx(0.45 * np.cos(np.pi / 5), abs=1e-2)


def test_images_are_found_by_name_and_kept(folder) -> None:
    found = build_dataset({"images": {"path": str(folder)}})
    assert [found.read(i).key for i in range(len(found))] == ["a.png", "b.png", "sub/c.png"]
    first = found.read(0)
    (folder / "a.png").unlink()
    assert found.read(0) is first
    uncached = build_dataset({"images": {"path": str(folder), "cache": 0, "limit": 1}})
    assert len(uncached) == 1
    assert uncached.read(0) is not uncached.read(0)


def test_the_environment_says_where_data_lie_and_no_recipe_reads_it(folder, monkeypatch) -> None:
    monkeypatch.setenv("DIRLEARN_DATA", str(folder))
    assert len(build_dataset({"images": {"path": "sub"}})) == 1
    with pytest.raises(DatasetFault, match="no folder"):
        build_dataset({"images": {"path": "$DIRLEARN_DATA/sub"}})


def test_folders_without_pictures_are_refused(tmp_path) -> None:
    with pytest.raises(DatasetFault, match="no folder"):
        build_dataset({"images": {"path": str(tmp_path / "none")}})
    with pytest.raises(DatasetFault, match="no picture"):
        build_dataset({"images": {"path": str(tmp_path)}})


def test_joined_sets_keep_their_pictures_apart(folder) -> None:
    node = {"images": {"path": str(folder)}}
    joined = build_dataset([node, {"dead_leaves": LEAVES}])
    assert len(joined) == 6
    assert [joined.read(i).key for i in (0, 3)] == ["0/a.png", "1/dead_leaves/0/0"]


def test_a_training_picture_never_is_a_test_picture(folder, tmp_path) -> None:
    train = build_dataset({"images": {"path": str(folder)}})
    check_split(train, {"leaves": leaves()})
    test = tmp_path / "test"
    test.mkdir()
    Image.open(folder / "b.png").save(test / "renamed.bmp")  # another name, another format, the same picture
    with pytest.raises(DatasetFault, match=r"set: renamed\.bmp is b\.png of the training set"):
        check_split(train, {"set": build_dataset({"images": {"path": str(test)}})})


def test_the_split_decodes_only_what_could_be_equal(folder, tmp_path, monkeypatch) -> None:
    train = build_dataset({"images": {"path": str(folder), "cache": 0}})
    read: list[int] = []
    monkeypatch.setattr(type(train), "read", lambda self, index, epoch=0: read.append(index))
    check_split(train, {"leaves": leaves()})
    assert read == []


def test_workers_get_no_copy_of_what_was_kept(folder) -> None:
    import pickle

    found = build_dataset({"images": {"path": str(folder)}})
    before = len(pickle.dumps(found))
    scene = found.read(0)
    assert len(pickle.dumps(found)) == before < scene.pixels.nbytes
    again = pickle.loads(pickle.dumps(found))
    assert again.read(0).digest == scene.digest


def test_a_run_does_not_start_with_a_leaking_split(tiny) -> None:
    from dirlearn.run import Runner

    leaking = tiny("evaluation.sets.leaves={dead_leaves: {count: 2, size: 24, leaves: 12}}")
    with pytest.raises(DatasetFault, match="must not be trained on"):
        Runner(leaking).prepare()


def test_samples_are_there() -> None:
    samples = build_dataset("samples")
    assert len(samples) == 5
    assert all(samples.read(i).pixels.shape[2] == 3 for i in range(5))


@pytest.mark.parametrize("writer", ["files", "shards, samples: 2"])
def test_what_was_rendered_is_a_data_set_with_its_labels(folder, tmp_path, writer) -> None:
    from isp_sim.recipe import parse
    from isp_sim.render.job import render

    root = tmp_path / "ade"
    for name in ("a", "b", "c"):
        for part in ("images", "annotations"):
            (root / part / "training").mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "a.png", root / "images" / "training" / f"{name}.png")
        Image.fromarray(np.full((20, 30), ord(name), np.uint8)).save(root / "annotations" / "training" / f"{name}.png")
    text = f"version: 1\ninput: {{reader: ade20k}}\nstages: [clip]\noutput: {{writer: {writer}}}\n"
    render(parse(text).with_places(str(root), str(tmp_path / "out")), views=2)
    found = build_dataset({"rendered": {"path": str(tmp_path / "out"), "limit": 5}})
    assert [found.read(i).key for i in (0, 1)] == ["images/training/a.png", "images/training/a.png@1"]
    assert len(found) == 5
    scene = found.read(4)
    assert scene.digest == build_dataset({"images": {"path": str(folder)}}).read(0).digest
    assert set(scene.labels["classes"].ravel()) == {ord("c")}
    assert found.size(0) == (20, 30)
    assert pickle.loads(pickle.dumps(found)).read(4).digest == scene.digest


def test_a_folder_that_nothing_was_rendered_into_is_refused(tmp_path) -> None:
    with pytest.raises(DatasetFault, match="has rendered"):
        build_dataset({"rendered": {"path": str(tmp_path)}})
