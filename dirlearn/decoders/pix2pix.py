"""The mirror of pix2pix's encoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from dirlearn.decoders.decoder import Decoder
from dirlearn.layers import NORMALISATIONS, Normalisation, normalisation
from isp_sim.parameters import StageParams


class Pix2Pix(Decoder):
    """Layers of stride 2 upwards: ..., 512, 256, 128, 64, 3 channels, without the original's skips and dropout."""

    source = "Isola et al. 2017 [Isola2017]; resize and convolve: Odena et al. 2016 [Odena2016]"

    class Params(StageParams):
        base: int = Field(64, ge=4, le=512, description="channels of the last but one layer")
        norm: Normalisation = Field("layer", description=NORMALISATIONS)
        upsample: Literal["transposed", "resize"] = Field(
            "transposed",
            description="4x4 transposed convolution; or nearest neighbour, then 3x3, free of checkerboards",
        )

    def __init__(self, params: Params, channels: int, stride: int) -> None:
        super().__init__(params)
        if stride & (stride - 1) or stride < 2:
            raise ValueError(f"decoder pix2pix needs a stride that is a power of two, from 2; found {stride}")
        depth = stride.bit_length() - 1
        widths = [channels, *(min(params.base << i, 8 * params.base) for i in reversed(range(depth - 1))), 3]
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            if i:
                layers.append(nn.ReLU(inplace=True))
            if params.upsample == "transposed":
                layers.append(nn.ConvTranspose2d(before, after, 4, 2, 1))
            else:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1)]
            if after != 3:
                layers.append(normalisation(params.norm, after))
        self.layers = nn.Sequential(*layers)

    def body(self, r: Tensor) -> Tensor:
        picture: Tensor = self.layers(r)
        return picture
