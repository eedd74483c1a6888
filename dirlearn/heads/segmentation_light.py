"""A small network for semantic segmentation that trains on a CPU."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.heads.head import Head
from dirlearn.heads.semantic import SemanticHead, resized
from dirlearn.layers import ChannelNorm, ResidualBlock, padded


class SegmentationLight(SemanticHead):
    """A U-Net at half the picture's size: residual blocks, four scales, a summary of the picture at the lowest."""

    source = "Ronneberger et al. 2015 [Ronneberger2015]"

    class Params(Head.Params):
        width: int = Field(24, ge=4, le=512, description="channels at half the picture's size; doubled at every level")
        levels: int = Field(3, ge=1, le=5, description="times that the size is halved again")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        widths = [params.width << level for level in range(params.levels + 1)]
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 2, 1), ChannelNorm(widths[0]))
        self.down, self.shrink, self.grow, self.up = (nn.ModuleList() for _ in range(4))
        for fine, coarse in pairwise(widths):
            self.down.append(ResidualBlock(fine, "layer"))
            self.shrink.append(nn.Sequential(nn.Conv2d(fine, coarse, 2, 2), ChannelNorm(coarse)))
            self.grow.append(nn.Conv2d(coarse, fine, 1))
            self.up.append(ResidualBlock(fine, "layer"))
        self.bottom = ResidualBlock(widths[-1], "layer")
        self.summary = nn.Conv2d(widths[-1], widths[-1], 1)
        self.classify = nn.Conv2d(widths[0], params.classes, 1)
        self.stride = 2 << params.levels

    def logits(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        features, skips = self.stem(2 * padded(picture, self.stride) - 1), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            features = block(features)
            skips.append(features)
            features = shrink(F.gelu(features))
        features = self.bottom(features)
        features = features + self.summary(features.mean(dim=(2, 3), keepdim=True))
        for grow, block in zip(reversed(self.grow), reversed(self.up), strict=True):
            skip = skips.pop()
            features = block(skip + resized(grow(F.gelu(features)), skip.shape[-2:]))
        scores = self.classify(F.gelu(features))
        return resized(scores, (2 * scores.shape[-2], 2 * scores.shape[-1]))[..., :height, :width]
