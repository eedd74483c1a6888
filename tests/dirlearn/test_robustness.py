"""Metric against severity: what direct rendering gives, at every time the same, with nothing left out unsaid."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dirlearn import recipe as recipes
from dirlearn import robustness
from dirlearn.cli import Exit, app
from dirlearn.datasets.dataset import DatasetFault, Scene
from dirlearn.evaluate import scenes
from dirlearn.robustness import (
    Bench,
    chains,
    corruption_error,
    data_sets,
    measure_robustness,
    models_of_heads,
    models_of_run,
    summary,
    worst_first,
)
from dirlearn.run import Runner, load_method
from dirlearn.scores import Scores
from dirlearn.targets import IGNORE, TaskFault
from dirlearn.training.loop import Silent, TrainingFault
from dirlearn.training.samples import as_tensor, psnr
from dirlearn.views import load_views
from isp_sim import registry
from isp_sim.registry import UnknownPlugin
from isp_sim.stage import SEVERITIES, Degradation

HEADED = (
    "stage2.head={segmentation_light: {classes: 4, width: 4, levels: 1}}", "stage2.gamma1=5", "stage2.steps=2",
    "methods={default ISP: degraded, clean: clean}", "evaluation.probes=null",
)  # fmt: skip
FEW = ("gaussian_noise", "jpeg")
LEVELS = 1 + 1 + 2 * SEVERITIES
"""Clean pictures, what surrounds both, and their severities."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of two heads."""
    text = Path(__file__).with_name("conftest.py").read_text().split('"""')[3].replace("\\\n", "", 1)
    folder = tmp_path_factory.mktemp("headed")
    recipe = recipes.parse(text.replace("RUN", str(folder / "run")), "tiny.yaml", folder, HEADED)
    Runner(recipe).everything()
    return recipe


@pytest.fixture
def measured(done, tmp_path):
    """Measures the run in a folder of its own, at two degradations."""

    def measure(folder="out", wanted=FEW, names=(), settings=done.evaluation, **more):
        models = models_of_run(done, names)
        return measure_robustness(models, data_sets(done), settings, tmp_path / folder, wanted, **more)

    return measure


def run(*args: object):
    return CliRunner().invoke(app, [str(a) for a in args])


@pytest.mark.parametrize("name", FEW)
def test_a_curve_is_what_rendering_by_a_recipe_and_the_head_give(done, measured, name: str) -> None:
    results = measured(wanted=[name])
    assert results["metric"] == "mIoU"
    (dataset,) = data_sets(done).values()
    for model in ("default ISP", "clean"):
        job = load_method(done, model)
        for severity in range(1, SEVERITIES + 1):
            recipe = {"seed": done.evaluation.seed, "stages": [{name: {"severity": severity}}, "clip"]}
            views, _ = load_views(recipe, Path())
            scores = Scores(job.head, dataset, done.evaluation)
            for scene in scenes(dataset, None, None):
                picture = views.render(as_tensor(scene.pixels)[None], [scene.key], [0], 0, 1)
                scores.update(picture, scene)
            curve = results["sets"]["leaves"]["degradations"][name][model]
            assert {k: v[severity] for k, v in curve.items()} == scores.row()["scores"]
        assert curve["mIoU"][0] == results["sets"]["leaves"]["clean"][model]["mIoU"], "a clip alone changes nothing"


def test_a_stopped_measurement_goes_on_to_the_same(measured, tmp_path: Path) -> None:
    class Stopped(Silent):
        rendered = 0

        def step(self, name, done, total, values):
            self.rendered += values is None
            if self.rendered == 8:
                raise KeyboardInterrupt

    whole = measured("whole", reference="clean")
    with pytest.raises(KeyboardInterrupt):
        measured("parts", reference="clean", reporter=Stopped())
    place = tmp_path / "parts" / "figures.jsonl"
    before = place.read_bytes()
    assert 0 < before.count(b"\n") < (tmp_path / "whole" / "figures.jsonl").read_bytes().count(b"\n")
    place.write_bytes(before + b'{"key": "cut o')
    assert measured("parts", reference="clean") == whole
    lines = place.read_text().splitlines()
    keys = [json.loads(line)["key"] for line in lines if not line.endswith("cut o")]
    assert len(keys) == len(set(keys)) == 2 * LEVELS, "nothing is measured twice"
    one, other = ((tmp_path / folder / "robustness.json").read_bytes() for folder in ("whole", "parts"))
    assert one == other


