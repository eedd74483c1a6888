"""Alignment by normalising, then modulating at each place."""

from __future__ import annotations

from torch import Tensor, nn

from dirlearn.alignment.alignment import Cascade
from dirlearn.layers import picture_statistics


class _SPADE(nn.Module):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(width, width, 3, padding=1)
        self.read = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, padding=1)
        )

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        gain, offset = self.read(pilot).chunk(2, dim=1)
        # the original normalises over the batch, which differs between processes, and between training and use
        own = self.convolve(features)
        mean, sd = picture_statistics(own)
        modulated: Tensor = (own - mean) / sd * (1 + gain) + offset
        return modulated


class SPADE(Cascade):
    """Spatially adaptive normalisation: normalised over the picture, then gains and offsets at every place."""

    source = "Park et al. 2019 [Park2019]"

    def layer(self, width: int, channels: int) -> nn.Module:
        return _SPADE(width, channels)
