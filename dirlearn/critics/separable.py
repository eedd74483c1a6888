"""A score as the scalar product of two embeddings."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor

from dirlearn.critics.critic import Critic, perceptron
from isp_sim.parameters import StageParams, Structural


class Separable(Critic):
    """T(r, x) = g(r) . h(x), two perceptrons: N + M evaluations for N x M scores. Vectors (N, C), (M, D) to (N, M)."""

    takes = "vectors"
    source = "Poole et al. 2019 [Poole2019]"

    class Params(StageParams):
        hidden: Annotated[int, Structural] = Field(256, ge=1, le=8192, description="units of a hidden layer [1]")
        layers: Annotated[int, Structural] = Field(2, ge=0, le=16, description="hidden layers [1]")
        embedding: Annotated[int, Structural] = Field(32, ge=1, le=8192, description="size of the embeddings [1]")

    def __init__(self, params: Params, *, r_channels: int, x_channels: int = 3, stride: int = 1) -> None:
        super().__init__(params, r_channels=r_channels, x_channels=x_channels, stride=stride)
        self.of_r, self.of_x = (
            perceptron(c, params.hidden, params.layers, params.embedding) for c in (r_channels, x_channels)
        )

    def forward(self, r: Tensor, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        g: Tensor = self.of_r(r)
        h: Tensor = self.of_x(x)
        return g @ h.T
