"""The encoder of pix2pix, the paper's choice for DiRNet and DfRNet."""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field
from torch import Tensor, nn

from dirlearn.encoders.encoder import Encoder
from dirlearn.layers import NORMALISATIONS, Normalisation, normalisation
from isp_sim.parameters import StageParams


class Pix2Pix(Encoder):
    """4x4 convolutions of stride 2: 64, 128, 256, 512, 512, ... channels; the last one gives mean and log-variance.

    The original normalises by batch. Networks that must agree between processes, and between training and use, can't,
    so the default normalises the channels of each pixel. The first and the last layer are not normalised.
    """

    source = "Isola et al. 2017 [Isola2017]"

    class Params(StageParams):
        depth: int = Field(4, ge=2, le=8, description="layers; the stride is 2 to this power")
        base: int = Field(64, ge=4, le=512, description="channels of the first layer")
        channels: int = Field(256, ge=1, le=1024, description="of the representation")
        norm: Normalisation = Field("layer", description=NORMALISATIONS)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        widths = [min(params.base << i, 8 * params.base) for i in range(params.depth - 1)]
        self.stride, self.channels, self.width = 2**params.depth, params.channels, widths[-1]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 2, 1)]
        for before, after in pairwise(widths):
            layers += [
                nn.LeakyReLU(0.2, inplace=True),
                nn.Conv2d(before, after, 4, 2, 1),
                normalisation(params.norm, after),
            ]
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))
        self.head = self.make_head(self.width)

    def trunk(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x)
        return features

    def make_head(self, width: int) -> nn.Module:
        return nn.Conv2d(width, 2 * self.channels, 4, 2, 1)
