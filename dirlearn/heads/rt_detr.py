"""RT-DETR, through transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field
from torch import Tensor

from dirlearn.heads.detection import DetectionHead, config_of, in_pixels, normalised, surest
from dirlearn.heads.head import Head
from dirlearn.heads.pretrained import WEIGHTS, network
from dirlearn.targets import Boxes, ScoredBoxes

Size = Literal["tiny", "r18", "r50"]
BASIC: Final[Mapping[Size, Mapping[str, Any]]] = {
    "tiny": {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "layer_type": "basic"},
    "r18": {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"},
    "r50": {},
}
REST: Final[Mapping[Size, Mapping[str, Any]]] = {
    "tiny": {
        "encoder_in_channels": [32, 64, 128],
        "encoder_hidden_dim": 64,
        "d_model": 64,
        "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128,
        "decoder_in_channels": [64, 64, 64],
        "decoder_layers": 2,
        "hidden_expansion": 0.5,
    },
    "r18": {"encoder_in_channels": [128, 256, 512], "decoder_layers": 3, "hidden_expansion": 0.5},
    "r50": {},
}


class RTDETR(DetectionHead):
    """A detector of queries on a convolutional network, without suppression of doubles.

    It takes pictures without normalisation. Its normalisation has batch statistics, which are kept in use as they are.
    """

    source = "Zhao et al. 2024 [Zhao2024]"
    needs = ("transformers",)
    stride = 32

    class Params(Head.Params):
        size: Size = Field("r50", description="of the backbone: tiny, r18 or r50")
        queries: int = Field(300, ge=1, le=1000, description="objects that it can find in a picture [1]")
        detections: int = Field(300, ge=1, le=1000, description="surest findings that are given [1]")
        weights: str | None = Field(None, description=WEIGHTS)
        frozen_norms: bool = Field(
            False, description="keep the backbone's batch statistics, with weights that have them"
        )

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        backbone = config_of("RTDetrResNetConfig", out_features=["stage2", "stage3", "stage4"], **BASIC[params.size])
        config = config_of(
            "RTDetrConfig",
            backbone_config=backbone,
            num_labels=params.classes,
            num_queries=params.queries,
            # extra queries from noisy labels are drawn from the global generator
            num_denoising=0,
            freeze_backbone_batch_norms=params.frozen_norms,
            **REST[params.size],
        )
        fresh = ("model.decoder.class_embed", "model.denoising_class_embed", "model.enc_score_head", "class_embed")
        self.network = network("RTDetrForObjectDetection", config, params.weights, fresh)

    def loss(self, picture: Tensor, targets: Sequence[Boxes]) -> Tensor:
        whole = self.extended(picture)
        labels = normalised(targets, whole)
        found: Tensor = self.network(pixel_values=whole, labels=labels).loss
        return found

    def predict(self, picture: Tensor) -> Sequence[ScoredBoxes]:
        whole = self.extended(picture)
        found = self.network(pixel_values=whole)
        boxes = in_pixels(found.pred_boxes.float(), whole.shape[-2:], picture.shape[-2:])
        scores = found.logits.float().sigmoid()
        return [surest(s, b, self.params.detections) for s, b in zip(scores, boxes, strict=True)]
