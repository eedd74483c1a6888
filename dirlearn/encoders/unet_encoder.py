"""An encoder that looks at several sizes."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.encoders.encoder import Encoder
from dirlearn.layers import GatedBlock, cropped, padded
from isp_sim.parameters import StageParams


class UNetEncoder(Encoder):
    """The downward path of a U-Net; what it saw at every size is brought to the representation's and joined.

    Below the representation's size it goes on for `below` more halvings, for context; those features come back.
    """

    source = "Ronneberger et al. 2015 [Ronneberger2015]"

    class Params(StageParams):
        depth: int = Field(2, ge=1, le=5, description="halvings to the representation; its stride is 2 to this power")
        below: int = Field(1, ge=0, le=4, description="further halvings, for context")
        base: int = Field(32, ge=4, le=512, description="channels at half size; doubled by each halving, up to 8 times")
        channels: int = Field(64, ge=1, le=1024, description="of the representation")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        widths = [3, *(min(params.base << i, 8 * params.base) for i in range(params.depth + params.below))]
        self.stride, self.channels, self.width = 2**params.depth, params.channels, widths[params.depth]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 4, 2, 1), GatedBlock(after)) for before, after in pairwise(widths)
        )
        self.join = nn.Conv2d(sum(widths[1:]), self.width, 1)
        self.mix = GatedBlock(self.width)
        self.head = self.make_head(self.width)

    @property
    def multiple(self) -> int:
        return 1 << len(self.down)

    def trunk(self, x: Tensor) -> Tensor:
        size = (x.shape[-2] // self.stride, x.shape[-1] // self.stride)
        x = padded(x, self.multiple)
        seen = []
        for level, layer in enumerate(self.down, 1):
            x = layer(x)
            if level < self.params.depth:
                seen.append(F.avg_pool2d(x, 2 ** (self.params.depth - level)))
            else:
                below = level - self.params.depth
                seen.append(F.interpolate(x, scale_factor=2.0**below) if below else x)
        features: Tensor = self.mix(self.join(torch.cat(seen, dim=1)))
        return cropped(features, *size)

    def make_head(self, width: int) -> nn.Module:
        return nn.Conv2d(width, 2 * self.channels, 3, padding=1)
