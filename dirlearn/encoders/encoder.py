"""What every encoder gives: features of a trunk, and a Gaussian over representations."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from dirlearn.component import Component
from dirlearn.layers import padded

LARGEST_LOGVAR: Final = 9.21
"""Log-variances are clamped to this, as Hwang et al. 2020 do, and to its negative."""


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over representations (B, C, h, w), and the features (B, F, h', w') it was read from."""

    mean: Tensor
    logvar: Tensor
    features: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """A draw that carries gradients, from standard normal `noise` of the mean's shape."""
        return self.mean + torch.exp(0.5 * self.logvar) * noise


class Encoder(Component):
    """From pictures (B, 3, H, W) in [0, 1], of any size, to posteriors over (B, channels, ceil(H / stride), ...).

    Attributes
    ----------
    stride
        Pixels of the picture to one of the representation.
    channels
        Of the representation.
    width
        Channels of the trunk's features.
    """

    stride: int
    channels: int
    width: int
    head: nn.Module

    @property
    def multiple(self) -> int:
        """Pictures are extended to a multiple of this [px]."""
        return self.stride

    @abstractmethod
    def trunk(self, x: Tensor) -> Tensor:
        """Features of pictures in [-1, 1] whose size is a multiple of the stride."""

    @abstractmethod
    def make_head(self, width: int) -> nn.Module:
        """A layer from features of `width` channels to mean and log-variance, stacked along channels."""

    def forward(self, x: Tensor) -> Posterior:
        features = self.trunk(padded(x, self.stride) * 2 - 1)
        return _posterior(self.head(features), features)


class JointEncoder(nn.Module):
    """The auxiliary network of the upper bound: a Gaussian over representations, given both views.

    As in Hwang et al. 2020 it reads the features that the marginal encoder's trunk made of each view, side by side,
    through one layer of the same kind as the encoder's own last.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.head = encoder.make_head(2 * encoder.width)

    def forward(self, first: Tensor, second: Tensor) -> Posterior:
        features = torch.cat([first, second], dim=1)
        return _posterior(self.head(features), features)


def _posterior(stacked: Tensor, features: Tensor) -> Posterior:
    mean, logvar = stacked.float().chunk(2, dim=1)
    return Posterior(mean, logvar.clamp(-LARGEST_LOGVAR, LARGEST_LOGVAR), features)


def build_encoder(node: Any) -> Encoder:
    """The encoder that a recipe names."""
    from dirlearn.component import build

    return cast(Encoder, build("dirlearn.encoders", node))
