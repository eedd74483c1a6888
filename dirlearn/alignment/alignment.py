"""What every alignment does, and the three modules of the paper's that most share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from dirlearn.component import Component
from dirlearn.layers import silent
from isp_sim.parameters import StageParams


class Alignment(Component):
    """``A(r0, pilot)``: both (B, C, h, w), and so is the refined representation."""

    def __init__(self, params: Any, channels: int) -> None:
        super().__init__(params)
        self.channels = channels


class CascadeParams(StageParams):
    """The sizes of the three modules."""

    width: int = Field(128, ge=4, le=1024, description="channels inside")
    m1: int = Field(4, ge=1, le=32, description="convolutions of the front module")
    m2: int = Field(2, ge=0, le=32, description="guided layers of the middle module")
    m3: int = Field(4, ge=1, le=32, description="convolutions of the end module")
    onto: Literal["r0", "pilot"] = Field(
        "r0", description="what is refined: r0, as in the paper, or the pilot, which keeps detail where little is wrong"
    )


class Cascade(Alignment):
    """Front module, guided middle, end module [Guo2024]; their sum with r0 is the refined representation.

    Or with the pilot, which decodes to the degraded picture: what is mildly degraded need not be learnt anew then. The
    last convolution starts at zero, so that training starts from the representation as it is.
    """

    source = "Guo et al. 2024 [Guo2024]"

    class Params(CascadeParams):
        """The sizes of the three modules."""

    def __init__(self, params: Any, channels: int) -> None:
        super().__init__(params, channels)
        width, self.onto = params.width, params.onto
        self.front = nn.ModuleList(
            [nn.Conv2d(channels if i == 0 else width, width, 3, padding=1) for i in range(params.m1)]
        )
        self.middle = nn.ModuleList([self.layer(width, channels) for _ in range(params.m2)])
        self.end = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(params.m3 - 1)])
        self.last = silent(nn.Conv2d(width, channels, 3, padding=1))
        self.act = nn.LeakyReLU(0.2)

    @abstractmethod
    def layer(self, width: int, channels: int) -> nn.Module:
        """A layer ``f(features, pilot)`` from `width` to `width` channels, guided by a pilot of `channels`."""

    def guide(self, r0: Tensor, pilot: Tensor) -> Tensor:
        """What guides the middle module."""
        return pilot

    def forward(self, r0: Tensor, pilot: Tensor) -> Tensor:
        features, guide = r0, self.guide(r0, pilot)
        for i, convolution in enumerate(self.front):
            # a convolution between features of one size adds to them: so a deep cascade learns from its first steps
            features = self.act(convolution(features)) + (features if i else 0)
        skip = features
        for layer in self.middle:
            features = features + self.act(layer(features, guide))
        for convolution in self.end:
            features = features + self.act(convolution(features))
        refined: Tensor = (r0 if self.onto == "r0" else pilot) + self.last(features + skip)
        return refined


def build_alignment(node: Any, channels: int) -> Alignment:
    """The alignment that a recipe names, for representations of so many channels."""
    from dirlearn.component import build

    return cast(Alignment, build("dirlearn.alignments", node, channels=channels))


def per_sample_convolution(x: Tensor, kernels: Tensor) -> Tensor:
    """Depthwise convolution, each sample with kernels (B, C, s, s) of its own, s odd; edges are repeated."""
    height, width = x.shape[-2:]
    side = kernels.shape[-1]
    if side == 1:
        return x * kernels
    reach = side // 2
    # shifts and multiply-adds: on a CPU a convolution in B x C groups is several times slower
    padded = torch.nn.functional.pad(x, (reach,) * 4, mode="replicate")
    out = x.new_zeros(())
    for i in range(side):
        for j in range(side):
            out = out + padded[:, :, i : i + height, j : j + width] * kernels[:, :, i, j, None, None]
    return out
