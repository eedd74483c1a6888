"""The mirror of the small encoder."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from dirlearn.decoders.decoder import Decoder
from dirlearn.layers import GatedBlock
from isp_sim.parameters import StageParams


class Light(Decoder):
    """Gated residual blocks on the representation's grid, then a shuffle of channels into pixels."""

    source = "blocks after Chen et al. 2022 [Chen2022]"

    class Params(StageParams):
        width: int = Field(64, ge=8, le=1024, description="channels of the blocks")
        blocks: int = Field(4, ge=0, le=64, description="residual blocks")

    def __init__(self, params: Params, channels: int, stride: int) -> None:
        super().__init__(params)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, params.width, 3, padding=1),
            *(GatedBlock(params.width) for _ in range(params.blocks)),
            nn.Conv2d(params.width, 3 * stride**2, 3, padding=1),
            nn.PixelShuffle(stride),
        )

    def body(self, r: Tensor) -> Tensor:
        picture: Tensor = self.layers(r)
        return picture
