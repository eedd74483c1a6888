"""YOLOS, through transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field
from torch import Tensor

from dirlearn.heads.detection import DetectionHead, config_of, in_pixels, normalised, surest
from dirlearn.heads.head import Head
from dirlearn.heads.pretrained import WEIGHTS, Normalise, network
from dirlearn.targets import Boxes, ScoredBoxes

Size = Literal["tiny", "small", "base"]
SIZES: Final[Mapping[Size, Mapping[str, Any]]] = {
    "tiny": {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_attention_heads": 3,
        "image_size": [800, 1333],
        "use_mid_position_embeddings": False,
    },
    "small": {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "image_size": [512, 864]},
    "base": {"image_size": [800, 1344]},
}


class YOLOS(DetectionHead):
    """A plain vision transformer whose further tokens become objects; positions are interpolated to any size."""

    source = "Fang et al. 2021 [Fang2021]"
    needs = ("transformers",)
    stride = 16

    class Params(Head.Params):
        size: Size = Field("tiny", description="tiny, small or base")
        queries: int = Field(100, ge=1, le=1000, description="objects that it can find in a picture [1]")
        weights: str | None = Field(None, description=WEIGHTS)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        config = config_of(
            "YolosConfig", num_labels=params.classes, num_detection_tokens=params.queries, **SIZES[params.size]
        )
        fresh = ("class_labels_classifier.layers.2", "class_labels_classifier", "bbox_predictor")
        self.normalise = Normalise()
        self.network = network("YolosForObjectDetection", config, params.weights, fresh)

    def loss(self, picture: Tensor, targets: Sequence[Boxes]) -> Tensor:
        whole = self.extended(picture)
        labels = normalised(targets, whole)
        found: Tensor = self.network(pixel_values=self.normalise(whole), labels=labels).loss
        return found

    def predict(self, picture: Tensor) -> Sequence[ScoredBoxes]:
        whole = self.extended(picture)
        found = self.network(pixel_values=self.normalise(whole))
        boxes = in_pixels(found.pred_boxes.float(), whole.shape[-2:], picture.shape[-2:])
        scores = found.logits.float().softmax(dim=-1)[..., :-1]  # the last class is none
        return [surest(s, b, self.params.queries) for s, b in zip(scores, boxes, strict=True)]
