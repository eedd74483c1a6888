"""The network of the light heads."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.heads.semantic import resized
from dirlearn.layers import ChannelNorm, ResidualBlock


class UNet(nn.Module):
    """Features at half the picture's size, from blocks at several sizes and a summary of the picture at the smallest.

    Pictures have sides that are multiples of `stride`.
    """

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        widths = [width << level for level in range(levels + 1)]
        self.stride = 2 << levels
        self.stem = nn.Sequential(nn.Conv2d(3, width, 4, 2, 1), ChannelNorm(width))
        self.down, self.shrink, self.grow, self.up = (nn.ModuleList() for _ in range(4))
        for fine, coarse in pairwise(widths):
            self.down.append(ResidualBlock(fine, "layer"))
            self.shrink.append(nn.Sequential(nn.Conv2d(fine, coarse, 2, 2), ChannelNorm(coarse)))
            self.grow.append(nn.Conv2d(coarse, fine, 1))
            self.up.append(ResidualBlock(fine, "layer"))
        self.bottom = ResidualBlock(widths[-1], "layer")
        self.summary = nn.Conv2d(widths[-1], widths[-1], 1)

    def forward(self, picture: Tensor) -> Tensor:
        features, skips = self.stem(2 * picture - 1), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            features = block(features)
            skips.append(features)
            features = shrink(F.gelu(features))
        features = self.bottom(features)
        features = features + self.summary(features.mean(dim=(2, 3), keepdim=True))
        for grow, block in zip(reversed(self.grow), reversed(self.up), strict=True):
            skip = skips.pop()
            features = block(skip + resized(grow(F.gelu(features)), skip.shape[-2:]))
        return F.gelu(features)
