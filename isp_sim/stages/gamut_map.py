"""A smooth map of colours: radial basis functions in RGB, with a numerical inverse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.cameras.profile import Centre, Shift, check_contraction
from isp_sim.elementary import BLOCK
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import LOST, Recovery, Result, Stage

FIXED_POINT: Final = 3
NEWTON: Final = 4
"""Steps of the inverse, always as many, so no pixel depends on another. Each of the first halves the error at least.
Then, in units of the greatest curvature, it is below 0.085 whatever the functions, and each step of Newton squares it:
below 1e-17 at the end, so rounding is all that is left."""

TOLERANCE: Final = 1e-5
"""How far from its target a pixel of the inverse may map before it is marked as lost."""


class GamutMap(Stage):
    """Moves each colour by a sum of Gaussians around centres in RGB. Linear sRGB in and out, any range; does not clip.

    x becomes x + sum_k w_k exp(-|x - c_k|^2 / (2 s^2)): a parametric stand-in for the gamut mapping that cameras are
    measured to do. The weights must be so small that moves of two colours differ by half their distance at most, so
    the map is one to one. Its inverse is found by fixed-point iteration and Newton's, to rounding; the pixels that map
    more than 1e-5 beside their target are marked in the map ``lost``: none, unless a capture brings weights that no
    profile has checked.
    """

    needs = Signal.where(
        layout="rgb", colour="srgb", white_balanced=True, levels="unit", transfer="linear", reference="scene"
    )
    halo = 0
    source = "Kim et al. 2012 [Kim2012]"

    class Params(StageParams):
        centres: tuple[Centre, ...] | None = Field(
            None,
            min_length=1,
            max_length=512,
            examples=[[[0.8, 0.1, 0.1], [0.1, 0.7, 0.2]], [[0.2, 0.2, 0.9], [0.5, 0.5, 0.5]]],
            description="centres of the functions in RGB [1]; the camera's if not given",
        )
        weights: tuple[Shift, ...] | None = Field(
            None,
            min_length=1,
            max_length=512,
            examples=[[[0.03, 0, -0.01], [0, 0.02, 0]], [[-0.02, 0.01, 0.04], [0.01, 0, -0.03]]],
            description="how far R, G and B move at each centre [1]; the camera's if not given",
        )
        width: float = Field(0.4, ge=0.2, le=2, description="standard deviation of the functions; of given centres [1]")

        @model_validator(mode="after")
        def _contracts(self) -> GamutMap.Params:
            if (self.centres is None) != (self.weights is None):
                raise ValueError("centres and weights are given together, or both are the camera's")
            if self.centres is not None and self.weights is not None:
                check_contraction(self.centres, self.weights, self.width)
            return self

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("gamut_map",) if p.centres is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return _by_blocks(gamut_map, frame.pixels, self._table(frame, p))

    def inverse(self, frame: Frame, p: Any) -> Result:
        table = self._table(frame, p)
        pixels = _by_blocks(gamut_map_inverse, frame.pixels, table)
        beside = (_by_blocks(gamut_map, pixels.detach(), table.detach()) - frame.pixels.detach()).abs()
        scale = frame.pixels.detach().abs().amax(dim=1, keepdim=True).clamp_min(1)
        return Result(pixels, maps={LOST: ~(beside <= TOLERANCE * scale).all(dim=1, keepdim=True)})

    def recovery(self, p: Any) -> Recovery:
        return Recovery(super().recovery(p).undo, f"its inverse, in {FIXED_POINT + NEWTON} iterations")

    @staticmethod
    def _table(frame: Frame, p: Any) -> Tensor:
        if p.centres is None:
            table: Tensor = frame.capture["gamut_map"]
            return table
        width = p.width[:, :, :, 0].expand(-1, p.centres.shape[1], -1)
        return torch.cat([p.centres, p.weights, width], dim=2)


def gamut_map(x: Tensor, table: Tensor) -> Tensor:
    """Move the colours x (B, 3, N) by the functions of table (B, n, 7): a centre, a weight and a width each."""
    return x + _moves(x, table)


def gamut_map_inverse(y: Tensor, table: Tensor) -> Tensor:
    """The colours that `gamut_map` moves to y (B, 3, N)."""
    with torch.no_grad():
        x = y
        for _ in range(FIXED_POINT):
            x = y - _moves(x, table)
        for _ in range(NEWTON - 1):
            x = _newton(x, y, table)
    return _newton(x, y, table)  # whose own gradient is that of the inverse, wherever it starts from


def _newton(x: Tensor, y: Tensor, table: Tensor) -> Tensor:
    """One step towards the root of ``gamut_map(x) - y``: x less the error times the inverse of the slopes."""
    moves = torch.zeros((), dtype=x.dtype, device=x.device)
    slopes = [[moves + float(i == j) for j in range(3)] for i in range(3)]
    total = [moves] * 3
    for near, offsets, weights, width in _functions(x, table):
        falling = [-near * offset / (width * width) for offset in offsets]
        for i in range(3):
            total[i] = total[i] + near * weights[i]
            slopes[i] = [slopes[i][j] + falling[j] * weights[i] for j in range(3)]
    e = [x[:, i] + total[i] - y[:, i] for i in range(3)]
    (a, b, c), (d, f, g), (h, k, m) = slopes
    p, q, r = f * m - g * k, g * h - d * m, d * k - f * h
    steps = [
        p * e[0] + (c * k - b * m) * e[1] + (b * g - c * f) * e[2],
        q * e[0] + (a * m - c * h) * e[1] + (c * d - a * g) * e[2],
        r * e[0] + (b * h - a * k) * e[1] + (a * f - b * d) * e[2],
    ]
    return x - torch.stack(steps, dim=1) / (a * p + b * q + c * r).unsqueeze(1)


def _functions(x: Tensor, table: Tensor) -> Iterator[tuple[Tensor, list[Tensor], list[Tensor], Tensor]]:
    """Of each function: its value at x (B, N), the offsets from its centre, its weights and its width."""
    for k in range(table.shape[1]):
        row = [table[:, k, i : i + 1] for i in range(7)]
        offsets = [x[:, i] - row[i] for i in range(3)]
        r, g, b = offsets
        yield torch.exp((r * r + g * g + b * b) / (-2 * row[6] * row[6])), offsets, row[3:6], row[6]


def _moves(x: Tensor, table: Tensor) -> Tensor:
    total = [torch.zeros((), dtype=x.dtype, device=x.device)] * 3
    for near, _, weights, _ in _functions(x, table):
        total = [sofar + near * weight for sofar, weight in zip(total, weights, strict=True)]
    return torch.stack(total, dim=1)


def _by_blocks(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, table: Tensor) -> Tensor:
    """A function of single pixels (B, 3, N), computed in blocks that fit the cache, like `elementary.blockwise`."""
    flat = x.reshape(*x.shape[:2], -1)
    wants_grad = torch.is_grad_enabled() and (x.requires_grad or table.requires_grad)
    count = BLOCK // 4
    if x.device.type != "cpu" or wants_grad or flat.shape[2] <= count:
        return function(flat, table).reshape(x.shape)
    out = torch.empty_like(flat, memory_format=torch.contiguous_format)
    for i in range(flat.shape[0]):
        for start in range(0, flat.shape[2], count):
            part = slice(start, start + count)
            out[i : i + 1, :, part] = function(flat[i : i + 1, :, part], table[i : i + 1])
    return out.reshape(x.shape)
