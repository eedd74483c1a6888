"""Global tone curve: a monotone spline with an exact inverse."""

from __future__ import annotations

from dataclasses import dataclass
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
            json_schema_extra={"fact": "tone_curve"},
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


@dataclass(frozen=True)
class _Piece:
    """One interval of the spline, each value (B, 1). With t from 0 to 1, and u = 1 - t, the curve rises by
    ``dy (t^2 + bent t u) / (1 + bend t u)``."""

    x0: Tensor
    y0: Tensor
    dx: Tensor
    dy: Tensor
    bent: Tensor
    bend: Tensor


def _pieces(points: Tensor) -> tuple[list[_Piece], Tensor]:
    """The intervals, and the slopes at the knots (B, K). The curve is the sum of what it rises in each interval:
    sums of whole planes take less time than looking up each pixel's interval."""
    secant, slope = _slopes(points)
    values = (
        *points[:, :-1].unbind(-1),
        *points.diff(dim=1).unbind(-1),
        slope[:, :-1] / secant,
        (slope[:, :-1] + slope[:, 1:]) / secant - 2,
    )
    return [_Piece(*(v[:, k : k + 1] for v in values)) for k in range(secant.shape[1])], slope


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
    pieces, slope = _pieces(points)
    y = _beyond(flat, slope)
    for k, piece in enumerate(pieces):
        t = _inside((flat - piece.x0).div_(piece.dx), k)
        tu = t * (1 - t)
        y.add_((t * t).add_(tu * piece.bent).div_((tu * piece.bend).add_(1)).mul_(piece.dy))
    return y


def spline_inverse(y: Tensor, points: Tensor) -> Tensor:
    """The inverse of `spline`: in each interval the root of a quadratic. Shapes and range as there."""
    return blockwise(_backward, y, points)


def _backward(flat: Tensor, points: Tensor) -> Tensor:
    pieces, slope = _pieces(points)
    x = _beyond(flat, 1 / slope)
    for k, piece in enumerate(pieces):
        v = _inside((flat - piece.y0).div_(piece.dy), k)
        # the root in [0, 1] of (1 - 2 h) t^2 + 2 h t - v
        h = (v * (piece.bend * -0.5)).add_(piece.bent * 0.5)
        root = torch.sqrt((h * torch.sub(h, v, alpha=2)).add_(v).clamp_min_(0))
        x.add_((v / (root + h)).mul_(piece.dx))
    return x


def _inside(t: Tensor, k: int) -> Tensor:
    """t between 0 and 1, in interval k. On a knot only the interval below has a gradient, at 0 the first."""
    return t.clamp(0, 1) if k == 0 else torch.relu(t).clamp_max(1)


def _beyond(values: Tensor, slope: Tensor) -> Tensor:
    """What lies beyond [0, 1], times the slope of the nearest end."""
    return (values - values.clamp_min(0)) * slope[:, :1] + (values - values.clamp_max(1)) * slope[:, -1:]
