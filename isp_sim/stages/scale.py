"""Resizing by separable kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.filters import by_sample
from isp_sim.frame import Frame, Warp
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Result, Stage

Array = NDArray[np.float64]

# -- kernels ---------------------------------------------------------------------------------------------------


def _bilinear(t: Array) -> Array:
    return np.asarray(np.maximum(1 - np.abs(t), 0))


def _bicubic(t: Array) -> Array:
    """Keys's kernel with a = -1/2."""
    t = np.abs(t)
    near = (1.5 * t - 2.5) * t * t + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def _lanczos3(t: Array) -> Array:
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


KERNELS: Final[Mapping[str, tuple[float, Callable[[Array], Array]]]] = MappingProxyType(
    {"bilinear": (1.0, _bilinear), "bicubic": (2.0, _bicubic), "lanczos3": (3.0, _lanczos3)}
)
"""How far each kernel reaches, in samples, and what it is."""
ROUNDING: Final = 1e-12
"""A weight that is 0 but for rounding."""

Kernel = Literal["nearest", "box", "area", "bilinear", "bicubic", "lanczos3"]


def taps(old: int, new: int, kernel: str, antialias: bool = True) -> tuple[NDArray[np.int64], Array]:
    """Which samples each new sample is made of, and their weights.

    Parameters
    ----------
    old, new
        Number of samples before and after.
    kernel
        See `Scale`.
    antialias
        Whether the kernel is stretched where there are fewer samples than before.

    Returns
    -------
    index, weights
        (new, K) each: indices from 0 to old - 1, and weights that sum to 1. Beyond the edge there is nothing, so the
        weights there are 0 and those of the others greater.

    Examples
    --------
    >>> index, weights = taps(4, 2, "bilinear")
    >>> index.tolist()
    [[0, 0, 1, 2], [1, 2, 3, 3]]
    >>> weights.round(3).tolist()
    [[0.0, 0.429, 0.429, 0.143], [0.143, 0.429, 0.429, 0.0]]
    """
    ratio = old / new
    centre = (np.arange(new) + 0.5) * ratio
    if kernel == "nearest":
        return np.minimum(np.floor(centre).astype(np.int64), old - 1)[:, None], np.ones((new, 1))
    stretch = max(ratio, 1.0) if antialias else 1.0
    reach = stretch * {name: kernel_reach for name, (kernel_reach, _) in KERNELS.items()}.get(kernel, 0.5)
    first = np.floor(centre - reach).astype(np.int64)
    index = first[:, None] + np.arange(math.ceil(2 * reach) + 2)
    if kernel == "box":
        # where a sample lies on the border, rounding decides: in Pillow's order, and in its window
        t = ((index - centre[:, None]) + 0.5) * (1 / stretch)
        window = (index >= np.floor(centre - reach + 0.5)[:, None]) & (index < np.floor(centre + reach + 0.5)[:, None])
        weights = (window & (t > -0.5) & (t <= 0.5)).astype(np.float64)
    elif kernel == "area":
        low, high = (centre - reach)[:, None], (centre + reach)[:, None]
        weights = np.maximum(np.minimum(index + 1, high) - np.maximum(index, low), 0)
    else:
        weights = KERNELS[kernel][1]((index + 0.5 - centre[:, None]) / stretch)
    weights = np.where((index >= 0) & (index < old) & (np.abs(weights) > ROUNDING), weights, 0.0)
    used = weights.any(axis=0)
    index, weights = index[:, used].clip(0, old - 1), weights[:, used]
    return index, weights / weights.sum(axis=1, keepdims=True)


# -- pictures --------------------------------------------------------------------------------------------------


def resize(x: Tensor, size: tuple[int, int], kernel: str = "bicubic", antialias: bool = True) -> Tensor:
    """A picture (B, C, H, W) in another size (height, width): across, then down. Does not clip; see `Scale`.

    Examples
    --------
    >>> resize(torch.tensor([0.0, 1.0, 2.0, 6.0]).reshape(1, 1, 1, 4), (1, 2), "box").flatten().tolist()
    [0.5, 4.0]
    """

    def resized(x: Tensor) -> Tensor:
        x = _along(x, -1, size[1], kernel, antialias)
        return _along(x, -2, size[0], kernel, antialias)

    return by_sample(resized, x)


