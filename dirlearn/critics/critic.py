"""What a critic is, and the blocks that critics are made of."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from dirlearn.component import Component


class Critic(Component, ABC):
    """Scores every r of a batch with every x of another.

    No score may depend on the other pairs: no batch statistics, so that a score is the same whatever the batch, the
    number of processes, and the mode.

    Parameters
    ----------
    params
        An instance of `Params`.
    r_channels
        Channels of r, or features of a vector.
    x_channels
        Channels of x, or features of a vector.
    stride
        How many pixels of x lie in one cell of r, each way. Nothing to vectors.
    """

    takes: ClassVar[Literal["vectors", "maps"]]
    """``vectors``: r (N, C) and x (M, D). ``maps``: r (N, C, h, w) and images x (M, D, H, W)."""
    gives: ClassVar[Literal["scores", "log_density"]] = "scores"
    """What an estimator's `takes` must be: any number, or log q(x_j | r_i)."""
    extra_columns: int = 0
    """Scores with other places of the same image, appended as columns: see `product_pairs`."""

    def __init__(self, params: Any, *, r_channels: int, x_channels: int = 3, stride: int = 1) -> None:
        super().__init__(params)
        self.r_channels, self.x_channels, self.stride = r_channels, x_channels, stride

    @abstractmethod
    def forward(self, r: Tensor, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """The scores: (N, M) of vectors, (N, M + extra_columns, L) of maps with L places.

        Parameters
        ----------
        r, x
            See `takes`.
        rng
            For a critic that draws; without it, it chooses the same every time.
        """


def perceptron(inputs: int, hidden: int, layers: int, outputs: int) -> nn.Sequential:
    """`layers` hidden layers of `hidden` units with ReLU, then a linear one."""
    sizes = [inputs, *[hidden] * layers]
    blocks: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        blocks += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*blocks, nn.Linear(sizes[-1], outputs))


def groups(channels: int) -> int:
    """Groups of a GroupNorm: 8, or the most below that divide the channels."""
    return next(g for g in range(min(8, channels), 0, -1) if channels % g == 0)


class Projection(nn.Module):
    """1x1 convolutions with a linear shortcut that begins near the identity, (N, C, h, w) to (N, D, h, w).

    Each place is normalised over its own channels, so a score's size does not grow with them.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.bent = nn.Sequential(nn.Conv2d(channels, outputs, 1), nn.ReLU(), nn.Conv2d(outputs, outputs, 1))
        self.straight = nn.Conv2d(channels, outputs, 1, bias=False)
        self.norm = nn.LayerNorm(outputs)
        with torch.no_grad():
            self.straight.weight.uniform_(-0.01, 0.01)
            same = min(channels, outputs)
            self.straight.weight[range(same), range(same)] = 1.0

    def forward(self, features: Tensor) -> Tensor:
        both = self.bent(features) + self.straight(features)
        normalised: Tensor = self.norm(both.movedim(1, -1))
        return normalised.movedim(-1, 1)


def stem(channels: int, width: int, stride: int) -> nn.Sequential:
    """Convolutions that bring an image to a grid of one cell each `stride` pixels, (N, C, H, W) to (N, width, h, w).

    Each halves the grid and doubles the channels, up to `width`. A stride that is no power of two is left to the
    caller's pooling.
    """
    halvings = max(int(stride).bit_length() - 1, 0)
    blocks: list[nn.Module] = []
    last = channels
    for i in range(halvings):
        wide = max(min(width, width >> (halvings - 1 - i)), min(width, 16))
        blocks += [nn.Conv2d(last, wide, 3, stride=2, padding=1), nn.GroupNorm(groups(wide), wide), nn.ReLU()]
        last = wide
    return nn.Sequential(*blocks, nn.Conv2d(last, width, 3, padding=1))
