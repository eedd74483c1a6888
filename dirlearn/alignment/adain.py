"""Alignment by the pilot's statistics."""

from __future__ import annotations

from torch import Tensor, nn

from dirlearn.alignment.alignment import Cascade
from dirlearn.layers import picture_statistics


class _AdaIN(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(width, width, 3, padding=1)
        self.bring = nn.Conv2d(channels, width, 1)

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        own, guide = self.convolve(features), self.bring(pilot)
        mean, sd = picture_statistics(own)
        wanted_mean, wanted_sd = picture_statistics(guide)
        moved: Tensor = (own - mean) / sd * wanted_sd + wanted_mean
        return moved


class AdaIN(Cascade):
    """Adaptive instance normalisation: every channel takes on mean and deviation of the pilot's, over the picture."""

    source = "Huang and Belongie 2017 [Huang2017]"

    def layer(self, width: int, channels: int) -> nn.Module:
        return _AdaIN(width, channels)
