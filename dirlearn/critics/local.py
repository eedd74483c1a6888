"""A score at each place of a map."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from dirlearn.critics.critic import Critic, Projection, stem
from isp_sim.parameters import StageParams, Structural


class Local(Critic):
    """Scalar products, place by place, of r (N, C, h, w) and images x (M, D, H, W) brought to its grid: (N, M + k, L).

    A stem of strided convolutions reads the images; both sides are projected by 1x1 convolutions with a linear
    shortcut. L = h w.

    With `offsets` k, columns M to M + k - 1 hold the scores of r_i at each place with its own image, the M images'
    first N, at other places (the map taken round its edges). As negatives they keep fine detail in r, which other
    images alone do not ask for; but places of one image are not independent, so the estimate then bounds something
    else. With `scales`, further stems look at grids 2, 4, ... times as coarse, and the scores are averaged.
    """

    takes = "maps"
    source = "Hjelm et al. 2019 [Hjelm2019]; Bachman et al. 2019 [Bachman2019]"

    class Params(StageParams):
        width: Annotated[int, Structural] = Field(128, ge=1, le=4096, description="channels of the stem [1]")
        embedding: Annotated[int, Structural] = Field(128, ge=1, le=8192, description="size of the embeddings [1]")
        offsets: Annotated[int, Structural] = Field(
            0, ge=0, le=64, description="other places of the same image to score with [1]"
        )
        scales: Annotated[int, Structural] = Field(1, ge=1, le=5, description="grids, each half as fine [1]")

    def __init__(self, params: Params, *, r_channels: int, x_channels: int = 3, stride: int = 1) -> None:
        super().__init__(params, r_channels=r_channels, x_channels=x_channels, stride=stride)
        self.extra_columns = params.offsets
        scales = range(params.scales)
        self.stems = nn.ModuleList(stem(x_channels, params.width, stride << s) for s in scales)
        self.of_r = nn.ModuleList(Projection(r_channels, params.embedding) for _ in scales)
        self.of_x = nn.ModuleList(Projection(params.width, params.embedding) for _ in scales)

    def forward(self, r: Tensor, x: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """The scores, (N, M + offsets, L).

        Parameters
        ----------
        r
            (N, C, h, w).
        x
            (M, D, H, W), M >= N with `offsets`: the image of r_i is x_i.
        rng
            Draws the offsets; without it they are the nearest.

        Raises
        ------
        ValueError
            If the map has no more places than `offsets`, or if there are fewer images than maps.
        """
        a, b = self._embedded(r, x)
        scores = torch.einsum("ndl,mdl->nml", a.flatten(2), b.flatten(2))
        if self.extra_columns:
            if x.shape[0] < r.shape[0]:
                raise ValueError(f"{x.shape[0]} images for {r.shape[0]} maps: offsets need each map's own image")
            own = b[: r.shape[0]]
            moved = [
                (a * own.roll(offset, dims=(2, 3))).sum(dim=1).flatten(1)
                for offset in offsets(r.shape[2], r.shape[3], self.extra_columns, rng)
            ]
            scores = torch.cat([scores, torch.stack(moved, dim=1)], dim=1)
        return scores

    def _embedded(self, r: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of all scales on r's grid, whose scalar product is the mean of the scales' scores."""
        grid = r.shape[2], r.shape[3]
        pairs = []
        for scale, (stem_of_x, of_r, of_x) in enumerate(zip(self.stems, self.of_r, self.of_x, strict=True)):
            coarse = -(-grid[0] // 2**scale), -(-grid[1] // 2**scale)
            both = of_r(_pooled(r, coarse)), of_x(_pooled(stem_of_x(x), coarse))
            pairs.append([interpolate(embedding, size=grid) if scale else embedding for embedding in both])
        size = sum(features.shape[1] for features, _ in pairs)
        normal = (size * len(pairs)) ** -0.5
        return torch.cat([p[0] for p in pairs], dim=1) * normal, torch.cat([p[1] for p in pairs], dim=1)


def _pooled(features: Tensor, grid: tuple[int, int]) -> Tensor:
    return features if features.shape[2:] == grid else adaptive_avg_pool2d(features, grid)


def offsets(height: int, width: int, number: int, rng: np.random.Generator | None = None) -> list[tuple[int, int]]:
    """Moves of a map taken round its edges, down and to the right: drawn without repetition, or the nearest.

    Raises
    ------
    ValueError
        If there are not as many.

    Examples
    --------
    >>> offsets(4, 4, 4)
    [(-1, 0), (0, -1), (0, 1), (1, 0)]
    """
    down, right = np.divmod(np.arange(1, height * width), width)
    down, right = (np.where(2 * move > side, move - side, move) for move, side in ((down, height), (right, width)))
    if number > down.size:
        raise ValueError(f"a map of {height} x {width} has {down.size} other places, and {number} offsets are wanted")
    if rng is None:
        chosen = np.lexsort((right, down, down**2 + right**2))[:number]
    else:
        chosen = rng.choice(down.size, number, replace=False)
    return [(int(down[i]), int(right[i])) for i in chosen]
