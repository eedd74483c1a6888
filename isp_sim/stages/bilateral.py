"""Bilateral filter: the mean of what is near in place and in colour."""

from __future__ import annotations

from typing import Annotated, Any, Final

import torch
from pydantic import Field
from torch import Tensor

from isp_sim import filters
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

RADIUS: Final = 15
"""The largest disc."""


def bilateral(x: Tensor, guide: Tensor, radius: int, sigma_space: Tensor, sigma_range: Tensor) -> Tensor:
    """Mean over a disc, weighted by a Gaussian of the distance and one of the difference in the guide.

    Parameters
    ----------
    x
        (B, C, H, W), any range. Mirrored about its outermost samples.
    guide
        (B, n, H, W). The difference between two pixels is the Euclidean one over its channels.
    radius
        Of the disc [px].
    sigma_space
        Standard deviation of the distance [px], (B, 1, 1, 1).
    sigma_range
        Standard deviation of the difference, in units of the guide, (B, 1, 1, 1).

    Returns
    -------
    Tensor
        (B, C, H, W), within the range of x.
    """
    offsets = filters.half_offsets(radius, disc=True)
    channels, joint = x.shape[1], guide is x

    def filtered(both: Tensor, sigma_space: Tensor, sigma_range: Tensor) -> Tensor:
        near, like = -0.5 / (sigma_space * sigma_space), -0.5 / (sigma_range * sigma_range)

        def weight(i: int, difference: Tensor) -> Tensor:
            y, x = offsets[i]
            apart = filters.square(difference if joint else difference[:, channels:])
            return torch.exp(apart * like + near * (y * y + x * x))

        extended = filters.extend(both, radius, radius)
        pieces = []
        for strip in filters.strips(both, radius):
            piece = extended[..., strip.start : strip.stop + 2 * radius, :]
            mean = filters.weighted_mean(piece, offsets, weight, channels)
            pieces.append(filters.inside(mean, radius))
        return torch.cat(pieces, dim=-2)

    return filters.by_sample(filtered, x if joint else torch.cat([x, guide], dim=1), sigma_space, sigma_range)


class Bilateral(Stage):
    """Smooths noise and keeps edges: the mean of pixels near in place and in colour. Stays in range; does not clip.

    Any RGB picture; distances in colour are Euclidean in its RGB. In linear light, dark parts are smoothed more than
    in display values. Beyond its edge the picture is mirrored.
    """

    needs = Signal.where(layout="rgb", levels="unit")
    halo = RADIUS
    source = "Tomasi and Manduchi 1998 [Tomasi1998]"

    class Params(StageParams):
        sigma_space: float = Field(1.5, ge=0.1, le=10, description="standard deviation of the distance [px]")
        sigma_range: float = Field(0.1, ge=0.001, le=10, description="standard deviation of the colour difference [1]")
        radius: Annotated[int, Structural] = Field(
            4, ge=1, le=RADIUS, examples=[1, 3], description="of the disc around each pixel [px]"
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return bilateral(frame.pixels, frame.pixels, p.radius, p.sigma_space, p.sigma_range)
