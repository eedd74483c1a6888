"""The paper's alignment: adaptive kernels and spatial attention, both read from the pilot."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.alignment.alignment import Cascade, CascadeParams, per_sample_convolution
from dirlearn.layers import pooled, silent

Side = Annotated[int, Field(ge=1, le=9, multiple_of=1)]


class GConv(nn.Module):
    """Convolves features with kernels made of the pilot, and adds both, mixed and weighted by attention to the pilot.

    The pilot passes 3x3 convolutions and is averaged to s x s values a channel, for every side s: k depthwise kernels.
    How the paper forms its k kernels and its attention is not said; sides 1, 3 and 5 follow He et al. 2019. That the
    attention weighs the pilot's features beside the representation's gives fine detail a way in, which kernels of a
    whole picture do not.
    """

    def __init__(self, width: int, channels: int, sides: tuple[int, ...]) -> None:
        super().__init__()
        self.sides = sides
        self.read = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 3, padding=1)
        )
        self.kernels = nn.ModuleList([silent(nn.Conv2d(width, width, 1)) for _ in sides])
        self.fuse = nn.Conv2d(len(sides) * width, width, 1)
        self.attention = nn.Conv2d(2 * width, width, 3, padding=1)
        self.attended = nn.Conv2d(2 * width, width, 1)

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        guide = self.read(pilot)
        filtered = []
        for side, make in zip(self.sides, self.kernels, strict=True):
            kernel = make(pooled(guide, side))
            # at first the identity, so that the guidance starts as nothing and grows
            kernel = F.pad(kernel.new_ones(1, 1, 1, 1), (side // 2,) * 4) + kernel
            filtered.append(per_sample_convolution(features, kernel))
        f_k: Tensor = self.fuse(torch.cat(filtered, dim=1))
        both = torch.cat([features, guide], dim=1)
        f_a: Tensor = self.attended(both) * torch.sigmoid(self.attention(both))
        return f_k + f_a


class GuidedParams(CascadeParams):
    """The sizes of the three modules, and of the kernels."""

    sides: tuple[Side, ...] = Field(
        (1, 3, 5), min_length=1, max_length=5, description="of the adaptive kernels, odd [px]"
    )


class Guided(Cascade):
    """The paper's alignment. Its kernels come from averages over the whole picture."""

    source = "Guo et al. 2024 [Guo2024]; adaptive kernels after He et al. 2019 [He2019]"

    class Params(GuidedParams):
        """The sizes of the three modules, and of the kernels."""

    def __init__(self, params: Any, channels: int) -> None:
        if even := [side for side in params.sides if side % 2 == 0]:
            raise ValueError(f"alignment: sides of kernels must be odd; found {even[0]}")
        super().__init__(params, channels)

    def layer(self, width: int, channels: int) -> nn.Module:
        return GConv(width, channels, self.params.sides)
