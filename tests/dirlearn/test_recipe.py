"""Every fault of a recipe at once, each with its line; a resolved recipe is the same recipe."""

import json
from pathlib import Path

import pytest

from dirlearn import recipe
from isp_sim.recipe import RecipeError

RECIPES = [
    path
    for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
    if "dirlearn run" in path.read_text().splitlines()[0]
]


def faults(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as error:
        recipe.parse(text, "r.yaml", overrides=overrides)
    return [str(fault) for fault in error.value.faults]


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_recipes_are_valid(path: Path) -> None:
    found = recipe.read(path)
    again = recipe.parse(json.dumps(found.resolved))
    assert again.resolved == found.resolved


def test_the_recipes_are_there() -> None:
    assert {p.stem for p in RECIPES} >= {"learn_quickstart", "restore_small", "restore_div2k", "ablation_table5"}


def test_every_fault_at_once_with_its_line(tiny_text: str) -> None:
    text = (
        tiny_text.replace("patch: 16", "pach: 16")
        .replace("light: {width: 8, channels: 4", "ligt: {width: 8, channels: 4")
        .replace("light: {width: 8, blocks: 1}", "light: {width: 1, blocks: 1}")
        .replace("r0: r0", "r0: r00")
        .replace("{from: 0, to: 1, steps: 3}", "{from: 0, steps: 3}")
        .replace("sigma: {uniform: [0.05, 0.1]}", "sigm: 1")
    )
    assert faults(text) == [
        "r.yaml:4: gaussian_noise: unknown parameter 'sigm': did you mean 'sigma'?",
        "r.yaml:8: unknown key 'pach': did you mean 'patch'?",
        "r.yaml:10: networks.encoder: unknown encoder 'ligt': did you mean 'light'?",
        "r.yaml:11: networks.decoder (light): width: 1 should be greater than or equal to 8",
        "r.yaml:14: lambda: {'linear': {'from': 0, 'steps': 3}}: linear takes from, steps, to; found from, steps",
        "r.yaml:18: unknown method 'r00': did you mean 'r0'?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 1", "version: 2", "r.yaml:2: needs version: 1, found 2"),
        ("seed: 3", "seed: -3", "r.yaml:3: seed must be a whole number from 0, found -3"),
        ("stage2:", "stage3:", "unknown key 'stage3': did you mean 'stage2'?"),
        (
            "batch: 4, ema: 0.9, lambda",
            "batch: four, ema: 0.9, lambda",
            "r.yaml:14: batch: 'four' should be a valid integer",
        ),
        ("device: cpu", "device: 3", "r.yaml:23: device: 3 should be a valid string"),
        ("views: {", "views: missing.yaml # {", "missing.yaml:1: can't read the recipe"),
        ("aligned: refine", "aligned: {refine: {gama1: 3}}", "r.yaml:19: unknown key 'gama1': did you mean 'gamma1'?"),
        ("estimator: jsd", "estimator: {jsd: {}, x: 1}", "a part is a name"),
        ("degraded: degraded", "degraded: {degraded: {steps: 3}}", "are not trained"),
        ("probes: {patches: 2", "probes: {copis: 3", "r.yaml:22: unknown key 'copis': did you mean 'copies'?"),
        ("probes: {patches: 2", "probes: {pictures: imges", "r.yaml:22: evaluation.probes.pictures: unknown"),
        ("probes: {patches: 2", "probes: {degradation: sen", "unknown degradation 'sen': did you mean 'seen'?"),
    ],
)
def test_faults(tiny_text: str, old: str, new: str, said: str) -> None:
    text = tiny_text.replace(old, new, 1)
    assert any(said in fault for fault in faults(text)), faults(text)


def test_an_upper_bound_or_another_kind_of_score_is_refused(tiny_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dirlearn.information.jsd import JSD

    monkeypatch.setattr(JSD, "bound", "upper")
    assert faults(tiny_text) == ["r.yaml:12: networks.estimator: an upper bound can't be maximised; take a lower one"]
    monkeypatch.setattr(JSD, "takes", "log_density")
    assert faults(tiny_text) == ["r.yaml:13: networks: the estimator takes log_density, and the critic gives scores"]


def test_two_methods_in_one_folder_are_refused(tiny_text: str) -> None:
    assert "would share the folder" in faults(tiny_text.replace("r0: r0", "r+0: r0\n  r 0: r0"))[0]


def test_overrides(tiny) -> None:
    found = tiny("stage2.gamma1=5", "networks.encoder.light.width=16", "run.path='elsewhere'", "stage1.lambda=0.5")
    refine = found.methods[2].training
    assert refine.gamma1 == 5
    assert found.resolved["networks"]["encoder"]["light"]["width"] == 16
    assert found.run.path == "elsewhere"
    assert found.stage1.lambda_.at(7) == 0.5


def test_an_override_makes_parameters_of_a_bare_name(tiny_text: str) -> None:
    text = tiny_text.replace("critic: {local: {width: 8, embedding: 8, offsets: 2}}", "critic: local")
    assert recipe.parse(text, overrides=["networks.critic.local.width=8"]).networks.critic == {"local": {"width": 8}}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stage2.gama1=5", "-s stage2.gama1=5:1: unknown key 'gama1': did you mean 'gamma1'?"),
        ("stage2", "-s stage2:1: an override is a dotted name and a value"),
        ("seed.x=1", "-s seed.x=1:1: 'seed' holds 3, in which nothing can be set"),
        ("stage1.steps=[", "-s stage1.steps=[:1: this is not YAML"),
    ],
)
def test_faults_of_overrides(tiny_text: str, override: str, said: str) -> None:
    assert any(fault.startswith(said) for fault in faults(tiny_text, override)), faults(tiny_text, override)


def test_supervised_rows_get_the_steps_of_both_stages(tiny) -> None:
    found = tiny("methods={a: autoencoder, n: {restorer: {network: {nafnet: {width: 4}}}}, r: r0}")
    assert [m.training.steps for m in found.methods] == [8, 8, 4]