def test_what_is_known_is_not_measured_again_and_what_changed_is(done, measured, monkeypatch) -> None:
    count = 0
    real = Bench.measure

    def counted(*args):
        nonlocal count
        count += 1
        return real(*args)

    monkeypatch.setattr(Bench, "measure", counted)
    first = measured(names=["clean"])
    assert count == LEVELS
    assert measured(names=["clean"]) == first
    assert count == LEVELS
    measured()  # the other model alone
    assert count == 2 * LEVELS
    other = measured(settings=done.evaluation.model_copy(update={"seed": 9}))
    assert count == 3 * LEVELS
    assert other["sets"]["leaves"]["degradations"] != first["sets"]["leaves"]["degradations"]
    measured(settings=done.evaluation.model_copy(update={"limit": 1}))
    assert count == 4 * LEVELS


def test_every_model_sees_the_same_pixels(tiny, tmp_path: Path) -> None:
    recipe = tiny("methods={one: degraded, other: degraded}")
    results = measure_robustness(
        models_of_run(recipe), data_sets(recipe), recipe.evaluation, tmp_path / "o", FEW, reference="one"
    )
    assert results["metric"] == "PSNR"
    own = results["sets"]["leaves"]
    for name, curve in own["degradations"].items():
        assert curve["one"] == curve["other"]
        clean = [(scene, as_tensor(scene.pixels)[None]) for scene in scenes(data_sets(recipe)["leaves"], None, None)]
        (chain,) = chains([name])[0]
        for severity in range(1, SEVERITIES + 1):
            values = [float(psnr(chain.render(scene, severity, 1)[0], x)) for scene, x in clean]
            assert curve["one"]["PSNR"][severity] == pytest.approx(np.mean(values), abs=1e-4)
    about = own["summary"]["other"]
    assert about["mce"] == about["relative_mce"] == 1
    means = {name: part["mean"] for name, part in own["summary"]["one"]["degradations"].items()}
    assert worst_first(own) == sorted(means, key=lambda name: means[name])


def test_summaries_are_those_of_the_paper() -> None:
    """Figures made up, results by hand: CE by sums over severities, means over degradations."""
    curves = {
        "blur": {"a": [0.5, 0.4, 0.4, 0.4, 0.4, 0.4], "b": [0.8, 0.7, 0.7, 0.7, 0.7, 0.7]},
        "noise": {"a": [0.5, 0.5, 0.4, 0.3, 0.2, 0.1], "b": [0.8, 0.8, 0.8, 0.8, 0.8, 0.8]},
    }
    measured = {
        "clean": {"a": {"mIoU": 0.5}, "b": {"mIoU": 0.8}},
        "degradations": {d: {m: {"mIoU": v} for m, v in own.items()} for d, own in curves.items()},
    }
    found = summary(measured, "mIoU", "b")
    a = found["a"]
    assert a["degradations"]["blur"] == pytest.approx(
        {"mean": 0.4, "kept": 0.8, "ce": (5 * 0.6) / (5 * 0.3), "relative_ce": (5 * 0.1) / (5 * 0.1)}
    )
    assert a["degradations"]["noise"]["ce"] == pytest.approx((0.5 + 0.6 + 0.7 + 0.8 + 0.9) / (5 * 0.2))
    assert a["degradations"]["noise"]["relative_ce"] is None, "the reference loses nothing"
    assert a["mce"] == pytest.approx((2 + 3.5) / 2)
    assert a["relative_mce"] == pytest.approx(1)
    assert a["undefined"] == {"relative_mce": ["noise"]}
    assert (found["b"]["mce"], found["b"]["clean"]) == (1, 0.8)
    assert a["mean"] == pytest.approx((0.4 + 0.3) / 2)
    alone = summary(measured, "mIoU", None)["a"]
    assert set(alone) == {"clean", "mean", "kept", "undefined", "degradations"}
    assert corruption_error([], [0.1]) is corruption_error([0.1], [0.0]) is None


