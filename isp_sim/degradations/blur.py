"""Blur by a kernel that is the same all over the picture: Gaussian, out of focus, motion, measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from isp_sim import filters
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal
from isp_sim.stage import Degradation, Result

Array = NDArray[np.float64]

LIGHT: Final[Requirement] = Signal.where(layout="rgb", transfer="linear", levels="unit")
"""Light is what a lens spreads, before a CFA samples it."""
SIGMA: Final = 10.0
"""The widest Gaussian [px]."""
RADIUS: Final = 20.0
"""The largest disc [px]."""
LENGTH: Final = 60.0
"""The longest path [px]."""
SIDE: Final = 63
"""The largest measured kernel [px]."""
SEGMENTS: Final = 64
"""Straight parts of a path that turns."""
TURNS: Final = 4
"""Random numbers that a path's direction is made of."""
ROUNDING: Final = 1e-12
"""A tap that is 0 but for rounding."""


# -- kernels ---------------------------------------------------------------------------------------------------


def disc(radius: float) -> Array:
    """The part of each pixel that a disc around the middle of one covers, over the disc's area, (K, K).

    Examples
    --------
    >>> disc(1.0).round(3).tolist()
    [[0.025, 0.145, 0.025], [0.145, 0.318, 0.145], [0.025, 0.145, 0.025]]
    """
    reach = disc_reach(radius)
    if reach == 0:
        return np.ones((1, 1))
    edge = np.arange(reach + 2) - 0.5
    corner = _quarter(np.abs(edge)[:, None], np.abs(edge)[None, :], radius) * np.sign(edge)[:, None] * np.sign(edge)
    part = np.maximum(np.diff(np.diff(corner, axis=0), axis=1), 0)
    part = (part + part.T) / 2  # to the last bit
    whole = np.concatenate([part[:0:-1], part])
    return _normalised(np.concatenate([whole[:, :0:-1], whole], axis=1))


def disc_reach(radius: float) -> int:
    """How far from the middle a disc covers pixels."""
    return max(0, math.ceil(radius - 0.5))


def _quarter(x: Array, y: Array, radius: float) -> Array:
    """Area of a disc around the origin between 0 and x, and 0 and y, neither negative."""
    x, y = np.broadcast_arrays(np.minimum(x, radius), np.minimum(y, radius))
    bend = np.minimum(np.sqrt(radius * radius - y * y), x)  # up to there y is the limit, then the circle

    def under_circle(t: Array) -> Array:
        return np.asarray(t * np.sqrt(radius * radius - t * t) + radius * radius * np.arcsin(t / radius)) / 2

    return np.asarray(y * bend + under_circle(x) - under_circle(bend))


def trace(path: Array, reach: int) -> Array:
    """What a point leaves that moves along a path at constant speed, (K, K), K = 2 reach + 1.

    Parameters
    ----------
    path
        (N, 2), across and down from the middle [px]: corners of straight parts of equal length, none beyond `reach`.

    Notes
    -----
    The point is shared out between the four pixels around it as in bilinear interpolation, which keeps the centre of
    mass. Between the places where the path crosses from pixel to pixel the shares are parabolas, which Simpson's rule
    integrates exactly.

    Examples
    --------
    >>> trace(np.array([[-1.0, 0.0], [1.0, 0.0]]), 1).tolist()
    [[0.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 0.0, 0.0]]
    """
    parts = len(path) - 1
    lines = np.arange(-reach, reach + 1)
    start, step = path[:-1, :, None], np.diff(path, axis=0)[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        crossing = (lines - start) / step
    place = np.arange(parts)[:, None, None] + crossing
    breaks = np.unique(np.concatenate([np.arange(parts + 1.0), place[(crossing > 0) & (crossing < 1)]]))
    span = np.diff(breaks)
    time = np.concatenate([breaks[:-1], breaks[:-1] + span / 2, breaks[1:]])
    share = np.concatenate([span, 4 * span, span]) / (6 * parts)
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2))  # the last row and column take shares of 0
    x, y = (np.interp(time, np.arange(parts + 1.0), path[:, axis]) + reach for axis in (0, 1))
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    for i, along_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for j, along_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            np.add.at(kernel, (i, j), share * along_y * along_x)
    return _normalised(kernel[:-1, :-1])


def trace_reach(length: float) -> int:
    """How far a path of this length gets from its centre of mass: half of it, if it is straight."""
    return math.ceil(length / 2)


