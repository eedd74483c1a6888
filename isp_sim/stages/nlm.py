"""Non-local means: the mean of pixels whose surroundings look alike."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim import filters
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

SEARCH: Final = 15
PATCH: Final = 5
"""The largest window and the largest patch, from the middle."""


def patch_mean(x: Tensor, radius: int, window: str) -> Tensor:
    """Weighted mean of the patch around each sample of x (..., H + 2 radius, W + 2 radius): (..., H, W).

    The window is a ``box``, or a ``gaussian`` with a standard deviation of half the radius.
    """
    if radius == 0:
        return x
    if window == "box":
        total = filters.run_sums(filters.run_sums(x, -2, 2 * radius + 1), -1, 2 * radius + 1)
        return total * (1 / (2 * radius + 1) ** 2)
    taps = [math.exp(-2 * (k / radius) ** 2) for k in range(radius + 1)]
    norm = taps[0] + 2 * sum(taps[1:])
    for dim in (-2, -1):
        length = x.shape[dim] - 2 * radius
        total = x.narrow(dim, radius, length) * (taps[0] / norm)
        for k in range(1, radius + 1):
            both = x.narrow(dim, radius - k, length) + x.narrow(dim, radius + k, length)
            total.add_(both.mul_(taps[k] / norm))
        x = total
    return x


def non_local_means(
    x: Tensor, strength: Tensor, sigma: Tensor, search: int = 5, patch: int = 2, window: str = "gaussian"
) -> Tensor:
    """Mean over a window, weighted by exp(-max(d - 2 sigma^2, 0) / strength^2).

    d is the mean squared difference, over the channels and the pixels of a patch, between the surroundings of two
    pixels. Pixels beyond the edge are not averaged; in patches, they are mirrored.

    Parameters
    ----------
    x
        (B, C, H, W), any range.
    strength
        h, in units of x, (B, 1, 1, 1).
    sigma
        Standard deviation of the noise, in units of x, (B, 1, 1, 1): a difference that it explains does not count.
    search, patch
        From the middle to the border of the window and of the patch [px].
    window
        Of the patch: ``gaussian``, with a standard deviation of half its radius, or ``box``.

    Returns
    -------
    Tensor
        (B, C, H, W), within the range of x.
    """
    offsets = filters.half_offsets(search)

    def filtered(x: Tensor, strength: Tensor, sigma: Tensor) -> Tensor:
        explained, fall = 2 * sigma * sigma, -1 / (strength * strength)

        def weight(_: int, difference: Tensor) -> Tensor:
            squares = filters.square(difference) * (1 / difference.shape[1])
            return torch.exp((patch_mean(squares, patch, window) - explained).clamp_min(0) * fall)

        extended = filters.extend(x, patch, patch)
        pieces = []
        for strip in filters.strips(x, search):
            piece = extended[..., strip.first : strip.last + 2 * patch, :]
            mean = filters.weighted_mean(piece, offsets, weight, margin=patch)
            pieces.append(mean[..., strip.start - strip.first : strip.stop - strip.first, :])
        return torch.cat(pieces, dim=-2)

    return filters.by_sample(filtered, x, strength, sigma)


class NonLocalMeans(Stage):
    """Smooths noise by the mean of pixels whose surroundings look alike. Stays in the range of its window.

    Any RGB picture; does not clip. Every pixel of a window of 2 search + 1 is weighted by the mean squared difference
    between the patches of 2 patch + 1 around both, over all channels, less what noise of standard deviation `sigma`
    explains. Pixels beyond the edge are not averaged; patches that reach beyond it are mirrored.
    """

    needs = Signal.where(layout="rgb", levels="unit")
    halo = SEARCH + PATCH
    source = "Buades, Coll and Morel 2005 [Buades2005]"

    class Params(StageParams):
        strength: float = Field(0.05, ge=0.001, le=10, description="h, the difference at which weights fall to 1/e [1]")
        sigma: float = Field(0.0, ge=0, le=1, description="standard deviation of the noise [1]")
        search: Annotated[int, Structural] = Field(
            5, ge=1, le=SEARCH, examples=[2], description="from the middle to the border of the window [px]"
        )
        patch: Annotated[int, Structural] = Field(
            2, ge=0, le=PATCH, examples=[0], description="from the middle to the border of the patch [px]"
        )
        window: Literal["gaussian", "box"] = Field("gaussian", description="weights inside the patch")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return non_local_means(frame.pixels, p.strength, p.sigma, p.search, p.patch, p.window)