def test_every_registered_degradation_is_measured_or_named(tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(robustness, "draw", lambda results, path: None)  # which takes longer than all the rest
    recipe = tiny("methods={degraded: degraded}", "evaluation.limit=1")
    results = measure_robustness(models_of_run(recipe), data_sets(recipe), recipe.evaluation, tmp_path / "o")
    curves = results["sets"]["leaves"]["degradations"]
    left = {item["degradation"]: item["reason"] for item in results["skipped"]}
    names = registry.names(robustness.DEGRADATIONS)
    assert sorted([*curves, *left]) == sorted(names)
    own = [name for name in names if registry.origin(name, robustness.DEGRADATIONS) == "isp-sim"]
    assert set(own) <= set(curves)
    assert all(len(curve["degraded"]["PSNR"]) == SEVERITIES + 1 for curve in curves.values())
    mild, strong = ([c["degraded"]["PSNR"][level] for c in curves.values()] for level in (1, 5))
    assert np.mean(mild) > np.mean(strong) + 5
    text = " ".join(robustness.remarks(results))
    assert all(name in text for name in left)


def test_the_picture_has_a_panel_for_each_degradation(tmp_path: Path) -> None:
    a, b = ({"PSNR": [100.0, 30.0 - x, 28.0, None, 22.0 - x, 20.0]} for x in (0, 5))
    sizes = {}
    for count in (1, 8):
        names = [f"d{i}" for i in range(count)]
        own = {
            "pictures": 3,
            "clean": {"a": {"PSNR": 100.0}, "b": {"PSNR": None}},
            "degradations": {name: {"a": a, "b": b} for name in names},
        }
        own["summary"] = summary(own, "PSNR", None)
        robustness.draw({"metric": "PSNR", "sets": {"one": own, "two": own}}, tmp_path / "p.png")
        with Image.open(tmp_path / "p.png") as picture:
            sizes[count] = picture.size
            colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
        assert {(31, 119, 180), (255, 127, 14)} <= colours, "a line for each model"
    assert sizes[8][0] > sizes[1][0]
    assert sizes[8][1] > sizes[1][1], "seven in a row"


def test_what_can_not_be_run_on_the_data_is_named_and_counted(tiny, tmp_path: Path, monkeypatch) -> None:
    class Wide(Degradation):
        """Needs 20 rows at severity 3."""

        severities: ClassVar = {"sigma": (0.1, 0.2, 0.3, 0.4, 0.5)}
        Params = registry.load("gaussian_noise", robustness.DEGRADATIONS).Params

        def apply(self, frame, p, rng):
            if frame.size[0] < 20 and float(p.sigma.max()) > 0.25:
                raise KeyError("a reason")
            return frame.pixels + p.sigma

    class Bare(Wide):
        """Has no table."""

        severities: ClassVar = {}

    plugins = {"wide": Wide, "bare": Bare}
    real, names, origin = registry.load, registry.names, registry.origin
    here = (robustness.DEGRADATIONS,)
    monkeypatch.setattr(registry, "names", lambda *g: ["wide", "bare", "clip"] if g == here else names(*g))
    monkeypatch.setattr(registry, "load", lambda name, *g: plugins.get(name) or real(name, *g))
    monkeypatch.setattr(registry, "origin", lambda name, *g: "isp-sim" if name in plugins else origin(name, *g))
    for i, side in enumerate((16, 24, 18)):
        Image.fromarray(np.full((side, 30, 3), 60 * i, np.uint8)).save(tmp_path / f"{i}.png")
    recipe = tiny("methods={degraded: degraded}")
    sets = data_sets(recipe, str(tmp_path))
    results = measure_robustness(models_of_run(recipe), sets, recipe.evaluation, tmp_path / "o")
    assert list(results["sets"][tmp_path.name]["degradations"]) == ["clip"]
    assert results["skipped"] == [
        {"set": None, "degradation": "bare", "reason": "it declares no severities"},
        {"set": tmp_path.name, "degradation": "wide", "reason": "2 of 3 pictures at severity 3: KeyError: 'a reason'"},
    ]
    with pytest.raises(TaskFault, match="nothing can be measured; left out: bare: it declares no severities"):
        measure_robustness(models_of_run(recipe), sets, recipe.evaluation, tmp_path / "o", ["bare"])


def test_labels_follow_a_lens() -> None:
    """A picture that is white where an object is stays so, but for the pixels on the edge."""
    classes = np.zeros((64, 64), np.uint8)
    classes[20:60, 8:30] = 1
    labels = {
        "classes": classes,
        "instances": classes.astype(np.int32),
        "masks": classes[..., None] == 1,
        "boxes": np.array([[8, 20, 30, 60]], np.float32),
        "box_classes": np.array([1]),
        "box_instances": np.array([1]),
    }
    scene = Scene("square", np.repeat(classes[..., None] * np.uint8(255), 3, axis=2), labels)
    (lens, noise), _ = chains(["lens_distortion", "gaussian_noise"])
    picture, seen = lens.render(scene, 5, 0)
    white, found = picture[0, 1].numpy() > 0.7, seen.labels["classes"]
    inside = found != IGNORE
    assert ((found == 1) == white)[inside].mean() > 0.99 > 0.98 > ((classes == 1) == white)[inside].mean()
    assert np.array_equal(seen.labels["instances"][inside], found[inside])
    assert (seen.labels["instances"][~inside] == -1).all()
    assert np.array_equal(seen.labels["masks"][..., 0], found == 1)
    rows, columns = np.nonzero(found == 1)
    ((x0, y0, x1, y1),) = seen.labels["boxes"]
    assert (x0, y0) != (8, 20)
    assert np.allclose([x0, y0, x1, y1], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=3)
    assert noise.render(scene, 5, 0)[1] is scene


def test_a_folder_of_weights_is_measured(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from dirlearn.heads.head import build_head

    torch.manual_seed(0)
    build_head({"segformer": {"classes": 4}}).network.save_pretrained(tmp_path / "model")
    node = f"{{segformer: {{classes: 4, weights: {tmp_path / 'model'}}}}}"
    data = "{dead_leaves: {count: 1, size: 32, leaves: 12}}"
    result = run("robustness", "-H", node, "-d", data, "-o", tmp_path / "o", "--degradation", "jpeg")
    assert result.exit_code == Exit.DONE, result.output
    assert "segformer model" in result.output
    found = json.loads((tmp_path / "o" / "robustness.json").read_text())
    curve = found["sets"]["dead_leaves"]["degradations"]["jpeg"]["segformer model"]["mIoU"]
    assert len(curve) == 6
    assert all(0 <= value <= 1 for value in curve)
    with pytest.raises(TaskFault, match="would start at random"):
        models_of_heads([{"segformer": {"classes": 4}}])
    with pytest.raises(TaskFault, match="decode_head start at random, so nothing"):
        models_of_heads([{"segformer": {"classes": 7, "weights": str(tmp_path / "model")}}])


def test_the_command_shows_what_it_found(done, tmp_path: Path) -> None:
    args = ("robustness", done.folder, "-o", tmp_path / "o", "--degradation", "clip", "--reference", "clean")
    first = run(*args)
    assert first.exit_code == Exit.DONE, first.output
    assert "relative mCE" in first.output
    before = (tmp_path / "o" / "robustness.json").read_bytes()
    assert run(*args, "-m", "clean", "-m", "default ISP", "-q").exit_code == Exit.DONE
    assert set(json.loads(before)["models"]) == {"clean", "default ISP"}
    assert run(*args).exit_code == Exit.DONE
    assert (tmp_path / "o" / "robustness.json").read_bytes() == before


def test_mistakes_are_explained(done, measured, tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(tmp_path / "x.png")
    cases = [
        (("--degradation", "jepg"), Exit.USAGE, "did you mean 'jpeg'"),
        (("--method", "claen"), Exit.FAILED, "no method 'claen'"),
        (("--reference", "claen"), Exit.FAILED, "did you mean 'clean'"),
        (("--data", tmp_path), Exit.PLACES, "its head takes SemanticMap, and the test set"),
        (("--data", "{dead_leavs: {}}"), Exit.RECIPE, "did you mean 'dead_leaves'"),
        (("--data", "{dead_leaves: {cuont: 2}}"), Exit.RECIPE, "did you mean 'count'"),
        (("--data", tmp_path / "none"), Exit.PLACES, "no folder"),
        (("--data", "3"), Exit.RECIPE, "a part is a name"),
        (("--head", "{segformer: {classes: 4}}"), Exit.PLACES, "would start at random"),
    ]
    for more, code, said in cases:
        result = run("robustness", done.folder, "-o", tmp_path / "o", *more)
        assert result.exit_code == code, (more, result.output)
        assert said in result.output.replace("\n", " "), (more, result.output)
    assert run("robustness", "-o", tmp_path / "o").exit_code == Exit.USAGE
    assert run("robustness", "-o", tmp_path / "o", "-m", "clean", "-H", "x", "-d", "y").exit_code == Exit.USAGE
    assert run("robustness", tmp_path, "-o", tmp_path / "o").exit_code == Exit.FAILED
    assert not (tmp_path / "o").exists(), "nothing was measured"
    with pytest.raises(DatasetFault, match="brings no data"):
        data_sets(None)
    with pytest.raises(UnknownPlugin, match="did you mean"):
        chains(["gausian_noise"])
    with pytest.raises(TrainingFault, match="is none of the models"):
        measured(reference="nothing like it")


def test_models_that_are_measured_otherwise_do_not_stand_side_by_side(tiny, done, tmp_path: Path) -> None:
    plain = tiny("methods={plain: degraded}")
    models = [*models_of_run(done, ["clean"]), *models_of_run(plain)]
    with pytest.raises(TaskFault, match=r"not measured by the same \(clean: SemanticMap, plain: PSNR\)"):
        measure_robustness(models, data_sets(done), done.evaluation, tmp_path / "o")
    with pytest.raises(TaskFault, match="two models are called 'clean'"):
        measure_robustness([models[0], models[0]], data_sets(done), done.evaluation, tmp_path / "o")
