"""Distances of distributions: Gaussian KL, the aggregate against a standard normal prior, and two batches.

Latents are (N, ...), batch first. Where a divergence adds up over the latent's dimensions, the reduction decides what
a weight in front of it means: ``mean`` gives nats per dimension, so the weight means the same at any latent size;
``sum`` gives nats, as in a bound on mutual information.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
LOG_VARIANCE: Final = 4 * math.log(10)
"""Log variances count as no more than 9.21, a standard deviation of 100: exp of a stray one would drown the batch."""
BANDWIDTHS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Squared bandwidths of the Gaussian kernels, in units of the number of dimensions."""


# -- diagonal Gaussians ----------------------------------------------------------------------------------------


def gaussian_log_density(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(x; mean, e^log_variance) of independent dimensions, the last axis [nats]."""
    # not by the squares multiplied out, which cancel where a variance is small
    squared = (x - mean).square() * (-log_variance).exp()
    return -0.5 * (squared + log_variance + math.log(2 * math.pi)).sum(dim=-1)


def reduced(elements: Tensor, reduction: Reduction) -> Tensor:
    """Elements (N, ...) averaged over the batch, and averaged or added up over all dimensions.

    Raises
    ------
    ValueError
        If the reduction is not known.

    Examples
    --------
    >>> x = torch.ones(4, 2, 3, 3)
    >>> reduced(x, "mean").item(), reduced(x, "sum").item()
    (1.0, 18.0)
    """
    if reduction == "none":
        return elements
    if reduction == "mean":
        return elements.mean()
    if reduction == "sum":
        return elements.flatten(1).sum(dim=1).mean()
    raise ValueError(f"reduction {reduction!r}: needed is 'mean', 'sum' or 'none'")


def gaussian_kl(
    mean_p: Tensor,
    log_variance_p: Tensor,
    mean_q: Tensor | float = 0.0,
    log_variance_q: Tensor | float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """KL(p || q) of diagonal Gaussians in closed form [nats, or nats a dimension]; q is N(0, I) if not given.

    Log variances above 9.21 count as 9.21.

    Examples
    --------
    >>> round(gaussian_kl(torch.ones(1, 3), torch.zeros(1, 3), reduction="sum").item(), 4)
    1.5
    """
    a = torch.as_tensor(log_variance_p).clamp_max(LOG_VARIANCE)
    b = torch.as_tensor(log_variance_q).clamp_max(LOG_VARIANCE)
    # e^(a - b) - 1 - (a - b) by expm1: exactly 0 for equal variances, and never below
    kl = 0.5 * (torch.expm1(a - b) - (a - b) + (mean_p - mean_q) ** 2 * torch.exp(-b))
    return reduced(kl, reduction)


def akl(
    joint: tuple[Tensor, Tensor],
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    reduction: Reduction = "mean",
) -> Tensor:
    """D_AKL of Eq. 5: the mean of KL(q(r|x1,x2) || q(r|x1)) and KL(q(r|x1,x2) || q(r|x2)) [nats, or a dimension].

    With ``sum`` it bounds the mean of I(r;x1|x2) and I(r;x2|x1) from above (Proposition 2) [Guo2024, Hwang2020].

    Parameters
    ----------
    joint, first, second
        Mean and log variance, each (N, ...).
    """
    return (gaussian_kl(*joint, *first, reduction) + gaussian_kl(*joint, *second, reduction)) / 2


# -- the aggregate against N(0, I) -------------------------------------------------------------------------------


def places_as_samples(latent: Tensor) -> Tensor:
    """A map (N, C, h, w) as N h w samples of C dimensions, so that a figure means the same at any size of picture.

    Vectors (N, C) are left as they are.
    """
    return latent.movedim(1, -1).flatten(0, -2)


def mixture_kl(samples: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """KL of the batch's mixture of q(r|x_j) from N(0, I), by one sample of each: E log mean_j q(r_i|x_j) - log N(r_i).

    Nats, over all dimensions. In many dimensions the mixture falls apart: it then is E KL(q(r|x) || N) - log N.

    Parameters
    ----------
    samples
        (N, ...), r_i drawn from q(r|x_i).
    means, log_variances
        (N, ...).
    """
    r, mean, log_variance = (t.flatten(1) for t in (samples, means, log_variances.clamp_max(LOG_VARIANCE)))
    densities = gaussian_log_density(r[:, None], mean[None], log_variance[None])
    prior = gaussian_log_density(r, torch.zeros_like(r), torch.zeros_like(r))
    return (torch.logsumexp(densities, dim=1) - math.log(len(r)) - prior).mean()


def moment_kl(samples: Tensor, reduction: Reduction = "mean") -> Tensor:
    """KL of the Gaussian with the batch's mean and variance in each dimension from N(0, I) [nats, or a dimension].

    0 for a batch of mean 0 and variance 1; what the moments do not show, correlation above all, is not seen. The
    batch's variance is divided by N.

    Raises
    ------
    ValueError
        If there is one sample only.
    """
    if len(samples) < 2:
        raise ValueError("one sample has no variance: moment_kl needs two at least")
    variance = samples.var(dim=0, correction=0)
    tiny = torch.finfo(variance.dtype).tiny
    return gaussian_kl(samples.mean(dim=0)[None], variance.clamp_min(tiny).log()[None], reduction=reduction)


def mmd_to_normal(samples: Tensor, bandwidths: Sequence[float] = BANDWIDTHS) -> Tensor:
    """Squared maximum mean discrepancy of a batch (N, d) from N(0, I), without bias and without drawing from the prior.

    The kernels' means under the prior are taken in closed form. Around 0 for a batch from the prior, and below it as
    often as above. Kernels as in `mmd`; the result is their mean.

    Raises
    ------
    ValueError
        If there is one sample only.
    """
    x = _rows(samples)
    n, d = x.shape
    if n < 2:
        raise ValueError("one sample has no pair: mmd_to_normal needs two at least")
    distances, norms = _squared_distances(x, x), x.square().sum(dim=1)
    terms = []
    for factor in bandwidths:
        s = factor * d
        kernel = torch.exp(-distances / (2 * s))
        among = (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
        cross = torch.exp(-norms / (2 * (s + 1)) - d / 2 * math.log1p(1 / s)).mean()
        terms.append(among - 2 * cross + math.exp(-d / 2 * math.log1p(2 / s)))
    return torch.stack(terms).mean()


# -- two batches -------------------------------------------------------------------------------------------------


def mmd(x: Tensor, y: Tensor, bandwidths: Sequence[float] = BANDWIDTHS, unbiased: bool = True) -> Tensor:
    """Squared maximum mean discrepancy of two batches (N, d) and (M, d), the mean over Gaussian kernels [Gretton2012].

    The kernels are exp(-|x - y|^2 / (2 s)), s the bandwidths times d: fit for latents of about unit variance. Exactly
    0 for identical batches.

    Parameters
    ----------
    unbiased
        Leave out each sample's pair with itself and, for batches of one size, the pair of those at the same place: a
        mean of 0 for batches of one distribution, below 0 as often as above. Permuting both batches alike changes
        nothing. Otherwise all pairs count, either batch may be permuted, and the result is never below 0.

    Raises
    ------
    ValueError
        If the batches do not fit or have one sample only.
    """
    x, y = _fitting(x, y)
    xx, yy, xy = _squared_distances(x, x), _squared_distances(y, y), _squared_distances(x, y)
    n, m, d = len(x), len(y), x.shape[1]

    def mean(kernel: Tensor, pairs_apart: bool) -> Tensor:
        if not pairs_apart:
            return kernel.mean()
        return (kernel.sum() - kernel.diagonal().sum()) / (kernel.shape[0] * (kernel.shape[0] - 1))

    terms = []
    for factor in bandwidths:
        of_x, of_y, across = (torch.exp(-distances / (2 * factor * d)) for distances in (xx, yy, xy))
        terms.append(mean(of_x, unbiased) + mean(of_y, unbiased) - 2 * mean(across, unbiased and n == m))
    return torch.stack(terms).mean()


def coral(x: Tensor, y: Tensor) -> Tensor:
    """|C_x - C_y|^2 / (4 d^2), the squared Frobenius distance of the covariances of (N, d) and (M, d) [Sun2016].

    Raises
    ------
    ValueError
        If the batches do not fit or have one sample only.
    """
    x, y = _fitting(x, y)
    d = x.shape[1]
    x, y = ((v - v.mean(dim=0)) / math.sqrt(len(v) - 1) for v in (x, y))
    if d <= len(x) + len(y):
        squared = (x.T @ x - y.T @ y).square().sum()
    else:  # the same by products of samples, for latents whose covariance would not fit into memory
        xx, yy, xy = (x @ x.T).square().sum(), (y @ y.T).square().sum(), (x @ y.T).square().sum()
        squared = xx + yy - 2 * xy
    return squared / (4 * d * d)


def sliced_wasserstein(x: Tensor, y: Tensor, rng: np.random.Generator, projections: int = 128) -> Tensor:
    """Squared sliced 2-Wasserstein distance of two batches (N, d) of one size, by random projections.

    Parameters
    ----------
    rng
        From `isp_sim.randomness.generator`; draws the directions.

    Raises
    ------
    ValueError
        If the batches do not fit or are not of one size.
    """
    x, y = _fitting(x, y)
    if len(x) != len(y):
        raise ValueError(f"batches of {len(x)} and {len(y)} samples: sliced_wasserstein needs two of one size")
    directions = rng.standard_normal((x.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    onto = torch.from_numpy(directions).to(x)
    return ((x @ onto).sort(dim=0).values - (y @ onto).sort(dim=0).values).square().mean()


def _rows(samples: Tensor) -> Tensor:
    if samples.ndim != 2:
        raise ValueError(f"samples are of shape {tuple(samples.shape)}: needed is (N, d); see places_as_samples")
    return samples


def _fitting(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x, y = _rows(x), _rows(y)
    if x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            f"batches of shapes {tuple(x.shape)} and {tuple(y.shape)}: needed are two samples at least in each, of as "
            "many dimensions"
        )
    return x, y


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(N, M). Not by torch.cdist, whose gradient at distance 0 is not that of the square."""
    squares = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    return (squares - 2 * (x @ y.T)).clamp_min(0)
