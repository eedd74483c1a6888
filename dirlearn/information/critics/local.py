"""Deep InfoMax's local critic."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from dirlearn.component import Component
from isp_sim.parameters import StageParams


class Local(Component):
    """Scores a representation and a picture at every position of the representation, by a dot product."""

    class Params(StageParams):
        units: int = Field(64, ge=1, le=4096, description="length of the vectors that are compared")

    def __init__(self, params: Params, channels: int, stride: int) -> None:
        super().__init__(params)
        units = params.units
        self.picture = nn.Sequential(
            nn.Conv2d(3, units, stride, stride), nn.GELU(), nn.Conv2d(units, units, 3, padding=1), nn.GELU(),
            nn.Conv2d(units, units, 1),
        )  # fmt: skip
        self.representation = nn.Sequential(nn.Conv2d(channels, units, 1), nn.GELU(), nn.Conv2d(units, units, 1))
        self.scale = units**-0.5

    def forward(self, r: Tensor, x: Tensor) -> Tensor:
        """Scores (N, N, L) of every representation with every picture, at each position."""
        a = self.representation(r).flatten(2).permute(2, 0, 1)
        b = self.picture(x).flatten(2).permute(2, 1, 0)
        scores: Tensor = torch.bmm(a, b).permute(1, 2, 0) * self.scale
        return scores
