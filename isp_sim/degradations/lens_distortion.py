"""Lens distortion by the model of Brown and Conrady, and its correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim import filters
from isp_sim.elementary import BLOCK
from isp_sim.frame import Frame, Warp
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Result, Stage

LEAST: Final = 0.1
"""How near to each other neighbouring pixels may come, over their distance."""
ITERATIONS: Final = 10
"""Newton's steps."""
TOLERANCE: Final = 1e-9
"""How exactly a place is found [half diagonals]."""


# -- the model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distortion:
    """Where each place of a distorted picture comes from, in half diagonals from the optical centre.

    Attributes
    ----------
    k1, k2, k3, p1, p2
        Radial and tangential coefficients: numbers, or tensors or arrays that broadcast with the places.
    """

    k1: Any
    k2: Any
    k3: Any
    p1: Any
    p2: Any

    def shift(self, x: Any, y: Any) -> tuple[Any, Any]:
        """What is seen at (x, y) lies without the distortion that much further."""
        xx, yy, xy = x * x, y * y, x * y
        rr = xx + yy
        radial = rr * (self.k1 + rr * (self.k2 + rr * self.k3))
        return (
            x * radial + 2 * self.p1 * xy + self.p2 * (rr + 2 * xx),
            y * radial + self.p1 * (rr + 2 * yy) + 2 * self.p2 * xy,
        )

    def slope(self, x: Any, y: Any) -> tuple[Any, Any, Any]:
        """The derivative [[a, b], [b, d]] of x and y, each plus its shift."""
        xx, yy = x * x, y * y
        rr = xx + yy
        radial = 1 + rr * (self.k1 + rr * (self.k2 + rr * self.k3))
        bend = 2 * (self.k1 + rr * (2 * self.k2 + rr * (3 * self.k3)))
        return (
            radial + bend * xx + 2 * self.p1 * y + 6 * self.p2 * x,
            bend * x * y + 2 * self.p1 * x + 2 * self.p2 * y,
            radial + bend * yy + 6 * self.p1 * y + 2 * self.p2 * x,
        )

    def shift_back(self, u: Tensor, v: Tensor, field: Any) -> tuple[Tensor, Tensor]:
        """What lies at (u, v) without the distortion is seen that much further: the inverse, by Newton's method.

        The derivative is symmetric and, within the field, positive definite, so no two places there come from one. What
        comes from none is put twice as far out as the field.
        """
        x, y = _within(u, v, field)
        for _ in range(ITERATIONS):
            error_x, error_y = self._error(x, y, u, v)
            a, b, d = self.slope(x, y)
            scale = 1 / (a * d - b * b)
            x, y = _within(x - (d * error_x - b * error_y) * scale, y - (a * error_y - b * error_x) * scale, field)
        error_x, error_y = self._error(x, y, u, v)
        found = (error_x.abs() <= TOLERANCE) & (error_y.abs() <= TOLERANCE)
        far = 2 * field / torch.sqrt((u * u + v * v).clamp_min(TOLERANCE))
        return torch.where(found, x - u, u * far - u), torch.where(found, y - v, v * far - v)

    def _error(self, x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        dx, dy = self.shift(x, y)
        return (x - u) + dx, (y - v) + dy

    def least(self, field: float) -> float:
        """How near to each other places up to so far from the optical centre come, over their distance."""
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        radius = np.linspace(0, field, 49)[:, None]
        a, b, d = self.slope(radius * np.cos(turn), radius * np.sin(turn))
        return float(((a + d) / 2 - np.hypot((a - d) / 2, b)).min())


def _within(x: Tensor, y: Tensor, field: Any) -> tuple[Tensor, Tensor]:
    """Places, those beyond the field at its rim: outside the derivative may be singular, and Newton's steps stray."""
    scale = (field / torch.sqrt((x * x + y * y).clamp_min(TOLERANCE))).clamp_max(1)
    return x * scale, y * scale


class Coefficients(StageParams):
    """Of the model: lengths are in half diagonals of the picture, so they hold for any size."""

    k1: float = Field(
        0.1,
        ge=-0.5,
        le=0.5,
        examples=[0.0, 0.2, -0.1],
        description="of r^2; barrel above 0 [1]",
        json_schema_extra={"differentiable": False},
    )
    k2: float = Field(
        0.0,
        ge=-0.5,
        le=0.5,
        examples=[0.0, 0.05, -0.03],
        description="of r^4 [1]",
        json_schema_extra={"differentiable": False},
    )
    k3: float = Field(
        0.0,
        ge=-0.5,
        le=0.5,
        examples=[0.0, 0.02],
        description="of r^6 [1]",
        json_schema_extra={"differentiable": False},
    )
    p1: float = Field(
        0.0,
        ge=-0.05,
        le=0.05,
        examples=[0.0, 0.01],
        description="tangential, above all down [1]",
        json_schema_extra={"differentiable": False},
    )
    p2: float = Field(
        0.0,
        ge=-0.05,
        le=0.05,
        examples=[0.0, -0.005],
        description="tangential, above all across [1]",
        json_schema_extra={"differentiable": False},
    )
    centre_y: float = Field(
        0.0,
        ge=-0.5,
        le=0.5,
        examples=[0.0, 0.1],
        description="centre below the middle [half diagonals]",
        json_schema_extra={"differentiable": False},
    )
    centre_x: float = Field(
        0.0,
        ge=-0.5,
        le=0.5,
        examples=[0.0, -0.05],
        description="centre right of the middle [half diagonals]",
        json_schema_extra={"differentiable": False},
    )
    kernel: Literal["bicubic", "bilinear"] = Field("bicubic", description="how pixels are weighted")

    @model_validator(mode="after")
    def _does_not_fold(self) -> Coefficients:
        _check(self.k1, self.k2, self.k3, self.p1, self.p2, self.centre_y, self.centre_x)
        return self


def _check(k1: float, k2: float, k3: float, p1: float, p2: float, centre_y: float, centre_x: float) -> None:
    """Raise ValueError if the map folds."""
    field = 1 + float(np.hypot(centre_y, centre_x))
    if (least := Distortion(k1, k2, k3, p1, p2).least(field)) < LEAST:
        raise ValueError(
            f"with k1 {k1:g}, k2 {k2:g}, k3 {k3:g}, p1 {p1:g}, p2 {p2:g} the picture folds, or nearly so: pixels come "
            f"together to {least:.3g} of their distance within {field:.3g} half diagonals of the optical centre, and "
            f"{LEAST} is the least; take coefficients nearer to 0"
        )


# -- stages ----------------------------------------------------------------------------------------------------


class _Field:
    """The model for the pictures of a batch, in pixels."""

    def __init__(self, frame: Frame, p: Any) -> None:
        names = ("k1", "k2", "k3", "p1", "p2", "centre_y", "centre_x")
        values = torch.stack([getattr(p, name)[:, 0, 0, 0] for name in names], dim=1).detach().double()
        for sample in values.tolist():
            _check(*sample)
        self.values = values
        self.frame = frame
        height, width = frame.size
        self.half_diagonal = (height**2 + width**2) ** 0.5 / 2

    def _shifted(self, values: Tensor, x: Tensor, y: Tensor, back: bool) -> tuple[Tensor, Tensor]:
        """Places [px] moved, with coefficients (n, 7) for places (n, ...)."""
        height, width = self.frame.size
        *model, centre_y, centre_x = (values[:, i].reshape(-1, *[1] * (x.ndim - 1)) for i in range(7))
        distortion = Distortion(*model)
        u = (x - width / 2) / self.half_diagonal - centre_x
        v = (y - height / 2) / self.half_diagonal - centre_y
        if back:
            dx, dy = distortion.shift_back(u, v, 1 + torch.sqrt(centre_x * centre_x + centre_y * centre_y))
        else:
            dx, dy = distortion.shift(u, v)
        # the shift alone is scaled, so that a shift of 0 leaves a place to the last bit
        return x + self.half_diagonal * dx, y + self.half_diagonal * dy

    def warp(self, back: bool) -> Warp:
        """The warp whose pixels come from where the model says, or with `back` from where its inverse says."""
        device = self.values.device
        height, width = self.frame.size
        x = torch.arange(width, dtype=torch.float64, device=device) + 0.5
        rows = []
        step = max(BLOCK // (8 * width), 1)  # so that Newton's method stays in the cache
        for first in range(0, height, step):
            y = torch.arange(first, min(first + step, height), dtype=torch.float64, device=device)[:, None] + 0.5
            rows.append(torch.stack(self._shifted(self.values, x[None, None], y[None], back), dim=1))

        def forward(xy: Tensor, sample: int) -> Tensor:
            values = self.values[sample : sample + 1].to(xy.device)
            x, y = xy.double().unsqueeze(0).unbind(-1)
            return torch.stack(self._shifted(values, x, y, not back), dim=-1)[0].to(xy.dtype)

        return Warp(torch.cat(rows, dim=2), self.frame.size, forward)


def _result(frame: Frame, p: Any, back: bool) -> Result:
    warp = _Field(frame, p).warp(back)
    height, width = frame.size
    x, y = (torch.arange(side, dtype=torch.float64, device=warp.source.device) + 0.5 for side in (width, height))
    displacement = warp.source - torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return Result(
        filters.sampled(frame.pixels, warp.source, p.kernel),
        maps={"displacement": displacement.to(frame.pixels), "outside": ~warp.inside.unsqueeze(1)},
        warp=warp,
    )


class LensDistortion(Degradation):
    """Distorts a picture as a lens does; maps and labels follow. Linear RGB; bicubic may overshoot; does not clip.

    What is seen at (x, y), in half diagonals from the optical centre, r away from it, lies without the distortion at

        x (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2)
        y (1 + k1 r^2 + k2 r^4 + k3 r^6) + p1 (r^2 + 2 y^2) + 2 p2 x y

    so a k1 above 0 makes a barrel. OpenCV's coefficients are of the same polynomial for the way back. Points go by the
    inverse, to 1e-9 half diagonals. Beyond its edge the picture goes on as its outermost pixels; the map ``outside``,
    (B, 1, H, W), says where. The map ``displacement``, (B, 2, H, W), says how much further right and down a pixel comes
    from [px].

    Raises
    ------
    ValueError
        If the picture would fold.
    """

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit")
    source = "Brown 1966 [Brown1966]; Conrady 1919 [Conrady1919]; Keys 1981 [Keys1981]"

    severities: ClassVar = {"k1": (0.01, 0.03, 0.07, 0.12, 0.2)}

    class Params(Coefficients):
        pass

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return _result(frame, p, back=False)


class Undistort(Stage):
    """Corrects the distortion that `lens_distortion` makes with the same coefficients; maps and labels follow. RGB;
    bicubic may overshoot; does not clip.

    Pixels come from where the inverse says, found to 1e-9 half diagonals. What the distorted picture does not show is
    filled with its outermost pixels, and marked in the map ``outside``, (B, 1, H, W). The map ``displacement``,
    (B, 2, H, W), says how much further right and down a pixel comes from [px].

    Raises
    ------
    ValueError
        If the distorted picture would have folded.
    """

    needs = Signal.where(layout="rgb", levels="unit")
    source = "Brown 1966 [Brown1966]; Conrady 1919 [Conrady1919]; Keys 1981 [Keys1981]"

    class Params(Coefficients):
        pass

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return _result(frame, p, back=True)
