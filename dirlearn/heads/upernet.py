"""UPerNet on ConvNeXt, through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field
from torch import Tensor

from dirlearn.heads.head import Head
from dirlearn.heads.pretrained import WEIGHTS, Normalise, network
from dirlearn.heads.semantic import SemanticHead, resized
from dirlearn.layers import padded

Size = Literal["tiny", "small", "base"]
SIZES: Final[Mapping[Size, tuple[list[int], list[int]]]] = {
    "tiny": ([3, 3, 9, 3], [96, 192, 384, 768]),
    "small": ([3, 3, 27, 3], [96, 192, 384, 768]),
    "base": ([3, 3, 27, 3], [128, 256, 512, 1024]),
}
STRIDE: Final = 32


class UPerNet(SemanticHead):
    """A pyramid of features with a pool over the picture, on the convolutional network ConvNeXt."""

    source = "Xiao et al. 2018 [Xiao2018]; backbone: Liu et al. 2022 [Liu2022]"
    needs = ("transformers",)

    class Params(Head.Params):
        size: Size = Field("tiny", description="of the backbone: tiny, small or base")
        width: int = Field(512, ge=16, le=2048, description="channels of the pyramid [1]")
        weights: str | None = Field(None, description=WEIGHTS)
        drop_path: float = Field(0.0, ge=0, lt=1, description="share of residual branches left out in training [1]")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        from transformers import ConvNextConfig, UperNetConfig

        depths, widths = SIZES[params.size]
        stages = ["stage1", "stage2", "stage3", "stage4"]
        backbone = ConvNextConfig(
            depths=depths, hidden_sizes=widths, drop_path_rate=params.drop_path, out_features=stages
        )
        config: Any = UperNetConfig(
            backbone_config=backbone,
            num_labels=params.classes,
            hidden_size=params.width,
            use_auxiliary_head=False,
        )
        self.normalise = Normalise()
        self.network = network("UperNetForSemanticSegmentation", config, params.weights, ("decode_head",))

    def logits(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        whole = padded(picture, STRIDE)
        scores: Tensor = self.network(pixel_values=self.normalise(whole)).logits
        return resized(scores, whole.shape[-2:])[..., :height, :width]
