"""Variables whose mutual information is known, and critics that know their densities."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from dirlearn.information.divergences import gaussian_log_density

Map = Literal["gaussian", "cubic"]


def correlation(information: float, dimensions: int) -> float:
    """The correlation of each of d pairs of Gaussians for -d / 2 log(1 - rho^2) nats in all.

    Examples
    --------
    >>> round(correlation(10, 20), 4)
    0.7951
    """
    return math.sqrt(-math.expm1(-2 * information / dimensions))


def correlated(
    rng: np.random.Generator, number: int, dimensions: int, rho: float, map: Map = "gaussian"
) -> tuple[Tensor, Tensor]:
    """Samples x and y, float32 (N, d), of standard normal pairs of correlation rho; ``cubic`` gives y^3 in place of
    y, which leaves mutual information as it is."""
    x, noise = rng.standard_normal((2, number, dimensions), dtype=np.float32)
    y = rho * x + math.sqrt(1 - rho * rho) * noise
    return torch.from_numpy(x), torch.from_numpy((y**3 if map == "cubic" else y).astype(np.float32))


def entropy(dimensions: int, map: Map = "gaussian") -> float:
    """The differential entropy of y [nats].

    Examples
    --------
    >>> round(entropy(1), 4), round(entropy(1, "cubic"), 4)
    (1.4189, 1.2472)
    """
    normal = 0.5 * math.log(2 * math.pi * math.e)
    # h(y^3) = h(y) + E log 3 y^2, with E log y^2 = -Euler's constant - log 2
    return dimensions * (normal if map == "gaussian" else normal + math.log(1.5) - float(np.euler_gamma))


def exact_ratio(x: Tensor, y: Tensor, rho: float) -> Tensor:
    """log p(x, y) / (p(x) p(y)) of correlated Gaussians, of as many pairs: (N,).

    Examples
    --------
    >>> exact_ratio(torch.ones(2, 3), torch.ones(2, 3), 0.0).tolist()
    [0.0, 0.0]
    """
    unexplained = 1 - rho**2
    exponent = 2 * rho * x * y - rho**2 * (x * x + y * y)
    return exponent.sum(dim=-1) / (2 * unexplained) - 0.5 * x.shape[-1] * math.log(unexplained)


class ExactCritic(nn.Module):
    """The logarithm of the density ratio p(x, y) / (p(x) p(y)) of correlated Gaussians, plus an offset: (N, M).

    Its mean over joint pairs is the mutual information.
    """

    def __init__(self, rho: float, offset: float = 0.0) -> None:
        super().__init__()
        self.rho, self.offset = rho, offset

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        unexplained = 1 - self.rho**2
        squares = x.square().sum(-1, keepdim=True) + y.square().sum(-1)[..., None, :]
        exponent = (2 * self.rho * (x @ y.mT) - self.rho**2 * squares) / (2 * unexplained)
        return exponent - 0.5 * x.shape[-1] * math.log(unexplained) + self.offset


class ExactConditional(nn.Module):
    """log p(y_j | x_i) of correlated Gaussians: (N, M)."""

    def __init__(self, rho: float) -> None:
        super().__init__()
        self.rho = rho

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        log_variance = torch.full_like(x[:1], math.log1p(-(self.rho**2)))
        return gaussian_log_density(y[None], self.rho * x[:, None], log_variance)
