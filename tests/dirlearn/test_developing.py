"""ISPs as rows: the same RAW, other settings; what is tuned reaches what it should; a resumed search is the same."""

import json
from dataclasses import replace

import pytest
import torch

from dirlearn import recipe as recipes
from dirlearn.developing import DevelopedTask, Tuned, TuningFault, developed
from dirlearn.run import Runner, load_method
from dirlearn.search import TRIALS
from dirlearn.training.data import Needs
from dirlearn.training.loop import TrainingFault
from dirlearn.views import load_views
from isp_sim.recipe import RecipeError

CHAIN = """{seed: 3, stages: [
  {unprocess: {profile: generic_phone}}, {mosaic: {cfa: RGGB}}, {gaussian_noise: {sigma: {uniform: [0.01, 0.02]}}},
  clip, white_balance, {demosaic: {method: bilinear}}, {colour_matrix: {to: srgb}}, tone_curve, {clip: {}, id: top},
  srgb_oetf, {jpeg: {quality: 90}}]}"""
DIM = (
    "stages: [white_balance, {digital_gain: {gain: 0.5}}, {demosaic: {method: bilinear}}, {colour_matrix: {to: srgb}}, "
    "tone_curve, {clip: {}, id: top}, srgb_oetf, {jpeg: {quality: 90}}]"
)
TEXT = f"""\
version: 1
seed: 3
views: {CHAIN}
data:
  train: {{dead_leaves: {{count: 6, size: 32, leaves: 12}}}}
  validation: {{dead_leaves: {{count: 2, size: 32, leaves: 12, seed: 9}}}}
  patch: 32
networks: {{encoder: {{light: {{width: 8, channels: 4, blocks: 1}}}}, decoder: {{light: {{width: 8, blocks: 1}}}}}}
stage1: {{steps: 2, batch: 2}}
stage2: {{steps: 2, batch: 2, gamma1: 5, gamma2: 0, head: {{segmentation_light: {{classes: 4, width: 4, levels: 1}}}}}}
methods:
  default ISP: degraded
  expert ISP: {{isp: {{after: clip, {DIM}}}}}
  tuned: {{isp: {{after: clip, {DIM}, tune: {{digital_gain.gain: [0.2, 4]}}}}}}
  found:
    isp:
      after: clip
      {DIM}
      tune: {{digital_gain.gain: [0.2, 4]}}
      head_from: default ISP
      head_rate: 0
      search: {{method: METHOD, trials: 6, pictures: 2}}
evaluation:
  sets: {{leaves: {{dead_leaves: {{count: 2, size: 32, leaves: 12, seed: 5}}}}}}
  probes: null
run: {{path: RUN}}
"""


