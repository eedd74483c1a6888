"""Real pairs: what belongs together, what is missing, and that they are measured as they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dirlearn.datasets.dataset import DatasetFault, build_dataset
from dirlearn.datasets.geometry import turned, window
from dirlearn.evaluate import REAL
from dirlearn.run import Runner

LAYOUTS = {
    "cc15": ("d800_iso1600_1_real.png", "d800_iso1600_1_mean.png"),
    "polyu": ("Canon5D2_5_160_3200_chair_11_real.JPG", "Canon5D2_5_160_3200_chair_11_mean.JPG"),
    "nam": ("scene1/iso800_noisy.png", "scene1/iso800_mean.png"),
    "sidd": ("Data/0001_S6_00100/0001_NOISY_SRGB_010.PNG", "Data/0001_S6_00100/0001_GT_SRGB_010.PNG"),
}


def write(path: Path, level: int, size: tuple[int, int] = (40, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(level)
    Image.fromarray(rng.integers(level, level + 20, (*size, 3), dtype=np.uint8)).save(path, quality=100)


@pytest.fixture(params=sorted(LAYOUTS))
def pair(request, tmp_path):
    noisy, clean = LAYOUTS[request.param]
    write(tmp_path / noisy, 60)
    write(tmp_path / clean, 120)
    return tmp_path, request.param, noisy


def test_each_layout_finds_its_pairs(pair) -> None:
    folder, layout, noisy = pair
    dataset = build_dataset({"pairs": {"path": str(folder), "layout": layout}})
    scene = dataset.read(0)
    assert (len(dataset), scene.key, dataset.paired) == (1, noisy, True)
    assert scene.degraded is not None
    assert scene.degraded.mean() < 100 < scene.pixels.mean(), "the reference is the one called so"


def test_a_reference_that_is_missing_is_named(pair) -> None:
    folder, layout, _ = pair
    (folder / LAYOUTS[layout][1]).unlink()
    with pytest.raises(DatasetFault, match=Path(LAYOUTS[layout][1]).name):
        build_dataset({"pairs": {"path": str(folder), "layout": layout}})


def test_how_to_get_them_is_said(tmp_path) -> None:
    with pytest.raises(DatasetFault, match="git clone"):
        build_dataset({"pairs": {"path": str(tmp_path / "none"), "layout": "polyu"}})
    with pytest.raises(DatasetFault, match="NOISY_SRGB"):
        build_dataset({"pairs": {"path": str(tmp_path), "layout": "sidd"}})


def test_sizes_must_be_equal(tmp_path) -> None:
    write(tmp_path / "a_real.png", 60)
    write(tmp_path / "a_mean.png", 60, (20, 48))
    with pytest.raises(DatasetFault, match="48x40"):
        build_dataset({"pairs": {"path": str(tmp_path)}}).read(0)


def test_both_are_cut_and_turned_together(pair) -> None:
    folder, layout, _ = pair
    scene = build_dataset({"pairs": {"path": str(folder), "layout": layout}}).read(0)
    assert scene.degraded is not None
    moved = turned(window(scene, 3, 5, 16, 20), True, False, True)
    one = (moved.pixels.astype(int) - moved.degraded).sum(axis=2)  # type: ignore[operator]
    whole = (scene.pixels.astype(int) - scene.degraded).sum(axis=2)[3:19, 5:25][::-1].T
    assert (one == whole).all()


def test_a_run_is_measured_on_them_as_they_are(tmp_path, tiny) -> None:
    """No view is simulated on a real picture: its row is the difference of the two files; other sets stay."""
    write(tmp_path / "pairs" / "a_real.png", 60)
    write(tmp_path / "pairs" / "a_mean.png", 70)
    leaves = "dead_leaves: {count: 2, size: 24, leaves: 12, seed: 5}"
    sets = f"evaluation.sets={{leaves: {{{leaves}}}, real ones: {{pairs: {{path: {tmp_path / 'pairs'}}}}}}}"
    methods = "methods={noisy: degraded, auto-encoder: autoencoder}"
    rows = Runner(tiny(sets, "evaluation.probes=null", methods)).everything()["rows"]
    found = [(row["set"], row["degradation"], row["pictures"]) for row in rows]
    assert found == [("leaves", "seen", 2)] * 2 + [("real ones", REAL, 1)] * 2
    rows = rows[2:]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "degradation: real" in page
    assert "real ones, 1: PSNR" in page
    noisy, clean = (np.asarray(Image.open(tmp_path / "pairs" / f"a_{n}.png"), float) for n in ("real", "mean"))
    assert rows[0]["psnr"] == pytest.approx(10 * np.log10(255**2 / ((noisy - clean) ** 2).mean()), abs=1e-3)
