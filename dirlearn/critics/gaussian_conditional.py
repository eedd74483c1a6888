"""A Gaussian density of one vector given another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from dirlearn.critics.critic import Critic, perceptron
from dirlearn.information.divergences import gaussian_log_density
from isp_sim.parameters import StageParams, Structural

LOG_VARIANCE = 20.0
"""Log variances stay between minus and plus this: far from any use, and short of overflow."""


class GaussianConditional(Critic):
    """log q(x_j | r_i) of a Gaussian with mean and variances that perceptrons read from r. (N, C), (M, D) to (N, M).

    Variances from 2e-9 to 5e8 can be told: a narrow range would leave an upper bound none.
    """

    takes = "vectors"
    gives: ClassVar[Literal["scores", "log_density"]] = "log_density"
    source = "Poole et al. 2019 [Poole2019]; Cheng et al. 2020 [Cheng2020]"

    class Params(StageParams):
        hidden: Annotated[int, Structural] = Field(256, ge=1, le=8192, description="units of a hidden layer [1]")
        layers: Annotated[int, Structural] = Field(2, ge=0, le=16, description="hidden layers [1]")

    def __init__(self, params: Params, *, r_channels: int, x_channels: int = 3, stride: int = 1) -> None:
        super().__init__(params, r_channels=r_channels, x_channels=x_channels, stride=stride)
        self.mean, self.log_variance = (
            perceptron(r_channels, params.hidden, params.layers, x_channels) for _ in range(2)
        )

    def forward(self, r: Tensor, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        mean: Tensor = self.mean(r)
        log_variance: Tensor = self.log_variance(r).clamp(-LOG_VARIANCE, LOG_VARIANCE)
        return gaussian_log_density(x[None], mean[:, None], log_variance[:, None])
