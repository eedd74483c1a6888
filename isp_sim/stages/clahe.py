"""Contrast limited adaptive histogram equalisation of luma: local tone mapping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage
from isp_sim.stages.adjustments import Standard, luma

BINS: Final = 256

Tile = Annotated[int, Field(ge=1, le=64)]

ONE: Final = 1 << 36
"""Weight 1 of a pixel in a histogram. Whole numbers add up to the same in any order, so on any number of threads; 2^27
pixels of a tile fit into 64 bits."""


class _Votes(torch.autograd.Function):
    """Histograms (B, T, BINS) in float64 of positions (B, N) on the axis of the bins, from 0 to BINS - 1, for the tile
    (N,) that each belongs to. A position between two bins counts in both, linearly; so 8-bit codes count once."""

    @staticmethod
    def forward(ctx: Any, position: Tensor, tile: Tensor, tiles: int) -> Tensor:
        low, share = _between(position)
        index = low + tile * BINS
        upper = torch.floor(share.double() * ONE + 0.5).long()
        votes = torch.zeros(position.shape[0], tiles * BINS, dtype=torch.int64, device=position.device)
        votes.scatter_add_(1, index, ONE - upper).scatter_add_(1, index + 1, upper)
        ctx.save_for_backward(index)
        ctx.dtype = position.dtype
        return votes.reshape(-1, tiles, BINS).double() / ONE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        grad = grads[0].flatten(1)
        return (grad.gather(1, index + 1) - grad.gather(1, index)).to(ctx.dtype), None, None


def _between(position: Tensor) -> tuple[Tensor, Tensor]:
    """The bin below a position in [0, BINS - 1], at most the last but one, and how far on it lies, 0 to 1."""
    low = position.detach().floor().clamp(0, BINS - 2)
    return low.long(), position - low


def equalisers(counts: Tensor, clip_limit: Tensor) -> Tensor:
    """The mappings of tiles: cumulated histograms, cut off at the clip limit.

    What is cut off is given back to all bins in equal parts, once, so a bin may end up above the limit.

    Parameters
    ----------
    counts
        (B, T, BINS), float64.
    clip_limit
        (B, 1, 1), of the mean count of a bin; the limit is rounded down to a whole count, at least 1.

    Returns
    -------
    Tensor
        (B, T, BINS): the new value of each bin, rising to 1.
    """
    area = counts.detach().sum(dim=-1, keepdim=True).round()
    limit = torch.floor(clip_limit * area / BINS).clamp_min(1)
    cumulated = torch.minimum(counts, limit).cumsum(dim=-1)
    excess = area - cumulated[..., -1:]
    bins = torch.arange(1, BINS + 1, dtype=counts.dtype, device=counts.device)
    return (cumulated + excess * (bins / BINS)) / area


def clahe(y: Tensor, tiles: tuple[int, int], clip_limit: Tensor) -> Tensor:
    """Equalise luma, each tile by its own histogram, blended bilinearly between the middles of tiles.

    Parameters
    ----------
    y
        (B, 1, H, W). What lies outside [0, 1] is taken as 0 or 1.
    tiles
        Down and across. A picture that they do not divide goes on by its mirror image, edge not repeated.
    clip_limit
        (B, 1, 1, 1), of the mean count of a bin.

    Returns
    -------
    Tensor
        (B, 1, H, W), within [0, 1]. Between 8-bit codes the mapping is interpolated linearly.

    Raises
    ------
    ValueError
        If the picture has fewer rows or columns than tiles.
    """
    batch, _, height, width = y.shape
    if height < tiles[0] or width < tiles[1]:
        raise ValueError(
            f"{tiles[0]}x{tiles[1]} tiles need a picture of at least as many pixels; found {height}x{width}"
        )
    position = (y * (BINS - 1)).clamp(0, BINS - 1)
    rows, columns = _mirrored(height, tiles[0], y.device), _mirrored(width, tiles[1], y.device)
    sides = rows.numel() // tiles[0], columns.numel() // tiles[1]
    tile = (
        torch.arange(rows.numel(), device=y.device)[:, None] // sides[0] * tiles[1]
        + torch.arange(columns.numel(), device=y.device)[None] // sides[1]
    )
    extended = position[:, 0, rows][:, :, columns].flatten(1)
    votes: Callable[..., Tensor] = _Votes.apply
    counts = votes(extended, tile.reshape(1, -1).expand(batch, -1), tiles[0] * tiles[1])
    mappings = equalisers(counts, clip_limit.double().reshape(-1, 1, 1)).to(y.dtype).flatten(1)

    low, share = _between(position.flatten(1))
    down, right = _neighbours(height, tiles[0], sides[0], y), _neighbours(width, tiles[1], sides[1], y)
    out = torch.zeros_like(low, dtype=y.dtype)
    for i, weight_down in zip(down[0], down[1], strict=True):
        for j, weight_right in zip(right[0], right[1], strict=True):
            index = ((i[:, None] * tiles[1] + j[None]) * BINS).reshape(1, -1) + low
            below = mappings.gather(1, index)
            mapped = below + (mappings.gather(1, index + 1) - below) * share
            out = out + mapped * (weight_down[:, None] * weight_right[None]).reshape(1, -1)
    return out.reshape(batch, 1, height, width)


def _mirrored(size: int, tiles: int, device: torch.device) -> Tensor:
    """The rows of a picture, then those of its mirror image until the tiles divide their number."""
    index = torch.arange(-(-size // tiles) * tiles, device=device)
    return torch.where(index < size, index, 2 * (size - 1) - index)


def _neighbours(size: int, tiles: int, side: int, like: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """For each row: the tiles whose middles lie around it, and their weights. At the edge, twice the same."""
    place = (torch.arange(size, device=like.device, dtype=torch.float64) + 0.5) / side - 0.5
    first = place.floor()
    weight = (place - first).to(like.dtype)
    index = first.long()
    return (index.clamp(0, tiles - 1), (index + 1).clamp(0, tiles - 1)), (1 - weight, weight)


class CLAHE(Stage):
    """Raises local contrast: equalises luma tile by tile, where no histogram bin counts more than a limit. Display-
    referred code values in and out, colour differences as they were, so colours may leave [0, 1]; does not clip.

    On 8-bit codes the mapping of luma is that of OpenCV, without rounding and but for two things: what the limit cuts
    off goes to all bins alike (OpenCV gives what is left by whole-number division to the darkest), and the middle of a
    tile is its middle (OpenCV's lies half a pixel off). The smaller the tiles, the more that makes. Values between
    codes count in both neighbouring bins, which makes the stage differentiable, histograms included.

    Raises
    ------
    ValueError
        If the picture has fewer rows or columns than tiles.
    """

    needs = Signal.where(layout="rgb", levels="unit", reference="display", transfer=("srgb", "bt709", "gamma"))
    halo = None
    source = "Zuiderveld 1994 [Zuiderveld1994]"

    class Params(StageParams):
        tiles: Annotated[tuple[Tile, Tile], Structural] = Field(
            (8, 8), description="number of tiles down and across [1]"
        )
        clip_limit: float = Field(
            2.0, ge=1, le=BINS, description="most that a bin counts [mean count of a bin]; 256 limits nothing"
        )
        strength: float = Field(1.0, ge=0, le=1, description="share of the effect [fraction]; 0 is none")
        standard: Standard = "bt709"

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        y = luma(frame.pixels, p.standard)
        change = (clahe(y, p.tiles, p.clip_limit) - y.clamp(0, 1)) * p.strength
        return torch.add(frame.pixels, change)
