"""Layers that several networks share. None has batch statistics unless its name says so."""

from __future__ import annotations

from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Normalisation = Literal["layer", "instance", "group", "batch", "none"]
NORMALISATIONS: Final = "layer, instance, group, batch or none"


def padded(x: Tensor, stride: int) -> Tensor:
    """The picture, extended at its right and lower edge by its last pixels to a multiple of `stride`."""
    height, width = x.shape[-2:]
    if torch.compiler.is_exporting():  # sizes are open there: no branch on them, and written so that they divide
        whole = ((n, torch.arange((n + stride - 1) // stride * stride, device=x.device)) for n in (height, width))
        rows, columns = (places.clamp(max=n - 1) for n, places in whole)
        return x.index_select(-2, rows).index_select(-1, columns)
    down, right = -height % stride, -width % stride
    return F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x


def cropped(x: Tensor, height: int, width: int) -> Tensor:
    """The upper left part of a picture, (..., `height`, `width`)."""
    if torch.compiler.is_exporting():  # a slice would ask whether it is the whole, and an open size has no answer
        rows, columns = (torch.arange(n, device=x.device) for n in (height, width))
        return x.index_select(-2, rows).index_select(-1, columns)
    return x[..., :height, :width]


def pooled(x: Tensor, side: int) -> Tensor:
    """Averages over a grid of `side` x `side` cells, which share pixels where the size is no multiple of `side`."""
    if not torch.compiler.is_exporting():
        return F.adaptive_avg_pool2d(x, side)
    # the same as products of matrices: neither format has it for open sizes
    rows, columns = (_cells(n, side, x) for n in x.shape[-2:])
    return rows @ x @ columns.transpose(0, 1)


def _cells(size: int, side: int, like: Tensor) -> Tensor:
    """Weights (side, size) of each pixel in each cell."""
    cell, pixel = torch.arange(side, device=like.device)[:, None], torch.arange(size, device=like.device)
    first, end = cell * size // side, ((cell + 1) * size + side - 1) // side
    inside = ((pixel >= first) & (pixel < end)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel: local, so tiles equal the whole."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias).permute(0, 3, 1, 2)


def normalisation(kind: Normalisation, channels: int) -> nn.Module:
    """A normalisation by name.

    ``layer`` is local. ``instance`` and ``group`` take statistics of the whole picture, so a picture restored in tiles
    differs from one restored whole. ``batch`` takes those of the batch, which differ between processes and between
    training and use.
    """
    if kind == "layer":
        return ChannelNorm(channels)
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "group":
        return nn.GroupNorm(next(g for g in (8, 4, 2, 1) if channels % g == 0), channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    return nn.Identity()


def silent(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with its weights set to zero, so that at first it adds nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def picture_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over the picture, (B, C, 1, 1)."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    return mean, ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True).add(1e-5).sqrt()


class GatedBlock(nn.Module):
    """A residual block of a depthwise convolution and gates in place of activations [Chen2022].

    Without that paper's channel attention, whose average over the picture would make tiles differ from the whole.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.spread = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.reduce = nn.Conv2d(channels, channels, 1)
        self.gain1 = nn.Parameter(torch.full((1, channels, 1, 1), 0.5))
        self.gain2 = nn.Parameter(torch.full((1, channels, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.spread(self.widen(self.norm1(x))).chunk(2, dim=1)
        x = x + self.gain1 * self.mix(a * b)
        a, b = self.expand(self.norm2(x)).chunk(2, dim=1)
        out: Tensor = x + self.gain2 * self.reduce(a * b)
        return out


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, norm: Normalisation = "none") -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            normalisation(norm, channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut: Tensor = x + self.body(x)
        return shortcut
