"""Lens flare: light that is reflected inside the lens, and arrives where it does not belong."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from isp_sim import Degradation, Frame, Result, Signal
from isp_sim.filters import run_sums, sampled
from isp_sim.parameters import StageParams, Structural

CELLS: Final = 150
"""Along the diagonal of a picture. What flares is far wider than a cell."""
BOXES: Final = 3
"""Means, one after the other, that make a smooth hump of a box."""
SMALLEST, LARGEST = 0.3, 1.5
"""Ghosts in the picture's own size."""
UPSIDE_DOWN: Final = 0.75
"""The share of ghosts on the other side of the middle."""
TINT: Final = 0.5
"""How much darker than the brightest one a ghost's channels may be [fraction]."""


class Flare(Degradation):
    """Spreads a part of the light over the whole picture, and a part into ghosts: out-of-focus images of the scene,
    mirrored about its middle. Linear RGB; adds no light; does not clip.

    (1 - glare - ghost) x + glare W(x) + ghost G(x). W, the veiling glare, is the mean over a wide hump, in which light
    that would leave the picture comes back, so that as much comes in from around it. G is the mean of `ghosts` images,
    each of a size and a tint of its own, drawn anew for every picture; lights have weaker ones towards the edge, and
    none beyond. Both are computed on cells of 1/150 of the diagonal. Leaves the map ``flare``, (B, 1, H, W): the light
    added, the mean of R, G and B.
    """

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit")
    source = "ISO 9358:1994; Talvala et al. 2007; Hullin et al. 2011"
    severities: ClassVar = {
        "glare": (0.02, 0.05, 0.1, 0.2, 0.35),
        "ghost": (0.0, 0.005, 0.01, 0.02, 0.04),
    }

    class Params(StageParams):
        glare: float = Field(0.05, ge=0, le=0.5, description="light in the veil [fraction]")
        spread: float = Field(
            0.15,
            ge=0.01,
            le=1,
            description="standard deviation of the veil [diagonal]",
            json_schema_extra={"differentiable": False},
        )
        ghost: float = Field(0.005, ge=0, le=0.5, description="light in all ghosts of a lamp in the middle [fraction]")
        ghosts: Annotated[int, Structural] = Field(3, ge=1, le=12, examples=[1, 4], description="how many ghosts [1]")
        defocus: float = Field(
            0.015,
            ge=0.01,
            le=0.2,
            description="standard deviation of a ghost's blur [diagonal]",
            json_schema_extra={"differentiable": False},
        )

    def apply(self, frame: Frame, p: Any, rng: Any) -> Result:
        x = frame.pixels
        diagonal = math.hypot(*frame.size)
        side = max(1, int(diagonal / CELLS))
        drawn = rng.draw("ghosts", lambda g: g.random((p.ghosts, 5)))
        spreads, blurs = (value.flatten().tolist() for value in (p.spread, p.defocus))
        veils, ghosts = [], []
        for i in range(frame.batch):
            cells = _cells(x[i : i + 1], side)
            veils.append(_grown(_humped(cells, spreads[i] * diagonal / side), side, frame.size))
            blurred = _humped(cells, blurs[i] * diagonal / side)
            ghosts.append(_grown(_ghosts(blurred, drawn[i]), side, frame.size))
        added = torch.cat(veils) * p.glare + torch.cat(ghosts) * p.ghost
        red, green, blue = added.detach().split(1, dim=1)
        return Result(x * (1 - p.glare - p.ghost) + added, maps={"flare": (red + green + blue) / 3})


def _cells(x: Tensor, side: int) -> Tensor:
    """Means over squares; a picture that they do not fill goes on as its own mirror image."""
    for axis in (-2, -1):
        number = -(-x.shape[axis] // side)
        if number * side > x.shape[axis]:
            x = x.index_select(axis, _mirror(number * side, x.shape[axis], 0).to(x.device))
        lines = x.unflatten(axis, (number, side))
        total = lines.select(axis, 0)
        for k in range(1, side):
            total = total + lines.select(axis, k)
        x = total / side
    return x


def _mirror(length: int, period: int, before: int) -> Tensor:
    """Indices of -before ... length - 1 of samples 0 ... period - 1 that are mirrored with their outermost repeated,
    which keeps the light: what a hump carries over the edge comes back."""
    index = torch.arange(-before, length).remainder(2 * period)
    return torch.minimum(index, 2 * period - 1 - index)


def _humped(x: Tensor, sigma: float) -> Tensor:
    """The mean over a smooth hump: boxes after each other, of about this standard deviation together."""
    reach = round((math.sqrt(12 * sigma * sigma / BOXES + 1) - 1) / 2)
    for axis in (-2, -1):
        index = _mirror(x.shape[axis] + reach, x.shape[axis], reach).to(x.device)
        for _ in range(BOXES):
            x = run_sums(x.index_select(axis, index), axis, 2 * reach + 1) / (2 * reach + 1)
    return x


def _ghosts(x: Tensor, draws: NDArray[np.float64]) -> Tensor:
    """The mean of images of x (1, 3, h, w), each by five numbers from 0 to 1: its size, its side, its tint.

    An image that is m times as large is as many times darker squared. Three of four are upside down.
    """
    scale = SMALLEST * (LARGEST / SMALLEST) ** draws[:, 0] * np.where(draws[:, 1] < UPSIDE_DOWN, -1, 1)
    colour = (1 - TINT * (draws[:, 2:].max(axis=1, keepdims=True) - draws[:, 2:])) / (scale**2 * len(draws))[:, None]
    axes = []
    for length in x.shape[-2:]:
        from_middle = np.arange(length) + 0.5 - length / 2
        axes.append(from_middle / scale[:, None])  # (n, length), where each cell of an image comes from
        # inside the lens, light from near the edge is cut off: a ghost has no frame
        fade = torch.from_numpy(1 - (2 * from_middle / length) ** 2).to(x)
        x = x * (fade[:, None] if len(axes) == 1 else fade)
    (height, width), (down, across) = x.shape[-2:], axes
    inside = (np.abs(down) < height / 2)[:, :, None] & (np.abs(across) < width / 2)[:, None, :]
    places = np.stack(np.broadcast_arrays(across[:, None, :] + width / 2, down[:, :, None] + height / 2), axis=1)
    images = sampled(x.expand(len(draws), -1, -1, -1), torch.from_numpy(places).to(x.device), "bilinear")
    images = images * torch.from_numpy(inside[:, None] * colour[:, :, None, None]).to(x)
    total = images[:1]
    for k in range(1, len(draws)):
        total = total + images[k : k + 1]
    return total


def _grown(x: Tensor, side: int, size: tuple[int, int]) -> Tensor:
    """Cells back to pixels, by straight lines between their middles."""
    if side == 1:
        return x
    for axis, length in zip((-2, -1), size, strict=True):
        place = (torch.arange(length, dtype=torch.float64) + 0.5) / side - 0.5
        before = place.floor()
        shape = [-1 if a == axis else 1 for a in range(-4, 0)]
        share = (place - before).to(x).reshape(shape)
        low, high = (x.index_select(axis, (before.long() + k).clamp(0, x.shape[axis] - 1).to(x.device)) for k in (0, 1))
        x = low + (high - low) * share
    return x
