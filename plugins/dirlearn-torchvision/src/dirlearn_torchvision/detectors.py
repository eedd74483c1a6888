"""Detectors of torchvision, which find boxes or masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from dirlearn.heads.head import Head
from dirlearn.targets import Boxes, Masks, ScoredBoxes, ScoredMasks
from dirlearn_torchvision.networks import BACKBONE, INSTALL, network

INSIDE = 0.5
"""How sure a pixel must be to belong to a mask."""


class Detector(Head):
    """A detector of torchvision: it resizes and normalises pictures itself, and gives findings in the picture's pixels.

    Class 0 is the background there: classes are counted from 1 on the way in, and from 0 on the way out.
    """

    needs = ("torchvision",)
    install = INSTALL
    called: ClassVar[str]
    """Its name in torchvision."""
    limit: ClassVar[str] = "detections_per_img"
    threshold: ClassVar[str] = "score_thresh"
    """Names of two options of its constructor."""

    class Params(Head.Params):
        shorter: int = Field(800, ge=32, le=4096, description="side that pictures are resized to [px]")
        longer: int = Field(1333, ge=32, le=8192, description="bound of the other side [px]")
        detections: int = Field(100, ge=1, le=1000, description="surest findings that are given [1]")
        least: float = Field(0.05, ge=0, le=1, description="score under which nothing is given [1]")
        backbone_weights: str | None = Field(None, description=BACKBONE)

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        options = {self.limit: params.detections, self.threshold: params.least}
        self.network = network(
            self.called,
            params.backbone_weights,
            num_classes=params.classes + 1,
            min_size=params.shorter,
            max_size=max(params.shorter, params.longer),
            **options,
        )

    def loss(self, picture: Tensor, targets: Sequence[Any]) -> Tensor:
        labels = [self._labels(target, picture.device) for target in targets]
        with learning(self.network):
            losses = self.network(list(picture), labels)
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def predict(self, picture: Tensor) -> Sequence[ScoredBoxes | ScoredMasks]:
        was = self.network.training
        self.network.eval()
        try:
            found = self.network(list(picture))
        finally:
            self.network.train(was)
        return [self._found(one, picture.shape[-2:]) for one in found]

    def _labels(self, target: Any, device: torch.device) -> dict[str, Tensor]:
        single = ~target.crowd
        return {"boxes": boxes_of(target)[single].float().to(device), "labels": (target.classes[single] + 1).to(device)}

    def _found(self, one: dict[str, Tensor], size: torch.Size) -> ScoredBoxes | ScoredMasks:
        kept = one["labels"] > 0  # those with a score of its own for the background may find it
        bottom, right = size
        edge = one["boxes"].new_tensor([right, bottom, right, bottom])
        boxes = torch.minimum(one["boxes"][kept].float().clamp(min=0), edge)
        return ScoredBoxes(boxes, one["scores"][kept].float(), one["labels"][kept] - 1)


class RetinaNet(Detector):
    """Boxes at every place of a pyramid of features, by a loss in which easy places count little."""

    source = "Lin et al. 2017 [Lin2017]"
    takes = Boxes
    called = "retinanet_resnet50_fpn"


class FCOS(Detector):
    """Distances to the four edges at every place of a pyramid of features, without prior boxes."""

    source = "Tian et al. 2019 [Tian2019]"
    takes = Boxes
    called = "fcos_resnet50_fpn"


class MaskRCNN(Detector):
    """Boxes that are proposed first, then their classes, and a mask in each.

    It compares places and proposals that it draws from torch's own generator, whose state is part of a checkpoint.
    """

    source = "He et al. 2017 [He2017]"
    takes = Masks
    called = "maskrcnn_resnet50_fpn"
    limit = "box_detections_per_img"
    threshold = "box_score_thresh"

    def _labels(self, target: Masks, device: torch.device) -> dict[str, Tensor]:
        single = ~target.crowd
        return {**super()._labels(target, device), "masks": target.masks[single].to(torch.uint8).to(device)}

    def _found(self, one: dict[str, Tensor], size: torch.Size) -> ScoredMasks:
        boxes = super()._found(one, size)
        masks = one["masks"][one["labels"] > 0, 0] > INSIDE
        seen = masks.flatten(1).any(dim=1)  # of a box that is small or unsure no pixel may be left
        return ScoredMasks(masks[seen], boxes.scores[seen], boxes.classes[seen])


def boxes_of(target: Boxes | Masks) -> Tensor:
    """Boxes (N, 4) [px], of masks the tightest around them."""
    if isinstance(target, Boxes):
        return target.xyxy
    found = []
    for mask in target.masks:
        rows, columns = (mask.any(dim=dim).nonzero().flatten() for dim in (1, 0))
        found.append(torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]))
    return torch.stack(found) if found else torch.zeros(0, 4)


@contextmanager
def learning(network: nn.Module) -> Iterator[None]:
    """A network that gives losses, also where its layers are as in evaluation, as those of a frozen head are.

    torchvision's detectors give losses in training mode alone; but layers with statistics or chance keep their mode.
    """
    layers = _BatchNorm | _DropoutNd
    before = {module: module.training for module in network.modules()}
    for module in before:
        if not isinstance(module, layers):
            module.training = True
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode
