"""A score from both vectors at once."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from dirlearn.critics.critic import Critic, perceptron
from isp_sim.parameters import StageParams, Structural


class Concatenated(Critic):
    """T(r, x) = f([r, x]), one perceptron over all pairs. Vectors (N, C), (M, D) to (N, M).

    Fits more than a separable critic at the price of N x M evaluations.
    """

    takes = "vectors"
    source = "Belghazi et al. 2018 [Belghazi2018]; Poole et al. 2019 [Poole2019]"

    class Params(StageParams):
        hidden: Annotated[int, Structural] = Field(256, ge=1, le=8192, description="units of a hidden layer [1]")
        layers: Annotated[int, Structural] = Field(2, ge=1, le=16, description="hidden layers [1]")

    def __init__(self, params: Params, *, r_channels: int, x_channels: int = 3, stride: int = 1) -> None:
        super().__init__(params, r_channels=r_channels, x_channels=x_channels, stride=stride)
        # the first layer of [r, x] is a sum of one of r and one of x, so that it is not computed for every pair
        self.of_r = nn.Linear(r_channels, params.hidden)
        self.of_x = nn.Linear(x_channels, params.hidden, bias=False)
        self.rest = nn.Sequential(nn.ReLU(), *perceptron(params.hidden, params.hidden, params.layers - 1, 1))

    def forward(self, r: Tensor, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        scores: Tensor = self.rest(self.of_r(r)[:, None] + self.of_x(x)[None])
        return scores.squeeze(-1)