def wandering(length: float, angle: float, wander: float, turns: Sequence[float]) -> Array:
    """A smooth path, (N, 2), across and down from its centre of mass [px].

    Parameters
    ----------
    angle
        Of the direction, from right towards up [degree].
    wander
        Standard deviation of the direction along the path [degree]; 0 for a straight line.
    turns
        Standard normal numbers, for ever quicker turns.
    """
    if wander == 0:
        rise = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0)}.get(
            angle % 180, (math.cos(math.radians(angle)), math.sin(math.radians(angle)))
        )
        return np.array([[-rise[0], rise[1]], [rise[0], -rise[1]]]) * (length / 2)
    time = (np.arange(SEGMENTS) + 0.5) / SEGMENTS
    # the squares of 1 / k, times 1/2 for the mean over the path, make up 1
    scale = math.sqrt(2 / sum(1 / k**2 for k in range(1, len(turns) + 1)))
    turn = sum(value / k * np.cos(math.pi * k * time) for k, value in enumerate(turns, 1))
    direction = np.radians(angle + wander * scale * turn)
    steps = np.stack([np.cos(direction), -np.sin(direction)], axis=1) * (length / SEGMENTS)
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    path -= (path[:-1] + path[1:]).mean(axis=0) / 2
    return np.asarray(path.clip(-length / 2, length / 2))


def _normalised(kernel: Array) -> Array:
    kernel = np.where(kernel > ROUNDING, kernel, 0.0)
    return np.asarray(kernel / kernel.sum())


def variance(kernel: Array) -> float:
    """Of a kernel around its centre of mass, the mean over both axes [px^2]."""
    found = 0.0
    for axis in (0, 1):
        weights = kernel.sum(axis=1 - axis)
        place = np.arange(len(weights)) - len(weights) // 2
        found += float((weights * place**2).sum() - (weights * place).sum() ** 2) / 2
    return max(found, 0.0)


