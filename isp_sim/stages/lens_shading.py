"""Correction of the light that a lens loses towards the corners."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal
from isp_sim.stage import Result, Stage

Coefficient = Annotated[float, Field(ge=-20, le=20)]
Fraction = Annotated[float, Field(ge=0, le=1)]

LEAST = 0.01
"""The least gain that coefficients of a recipe may lead to."""


class LensShading(Stage):
    """Multiplies each pixel by the gain that makes up for lens shading, on a mosaic or RGB. Linear light in, linear
    light out; does not clip.

    ``radial`` is DNG's FixVignetteRadial: 1 + k0 r^2 + k1 r^4 + ... + k4 r^10 of the distance r from the optical
    centre, which is 1 at the farthest corner of the whole picture. ``gain_map`` is DNG's GainMap: bilinear between
    the points of a grid, with a map for each site of the CFA, or for each plane; beyond the grid its outermost points
    hold.

    Where a picture was cut out or turned before, the fact ``placement`` says where it lies on the whole one, so the
    gains are those of the place on the sensor. What was resampled has no such place and is refused. The inverse is
    the shading.

    Raises
    ------
    ValueError
        If a gain is not positive, if the capture's shading is corrected already, or if the picture was resampled.
    """

    needs = Signal.where(layout=("mosaic", "rgb"), levels="unit", transfer="linear")
    halo = 0
    source = "DNG 1.7.1, FixVignetteRadial and GainMap [DNG2023]"

    class Params(StageParams):
        model: Literal["radial", "gain_map"] = Field("radial", description="a polynomial, or a map of gains")
        coefficients: tuple[Coefficient, Coefficient, Coefficient, Coefficient, Coefficient] | None = Field(
            None,
            examples=[[0.3, 0.1, 0, 0, 0], [0.8, -0.2, 0.05, 0, 0.1], [-0.5, 0, 0, 0, 0]],
            description="k0 to k4 of the radial gain [1]; the capture's if not given",
        )
        centre: tuple[Fraction, Fraction] = Field(
            (0.5, 0.5), description="optical centre of these coefficients, across and down [fraction of the picture]"
        )

        @field_validator("coefficients")
        @classmethod
        def _positive(cls, k: tuple[float, ...] | None) -> tuple[float, ...] | None:
            if k is not None and (least := _least(k)) < LEAST:
                raise ValueError(f"the gain falls to {least:.3g} within the picture; it must be at least {LEAST}")
            return k

        @model_validator(mode="after")
        def _of_one_model(self) -> LensShading.Params:
            if self.model == "gain_map" and self.coefficients is not None:
                raise ValueError("coefficients belong to the radial model; a gain map comes with the capture")
            return self

    def requirement(self, p: Any) -> Requirement:
        if p.model == "gain_map":  # its planes are those of the camera
            return Requirement({**self.needs.accepted, "colour": ("camera",)})
        return self.needs

    def facts_read(self, p: Any) -> tuple[str, ...]:
        if p.model == "gain_map":
            return ("gain_map", "gain_map_geometry")
        return ("vignette",) if p.coefficients is None else ()

    def facts_written(self, p: Any) -> tuple[str, ...]:
        return ("shading_corrected",) if self.facts_read(p) else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        if self.facts_read(p) and bool(_corrected(frame)[:, _number(p)].any()):
            raise ValueError(f"the capture's {p.model.replace('_', ' ')} shading has been corrected already")
        return self._result(frame, frame.pixels * self._gain(frame, p), p, 1.0)

    def inverse(self, frame: Frame, p: Any) -> Result:
        return self._result(frame, frame.pixels / self._gain(frame, p), p, 0.0)

    def _result(self, frame: Frame, pixels: Tensor, p: Any, corrected: float) -> Result:
        if not self.facts_read(p):
            return Result(pixels)
        state = _corrected(frame).clone()
        state[:, _number(p)] = corrected
        return Result(pixels, {"shading_corrected": state})

    @staticmethod
    def _gain(frame: Frame, p: Any) -> Tensor:
        axes = _Axes(frame)
        if p.model == "gain_map":
            gain = _map_gain(frame, axes)
        elif p.coefficients is None:
            vignette = frame.capture["vignette"]
            gain = _radial_gain(frame, axes, vignette[:, :5], vignette[:, 5:])
        else:
            gain = _radial_gain(frame, axes, p.coefficients[:, :, 0, 0], p.centre[:, :, 0, 0])
        if not bool((gain > 0).all()):
            raise ValueError(f"the gains against lens shading must be positive; the least is {gain.min():g}")
        return gain


def _number(p: Any) -> int:
    return int(p.model == "gain_map")


def _corrected(frame: Frame) -> Tensor:
    if "shading_corrected" in frame.capture:
        return frame.capture["shading_corrected"]
    return frame.pixels.new_zeros(frame.batch, 2, 1, 1)


def _least(k: tuple[float, ...]) -> float:
    """The least radial gain between the centre and the farthest corner."""
    return float(np.polyval([*reversed(k), 1.0], np.linspace(0, 1, 4097)).min())


class _Axes:
    """Where the rows and columns of a picture lie on the whole one. Whole numbers, so float64 has them exactly.

    Of a picture that was turned about the diagonal, rows are columns of the whole one; `turned`, (B, 1), says of which.
    """

    def __init__(self, frame: Frame) -> None:
        place = frame.placement.double()
        if not bool((place[:, :, 3] > 0).all()):
            raise ValueError(
                "the picture was resampled, so its pixels have no place on the sensor: correct lens shading before that"
            )
        self.turned = place[:, 0, 1, None] != 0
        self.dtype = frame.pixels.dtype
        x, y = place[:, 0], place[:, 1]
        self.along_row = self._line(frame.size[1], torch.where(self.turned, y[:, [0, 2]], x[:, [0, 2]]))
        """(B, W): the place of each column."""
        self.along_column = self._line(frame.size[0], torch.where(self.turned, x[:, [1, 2]], y[:, [1, 2]]))
        """(B, H): the place of each row."""
        self.whole = place[:, :, 3]
        """(B, 2): width and height of the whole picture."""

    @staticmethod
    def _line(length: int, of: Tensor) -> Tensor:
        return of[:, :1] * torch.arange(length, dtype=of.dtype, device=of.device) + of[:, 1:]

    def of(self, across: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        """What belongs to the columns and what to the rows, of values (B, ...) across and down the whole picture."""
        turned = self.turned.reshape(-1, *[1] * (across.ndim - 1))
        return torch.where(turned, down, across), torch.where(turned, across, down)


def _radial_gain(frame: Frame, axes: _Axes, k: Tensor, centre: Tensor) -> Tensor:
    """(B, 1, H, W)."""
    last = axes.whole - 1
    middle = centre.double() * last
    farthest = torch.maximum(middle, last - middle)
    norm = (farthest * farthest).sum(dim=1, keepdim=True)
    x, y = axes.of(middle[:, :1], middle[:, 1:])
    dx, dy = axes.along_row - x, axes.along_column - y
    # a picture of one pixel is its own centre
    norm = torch.where(norm > 0, norm, 1.0)
    u = (dx * dx / norm).to(axes.dtype)[:, None, None, :] + (dy * dy / norm).to(axes.dtype)[:, None, :, None]
    gain = k[:, 4, None, None, None] * u
    for i in (3, 2, 1, 0):
        gain = (gain + k[:, i, None, None, None]) * u
    return gain + 1


def _map_gain(frame: Frame, axes: _Axes) -> Tensor:
    """(B, 1, H, W) of a mosaic, (B, 3, H, W) of a picture: the product of the maps that are for a pixel."""
    grids, geometry = _turned_alike(frame, axes)
    gain = frame.pixels.new_ones(frame.batch, frame.pixels.shape[1], *frame.size)
    planes = torch.arange(frame.pixels.shape[1], device=gain.device)
    whole_row, whole_column = axes.of(axes.whole[:, :1], axes.whole[:, 1:])
    for i in range(geometry.shape[1]):
        g = geometry[:, i]
        top, left, bottom, right, down, across, first, number, rows, columns, *grid = (g[:, j, None] for j in range(14))
        of_row = (axes.along_column >= top) & (axes.along_column < bottom)
        of_row &= torch.remainder(axes.along_column - top, down) == 0
        of_column = (axes.along_row >= left) & (axes.along_row < right)
        of_column &= torch.remainder(axes.along_row - left, across) == 0
        of_plane = (planes >= first) & (planes < first + number)
        inside = of_plane[:, :, None, None] & of_row[:, None, :, None] & of_column[:, None, None, :]
        vertical = _between(axes.along_column, whole_column, grid[0], grid[2], rows)
        horizontal = _between(axes.along_row, whole_row, grid[1], grid[3], columns)
        value = _bilinear(grids[:, i], vertical, horizontal)[:, None]
        gain = torch.where(inside, gain * value, gain)
    return gain


def _turned_alike(frame: Frame, axes: _Axes) -> tuple[Tensor, Tensor]:
    """The grids (B, n, s, s) and their geometry (B, n, 14) with rows and columns as the picture has them now."""
    grids, geometry = frame.capture["gain_map"], frame.capture["gain_map_geometry"].double()
    side = max(grids.shape[-2:])
    grids = torch.nn.functional.pad(grids, (0, side - grids.shape[-1], 0, side - grids.shape[-2]), value=1.0)
    exchanged = geometry[..., [1, 0, 3, 2, 5, 4, 6, 7, 9, 8, 11, 10, 13, 12]]
    turned = axes.turned[:, :, None]
    return torch.where(turned[..., None], grids.transpose(-1, -2), grids), torch.where(turned, exchanged, geometry)


def _between(
    place: Tensor, length: Tensor, origin: Tensor, spacing: Tensor, points: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The grid points before and after each place (B, N), and how far it is from one to the other."""
    steps = ((place + 0.5) / length - origin) / torch.where(points > 1, spacing, 1.0)
    steps = torch.minimum(steps.clamp_min(0), points - 1)
    before = torch.minimum(steps.floor(), (points - 2).clamp_min(0))
    after = torch.minimum(before + 1, points - 1)
    return before.long(), after.long(), steps - before


def _bilinear(
    grid: Tensor, vertical: tuple[Tensor, Tensor, Tensor], horizontal: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """(B, H, W) of a grid (B, s, s): down its columns first, which leaves little to be done along the rows."""

    def rows(index: Tensor) -> Tensor:
        return grid.gather(1, index[:, :, None].expand(-1, -1, grid.shape[2]))

    above, below, share = vertical
    lines = rows(above) + (rows(below) - rows(above)) * share[:, :, None].to(grid.dtype)

    def columns(index: Tensor) -> Tensor:
        return lines.gather(2, index[:, None, :].expand(-1, lines.shape[1], -1))

    left, right, share = horizontal
    return columns(left) + (columns(right) - columns(left)) * share[:, None, :].to(grid.dtype)
