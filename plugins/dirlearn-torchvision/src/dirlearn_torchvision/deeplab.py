"""DeepLabV3, through torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from dirlearn.heads.head import Head
from dirlearn.heads.pretrained import Normalise
from dirlearn.heads.semantic import SemanticHead
from dirlearn.targets import SemanticMap, TaskFault
from dirlearn_torchvision.networks import BACKBONE, INSTALL, network


class DeepLabV3(SemanticHead):
    """Convolutions with holes at several rates and a pool over the picture, on a residual network.

    Its normalisation has batch statistics, over the picture's pool too: a process needs two pictures or more to train.
    """

    source = "Chen et al. 2017 [Chen2017]"
    needs = ("torchvision",)
    install = INSTALL

    class Params(Head.Params):
        backbone: Literal["resnet50", "resnet101", "mobilenet_v3_large"] = Field("resnet50", description="which one")
        backbone_weights: str | None = Field(None, description=BACKBONE)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.normalise = Normalise()
        name = f"deeplabv3_{params.backbone}"
        self.network = network(name, params.backbone_weights, num_classes=params.classes, aux_loss=False)

    def logits(self, picture: Tensor) -> Tensor:
        scores: Tensor = self.network(self.normalise(picture))["out"]
        return scores

    def loss(self, picture: Tensor, targets: Sequence[SemanticMap]) -> Tensor:
        if self.training and len(picture) < 2:
            raise TaskFault(
                "deeplabv3 takes statistics over the pictures of a batch, and here it has one: let `batch` be at least "
                "two for each process and part of `accumulate`"
            )
        return super().loss(picture, targets)