def _along(x: Tensor, dim: int, new: int, kernel: str, antialias: bool) -> Tensor:
    old = x.shape[dim]
    if new == old:
        return x
    index, weights = taps(old, new, kernel, antialias)

    def picked(index: NDArray[np.int64]) -> Tensor:
        samples = torch.from_numpy(index.copy()).to(x.device)
        return x.index_select(-2, samples) if dim == -2 else x[..., samples]  # of the two the quicker

    if kernel == "nearest":
        return picked(index[:, 0])
    # as differences from the nearest sample, which leaves a constant as it is to the last bit
    middle = picked(taps(old, new, "nearest")[0][:, 0])
    out = middle.clone()
    for k, weight in enumerate(torch.from_numpy(weights.T.copy()).to(x)):
        out.add_(picked(index[:, k]).sub_(middle).mul_(weight[:, None] if dim == -2 else weight))
    return out


class Scale(Stage):
    """Resizes the picture; maps and labels follow. Not for a mosaic, whose sites would mix. Does not clip.

    Kernels, as Pillow has them: ``box``, the mean; ``bilinear``; ``bicubic``, Keys's with a = -1/2; ``lanczos3``. The
    last two overshoot at edges. ``area`` weighs each pixel by the part of it that a new one covers, as OpenCV; for
    whole-number factors ``box`` is the same. ``nearest`` picks pixels, so quantised ones stay on their codes. What
    lies beyond the edge has no weight. Resized in linear light, a picture keeps its brightness.
    """

    needs = Signal.where(layout=("rgb", "ycbcr"), levels="unit")
    source = "Keys 1981 [Keys1981]; Duchon 1979 [Duchon1979]; Pillow [Pillow]"

    class Params(StageParams):
        factor: Annotated[float | None, Static] = Field(
            None, gt=0, le=16, examples=[0.5, 1.6], description="new side over old [factor]; 0.5 if no size is given"
        )
        height: Annotated[int | None, Static] = Field(
            None,
            ge=1,
            examples=[6],
            description="new height [px]; by the width, if only that is given",
            json_schema_extra={"unbounded": "memory is the limit"},
        )
        width: Annotated[int | None, Static] = Field(
            None,
            ge=1,
            examples=[9],
            description="new width [px]; by the height, if only that is given",
            json_schema_extra={"unbounded": "memory is the limit"},
        )
        kernel: Annotated[Kernel, Static] = Field("bicubic", description="how pixels are weighted")
        antialias: bool = Field(True, description="stretch the kernel where the picture shrinks")

        @model_validator(mode="after")
        def _one_size(self) -> Scale.Params:
            if self.factor is not None and (self.height, self.width) != (None, None):
                raise ValueError("give factor, or height and width, not both")
            return self

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return signal if p.kernel == "nearest" else signal.changed({"bit_depth": None})

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor | Result:
        size = new_size(frame.size, p.factor, p.height, p.width)
        if size == frame.size:
            return frame.pixels
        return Result(resize(frame.pixels, size, p.kernel, p.antialias), warp=_warp(frame, size))


def new_size(old: tuple[int, int], factor: float | None, height: int | None, width: int | None) -> tuple[int, int]:
    """The size that parameters ask for; what they leave open follows from the picture's shape.

    Examples
    --------
    >>> new_size((300, 400), None, None, 100)
    (75, 100)
    """
    if height is None and width is None:
        factor = 0.5 if factor is None else factor
        return max(1, round(old[0] * factor)), max(1, round(old[1] * factor))
    if height is None:
        height = max(1, round(old[0] * (width or 1) / old[1]))
    return height, width or max(1, round(old[1] * height / old[0]))


def _warp(frame: Frame, size: tuple[int, int]) -> Warp:
    (old_height, old_width), (height, width) = frame.size, size
    y = (torch.arange(height, dtype=torch.float64) + 0.5) * (old_height / height)
    x = (torch.arange(width, dtype=torch.float64) + 0.5) * (old_width / width)
    source = torch.stack(torch.meshgrid(x, y, indexing="xy")).unsqueeze(0).to(frame.pixels.device)

    def forward(xy: Tensor, sample: int) -> Tensor:
        return xy * torch.tensor([width / old_width, height / old_height], dtype=xy.dtype, device=xy.device)

    return Warp(source, frame.size, forward)