def text(folder, method: str = "cmaes") -> str:
    return TEXT.replace("RUN", str(folder / "run")).replace("METHOD", method)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run with an ISP of every kind."""
    pytest.importorskip("optuna", reason="the extra [tasks] is not installed")
    folder = tmp_path_factory.mktemp("isp")
    recipe = recipes.parse(text(folder), "isp.yaml", folder)
    return recipe, Runner(recipe).everything()


@pytest.fixture(scope="module")
def views():
    from pathlib import Path

    from isp_sim import located_yaml

    return load_views(located_yaml.parse(CHAIN, "chain").data, Path())[0]


STAGES = ["white_balance", {"digital_gain": {"gain": 1.0}}, "demosaic", {"colour_matrix": {"to": "srgb"}}, "tone_curve",
          {"clip": {}, "id": "top"}, "srgb_oetf", {"jpeg": {"quality": 90}}]  # fmt: skip


def test_the_same_stages_are_the_same_pictures(views) -> None:
    """Drawn before the cut is the same; written out again, so is everything."""
    clean = torch.rand(2, 3, 32, 32)
    resolved = views.renderer.recipe.resolved["stages"]
    again, _ = developed(views, "clip", resolved[4:])
    one, other = (v.render(clean, ["a", "b"], [3, 3], 0, 1) for v in (views, again))
    assert torch.equal(one, other)


def test_tuned_values_are_what_a_recipe_would_say(views) -> None:
    clean = torch.rand(2, 3, 32, 32)
    own, _ = developed(views, "clip", STAGES)
    said = [{"digital_gain": {"gain": 1.7}} if node == STAGES[1] else node for node in STAGES]
    written, _ = developed(views, "clip", said)
    given = replace(own, values={"digital_gain": {"gain": torch.tensor(1.7)}})
    one, other = (v.render(clean, ["a", "b"], [0, 1], 0, 1) for v in (given, written))
    assert torch.allclose(one, other, atol=1e-6)
    assert not torch.allclose(one, own.render(clean, ["a", "b"], [0, 1], 0, 1), atol=1e-2)


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (0.01, 10.0)])
def test_units_are_bounds(views, low: float, high: float) -> None:
    own, _ = developed(views, "clip", STAGES)
    tuned = Tuned.find(own, "digital_gain.gain", low, high)
    zero, one = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert float(tuned.at(zero)) == pytest.approx(low)
    assert float(tuned.at(one)) == pytest.approx(high)
    assert float(tuned.at(tuned.unit)) == pytest.approx(1.0), "it starts where the recipe says"


@pytest.mark.parametrize(
    ("path", "bounds", "said"),
    [
        ("gain.gain", (1, 2), "no stage has the id 'gain'"),
        ("digital_gain.gian", (1, 2), "no parameter 'gian'"),
        ("jpeg.quality", (50, 100), "neither fixed nor whole"),
        ("white_balance.gains", (1, 2), "give it a number"),
        ("digital_gain.gain", (2, 3), "around 1.0"),
        ("digital_gain.gain", (-1, 3), "digital_gain.gain"),
    ],
)
def test_what_cannot_be_tuned_is_said(views, path: str, bounds: tuple[float, float], said: str) -> None:
    own, _ = developed(views, "clip", STAGES)
    with pytest.raises(TuningFault, match=said):
        Tuned.find(own, path, *bounds)


def test_a_gradient_finds_a_gain(views, done) -> None:
    """Against pictures of another gain, the tuned one ends there: gradients pass the whole ISP, soft JPEG included."""
    recipe, _ = done
    training = next(m.training for m in recipe.methods if m.name == "tuned").model_copy(update={"head": None})
    job = DevelopedTask(views, training)
    job.hold(None)
    target, _ = developed(views, "clip", [n if n != STAGES[1] else {"digital_gain": {"gain": 0.9}} for n in STAGES])
    clean, keys, epochs = 0.1 + 0.5 * torch.rand(2, 3, 32, 32), ("a", "b"), (0, 0)
    wanted = target.render(clean, keys, epochs, 0, 1)
    optimiser = torch.optim.Adam(job.parameters(), lr=0.1)
    for _ in range(60):
        made = replace(job.through, values=job.values()).render(clean, keys, epochs, 0, 1)
        loss = (made - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(job.values()["digital_gain"]["gain"].detach()) == pytest.approx(0.9, abs=0.03)
    assert job.needs == Needs(views=0)


def test_rows_are_measured_on_their_own_pictures(done) -> None:
    recipe, results = done
    rows = {row["method"]: row for row in results["rows"]}
    assert rows["expert ISP"]["psnr"] < rows["default ISP"]["psnr"] - 1, "half as bright"
    assert all("mIoU" in row["scores"] for row in rows.values())
    moved = load_method(recipe, "tuned").values()["digital_gain"]["gain"].detach()
    assert 0.2 < float(moved) < 4
    assert float(moved) != 0.5
    log = (recipe.folder / "methods" / "tuned" / "metrics.jsonl").read_text().splitlines()
    assert "isp/digital_gain.gain" in json.loads(log[1])


def test_a_search_keeps_its_best_trial(done) -> None:
    recipe, _ = done
    lines = (recipe.folder / "methods" / "found" / TRIALS).read_text().splitlines()
    trials = [json.loads(line) for line in lines[1:]]
    assert len(trials) == 6
    assert trials[0]["values"]["isp/digital_gain.gain"] == pytest.approx(0.5), "the first is what the recipe says"
    best = min(trials, key=lambda t: t["objective"])
    job = load_method(recipe, "found")
    assert float(job.said()["isp/digital_gain.gain"]) == pytest.approx(best["values"]["isp/digital_gain.gain"])


@pytest.mark.parametrize("method", ["cmaes", "tpe"])
def test_a_search_goes_on_as_if_it_had_not_stopped(tmp_path, method: str, done) -> None:
    """Cut off within a line after three trials, it ends in the same bytes; of another recipe, it is refused."""
    recipe, _ = done
    import shutil

    shutil.copytree(recipe.folder, tmp_path / "run")
    folder = tmp_path / "run" / "methods" / "found"
    shutil.rmtree(folder)
    keep = (
        "methods={default ISP: degraded, found: "
        + json.dumps(recipes.parse(text(tmp_path, method), "t").resolved["methods"]["found"])
        + "}"
    )

    def go(resume: bool = True) -> bytes:
        Runner(recipes.parse(text(tmp_path, method), "t", overrides=[keep]), resume=resume).everything()
        return (folder / TRIALS).read_bytes()

    whole = go()
    final = (folder / "final" / "tensors.safetensors").read_bytes()
    shutil.rmtree(folder / "final")
    lines = whole.decode().splitlines(keepends=True)
    (folder / TRIALS).write_text("".join(lines[:4]) + lines[4][:20])
    assert go() == whole
    assert (folder / "final" / "tensors.safetensors").read_bytes() == final
    shutil.rmtree(folder / "final")
    other = json.loads(lines[0])
    other["about"]["seed"] = 99
    (folder / TRIALS).write_text(json.dumps(other) + "\n")
    with pytest.raises(TrainingFault, match="another recipe"):
        go()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{isp: {after: no, stages: [white_balance]}}", "no step of the views has the id 'no'"),
        ("{isp: {after: clip, stages: [sharpen]}}", "sharpen"),
        (f"{{isp: {{after: clip, {DIM}, tune: {{digital_gain.gain: [3, 2]}}}}}}", "lower and an upper bound"),
        (f"{{isp: {{after: clip, {DIM}, search: {{trials: 2}}}}}}", "a search needs"),
        ("{isp: {stages: [white_balance]}}", "needs after"),
    ],
)
def test_wrong_rows_are_found_before_anything_runs(tmp_path, entry: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipes.parse(text(tmp_path), "t", overrides=[f"methods={{default ISP: degraded, wrong: {entry}}}"])
