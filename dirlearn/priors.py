"""The prior term of Eq. 5 and 6: how far representations lie from N(0, I).

The paper's D_KL[p(r) || N(0, I)] is of the aggregate over all pictures. What variational auto-encoders use, the mean
over pictures of KL[p(r|x) || N(0, I)], is that plus I(r; x): with weight 1 it cancels the information term.
"""

from __future__ import annotations

import warnings
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.encoders.encoder import Posterior
from dirlearn.information import divergences
from dirlearn.settings import PriorName
from isp_sim.randomness import generator

MOST: Final = 256
"""Positions of a batch that are compared with the prior at the most."""


class Prior(nn.Module):
    """Divergence of a batch's representations from the prior, a dimension.

    ``mmd`` (kernels), ``moments`` (a Gaussian of the same mean and variance), ``mixture`` (of the batch's posteriors)
    and ``adversarial`` (a small critic behind a reversed gradient) look at the aggregate; ``per_sample`` at each
    picture.
    """

    def __init__(self, name: PriorName, channels: int, weight: float) -> None:
        super().__init__()
        self.name = name
        if name == "per_sample" and weight >= 1:
            warnings.warn(
                f"a per_sample prior of weight {weight:g} cancels the mutual information term; "
                "take an aggregate prior (mmd, mixture, moments, adversarial) or a weight below 1",
                UserWarning,
                stacklevel=2,
            )
        layers = (nn.Linear(channels, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)) if name == "adversarial" else ()
        self.critic = nn.Sequential(*layers)

    def forward(self, posterior: Posterior, r: Tensor) -> Tensor:
        """`r` are draws of `posterior`."""
        if self.name == "per_sample":
            return divergences.gaussian_kl(posterior.mean, posterior.logvar)
        points = places(r)
        if self.name == "mmd":
            return divergences.mmd_to_normal(points)
        if self.name == "moments":
            return divergences.moment_kl(points)
        if self.name == "mixture":
            kl = divergences.mixture_kl(points, places(posterior.mean), places(posterior.logvar))
            return kl / r.shape[1]
        # the critic lowers this, and by the reversed gradient the encoder raises it
        hidden = _Reversed.apply(points)  # type: ignore[no-untyped-call]  # torch does not type it
        loss: Tensor = F.softplus(self.critic(hidden)).mean() + F.softplus(-self.critic(_normal(points))).mean()
        return loss


def places(r: Tensor) -> Tensor:
    """Up to `MOST` places, evenly spread over the batch, as samples (M, C): any size of picture gives as many."""
    points = divergences.places_as_samples(r)
    if len(points) <= MOST:
        return points
    chosen = torch.linspace(0, len(points) - 1, MOST, dtype=torch.float64).round().long()
    return points[chosen.to(points.device)]


def _normal(like: Tensor) -> Tensor:
    """Standard normal points, always the same: quantiles in an order of their own in every dimension."""
    count, channels = like.shape
    quantiles = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    rng = generator(0, "prior", 0, "dirlearn", "points")
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(count), (channels, 1)), axis=1).T.copy())
    points: Tensor = quantiles[order].to(like)
    return points


class _Reversed(torch.autograd.Function):
    """Identity whose gradient changes its sign."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return -gradient
