"""A small encoder that trains on a CPU."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from dirlearn.encoders.encoder import Encoder
from dirlearn.layers import GatedBlock
from isp_sim.parameters import StageParams


class Light(Encoder):
    """Gated residual blocks at a quarter of the picture's size: all the work is done on few, deep pixels."""

    source = "blocks after Chen et al. 2022 [Chen2022]"

    class Params(StageParams):
        stride: Literal[2, 4, 8] = Field(4, description="of the representation [px]")
        channels: int = Field(32, ge=1, le=1024, description="of the representation")
        width: int = Field(64, ge=8, le=1024, description="channels of the blocks")
        blocks: int = Field(4, ge=0, le=64, description="residual blocks")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.stride, self.channels, self.width = params.stride, params.channels, params.width
        self.unshuffle = nn.PixelUnshuffle(params.stride)
        self.stem = nn.Conv2d(3 * params.stride**2, params.width, 3, padding=1)
        self.blocks = nn.Sequential(*(GatedBlock(params.width) for _ in range(params.blocks)))
        self.head = self.make_head(params.width)

    def trunk(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem(self.unshuffle(x)))
        return features

    def make_head(self, width: int) -> nn.Module:
        return nn.Conv2d(width, 2 * self.channels, 3, padding=1)
