"""Mutual information of jointly Gaussian variables, in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dirlearn.information.estimator import SampleEstimator, as_rows


def gaussian_information(covariance: Tensor, x: Sequence[int], y: Sequence[int]) -> Tensor:
    """log(|S_x| |S_y| / |S_xy|) / 2 of the variables named, nats, from the covariance of all.

    Parameters
    ----------
    covariance
        (d, d), positive definite.
    x, y
        Which of the d variables; the rest is averaged out.

    Examples
    --------
    >>> round(gaussian_information(torch.tensor([[1.0, 0.8], [0.8, 1.0]]), [0], [1]).item(), 4)  # -log(1 - 0.64) / 2
    0.5108
    """

    def log_volume(which: Sequence[int]) -> Tensor:
        index = torch.tensor(list(which), device=covariance.device)
        logarithm: Tensor = torch.linalg.slogdet(covariance[index][:, index])[1]
        return logarithm

    return (log_volume(x) + log_volume(y) - log_volume([*x, *y])) / 2


def gaussian(x: Tensor, y: Tensor) -> Tensor:
    """The same from samples, with their sample covariance.

    Raises
    ------
    ValueError
        If there are too few samples for the dimensions.

    Examples
    --------
    >>> x = torch.tensor([0.0, 1.0, 2.0, 3.0])
    >>> gaussian(x, torch.tensor([1.0, 0.0, 0.0, 1.0])).item() < 1e-12
    True
    """
    x, y = as_rows(x, y)
    dimensions = x.shape[1] + y.shape[1]
    if x.shape[0] <= dimensions:
        raise ValueError(f"{x.shape[0]} samples of {dimensions} dimensions: needed are {dimensions + 1} at least")
    covariance = torch.cov(torch.cat([x, y], dim=1).T)
    return gaussian_information(covariance, range(x.shape[1]), range(x.shape[1], dimensions))


class Gaussian(SampleEstimator):
    """log(|S_x| |S_y| / |S_xy|) / 2 of the sample covariances, nats: exact for Gaussians, no bound for others.

    Equals -1/2 sum log(1 - rho_i^2) over the canonical correlations. Biased upwards by about d_x d_y / (2 N); what
    does not depend linearly is not seen.
    """

    bound = "neither"
    source = "Cover and Thomas 2006 [Cover2006]"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return gaussian(x, y)
