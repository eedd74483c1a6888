"""Residual interpolation: a local regression of one colour on another, and interpolation of what it leaves.

Regressions are weighted by binomial windows: their sums are built by adding equal terms in pairs, so that a constant
gives itself to the last bit at every phase of the mosaic, which box windows do not. Planes are (B, H, W), and are
continued beyond their edge by mirroring, which keeps the mosaic's phase. Dimension 1 runs down the columns, 2 along
the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isp_sim.demosaicing.bayer import sites
from isp_sim.filters import mirrored

TINY = 1e-20
"""Keeps 0 / 0 from being NaN; far below any measured square, yet its inverse may be summed in float32."""
FLOOR = 2.0**-17
"""Variance that float32 cannot tell from rounding, relative to the mean square."""
FIT_FLOOR = 2.0**-14
"""Mean squared error of a fit that counts as none, relative to the mean square."""

Fit = Literal["variance", "laplacian"]


def extend_along(x: Tensor, dim: int, reach: int) -> Tensor:
    return x.index_select(dim, mirrored(x.shape[dim], reach, x.device))


def binomial(x: Tensor, dim: int, order: int, step: int = 1) -> Tensor:
    """Sum of order + 1 samples, `step` apart, weighted by binomial coefficients; `order` is even."""
    if order == 0:
        return x
    total = extend_along(x, dim, order // 2 * step)
    length = total.shape[dim]
    for _ in range(order):
        length -= step
        total = total.narrow(dim, 0, length) + total.narrow(dim, step, length)
    return total


def window(x: Tensor, rows: int, columns: int, step: tuple[int, int] = (1, 1)) -> Tensor:
    """Binomially weighted mean; `rows` and `columns` are the orders down and across."""
    total = binomial(binomial(x, 2, columns, step[1]), 1, rows, step[0])
    return total * 2.0 ** -(rows + columns)


def beside(x: Tensor, dim: int, distance: int = 1) -> tuple[Tensor, Tensor]:
    """The samples before and after each one."""
    extended, length = extend_along(x, dim, distance), x.shape[dim]
    return extended.narrow(dim, 0, length), extended.narrow(dim, 2 * distance, length)


def diagonal(x: Tensor, slope: int) -> tuple[Tensor, Tensor]:
    """The diagonal neighbours of each sample: above left and below right for slope 1, the others for -1."""
    extended = extend_along(extend_along(x, 1, 1), 2, 1)
    height, width = x.shape[-2:]
    above = extended[:, :height, 1 - slope : 1 - slope + width]
    below = extended[:, 2:, 1 + slope : 1 + slope + width]
    return above, below


def bend(x: Tensor, dim: int, distance: int) -> Tensor:
    """Second difference, negated."""
    before, after = beside(x, dim, distance)
    return x * 2 - (before + after)


def masks(like: Tensor, cfa: str) -> dict[str, Tensor]:
    """Where each colour was sampled, (1, H, W)."""
    height, width = like.shape[-2:]
    found = {c: torch.zeros(1, height, width, dtype=torch.bool, device=like.device) for c in "RGB"}
    for site in sites(cfa):
        found[site.letter][site.slices] = True
    return found


def weighted(candidates: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean of candidates weighted by the inverse of their cost; equal candidates of equal cost give themselves."""
    least = candidates[0][1]
    for _, cost in candidates[1:]:
        least = torch.minimum(least, cost)
    weights = [(least + TINY) / (cost + TINY) for _, cost in candidates]
    total, norm = candidates[0][0] * weights[0], weights[0]
    for (candidate, _), weight in zip(candidates[1:], weights[1:], strict=True):
        total, norm = total + candidate * weight, norm + weight
    return total / norm


@dataclass(frozen=True)
class Samples:
    """Samples of one colour on a regular lattice, and what a regression on a guide has to know about it."""

    values: Tensor
    mask: Tensor
    share: int
    """One site in how many is sampled."""
    bent: Tensor | None = None
    """The samples' second difference, if the fit is to be made between second differences."""


@dataclass(frozen=True)
class Window:
    """Orders of the binomial window and its steps, down and across."""

    rows: int
    columns: int
    step: tuple[int, int] = (1, 1)

    def mean(self, x: Tensor) -> Tensor:
        return window(x, self.rows, self.columns, self.step)


def regress(guide: Tensor, samples: Samples, around: Window, prior: float, bent_guide: Tensor | None = None) -> Tensor:
    """Tentative values everywhere: slope and offset of the samples on the guide, fitted in every window.

    The slope is drawn towards 1, the more the smaller the guide's variance is beside ``prior`` times its mean square.
    Each site takes the mean of the slopes and offsets of the windows around it, weighted by how well they fit.
    """
    mask = samples.mask.to(guide.dtype)

    def mean(x: Tensor) -> Tensor:
        return around.mean(x * mask) * samples.share

    x, y = guide, samples.values
    x_mean, y_mean, x_square, y_square = mean(x), mean(y), mean(x * x), mean(y * y)
    covariance = mean(x * y) - x_mean * y_mean
    variance = (x_square - x_mean * x_mean).clamp_min(0)
    if bent_guide is None or samples.bent is None:
        of_both, of_guide = covariance, variance
    else:
        of_both, of_guide = mean(bent_guide * samples.bent), mean(bent_guide * bent_guide)
    slope = (of_both + prior * x_square) / (of_guide + ((FLOOR + prior) * x_square + TINY))
    offset = y_mean - slope * x_mean
    error = (y_square - y_mean * y_mean) - 2 * slope * covariance + slope * slope * variance
    trust = 1 / (error.clamp_min(0) + (FIT_FLOOR * y_square + TINY))
    total = around.mean(trust)
    return around.mean(trust * slope) / total * guide + around.mean(trust * offset) / total


