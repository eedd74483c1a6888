"""One score for a whole map."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from dirlearn.critics.critic import Critic, perceptron, stem
from isp_sim.parameters import StageParams, Structural


class Global(Critic):
    """r (N, C, h, w) and images x (M, D, H, W), each pooled to a small grid and embedded: scores (N, M, 1).

    Sees what a map says as a whole, and little of where; the images pass a stem of strided convolutions first.
    """

    takes = "maps"
    source = "Hjelm et al. 2019 [Hjelm2019]"

    class Params(StageParams):
        grid: Annotated[int, Structural] = Field(2, ge=1, le=16, description="side of the pooled grid [cells]")
        width: Annotated[int, Structural] = Field(128, ge=1, le=4096, description="channels of the stem [1]")
        hidden: Annotated[int, Structural] = Field(256, ge=1, le=8192, description="units of a hidden layer [1]")
        layers: Annotated[int, Structural] = Field(1, ge=0, le=16, description="hidden layers [1]")
        embedding: Annotated[int, Structural] = Field(128, ge=1, le=8192, description="size of the embeddings [1]")

    def __init__(self, params: Params, *, r_channels: int, x_channels: int = 3, stride: int = 1) -> None:
        super().__init__(params, r_channels=r_channels, x_channels=x_channels, stride=stride)
        self.stem = stem(x_channels, params.width, stride)
        self.of_r, self.of_x = (
            perceptron(c * params.grid**2, params.hidden, params.layers, params.embedding)
            for c in (r_channels, params.width)
        )

    def forward(self, r: Tensor, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        grid = self.params.grid
        g: Tensor = self.of_r(adaptive_avg_pool2d(r, grid).flatten(1))
        h: Tensor = self.of_x(adaptive_avg_pool2d(self.stem(x), grid).flatten(1))
        scores = g @ h.T / math.sqrt(self.params.embedding)
        return scores.unsqueeze(-1)
