"""The kit for heads and metrics: all registered ones pass it, and every deliberate mistake is caught by its law."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from dirlearn import testing
from dirlearn.cli import Exit, app
from dirlearn.heads.detection_light import DetectionLight
from dirlearn.heads.head import Head
from dirlearn.heads.segmentation_light import SegmentationLight
from dirlearn.heads.semantic import cross_entropy
from dirlearn.metrics.confusion import Confusion
from dirlearn.metrics.picture_metric import PictureMetric
from dirlearn.metrics.psnr import PSNR
from dirlearn.targets import Boxes, ScoredBoxes, SemanticMap
from isp_sim import registry

SMALL: dict[str, dict[str, Any]] = {
    "segmentation_light": {"width": 4, "levels": 2},
    "upernet": {"width": 16},
    "detection_light": {"width": 4, "levels": 2},
    "rt_detr": {"size": "tiny", "queries": 12},
    "yolos": {"queries": 5},
    "mask2former": {"size": "nano", "queries": 6},
}
GROUPS = ("dirlearn.heads", "dirlearn.metrics", "dirlearn.picture_metrics")
OWN = [(g, n) for g in GROUPS for n in registry.names(g) if registry.origin(n, g) == "isp-sim"]


@pytest.mark.parametrize(("group", "name"), OWN)
def test_every_head_and_metric_conforms(group: str, name: str) -> None:
    plugin = registry.load(name, group)
    if missing := [package for package in plugin.needs if find_spec(package) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    testing.assert_conforms(name, group=group, parameters=[SMALL[name]] if name in SMALL else ())


# -- deliberate mistakes -----------------------------------------------------------------------------------------


class Small(SegmentationLight):
    """Small enough for a test."""

    class Params(SegmentationLight.Params):
        pass

    def __init__(self, params: Any) -> None:
        super().__init__(params.model_copy(update={"width": 4, "levels": 1}))


class Deaf(Small):
    """Passes no gradient to the picture."""

    def logits(self, picture: Tensor) -> Tensor:
        return super().logits(picture.detach())


class Spare(Small):
    """With a weight that nothing depends on."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.spare = nn.Parameter(torch.zeros(3))


class MeanOverNothing(Small):
    """Divides by the pixels that count."""

    def loss(self, picture: Tensor, targets: Sequence[SemanticMap]) -> Tensor:
        maps = torch.stack([target.classes for target in targets])
        return cross_entropy(self.logits(picture), maps) * maps.numel() / (maps != 255).sum()


class Extended(Small):
    """Predicts at the size that the network saw."""

    def predict(self, picture: Tensor) -> Sequence[SemanticMap]:
        return super().predict(nn.functional.pad(picture, (0, 1, 0, 1)))


class Together(Small):
    """Takes the mean of the batch away."""

    def logits(self, picture: Tensor) -> Tensor:
        return super().logits(3 * (picture - picture.mean()))


class Random(Small):
    """Keeps its dropout."""

    def logits(self, picture: Tensor) -> Tensor:
        return super().logits(nn.functional.dropout(picture, 0.1, training=True))


