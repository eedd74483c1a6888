"""A restoration network without nonlinear activations."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from dirlearn.component import Component
from dirlearn.layers import GatedBlock, cropped, padded, silent
from isp_sim.parameters import StageParams


class NAFNet(Component):
    """A U-Net of gated blocks that adds a correction to the picture; without channel attention, so tiles are exact."""

    source = "Chen et al. 2022 [Chen2022]"

    class Params(StageParams):
        width: int = Field(16, ge=4, le=256, description="channels at full size; doubled at every level")
        encoder: tuple[int, ...] = Field(
            (1, 1, 2), min_length=1, max_length=5, description="blocks of each level, down"
        )
        middle: int = Field(2, ge=0, le=64, description="blocks at the bottom")
        decoder: tuple[int, ...] = Field((1, 1, 1), min_length=1, max_length=5, description="blocks of each level, up")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        if len(params.encoder) != len(params.decoder):
            raise ValueError(f"nafnet: {len(params.encoder)} levels down and {len(params.decoder)} up must be as many")
        width = params.width
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.down, self.shrink, self.grow, self.up = (nn.ModuleList() for _ in range(4))
        for blocks in params.encoder:
            self.down.append(nn.Sequential(*(GatedBlock(width) for _ in range(blocks))))
            self.shrink.append(nn.Conv2d(width, 2 * width, 2, 2))
            width *= 2
        self.bottom = nn.Sequential(*(GatedBlock(width) for _ in range(params.middle)))
        for blocks in params.decoder:
            self.grow.append(nn.Sequential(nn.Conv2d(width, 2 * width, 1, bias=False), nn.PixelShuffle(2)))
            width //= 2
            self.up.append(nn.Sequential(*(GatedBlock(width) for _ in range(blocks))))
        self.last = silent(nn.Conv2d(width, 3, 3, padding=1))

    @property
    def multiple(self) -> int:
        """Pictures are extended to a multiple of this [px]."""
        return 1 << len(self.down)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        features, skips = self.first(padded(x, self.multiple)), []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            features = blocks(features)
            skips.append(features)
            features = shrink(features)
        features = self.bottom(features)
        for grow, blocks in zip(self.grow, self.up, strict=True):
            features = blocks(grow(features) + skips.pop())
        restored: Tensor = x + cropped(self.last(features), height, width).float()
        return restored
