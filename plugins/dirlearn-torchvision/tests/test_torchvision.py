"""The heads on stand-ins with torchvision's interface, and on torchvision itself where it loads."""

import sys
from types import SimpleNamespace

import pytest
import torch
from dirlearn_torchvision.detectors import MaskRCNN, RetinaNet, boxes_of, learning
from torch import Tensor, nn

from dirlearn import testing
from dirlearn.heads.head import build_head
from dirlearn.targets import Boxes, Masks, SemanticMap, TaskFault

NAMES = ("deeplabv3", "retinanet", "fcos", "mask_rcnn")
SMALL = {name: {"shorter": 64, "longer": 96, "detections": 4, "least": 0.0} for name in NAMES[1:]}


class Segmenter(nn.Module):
    """Scores of every pixel, with batch normalisation, in a dictionary."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, classes, 1)
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.layers(x)}


class Finder(nn.Module):
    """As torchvision's detectors: a list of pictures; in training mode losses by name, else findings as dictionaries.

    It is as strict about labels as they are: boxes with an area, float; classes from 1; masks of 0 and 1, uint8.
    """

    def __init__(self, classes: int, masks: bool, count: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.classify, self.edges = nn.Linear(6, classes), nn.Linear(6, 4)
        self.classes, self.masks, self.count = classes, masks, count

    def forward(self, pictures: list[Tensor], targets: list[dict[str, Tensor]] | None = None):
        assert isinstance(pictures, list)
        features = torch.stack([self.body(p[None])[0].flatten(1).T for p in pictures])  # (B, 4, 6)
        logits, edges = self.classify(features), self.edges(features)
        if not self.training:
            return [self._found(*one) for one in zip(pictures, logits, edges, strict=True)]
        assert targets is not None
        loss = logits.logsumexp(dim=-1).mean() + 0 * edges.sum()
        where = 0 * edges.sum()
        for target, scores, found in zip(targets, logits, edges, strict=True):
            assert target["boxes"].dtype == torch.float32
            assert target["boxes"].shape == (len(target["labels"]), 4)
            assert bool((target["boxes"][:, 2:] > target["boxes"][:, :2]).all())
            assert target["labels"].dtype == torch.int64
            assert bool((target["labels"] >= 1).all() & (target["labels"] < self.classes).all())
            if self.masks:
                assert target["masks"].dtype == torch.uint8
                assert target["masks"].shape == (len(target["labels"]), *pictures[0].shape[-2:])
                assert len(target["masks"]) == 0 or target["masks"].max() == 1
            for number, box in zip(target["labels"], target["boxes"], strict=True):
                loss = loss - scores[:, number].mean() / 10
                where = where + (found - box / 100).square().mean()
        return {"classification": loss + 1, "bbox_regression": where}

    def _found(self, picture: Tensor, logits: Tensor, edges: Tensor) -> dict[str, Tensor]:
        height, width = picture.shape[-2:]
        scores, labels = logits.softmax(dim=-1).max(dim=-1)
        low = edges[:, :2].sigmoid() * torch.tensor([width, height]) / 2
        boxes = torch.cat([low, low + edges[:, 2:].sigmoid() * torch.tensor([width, height]) / 2 + 1], dim=1)
        labels[0] = 0  # the background, which those with a score for it may find
        order = scores.argsort(descending=True)[: self.count]
        found = {"boxes": boxes[order], "labels": labels[order], "scores": scores[order]}
        if self.masks:
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            x0, y0, x1, y1 = found["boxes"][:, :, None, None].unbind(dim=1)
            inside = (columns >= x0) & (columns < x1) & (rows >= y0) & (rows < y1)
            found["masks"] = 0.9 * inside[:, None].float()
        return found


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    asked: list[dict[str, object]] = []

    def get_model(name: str, *, weights: object, weights_backbone: object, num_classes: int, **options: object):
        asked.append({"name": name, "backbone": weights_backbone, "num_classes": num_classes, **options})
        assert weights is None
        if weights_backbone not in (None, "IMAGENET1K_V1"):
            raise KeyError(weights_backbone)
        if name.startswith("deeplabv3"):
            assert options == {"aux_loss": False}
            return Segmenter(num_classes)
        count = options["box_detections_per_img" if name.startswith("mask") else "detections_per_img"]
        return Finder(num_classes, name.startswith("mask"), int(str(count)))

    models = SimpleNamespace(get_model=get_model)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr("dirlearn.targets.find_spec", lambda name: object())
    return asked


@pytest.mark.parametrize("name", NAMES)
def test_it_conforms(stand_in, name: str) -> None:
    testing.assert_conforms(name, parameters=[SMALL.get(name, {})])


def test_options_are_torchvisions(stand_in) -> None:
    build_head({"fcos": {"classes": 7, "backbone_weights": "IMAGENET1K_V1", "detections": 30}})
    build_head({"mask_rcnn": {"classes": 7, "shorter": 2000}})
    build_head({"deeplabv3": {"classes": 7, "backbone": "resnet101"}})
    sizes = {"min_size": 800, "max_size": 1333}
    assert stand_in[0] == {
        "name": "fcos_resnet50_fpn", "backbone": "IMAGENET1K_V1", "num_classes": 8, "detections_per_img": 30,
        "score_thresh": 0.05, **sizes,
    }  # fmt: skip
    assert stand_in[1] == {
        "name": "maskrcnn_resnet50_fpn", "backbone": None, "num_classes": 8, "box_detections_per_img": 100,
        "box_score_thresh": 0.05, "min_size": 2000, "max_size": 2000,
    }  # fmt: skip
    assert stand_in[2]["name"] == "deeplabv3_resnet101"
    assert stand_in[2]["num_classes"] == 7, "a map has no background of its own"


def test_a_frozen_detector_still_gives_losses_and_keeps_its_statistics(stand_in) -> None:
    head = build_head({"retinanet": {"classes": 3}}).eval().requires_grad_(False)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    labels = Boxes(
        torch.tensor([[2.0, 3.0, 20.0, 30.0]]).double(), torch.tensor([2]), torch.zeros(1).bool(), torch.ones(1)
    )
    picture = torch.rand(1, 3, 32, 40, requires_grad=True)
    head.loss(picture, [labels]).backward()
    assert picture.grad.abs().sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert not any(module.training for module in head.modules())
    with learning(head.network):
        assert head.network.training
        assert not head.network.body[1].training, "the normalisation"
    assert not head.network.training


def test_masks_give_the_tightest_boxes(stand_in) -> None:
    masks = torch.zeros(2, 9, 12).bool()
    masks[0, 2:5, 3:7], masks[1, 8, 11] = True, True
    target = Masks(masks, torch.tensor([0, 1]), torch.zeros(2).bool(), torch.ones(2))
    assert boxes_of(target).tolist() == [[3, 2, 7, 5], [11, 8, 12, 9]]
    head = build_head({"mask_rcnn": {"classes": 2, "detections": 3}}).eval()
    with torch.no_grad():
        (found,) = head.predict(torch.rand(1, 3, 20, 30))
    assert found.masks.dtype == torch.bool
    assert bool(found.masks.flatten(1).any(dim=1).all())
    assert len(found.masks) == len(found.scores) <= 3


def test_one_picture_has_no_statistics(stand_in) -> None:
    head = build_head({"deeplabv3": {"classes": 2}}).train()
    labels = [SemanticMap(torch.zeros(8, 8).long())]
    with pytest.raises(TaskFault, match="let `batch` be at least two"):
        head.loss(torch.rand(1, 3, 8, 8), labels)
    assert head.eval().loss(torch.rand(1, 3, 8, 8), labels).isfinite()


def test_a_trained_head_is_rebuilt_as_it_was(stand_in) -> None:
    """With a trained backbone torchvision builds other layers."""
    build_head({"fcos": {"classes": 2, "backbone_weights": "IMAGENET1K_V1"}}, pretrained=False)
    assert stand_in[0]["backbone"] == "IMAGENET1K_V1"


def test_what_can_not_be_made_is_said(stand_in, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskFault, match="torchvision can't make fcos_resnet50_fpn with weights 'other'"):
        build_head({"fcos": {"classes": 2, "backbone_weights": "other"}})
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(TaskFault, match=r"can't load torchvision: .*pip install 'dirlearn-torchvision\[torchvision\]'"):
        build_head({"fcos": {"classes": 2}})
    monkeypatch.setattr("dirlearn.targets.find_spec", lambda name: None)
    with pytest.raises(TaskFault, match=r"head fcos needs torchvision: pip install 'dirlearn-torchvision"):
        build_head({"fcos": {"classes": 2}})


@pytest.mark.parametrize("name", NAMES)
def test_torchvision_itself(name: str) -> None:
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not load: {error}")
    assert RetinaNet.takes is Boxes
    assert MaskRCNN.takes is Masks
    testing.assert_conforms(name, parameters=[SMALL.get(name, {"backbone": "mobilenet_v3_large"})])