def batched(kernels: Sequence[Array]) -> Tensor:
    """Kernels of several sizes as one tensor, (B, K, L), with zeros around the smaller ones."""
    sides = [max(kernel.shape[axis] for kernel in kernels) for axis in (0, 1)]
    padded = [
        np.pad(kernel, [((side - own) // 2,) * 2 for side, own in zip(sides, kernel.shape, strict=True)])
        for kernel in kernels
    ]
    return torch.from_numpy(np.stack(padded))


# -- stages ----------------------------------------------------------------------------------------------------


def blur_map(frame: Frame, variances: Tensor) -> Mapping[str, Tensor]:
    """The map ``blur`` after one more kernel of these variances [px^2], one a sample: variances add up."""
    variances = variances.to(frame.pixels).reshape(-1, 1, 1, 1)
    if "blur" in frame.maps:
        earlier = frame.maps["blur"]
        return {"blur": torch.sqrt(earlier * earlier + variances)}
    return {"blur": torch.sqrt(variances).expand(frame.batch, 1, *frame.size)}


def _blurred(frame: Frame, kernels: Sequence[Array]) -> Result:
    spread = torch.tensor([variance(kernel) for kernel in kernels], dtype=torch.float64)
    return Result(filters.convolve(frame.pixels, batched(kernels)), maps=blur_map(frame, spread))


def _numbers(values: Tensor) -> list[float]:
    return [float(value) for value in values.flatten().tolist()]


class GaussianBlur(Degradation):
    """Blurs linear light by a Gaussian. Stays in range; does not clip. Beyond its edge the picture is mirrored.

    Leaves the map ``blur``, (B, 1, H, W): standard deviation of all blur so far, the mean square of both axes [px].
    """

    needs = LIGHT
    halo = filters.gaussian_reach(SIGMA)
    source = "Gonzalez and Woods 2018, section 3.5 [Gonzalez2018]"

    severities: ClassVar = {"sigma": (0.5, 1.0, 2.0, 3.5, 6.0)}

    class Params(StageParams):
        sigma: float = Field(1.5, ge=0, le=SIGMA, description="standard deviation [px]")

    def reach(self, p: Any) -> int:
        return filters.gaussian_reach(max(_numbers(p.sigma)))

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return Result(filters.gaussian(frame.pixels, p.sigma), maps=blur_map(frame, gaussian_variance(p.sigma)))


def gaussian_variance(sigma: Tensor) -> Tensor:
    """Variance of the taps that stand for Gaussians, one a sample [px^2]: below 0.6 px they are narrower."""
    taps = filters.gaussian_weights(sigma)
    total = torch.zeros(taps.shape[0], dtype=taps.dtype)
    for k in range(taps.shape[1]):
        total = total + 2 * (k + 1) ** 2 * taps[:, k]
    return total


class DefocusBlur(Degradation):
    """Blurs linear light by a disc, as a lens out of focus does. Stays in range; does not clip.

    A pixel on the rim counts by the part that the disc covers; up to a radius of 1/2 px nothing happens. Beyond its
    edge the picture is mirrored. Leaves the map ``blur``, (B, 1, H, W): standard deviation of all blur so far, the
    mean square of both axes [px]; of a disc it is half the radius.
    """

    needs = LIGHT
    halo = disc_reach(RADIUS)
    source = "Goodman 2005, section 6.4 [Goodman2005]"

    severities: ClassVar = {"radius": (1.0, 2.0, 4.0, 7.0, 12.0)}

    class Params(StageParams):
        radius: float = Field(
            3.0,
            ge=0,
            le=RADIUS,
            description="of the circle of confusion [px]",
            json_schema_extra={"differentiable": False},
        )

    def reach(self, p: Any) -> int:
        return disc_reach(max(_numbers(p.radius)))

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return _blurred(frame, [disc(radius) for radius in _numbers(p.radius)])


class MotionBlur(Degradation):
    """Blurs linear light along the path that the camera moved by, at constant speed. Stays in range; does not clip.

    The path is a straight line; with `wander` a smooth random one. Its centre of mass lies in the middle, so the
    picture does not move. Beyond its edge the picture is mirrored. Leaves the map ``blur``, (B, 1, H, W): standard
    deviation of all blur so far, the mean square of both axes [px].
    """

    needs = LIGHT
    halo = trace_reach(LENGTH)
    source = "Gonzalez and Woods 2018, section 5.6 [Gonzalez2018]"

    severities: ClassVar = {"length": (3.0, 6.0, 10.0, 16.0, 24.0), "angle": (20.0,) * 5}

    class Params(StageParams):
        length: float = Field(
            9.0, ge=0, le=LENGTH, description="of the path [px]", json_schema_extra={"differentiable": False}
        )
        angle: float = Field(
            0.0,
            ge=-360,
            le=360,
            description="of the direction, from right towards up [degree]",
            json_schema_extra={"differentiable": False},
        )
        wander: float = Field(
            0.0,
            ge=0,
            le=180,
            description="standard deviation of a random direction along the path [degree]",
            json_schema_extra={"differentiable": False},
        )

    def reach(self, p: Any) -> int:
        return trace_reach(max(_numbers(p.length)))

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        lengths, angles, wander = _numbers(p.length), _numbers(p.angle), _numbers(p.wander)
        drawn = rng.normal(frame.pixels, (TURNS,), "path") if any(wander) else frame.pixels.new_zeros(frame.batch, 1)
        paths = map(wandering, lengths, angles, wander, drawn.tolist())
        return _blurred(frame, [trace(path, trace_reach(length)) for path, length in zip(paths, lengths, strict=True)])


Row = Annotated[tuple[Annotated[float, Field(ge=0, le=1e6)], ...], Field(min_length=1, max_length=SIDE)]


def _box(side: int) -> tuple[tuple[float, ...], ...]:
    return ((1.0,) * side,) * side


class KernelBlur(Degradation):
    """Blurs linear light by a kernel of one's own, such as a measured PSF. Stays in range; does not clip.

    The kernel is what a single point becomes, row by row; it is divided by its sum. Beyond its edge the picture is
    mirrored. Leaves the map ``blur``, (B, 1, H, W): standard deviation of all blur so far, the mean square of both
    axes [px].
    """

    needs = LIGHT
    halo = SIDE // 2
    source = "Goodman 2005, section 6.1 [Goodman2005]"

    severities: ClassVar = {"kernel": tuple(_box(side) for side in (3, 5, 7, 11, 15))}

    class Params(StageParams):
        kernel: Annotated[tuple[Row, ...], Structural] = Field(
            ((0.0, 1.0, 0.0), (1.0, 4.0, 1.0), (0.0, 1.0, 0.0)),
            min_length=1,
            max_length=SIDE,
            examples=[[[1.0]], [[0.0, 0.0, 1.0], [0.0, 2.0, 3.0], [0.5, 0.0, 1.0]], [[1.0, 2.0, 3.0, 0.0, 1.0]]],
            description="rows of equal length, an odd number each way [any unit]",
        )

        @field_validator("kernel")
        @classmethod
        def _is_one(cls, kernel: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
            lengths = sorted({len(row) for row in kernel})
            if len(lengths) > 1:
                raise ValueError(f"a kernel has rows of equal length; found {' and '.join(map(str, lengths))}")
            if len(kernel) % 2 == 0 or lengths[0] % 2 == 0:
                raise ValueError(
                    f"a kernel of {len(kernel)}x{lengths[0]} has no middle: add a row or column of zeros to make it odd"
                )
            if not sum(map(sum, kernel)) > 0:
                raise ValueError("a kernel needs a tap above 0")
            return kernel

    def reach(self, p: Any) -> int:
        return max(len(p.kernel), len(p.kernel[0])) // 2

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        kernel = np.array(p.kernel)
        return _blurred(frame, [kernel / kernel.sum()] * frame.batch)
