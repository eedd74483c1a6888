"""A residual encoder."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field
from torch import Tensor, nn

from dirlearn.encoders.encoder import Encoder
from dirlearn.layers import NORMALISATIONS, Normalisation, ResidualBlock
from isp_sim.parameters import StageParams


class ResNet(Encoder):
    """Residual blocks at every size, halved by convolutions of stride 2."""

    source = "He et al. 2016 [He2016]"

    class Params(StageParams):
        depth: int = Field(3, ge=1, le=6, description="times the picture is halved; the stride is 2 to this power")
        base: int = Field(48, ge=4, le=512, description="channels at full size; doubled by each halving, up to 8 times")
        blocks: int = Field(2, ge=1, le=32, description="residual blocks at each size but the first")
        channels: int = Field(128, ge=1, le=1024, description="of the representation")
        norm: Normalisation = Field("layer", description=NORMALISATIONS)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        widths = [min(params.base << i, 8 * params.base) for i in range(params.depth + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1), nn.ReLU(inplace=True)]
        for before, after in pairwise(widths):
            layers.append(nn.Conv2d(before, after, 4, 2, 1))
            layers += [ResidualBlock(after, params.norm) for _ in range(params.blocks)]
        self.stride, self.channels, self.width = 2**params.depth, params.channels, widths[-1]
        self.layers = nn.Sequential(*layers)
        self.head = self.make_head(self.width)

    def trunk(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features

    def make_head(self, width: int) -> nn.Module:
        return nn.Sequential(nn.ReLU(), nn.Conv2d(width, 2 * self.channels, 3, padding=1))
