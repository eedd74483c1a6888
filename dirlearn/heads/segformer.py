"""SegFormer, through transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field
from torch import Tensor

from dirlearn.heads.head import Head
from dirlearn.heads.pretrained import WEIGHTS, Normalise, network
from dirlearn.heads.semantic import SemanticHead, resized

Size = Literal["b0", "b1", "b2", "b3", "b4", "b5"]
DEPTHS: Final[Mapping[Size, list[int]]] = {
    "b0": [2, 2, 2, 2],
    "b1": [2, 2, 2, 2],
    "b2": [3, 4, 6, 3],
    "b3": [3, 4, 18, 3],
    "b4": [3, 8, 27, 3],
    "b5": [3, 6, 40, 3],
}


class SegFormer(SemanticHead):
    """A hierarchical transformer with a decoder of linear layers; scores at a quarter of the size, enlarged."""

    source = "Xie et al. 2021 [Xie2021]"
    needs = ("transformers",)

    class Params(Head.Params):
        size: Size = Field("b0", description="b0 to b5")
        weights: str | None = Field(None, description=WEIGHTS)
        drop_path: float = Field(0.0, ge=0, lt=1, description="share of residual branches left out in training [1]")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        from transformers import SegformerConfig

        smallest = params.size == "b0"
        config: Any = SegformerConfig(
            num_labels=params.classes,
            depths=DEPTHS[params.size],
            hidden_sizes=[32, 64, 160, 256] if smallest else [64, 128, 320, 512],
            decoder_hidden_size=256 if params.size in ("b0", "b1") else 768,
            drop_path_rate=params.drop_path,
            classifier_dropout_prob=0.0,
        )
        self.normalise = Normalise()
        self.network = network("SegformerForSemanticSegmentation", config, params.weights, ("decode_head",))

    def logits(self, picture: Tensor) -> Tensor:
        scores: Tensor = self.network(pixel_values=self.normalise(picture)).logits
        return resized(scores, picture.shape[-2:])
