"""Global tone curve: a monotone spline with an exact inverse."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from isp_sim.cameras.profile import Points, rising
from isp_sim.elementary import blockwise
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage


class ToneCurve(Stage):
    """Maps each channel through a monotone rational-quadratic spline. Linear in, linear out, display-referred.

    Beyond [0, 1] the curve goes on as a straight line with the slope of its end; does not clip. The inverse is in
    closed form, and exact to rounding.
    """

    needs = Signal.where(layout="rgb", transfer="linear", reference="scene", levels="unit", white_balanced=True)
    gives = Signal.change(reference="display")
    halo = 0
    source = "Gregory and Delbourgo 1982 [Gregory1982]"

    class Params(StageParams):
        points: Points | None = Field(
            None,
            min_length=2,
            examples=[[[0, 0], [1, 1]], [[0, 0], [0.25, 0.45], [1, 1]], [[0, 0], [0.1, 0.04], [0.4, 0.6], [1, 1]]],
            description="knots [x, y] of the curve, both rising, from [0, 0] to [1, 1] [1]; the camera's if not given",
        )

        @field_validator("points")
        @classmethod
        def _rising(cls, points: Points | None) -> Points | None:
            return None if points is None else rising(points)

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("tone_curve",) if p.points is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return spline(frame.pixels, self._points(frame, p))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return spline_inverse(frame.pixels, self._points(frame, p))

    @staticmethod
    def _points(frame: Frame, p: Any) -> Tensor:
        points: Tensor = frame.capture["tone_curve"] if p.points is None else p.points
        return points


def _slopes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Secants between the knots (B, K-1) and slopes at the knots (B, K), positive by construction.

    Inside, the slope is the harmonic mean of both secants, weighted by the intervals; at the ends, the secant
    squared over the slope of the neighbour, which makes a curve of two knots a straight line.
    """
    h, rise = points[:, 1:].unbind(-1)[0] - points[:, :-1, 0], points[:, 1:, 1] - points[:, :-1, 1]
    secant = rise / h
    if secant.shape[1] == 1:
        return secant, secant.repeat(1, 2)
    h0, h1, s0, s1 = h[:, :-1], h[:, 1:], secant[:, :-1], secant[:, 1:]
    inner = (h0 + h1) * s0 * s1 / (h1 * s0 + h0 * s1)
    first = secant[:, :1] * secant[:, :1] / inner[:, :1]
    last = secant[:, -1:] * secant[:, -1:] / inner[:, -1:]
    return secant, torch.cat([first, inner, last], dim=1)


def _cell(values: Tensor, knots: Tensor) -> Tensor:
    """The interval (B, N) that each value (B, N) falls into, of the knots (B, K)."""
    return torch.searchsorted(knots[:, 1:-1].contiguous(), values, right=True)


def spline(x: Tensor, points: Tensor) -> Tensor:
    """The monotone rational-quadratic spline through `points`.

    Parameters
    ----------
    x
        (B, C, H, W), any range.
    points
        (B, K, 2), knots that rise strictly from (0, 0) to (1, 1).

    Returns
    -------
    Tensor
        (B, C, H, W). Within [0, 1] for x in [0, 1]; a straight line beyond. Not clipped.

    Examples
    --------
    >>> knots = torch.tensor([[[0.0, 0.0], [0.5, 0.7], [1.0, 1.0]]])
    >>> round(spline(torch.full((1, 1, 1, 1), 0.5), knots).item(), 6)
    0.7
    """
    return blockwise(_forward, x, points)


def _forward(flat: Tensor, points: Tensor) -> Tensor:
    inside = flat.clamp(0, 1)
    secant, slope = _slopes(points)
    k = _cell(inside.detach(), points[..., 0])
    x0, y0, x1, y1, s, d0, d1 = _at(k, points, secant, slope)
    t = (inside - x0) / (x1 - x0)
    u = 1 - t
    tu = t * u
    y = y0 + (y1 - y0) * (s * t * t + d0 * tu) / (s + (d0 + d1 - 2 * s) * tu)
    return y + (flat - inside) * _end(flat, slope)


def spline_inverse(y: Tensor, points: Tensor) -> Tensor:
    """The inverse of `spline`: in each interval the root of a quadratic. Shapes and range as there."""
    return blockwise(_backward, y, points)


def _backward(flat: Tensor, points: Tensor) -> Tensor:
    inside = flat.clamp(0, 1)
    secant, slope = _slopes(points)
    k = _cell(inside.detach(), points[..., 1])
    x0, y0, x1, y1, s, d0, d1 = _at(k, points, secant, slope)
    v = inside - y0
    bend = d0 + d1 - 2 * s
    a = (y1 - y0) * (s - d0) + v * bend
    b = (y1 - y0) * d0 - v * bend
    c = -s * v
    t = 2 * c / (-b - torch.sqrt((b * b - 4 * a * c).clamp_min(0)))
    x = x0 + t * (x1 - x0)
    return x + (flat - inside) / _end(flat, slope)


def _end(values: Tensor, slope: Tensor) -> Tensor:
    """The slope with which the curve goes on beyond its nearest end, for values (B, N) outside."""
    return torch.where(values < 0, slope[:, :1], slope[:, -1:])


def _at(k: Tensor, points: Tensor, secant: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    """Both knots, the secant and both slopes of the intervals k (B, N)."""
    xs, ys = points[..., 0], points[..., 1]
    return (
        xs.gather(1, k),
        ys.gather(1, k),
        xs.gather(1, k + 1),
        ys.gather(1, k + 1),
        secant.gather(1, k),
        slope.gather(1, k),
        slope.gather(1, k + 1),
    )
