"""Filmic tone curves: a rational function of scene light with a toe and a shoulder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.elementary import blockwise
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage


@dataclass(frozen=True)
class Rational:
    """The curve ``(p x^2 + q x) / (r x^2 + s x + t)`` for x from 0 to `white`.

    With positive coefficients and ``p s > q r`` it rises everywhere: the numerator of its derivative is
    ``(p s - q r) x^2 + 2 p t x + q t``.
    """

    p: float
    q: float
    r: float
    s: float
    t: float
    white: float

    def __call__(self, x: Tensor) -> Tensor:
        return x * (x * self.p + self.q) / self._below(x)

    def slope(self, x: Tensor) -> Tensor:
        rise = x * (x * (self.p * self.s - self.q * self.r) + 2 * self.p * self.t) + self.q * self.t
        below = self._below(x)
        return rise / (below * below)

    def _below(self, x: Tensor) -> Tensor:
        return x * (x * self.r + self.s) + self.t

    def inverse(self, v: Tensor) -> Tensor:
        """The root >= 0 of a quadratic, without a difference of nearly equal numbers; for 0 <= v < p / r."""
        a, b, c = self.p - v * self.r, self.q - v * self.s, v * self.t
        root = torch.sqrt(b * b + 4 * a * c)
        return torch.where(b > 0, 2 * c / (b.clamp_min(0) + root), (root - b) / (2 * a))


def _hable(a: float, b: float, c: float, d: float, e: float, f: float, white: float) -> Rational:
    """Hable's form, ((x(ax+cb)+de) / (x(ax+b)+df)) - e/f, over one denominator: then 0 gives 0 exactly."""
    return Rational(p=a * (1 - e / f), q=b * (c - e / f), r=a, s=b, t=d * f, white=white)


CURVES: Final[Mapping[str, Rational]] = MappingProxyType(
    {
        "hable2010": _hable(a=0.15, b=0.50, c=0.10, d=0.20, e=0.02, f=0.30, white=11.2),
        # the published fit passes 1 where 0.08 x^2 - 0.56 x - 0.14 = 0
        "narkowicz2015": Rational(2.51, 0.03, 2.43, 0.59, 0.14, white=(0.56 + math.sqrt(0.3584)) / 0.16),
    }
)
"""Hable's curve for Uncharted 2, and Narkowicz's fit of the ACES rendering for screens of 100 cd/m2."""


def filmic(x: Tensor, curve: str, exposure: Tensor, white: Tensor | None = None) -> Tensor:
    """Scene light to what a screen shows, 0 to 0 and `white` to 1.

    Parameters
    ----------
    x
        (B, C, H, W), linear, any range: below 0 and above `white` the curve goes on as a straight line. Not clipped.
    curve
        Its name in `CURVES`.
    exposure
        (B, 1, 1, 1) [EV]: x is multiplied by 2 ** exposure first.
    white
        (B, 1, 1, 1): the light, after the exposure, that becomes 1; the author's own if not given.

    Examples
    --------
    >>> grey, none = torch.full((1, 1, 1, 1), 0.18), torch.zeros(1, 1, 1, 1)
    >>> round(filmic(grey, "narkowicz2015", none).item(), 4), round(filmic(grey, "hable2010", none).item(), 4)
    (0.2669, 0.0671)
    """
    return _blockwise(_forward, x, curve, exposure, white)


def filmic_inverse(y: Tensor, curve: str, exposure: Tensor, white: Tensor | None = None) -> Tensor:
    """The inverse of `filmic`, in closed form; arguments and range as there."""
    return _blockwise(_backward, y, curve, exposure, white)


def _blockwise(
    function: Callable[..., Tensor], x: Tensor, curve: str, exposure: Tensor, white: Tensor | None
) -> Tensor:
    rational = CURVES[curve]
    gain = torch.exp(exposure.reshape(-1, 1) * math.log(2))
    end = torch.full_like(gain, rational.white) if white is None else white.reshape(-1, 1)
    return blockwise(partial(function, rational), x, gain, end)


def _forward(curve: Rational, x: Tensor, gain: Tensor, white: Tensor) -> Tensor:
    x = x * gain
    inside = torch.minimum(x.clamp_min(0), white)
    end = torch.where(x < 0, torch.zeros_like(white), white)
    return (curve(inside) + (x - inside) * curve.slope(end)) / curve(white)


def _backward(curve: Rational, y: Tensor, gain: Tensor, white: Tensor) -> Tensor:
    top = curve(white)
    y = y * top
    inside = torch.minimum(y.clamp_min(0), top)
    end = torch.where(y < 0, torch.zeros_like(white), white)
    return (curve.inverse(inside) + (y - inside) / curve.slope(end)) / gain


class Filmic(Stage):
    """Maps each channel through a filmic tone curve. Linear scene light in, linear and display-referred out: 0 to 0,
    `white` to 1, beyond both a straight line; does not clip. The inverse is in closed form.

    With ``narkowicz2015`` and no `white`, the curve is the published one, but for what lies beyond 1.
    """

    needs = Signal.where(layout="rgb", transfer="linear", reference="scene", levels="unit", white_balanced=True)
    gives = Signal.change(reference="display")
    halo = 0
    source = "Hable 2010 [Hable2010]; Narkowicz 2015 [Narkowicz2015]"

    class Params(StageParams):
        curve: Literal["hable2010", "narkowicz2015"] = Field("hable2010", description="whose curve")
        exposure: float = Field(0.0, ge=-10, le=10, description="gain of the light before the curve [EV]")
        white: float | None = Field(
            None,
            ge=0.5,
            le=100,
            description="light that becomes 1, after the exposure [1]; 11.2 and 7.24 by their authors if not given",
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return filmic(frame.pixels, p.curve, p.exposure, p.white)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return filmic_inverse(frame.pixels, p.curve, p.exposure, p.white)
