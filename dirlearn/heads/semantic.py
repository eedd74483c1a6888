"""Heads that give every pixel a class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dirlearn.heads.head import Head
from dirlearn.targets import IGNORE, SemanticMap


class SemanticHead(Head):
    """A head whose output is a score of every class at every pixel, trained by cross-entropy."""

    takes = SemanticMap

    @abstractmethod
    def logits(self, picture: Tensor) -> Tensor:
        """Scores (B, classes, H, W) at the picture's size."""

    def loss(self, picture: Tensor, targets: Sequence[SemanticMap]) -> Tensor:
        maps = torch.stack([target.classes for target in targets]).to(picture.device)
        return cross_entropy(self.logits(picture), maps)

    def predict(self, picture: Tensor) -> Sequence[SemanticMap]:
        return [SemanticMap(classes) for classes in self.logits(picture).argmax(dim=1)]


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of pixels that count, summed, over the number of all pixels.

    Over all, so that a batch which several processes share has the mean of their losses, and a picture of which nothing
    is known has the loss 0.
    """
    summed = F.cross_entropy(logits.float(), classes, ignore_index=IGNORE, reduction="sum")
    return summed / classes.numel()


def resized(scores: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Scores at another size, bilinear, pixel areas aligned."""
    if scores.shape[-2:] == tuple(size):
        return scores
    return F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
