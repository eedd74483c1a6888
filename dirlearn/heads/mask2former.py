"""Mask2Former, through transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field
from torch import Tensor, nn

from dirlearn.heads.detection import config_of
from dirlearn.heads.head import Head
from dirlearn.heads.pretrained import WEIGHTS, Normalise, network
from dirlearn.heads.semantic import resized
from dirlearn.layers import padded
from dirlearn.targets import Masks, ScoredMasks

Size = Literal["nano", "tiny", "small", "base"]
BACKBONES: Final[Mapping[Size, Mapping[str, Any]]] = {
    "nano": {"embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8], "window_size": 7},
    "tiny": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7},
    "small": {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24], "window_size": 7},
    "base": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 12},
}
REST: Final[Mapping[Size, Mapping[str, Any]]] = {
    "nano": {
        "feature_size": 32,
        "mask_feature_size": 32,
        "hidden_dim": 32,
        "encoder_feedforward_dim": 64,
        "dim_feedforward": 64,
        "num_attention_heads": 4,
        "encoder_layers": 1,
        "decoder_layers": 3,
        "train_num_points": 1024,
    }
}
STRIDE: Final = 32


class Mask2Former(Head):
    """Queries that attend only to where they see their object, on the hierarchical transformer Swin: instances.

    Its loss compares masks at points that it draws from torch's own generator, whose state is part of a checkpoint.
    """

    source = "Cheng et al. 2022 [Cheng2022]"
    takes = Masks
    needs = ("transformers",)

    class Params(Head.Params):
        size: Size = Field("tiny", description="of the backbone: nano, tiny, small or base")
        queries: int = Field(100, ge=1, le=1000, description="objects that it can find in a picture [1]")
        detections: int = Field(100, ge=1, le=1000, description="surest findings that are given [1]")
        weights: str | None = Field(None, description=WEIGHTS)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        backbone = config_of(
            "SwinConfig",
            out_features=["stage1", "stage2", "stage3", "stage4"],
            drop_path_rate=0.0,
            **BACKBONES[params.size],
        )
        config = config_of(
            "Mask2FormerConfig",
            backbone_config=backbone,
            num_labels=params.classes,
            num_queries=params.queries,
            **REST.get(params.size, {}),
        )
        self.normalise = Normalise()
        fresh = ("class_predictor", "criterion")
        self.network = network("Mask2FormerForUniversalSegmentation", config, params.weights, fresh)
        for name, parameter in self.network.named_parameters():
            if ".swin.layernorm." in name:  # it is not used, and several processes would wait for its gradient
                parameter.requires_grad_(False)

    def loss(self, picture: Tensor, targets: Sequence[Masks]) -> Tensor:
        whole = padded(picture, STRIDE)
        down, right = (a - b for a, b in zip(whole.shape[-2:], picture.shape[-2:], strict=True))
        single = [~target.crowd for target in targets]
        found = self.network(
            pixel_values=self.normalise(whole),
            mask_labels=[
                nn.functional.pad(t.masks[s].float(), (0, right, 0, down)).to(whole.device)
                for t, s in zip(targets, single, strict=True)
            ],
            class_labels=[t.classes[s].to(whole.device) for t, s in zip(targets, single, strict=True)],
        )
        loss: Tensor = found.loss.squeeze()
        return loss

    def predict(self, picture: Tensor) -> Sequence[ScoredMasks]:
        height, width = picture.shape[-2:]
        whole = padded(picture, STRIDE)
        found = self.network(pixel_values=self.normalise(whole))
        scores = found.class_queries_logits.float().softmax(dim=-1)[..., :-1]  # the last class is none
        masks = resized(found.masks_queries_logits.float(), whole.shape[-2:])[..., :height, :width]
        return [self._surest(s, m) for s, m in zip(scores, masks, strict=True)]

    def _surest(self, scores: Tensor, logits: Tensor) -> ScoredMasks:
        """Pairs of a query and a class, rated by the class and by how sure the mask is within itself."""
        best, flat = scores.flatten().topk(min(self.params.detections, scores.numel()))
        chosen = logits[flat // scores.shape[1]]
        masks = chosen > 0
        within = (chosen.sigmoid() * masks).flatten(1).sum(dim=1) / masks.flatten(1).sum(dim=1).clamp_min(1)
        rated = best * within
        seen = masks.flatten(1).any(dim=1)
        return ScoredMasks(masks[seen], rated[seen], (flat % scores.shape[1])[seen])
