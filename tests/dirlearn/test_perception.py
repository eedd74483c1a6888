"""Rows with heads: what is trained, what is frozen, what they are measured on, and what is refused before it starts."""

import json
from pathlib import Path

import pytest
import torch

from dirlearn import recipe as recipes
from dirlearn.datasets.dataset import Dataset, build_dataset
from dirlearn.perception import Perception
from dirlearn.report import write_report
from dirlearn.run import Runner, load_method, method_head, method_job, restore_pictures
from dirlearn.scores import Scores
from dirlearn.targets import TargetFault, TaskFault
from dirlearn.training.checkpoint import read
from dirlearn.training.data import Needs, Stream
from isp_sim.recipe import RecipeError

HEADED = ("stage2.head={segmentation_light: {classes: 4, width: 4, levels: 1}}", "stage2.gamma1=5")
ROWS = (
    "methods={clean: clean, default ISP: degraded, auto-encoder: autoencoder, DiR: refine, r0: r0, "
    "frozen: {refine: {head_from: clean, head_rate: 0}}, tuned: {degraded: {head_from: clean, head_rate: 0.1}}}"
)


def weights(job) -> dict[str, bytes]:
    return {name: p.detach().numpy().tobytes() for name, p in job.head.named_parameters()}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run with every kind of row."""
    text = Path(__file__).with_name("conftest.py").read_text().split('"""')[3].replace("\\\n", "", 1)
    folder = tmp_path_factory.mktemp("headed")
    text = text.replace("RUN", str(folder / "run"))
    recipe = recipes.parse(text, "tiny.yaml", folder, (*HEADED, ROWS))
    return recipe, Runner(recipe).everything()


def test_every_row_is_measured(done) -> None:
    recipe, results = done
    assert [row["method"] for row in results["rows"]] == [m.name for m in recipe.methods]
    for row in results["rows"]:
        assert list(row["scores"]) == ["aAcc", "mIoU", "mAcc"]
        assert list(row["classes"]) == ["disc", "square", "triangle", "star"]
        assert 0 < row["scores"]["aAcc"] <= 1
    by_name = {row["method"]: row for row in results["rows"]}
    assert by_name["clean"]["psnr"] == 100, "the upper bound sees clean pictures"
    assert by_name["default ISP"]["psnr"] == by_name["tuned"]["psnr"] < 40
    page = write_report(recipe.folder).read_text()
    assert "mIoU" in page
    assert "triangle" in page


def test_steps_are_equal(done) -> None:
    """Four of Stage I and four of Stage II for the method; for a baseline four alone and four with its head."""
    recipe, _ = done
    for name, alone in (("auto-encoder", True), ("default ISP", False), ("DiR", False)):
        (method,) = (m for m in recipe.methods if m.name == name)
        folder = recipe.folder / "methods" / method.folder
        logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert max(line["step"] for line in logged) == 4
        assert "task" in logged[-2]
        assert (folder / "alone" / "final").exists() == alone
    first = read(recipe.folder / "methods/auto_encoder/alone/final").tensors
    assert not any(name.startswith("head.") for name in first)


def test_heads_start_equal_and_follow_what_they_start_from(done) -> None:
    recipe, _ = done
    heads = {m.name: method_head(recipe, m, start=True) for m in recipe.methods}
    as_bytes = {n: {k: p.detach().numpy().tobytes() for k, p in h.named_parameters()} for n, h in heads.items()}
    trained = {m.name: weights(load_method(recipe, m.name)) for m in recipe.methods}
    assert as_bytes["clean"] == as_bytes["default ISP"] == as_bytes["DiR"] != trained["clean"]
    assert as_bytes["frozen"] == as_bytes["tuned"] == trained["clean"]
    assert trained["frozen"] == trained["clean"], "a frozen head keeps every bit"
    assert trained["tuned"] != trained["clean"]
    assert not any(n.startswith("head.") for n in read(recipe.folder / "methods/frozen/final").tensors)


def test_methods_with_heads_restore_as_others_do(done) -> None:
    recipe, _ = done
    x = torch.rand(1, 3, 20, 16)
    assert torch.equal(restore_pictures(load_method(recipe, "default ISP"), x), x)
    assert restore_pictures(load_method(recipe, "DiR"), x).shape == x.shape


def test_a_finished_run_resumes_to_the_same(done) -> None:
    recipe, results = done
    assert Runner(recipe, resume=True).everything() == results


def test_gradients_of_the_task_reach_the_alignment_through_a_frozen_head(tiny) -> None:
    recipe = tiny(*HEADED, "methods={clean: clean, frozen: {refine: {head_from: clean, head_rate: 0}}}")
    from dirlearn.represent import Representation

    job = method_job(
        recipe, recipe.methods[1], Representation(recipe.networks), method_head(recipe, recipe.methods[0], False)
    )
    stream = Stream(Runner(recipe).train_data, recipe.views, job.needs, 0, 4, 16)
    job.train()
    found = job(stream[0], 0)
    found.terms["task"].backward()
    assert job.alignment.last.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in job.head.parameters())
    assert not job.head.training
    assert list(job.parts()) == [""]
    expected = found.terms["alignment"] + 5 * found.terms["task"] + found.terms["l1"]
    torch.testing.assert_close(found.loss, expected)


