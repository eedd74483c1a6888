"""What every decoder does."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

from torch import Tensor

from dirlearn.component import Component
from dirlearn.encoders.encoder import Encoder
from dirlearn.layers import cropped


class Decoder(Component):
    """From representations (B, channels, h, w) to pictures near [0, 1], not clipped, cut to a size.

    No decoder has skip connections from the encoder: they would pass the representation by.
    """

    @abstractmethod
    def body(self, r: Tensor) -> Tensor:
        """Pictures near [-1, 1], `stride` times as large as the representation."""

    def forward(self, r: Tensor, size: tuple[int, int]) -> Tensor:
        return cropped(self.body(r), *size).float() * 0.5 + 0.5


def build_decoder(node: Any, encoder: Encoder) -> Decoder:
    """The decoder that a recipe names, for the representations of an encoder."""
    from dirlearn.component import build

    return cast(Decoder, build("dirlearn.decoders", node, channels=encoder.channels, stride=encoder.stride))
