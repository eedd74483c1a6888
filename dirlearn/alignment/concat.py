"""Alignment by laying the pilot beside the representation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dirlearn.alignment.alignment import Cascade


class _Beside(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width + channels, width, 3, padding=1)

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        mixed: Tensor = self.mix(torch.cat([features, pilot], dim=1))
        return mixed


class Concat(Cascade):
    """The pilot's channels join those of the features before each guided convolution."""

    source = ""

    def layer(self, width: int, channels: int) -> nn.Module:
        return _Beside(width, channels)
