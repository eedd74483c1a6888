from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from isp_sim.datasets import Rendered
from isp_sim.formats.ade20k import ADE20K
from isp_sim.formats.reader import InputFault
from isp_sim.render.job import render
from isp_sim.render.worker import Settings
from tests.isp_sim.render.photos import photo
from tests.isp_sim.render.sets import recipe, shards

SIZE = (20, 30)


@pytest.fixture
def ade(tmp_path: Path) -> Path:
    root = tmp_path / "ade"
    rng = np.random.default_rng(3)
    for key in ("training/a", "training/b", "validation/a"):
        for folder in ("images", "annotations"):
            (root / folder / key).parent.mkdir(parents=True, exist_ok=True)
        photo("astronaut", SIZE).save(root / "images" / f"{key}.jpg")
        Image.fromarray(rng.integers(0, 151, SIZE, dtype=np.uint8)).save(root / "annotations" / f"{key}.png")
    return root


def classes(root: Path, key: str) -> np.ndarray:
    return imagecodecs.png_decode((root / "annotations" / f"{key}.png").read_bytes())


def test_label_maps_go_along_in_the_same_folders(ade: Path, tmp_path: Path) -> None:
    stages = "[{crop: {height: 8, width: 12, x: 0, y: 1}}, jpeg]"
    render(recipe(ade, tmp_path / "out", reader="ade20k", stages=stages), views=2, settings=Settings(batch_size=4))
    for key in ("training/a", "training/b", "validation/a"):
        for view in ("", ".view1"):
            np.testing.assert_array_equal(classes(tmp_path / "out", key + view), classes(ade, key)[12:, :12])
    assert (tmp_path / "out" / "images" / "training" / "a.png").is_file()
    again = ADE20K(ADE20K.Params(path=str(tmp_path / "out"), split="training"))
    assert [item.key for item in again.items()][:2] == ["images/training/a.png", "images/training/a.view1.png"]
    assert again.read(again.items()[0]).frame.size == (8, 12)


def test_label_maps_in_shards_are_read_back(ade: Path, tmp_path: Path) -> None:
    render(shards(ade, tmp_path / "out", reader="ade20k"))
    samples = list(Rendered(tmp_path / "out"))
    assert [sample.key for sample in samples] == [
        f"images/{k}.jpg" for k in ("training/a", "training/b", "validation/a")
    ]
    np.testing.assert_array_equal(samples[2].labels["annotations"], classes(ade, "validation/a"))


def test_a_lens_shows_what_is_outside_as_the_class_that_was_asked_for(ade: Path, tmp_path: Path) -> None:
    stages = "[srgb_eotf, {lens_distortion: {k1: 0.3}}, srgb_oetf]"
    render(recipe(ade, tmp_path / "out", reader="ade20k, outside: 200", stages=stages), limit=1)
    found = classes(tmp_path / "out", "training/a")
    values, counts = np.unique(found, return_counts=True)
    assert found.shape == SIZE
    assert set(values) <= {*np.unique(classes(ade, "training/a")), 200}
    assert 0 < dict(zip(values, counts, strict=True))[200] < found.size


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "not there"),
        (lambda path: path.write_bytes(b"no picture"), "no PNG"),
        (lambda path: Image.new("L", (3, 4)).save(path), "3x4"),
        (lambda path: Image.new("RGB", (30, 20)).save(path), "no map of classes"),
    ],
)
def test_a_label_map_that_can_not_be_used_costs_its_picture(
    ade: Path, tmp_path: Path, spoil: object, message: str
) -> None:
    spoil(ade / "annotations" / "training" / "b.png")  # type: ignore[operator]
    summary = render(recipe(ade, tmp_path / "out", reader="ade20k"))
    assert [row["key"] for row in summary.failed] == ["images/training/b.jpg"]
    assert message in summary.failed[0]["reason"]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="annotations/"):
        ADE20K(ADE20K.Params(path=str(tmp_path))).items()
