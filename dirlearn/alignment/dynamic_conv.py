"""Alignment by a mixture of convolutions."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.alignment.alignment import Cascade, CascadeParams


class _DynamicConv(nn.Module):
    def __init__(self, width: int, channels: int, experts: int, temperature: float) -> None:
        super().__init__()
        self.experts, self.temperature = experts, temperature
        self.convolve = nn.Conv2d(width, experts * width, 3, padding=1)
        self.choose = nn.Sequential(nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, experts))

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        weights = F.softmax(self.choose(pilot.mean(dim=(2, 3))) / self.temperature, dim=1)
        # mixing what the experts give is the same as mixing their kernels, and needs no groups
        made = self.convolve(features).unflatten(1, (self.experts, -1))
        return torch.einsum("bk,bkchw->bchw", weights, made)


class DynamicConvParams(CascadeParams):
    """The sizes of the three modules, and of the mixture."""

    experts: int = Field(4, ge=1, le=32, description="convolutions that are mixed")
    temperature: float = Field(3.0, gt=0, le=100, description="of the weights' softmax; high ones mix evenly")


class DynamicConv(Cascade):
    """Dynamic convolution: kernels mixed with weights that are read from the pilot's averages over the picture."""

    source = "Chen et al. 2020 [Chen2020]"

    class Params(DynamicConvParams):
        """The sizes of the three modules, and of the mixture."""

    def layer(self, width: int, channels: int) -> nn.Module:
        params: Any = self.params
        return _DynamicConv(width, channels, params.experts, params.temperature)
