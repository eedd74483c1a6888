"""Points of the plane, files with all that is known of them, and no look at what was trained on."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dirlearn.datasets.dataset import DatasetFault
from dirlearn.embed import Points, draw, lay_out, look_again, look_at_run, place, show_latents
from dirlearn.latents import Cut, Latents, cut_scenes, held_back
from dirlearn.run import Runner
from dirlearn.settings import Probes, Shown
from dirlearn.training.loop import Silent, TrainingFault
from isp_sim.randomness import generator


def heaps(count: int = 12, scatter: float = 0.01) -> np.ndarray:
    """Three heaps of points, (3 * count, 60)."""
    rng = generator(0, "heaps", 0, "test", "points")
    return np.repeat(rng.standard_normal((3, 60)), count, axis=0) + scatter * rng.standard_normal((3 * count, 60))


def test_heaps_stay_heaps_and_a_seed_gives_the_same() -> None:
    plane = lay_out(heaps(), 3)
    assert np.array_equal(plane, lay_out(heaps(), 3))
    middle = plane.reshape(3, 12, 2).mean(axis=1)
    radius = np.linalg.norm(plane.reshape(3, 12, 2) - middle[:, None], axis=2).max()
    apart = min(np.linalg.norm(middle[i] - middle[j]) for i in range(3) for j in range(i))
    assert apart > radius


def test_what_can_not_be_laid_out() -> None:
    assert np.array_equal(lay_out(np.ones((6, 5)), 0), np.zeros((6, 2)))
    assert np.isfinite(lay_out(heaps()[:4], 0)).all()
    with pytest.raises(DatasetFault, match="3 points are too few"):
        lay_out(heaps()[:3], 0)


def test_every_vector_has_its_point() -> None:
    rows = heaps(4).reshape(3, 4, 60).astype(np.float32)
    own = {"pilot": {"spatial": rows}, "r*": {"spatial": rows[:, :1]}}
    cuts = tuple(Cut(str(i), "p", None) for i in range(3))  # type: ignore[arg-type]  # nothing is drawn
    points = place(Latents(cuts, 4, own, {}, []), ["pilot", "r*"], 0)
    assert points.kinds == ("pilot",) * 12 + ("r*",) * 3
    assert points.scenes == (0,) * 4 + (1,) * 4 + (2,) * 4 + (0, 1, 2)
    assert points.copies == (0, 1, 2, 3) * 3 + (-1,) * 3
    for scene in range(3):
        near = np.linalg.norm(points.xy[:12] - points.where("r*", scene), axis=1).argmin()
        assert near // 4 == scene


@pytest.mark.parametrize("kinds", [("pilot", "r0", "r+", "r*"), ("latent of ae",)])
def test_the_picture_shows_every_kind(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    names = tuple(kind for kind in kinds for _ in range(2))
    points = Points(heaps(4)[: len(names), :2], names, (0, 1) * len(kinds), (0, 0) * len(kinds))
    import torch

    draw(points, [Cut(str(i), "p", torch.full((3, 16, 16), 0.5)) for i in range(2)], tmp_path / "deep" / "t.png")
    with Image.open(tmp_path / "deep" / "t.png") as picture:
        assert picture.width == round(4.2 * 110) * max(len(kinds) - 1, 1)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(31, 119, 180), (255, 127, 14)} <= colours, "one colour a scene"


def test_held_back_pictures_are_those_of_the_tests_and_of_validation(tiny) -> None:
    assert set(held_back(tiny(), Probes())) == {"leaves", "validation"}
    own = Probes(pictures={"dead_leaves": {"count": 3, "size": 24, "leaves": 12, "seed": 4}})
    assert {name: len(data) for name, data in held_back(tiny(), own).items()} == {"pictures": 3}


def test_a_training_picture_is_refused(tiny, tmp_path: Path) -> None:
    recipe = tiny()
    Image.fromarray(Runner(recipe).train_data.read(2).pixels).save(tmp_path / "seen.png")
    with pytest.raises(DatasetFault, match=r"seen\.png is .* of the training set"):
        look_again(recipe, Silent(), tmp_path, tmp_path / "out", Shown(), None, 8)


def test_a_method_without_alignment_is_refused(tiny, tmp_path: Path) -> None:
    with pytest.raises(TrainingFault, match="has no alignment 'r0'; there are aligned"):
        look_again(tiny(), Silent(), None, tmp_path / "out", Shown(), "r0", 8)


def test_an_auto_encoder_alone_is_probed_and_drawn(tiny, tmp_path: Path) -> None:
    recipe = tiny("methods={ae: {autoencoder: {steps: 2}}, degraded: degraded}")
    results = Runner(recipe).everything()
    assert list(results["probes"]["latents"]) == ["picture", "latent of ae"]
    rows = json.loads((recipe.folder / "embedding" / "points.json").read_text())
    assert {row["kind"] for row in rows} == {"latent of ae"}
    assert "latent of ae" in (recipe.folder / "report.html").read_text()


def test_pictures_that_are_too_small_cost_the_probes_alone(tiny) -> None:
    recipe = tiny("methods={ae: {autoencoder: {steps: 1}}}", "evaluation.probes.side=32")
    results = Runner(recipe).everything()
    assert "probes" not in results
    assert (recipe.folder / "report.html").exists()


def test_nothing_is_asked_of_a_run_without_representation(tiny) -> None:
    recipe = tiny("methods={degraded: degraded}")
    assert "probes" not in Runner(recipe).everything()
    with pytest.raises(TrainingFault, match="holds no representation"):
        look_again(recipe, Silent(), None, recipe.folder / "x", Shown(), None, 8)
    assert look_at_run(tiny("methods={degraded: degraded}", "evaluation.probes=null"), Silent()) is None


class Told:
    """Networks that tell of each scene its mean colour."""

    shown = "r+"

    def of_clean(self, clean):
        from dirlearn.latents import Map

        return {"r*": Map(clean)}

    def __call__(self, x):
        from dirlearn.latents import Map

        return {name: Map(x + number) for number, name in enumerate(("pilot", "r0", "r+"))}


def test_files_say_what_was_drawn_for_each_point(tiny, tmp_path: Path) -> None:
    recipe = tiny()
    settings = recipe.evaluation.probes
    sets = held_back(recipe, settings)
    points = show_latents(recipe, settings, Told(), Silent(), sets, tmp_path)  # type: ignore[arg-type]
    rows = json.loads((tmp_path / "points.json").read_text())
    with (tmp_path / "points.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(rows) == len(table) == len(points.xy) == 2 * (3 * 4 + 1)
    assert [row["kind"] for row in table] == [row["kind"] for row in rows] == list(points.kinds)
    scene = cut_scenes(sets, settings, 16)[0]
    first = next(row for row in rows if (row["kind"], row["scene"], row["copy"]) == ("r0", scene.name, 2))
    _, (drawn,) = recipe.views.drawn(scene.pixels[None], [scene.name], 1_000_000_007 + (1 << 10) + 2)
    assert first["gaussian_noise.sigma"] == drawn["gaussian_noise.sigma"]
    assert [row["copy"] for row in rows if row["kind"] == "r*"] == [None, None]
    found = np.load(tmp_path / "vectors.npz", allow_pickle=False)
    assert found["pilot"].shape == found["picture"].shape == (2, 4, 3)
    assert np.allclose(found["r*"][0, 0], scene.pixels.mean(dim=(1, 2)))