class Outside(Small):
    """Keeps a weight outside the state."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.shift = 0.3 * torch.randn(1, params.classes, 1, 1)
        torch.randn(1)

    def logits(self, picture: Tensor) -> Tensor:
        return super().logits(picture) * 1e-3 + self.shift * self.classify.weight.sum()


class Crowded(DetectionLight):
    """Learns from crowds."""

    def __init__(self, params: Any) -> None:
        super().__init__(params.model_copy(update={"width": 4, "levels": 1}))

    def loss(self, picture: Tensor, targets: Sequence[Boxes]) -> Tensor:
        return super().loss(picture, [Boxes(t.xyxy, t.classes, t.crowd & False, t.areas) for t in targets])


class Beyond(DetectionLight):
    """Finds objects beside the picture."""

    def __init__(self, params: Any) -> None:
        super().__init__(params.model_copy(update={"width": 4, "levels": 1}))

    def predict(self, picture: Tensor) -> Sequence[ScoredBoxes]:
        return [ScoredBoxes(f.xyxy + 9, f.scores, f.classes) for f in super().predict(picture)]


class OneTooMany(DetectionLight):
    """Counts nothing as a class."""

    def __init__(self, params: Any) -> None:
        super().__init__(params.model_copy(update={"width": 4, "levels": 1}))

    def predict(self, picture: Tensor) -> Sequence[ScoredBoxes]:
        return [ScoredBoxes(f.xyxy, f.scores, f.classes + 1) for f in super().predict(picture)]


class NoKind(Small):
    """Takes sounds."""

    takes = "sounds"  # type: ignore[assignment]


class PerPicture(Small):
    """A loss for each."""

    def loss(self, picture: Tensor, targets: Sequence[SemanticMap]) -> Tensor:
        return super().loss(picture, targets).expand(len(picture))


class Moving(Confusion):
    """Forgets slowly."""

    def update(self, prediction: SemanticMap, target: SemanticMap) -> None:
        self.counts = (self.counts * 0.9).long()
        super().update(prediction, target)


class Forgetting(Confusion):
    """Loses what it had counted."""

    def merge(self, other: Any) -> None:
        self.counts = other.counts


class InPlace(Confusion):
    """Normalises its counts."""

    def compute(self) -> dict[str, float | None]:
        found = dict(super().compute())
        self.counts //= 2
        return found


class AbsentAsZero(Confusion):
    """Counts classes that are nowhere as missed."""

    def compute(self) -> dict[str, float | None]:
        found = dict(super().compute())
        return {**found, "mIoU": sum(v or 0.0 for v in self.by_class().values()) / len(self.classes)}


class Undefined(Confusion):
    """Gives nan."""

    def compute(self) -> dict[str, float | None]:
        return {name: float("nan") if value is None else value for name, value in super().compute().items()}


class WrongWay(PSNR):
    """Says that less is better."""

    better = "lower"


class Whole(PSNR):
    """Measures the border along."""

    def __call__(self, picture: Tensor, clean: Tensor) -> float:
        return self.measure(picture, clean)


class NotAlone(PSNR):
    """Says that it looks at the picture alone."""

    alone = True


class Drawing(PSNR):
    """Looks at a pixel at random."""

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        return super().measure(picture, clean) + 1e-3 * float(torch.rand(()))


class AsTensor(PSNR):
    """Gives no number."""

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        return torch.tensor(1.0)  # type: ignore[return-value]


@cache
def report_on(plugin: Any) -> testing.Report:
    return testing.check(plugin)


@pytest.mark.parametrize(
    ("plugin", "law"),
    [
        (NoKind, "class facts"),
        (PerPicture, "runs"),
        (Deaf, "gradients"),
        (Spare, "gradients"),
        (MeanOverNothing, "nothing labelled"),
        (Crowded, "crowds"),
        (Extended, "predictions"),
        (Beyond, "predictions"),
        (OneTooMany, "predictions"),
        (Together, "samples apart"),
        (Random, "own generators"),
        (Outside, "copies"),
        (Moving, "order"),
        (Forgetting, "merged"),
        (InPlace, "reading changes nothing"),
        (AbsentAsZero, "best"),
        (Undefined, "nothing counted"),
        (WrongWay, "best"),
        (Whole, "border"),
        (NotAlone, "alone"),
        (Drawing, "own generators"),
        (AsTensor, "runs"),
    ],
)
def test_a_mistake_is_caught_by_its_law(plugin: Any, law: str) -> None:
    report = report_on(plugin)
    assert law in {check.name for check in report.failures}, str(report)


def test_what_is_no_head_and_no_metric() -> None:
    for plugin, kind in ((int, "Head"), (Head.Params, "Metric"), (PictureMetric.Params, "PictureMetric")):
        with pytest.raises(TypeError, match=f"is no {kind}"):
            testing.check(plugin)


def test_the_kit_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(*args: str):
        return CliRunner().invoke(app, ["plugin", "check", *args])

    found = check("confusion")
    assert found.exit_code == 0
    assert "passed          merged" in found.output
    assert check("heads/segmentation_light", "-p", '{"width": 4, "levels": 1}').exit_code == 0
    monkeypatch.setattr(Confusion, "merge", Forgetting.merge)
    found = check("metrics/confusion")
    assert found.exit_code == Exit.FAILED
    assert "FAILED          merged" in found.output
    for args, said in (
        (("segmentation_light", "-p", '{"widht": 4}'), "widht"),
        (("segmentation_light", "-p", "4"), "takes a mapping"),
        (("segmentation_light", "-p", "{"), "is no JSON"),
        (("datasets/coco",), "laws for"),
        (("confusoin",), "did you mean 'confusion'"),
    ):
        found = check(*args)
        assert found.exit_code == Exit.USAGE
        assert said in found.output
