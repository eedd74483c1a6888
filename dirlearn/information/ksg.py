"""The nearest-neighbour estimate of Kraskov, Stoegbauer and Grassberger."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from dirlearn.information.estimator import SampleEstimator, as_rows
from isp_sim.parameters import StageParams

ROWS = 512
"""Distances are taken for as many samples at a time, to bound memory."""


def ksg(x: Tensor, y: Tensor, neighbours: int = 3) -> Tensor:
    """psi(k) + psi(N) - E[psi(n_x + 1) + psi(n_y + 1)], nats: the first of the paper's two.

    n_x counts the samples that lie nearer in x alone than the k-th neighbour does in both, by the maximum norm. Each
    dimension is brought to unit variance first: the norm compares x with y.

    Parameters
    ----------
    x, y
        (N, d) and (N, e), or (N,).
    neighbours
        k: less is less biased, more is less variable.

    Raises
    ------
    ValueError
        If there are not more samples than neighbours.
    """
    x, y = as_rows(x, y)
    number = x.shape[0]
    if number <= neighbours:
        raise ValueError(f"{number} samples: needed are more than the {neighbours} neighbours")
    x, y = (v / torch.where(v.std(dim=0) > 0, v.std(dim=0), 1.0) for v in (x, y))
    terms = []
    for rows in torch.split(torch.arange(number, device=x.device), ROWS):
        in_x, in_y = (torch.cdist(v[rows], v, p=torch.inf) for v in (x, y))
        for distance in (in_x, in_y):
            distance[torch.arange(len(rows), device=x.device), rows] = torch.inf
        reach = torch.maximum(in_x, in_y).kthvalue(neighbours, dim=1, keepdim=True).values
        nearer = [(distance < reach).sum(dim=1).double() for distance in (in_x, in_y)]
        terms.append(torch.digamma(nearer[0] + 1) + torch.digamma(nearer[1] + 1))
    counts = torch.tensor([neighbours, number], dtype=torch.float64, device=x.device)
    return torch.digamma(counts).sum() - torch.cat(terms).mean()


class KSG(SampleEstimator):
    """psi(k) + psi(N) - E[psi(n_x + 1) + psi(n_y + 1)] over nearest neighbours: nats, no bound, no gradient.

    Good in few dimensions; above about ten, or where mutual information is large for the number of samples, far too
    low.
    """

    bound = "neither"
    source = "Kraskov et al. 2004 [Kraskov2004]"

    class Params(StageParams):
        neighbours: int = Field(3, ge=1, le=100, description="k, the neighbours that set the scale [1]")

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return ksg(x, y, self.params.neighbours)
