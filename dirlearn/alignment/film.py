"""Alignment by a gain and an offset for each channel."""

from __future__ import annotations

from torch import Tensor, nn

from dirlearn.alignment.alignment import Cascade


class _FiLM(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(width, width, 3, padding=1)
        self.read = nn.Sequential(nn.Linear(channels, width), nn.LeakyReLU(0.2), nn.Linear(width, 2 * width))

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        gain, offset = self.read(pilot.mean(dim=(2, 3)))[..., None, None].chunk(2, dim=1)
        modulated: Tensor = self.convolve(features) * (1 + gain) + offset
        return modulated


class FiLM(Cascade):
    """Feature-wise modulation: gains and offsets of the channels, read from the pilot's averages over the picture."""

    source = "Perez et al. 2018 [Perez2018]"

    def layer(self, width: int, channels: int) -> nn.Module:
        return _FiLM(width, channels)