@dataclass(frozen=True)
class Line:
    """How colours are interpolated along one direction, in turns."""

    rounds: int
    prior: float
    fits: tuple[Fit, ...] = ("variance", "laplacian")
    corrected: bool = True
    """Whether the first guess is corrected by the second derivative of the other colour."""


def along_line(mosaic: Tensor, is_green: Tensor, dim: int, fit: Fit, line: Line) -> tuple[Tensor, Tensor]:
    """The colour that each site of a line lacks, green or the line's other one, and its cost.

    Both are regressed in turn on each other's latest estimate, in a window that grows by one sample to each side in
    each round. Every site keeps the round in which estimate and tentative value agreed best.
    """
    before, after = beside(mosaic, dim)
    mean = (before + after) * 0.5
    bent = bend(mosaic, dim, 2)
    missing = mean + bent * 0.25 if line.corrected else mean
    sampled = bent if fit == "laplacian" else None
    greens, others = Samples(mosaic, is_green, 2, sampled), Samples(mosaic, ~is_green, 2, sampled)
    best = cost = torch.empty(0)
    for k in range(line.rounds):
        across, along = 2 + 2 * k, 4 + 2 * k
        around = Window(across, along, (2, 1)) if dim == 2 else Window(along, across, (1, 2))
        green, other = torch.where(is_green, mosaic, missing), torch.where(is_green, missing, mosaic)
        green_fit, other_fit = (
            regress(guide, samples, around, line.prior, None if sampled is None else bend(guide, dim, 2))
            for guide, samples in ((other, greens), (green, others))
        )
        tentative = torch.where(is_green, other_fit, green_fit)
        before, after = beside(torch.where(is_green, green_fit, other_fit), dim)
        apart = (missing - tentative).abs()
        missing = mean + (tentative - (before + after) * 0.5)
        before, after = beside(apart, dim)
        roughness = window(apart * apart * (after - before).abs(), 4, 4)
        if k == 0:
            best, cost = missing, roughness
        else:
            better = roughness < cost
            best, cost = torch.where(better, missing, best), torch.where(better, roughness, cost)
    return best, cost


def interpolate_green(mosaic: Tensor, mask: dict[str, Tensor], line: Line) -> Tensor:
    """Green everywhere, from lines along both directions and both kinds of fit, weighted by their costs."""
    candidates = [along_line(mosaic, mask["G"], dim, fit, line) for fit in line.fits for dim in (1, 2)]
    return torch.where(mask["G"], mosaic, weighted(candidates))


def interpolate_colour(
    mosaic: Tensor, green: Tensor, here: Tensor, opposite: Tensor, order: int, prior: float, fit: Fit
) -> Tensor:
    """Red or blue everywhere, from its samples `here` and from green.

    First at the sites of the `opposite` colour, along both diagonals, then at the green sites, along the row and the
    column; the direction along which the residual changes less weighs more.
    """
    sampled = guide = None
    if fit == "laplacian":
        sampled = bend(mosaic, 1, 2) + bend(mosaic, 2, 2)
        guide = bend(green, 1, 2) + bend(green, 2, 2)
    tentative = regress(green, Samples(mosaic, here, 4, sampled), Window(order, order), prior, guide)

    candidates = []
    for slope in (1, -1):
        (a, b), (t, u) = diagonal(mosaic, slope), diagonal(tentative, slope)
        change = ((a - t) - (b - u)) * opposite
        candidates.append(((a + b) * 0.5 + (tentative - (t + u) * 0.5), _nearby(change * change, 2)))
    known = torch.where(here, mosaic, torch.where(opposite, weighted(candidates), mosaic))

    quincunx = here | opposite
    candidates = []
    for dim in (1, 2):
        (a, b), (t, u) = beside(known, dim), beside(tentative, dim)
        change = ((a - t) - (b - u)) * ~quincunx
        candidates.append(((a + b) * 0.5 + (tentative - (t + u) * 0.5), _nearby(change * change, 1)))
    return torch.where(quincunx, known, weighted(candidates))


def refine_green(mosaic: Tensor, rgb: Sequence[Tensor], mask: dict[str, Tensor], order: int, prior: float) -> Tensor:
    """Green at red and blue sites once more, regressed on the full planes of red and blue in two dimensions."""
    greens = Samples(mosaic, mask["G"], 2)
    out = mosaic
    for plane, letter in ((rgb[0], "R"), (rgb[2], "B")):
        tentative = regress(plane, greens, Window(order, order), prior)
        candidates = []
        for dim in (1, 2):
            (a, b), (t, u) = beside(mosaic, dim), beside(tentative, dim)
            change = ((a - t) - (b - u)) * mask[letter]
            candidates.append(((a + b) * 0.5 + (tentative - (t + u) * 0.5), _nearby(change * change, 2)))
        out = torch.where(mask[letter], weighted(candidates), out)
    return out


def _nearby(x: Tensor, step: int) -> Tensor:
    return window(x, 2, 2, (step, step))
