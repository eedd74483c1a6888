"""Alignment by a gain and an offset for each channel and place."""

from __future__ import annotations

from torch import Tensor, nn

from dirlearn.alignment.alignment import Cascade


class _SFT(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(width, width, 3, padding=1)
        self.read = nn.Sequential(nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 1))

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        gain, offset = self.read(pilot).chunk(2, dim=1)
        modulated: Tensor = self.convolve(features) * (1 + gain) + offset
        return modulated


class SFT(Cascade):
    """Spatial feature transform: gains and offsets at every place, read from the pilot there."""

    source = "Wang et al. 2018 [Wang2018]"

    def layer(self, width: int, channels: int) -> nn.Module:
        return _SFT(width, channels)
