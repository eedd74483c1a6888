"""Alignment by attention of the representation to the pilot."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.alignment.alignment import Cascade, CascadeParams


class _CrossAttention(nn.Module):
    """Attention between channels: its cost grows with the picture's size, not with its square."""

    def __init__(self, width: int, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(width, width, 1)
        self.key_value = nn.Conv2d(channels, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, features: Tensor, pilot: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        query = self.query(features).flatten(2).unflatten(1, (self.heads, -1))
        key, value = (part.flatten(2).unflatten(1, (self.heads, -1)) for part in self.key_value(pilot).chunk(2, dim=1))
        scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(-1, -2) * self.temperature
        mixed: Tensor = self.out((scores.softmax(dim=-1) @ value).flatten(1, 2).unflatten(-1, (height, width)))
        return mixed


class CrossAttentionParams(CascadeParams):
    """The sizes of the three modules, and the heads."""

    heads: int = Field(4, ge=1, le=32, description="of the attention; a divisor of the width")


class CrossAttention(Cascade):
    """Channels of the representation attend to channels of the pilot, over the whole picture."""

    source = "Vaswani et al. 2017 [Vaswani2017]; between channels: Zamir et al. 2022 [Zamir2022]"

    class Params(CrossAttentionParams):
        """The sizes of the three modules, and the heads."""

    def __init__(self, params: Any, channels: int) -> None:
        if params.width % params.heads:
            raise ValueError(f"cross_attention: {params.width} channels can't be shared out among {params.heads} heads")
        super().__init__(params, channels)

    def layer(self, width: int, channels: int) -> nn.Module:
        params: Any = self.params
        return _CrossAttention(width, channels, params.heads)