def test_a_head_learns_at_its_own_rate(tiny) -> None:
    """Adam's first step moves a parameter by about its rate, whatever the gradient."""
    moved = {}
    for factor in (1.0, 0.25):
        recipe = tiny(
            *HEADED, f"stage2.head_rate={factor}", "methods={row: degraded}", "stage2.steps=1", "stage2.ema=0",
            "stage2.clip=0", folder=f"run{factor}",
        )  # fmt: skip
        before = method_head(recipe, recipe.methods[0], start=True).classify.weight.detach().clone()
        Runner(recipe).everything()
        moved[factor] = (load_method(recipe, "row").head.classify.weight - before).abs().max().item()
    assert moved[0.25] == pytest.approx(0.25 * moved[1.0], rel=1e-3)


def test_perception_sees_what_it_says(tiny) -> None:
    recipe = tiny(*HEADED)
    stream = Stream(Runner(recipe).train_data, recipe.views, Needs(views=1, labels=True), 0, 4, 16)
    batch = stream[0]
    head = method_head(recipe, recipe.methods[2], start=True)
    degraded, clean = (Perception(head, 1.0, sees) for sees in ("degraded", "clean"))
    swapped = Perception(head, 1.0, "degraded")
    assert clean(batch, 0).loss != degraded(batch, 0).loss
    from dataclasses import replace

    assert swapped(replace(batch, views=(batch.clean,)), 0).loss == clean(batch, 0).loss


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("stage2.gamma1=0",), "a head needs gamma1 over 0"),
        (("stage2.head_rate=0",), "a frozen head must have learnt something"),
        (("methods={a: {refine: {head_from: b}}, b: degraded}",), "'b' is no earlier row with a head that is trained"),
        (
            (
                "methods={a: clean, b: {degraded: {head_from: a, head_rate: 0}}, c: {refine: {head_from: b}}}",
            ),
            "there are 'a'",
        ),
        (
            ("methods={a: {degraded: {head: {segmentation_light: {classes: 5}}}}, b: {refine: {head_from: a}}}",),
            "the head of 'a' is another one",
        ),
        (("stage2.head=null", "methods={a: clean}"), "clean pictures are not trained without a head"),
        (("stage2.head={segmentation_light: {}}",), "classes"),
        (("stage2.head=segmentation_ligt",), "did you mean 'segmentation_light'"),
        (("evaluation.metrics=confusoin",), "did you mean 'confusion'"),
        (("data.flips=vertical",), "flips"),
    ],
)  # fmt: skip
def test_faults_of_recipes(tiny, overrides, said: str) -> None:
    with pytest.raises(RecipeError) as error:
        tiny(*HEADED, *overrides)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("stage2.head={segmentation_light: {classes: 11}}",), r"11 classes, and the training set 4 \(disc, .*: 4`"),
        (("data.train={samples: {}}",), "head takes SemanticMap, and the training set has no labels"),
        (
            ("data.train=[{dead_leaves: {count: 2}}, samples]",),
            "head takes SemanticMap, and the training set has no labels",
        ),
        (("evaluation.sets.leaves={samples: {}}",), "no test set has SemanticMap"),
        (("evaluation.metrics=average_precision",), "measures Boxes, Masks; the head predicts SemanticMap"),
    ],
)
def test_heads_that_do_not_fit_the_data_stop_a_run_before_it_starts(tiny, overrides, said: str) -> None:
    recipe = tiny(*HEADED, *overrides)
    with pytest.raises(TaskFault, match=said):
        Runner(recipe).prepare()
    assert not recipe.folder.exists()


def test_labels_out_of_range_are_named_with_their_picture(tiny) -> None:
    class Wrong(Dataset):
        def __len__(self) -> int:
            return 1

        def read(self, index: int, epoch: int = 0):
            scene = build_dataset({"dead_leaves": {"count": 1, "size": 24, "leaves": 12}}).read(0)
            scene.labels["classes"][3, 3] = 77
            return scene

    recipe = tiny(*HEADED)
    job = Perception(method_head(recipe, recipe.methods[2], start=True), 1.0, "clean")
    with pytest.raises(TargetFault, match="dead_leaves/0/0: found class 77; classes are 0 to 3"):
        job(Stream(Wrong(None), recipe.views, job.needs, 0, 1, 24)[0], 0)
    scores = Scores(job.head, Runner(recipe).train_data, recipe.evaluation)
    with pytest.raises(TargetFault, match="class 77"):
        scores.update(torch.rand(1, 3, 24, 24), Wrong(None).read(0))


def test_horizontal_flips_leave_the_sky_above(tiny) -> None:
    recipe = tiny("data.flips=horizontal")
    data = Runner(recipe).train_data
    flipped = set()
    for number in range(12):
        batch = Stream(data, recipe.views, Needs(), 0, 1, 24, recipe.data.flips)[number]
        index = next(i for i in range(len(data)) if data.read(i).key == batch.keys[0])
        pixels = torch.from_numpy(data.read(index).pixels.transpose(2, 0, 1) / 255.0).float()
        same = [torch.equal(batch.clean[0], p) for p in (pixels, pixels.flip(-1))]
        assert any(same)
        flipped.add(same.index(True))
    assert flipped == {0, 1}


def test_detection_from_end_to_end(tiny) -> None:
    pytest.importorskip("faster_coco_eval")
    recipe = tiny(
        "stage2.head={detection_light: {classes: 4, width: 4, levels: 1}}", "stage2.gamma1=2", "stage2.steps=2",
        "methods={default ISP: degraded}",
    )  # fmt: skip
    (row,) = Runner(recipe).everything()["rows"]
    assert list(row["scores"]) == ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert row["scores"]["AP"] is not None
    assert row["scores"]["APl"] is None, "no leaf is larger than 96x96"
    assert list(row["classes"]) == ["disc", "square", "triangle", "star"]
