"""Comparing frames: to the bit, or within a bound. Each function says how two things differ, or nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isp_sim.frame import Frame


def bits(x: Tensor) -> Tensor:
    """The bits of each number as an integer; every NaN counts as the same."""
    if not x.is_floating_point():
        return x
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return torch.where(x.isnan(), torch.full_like(x, math.nan), x).contiguous().view(whole)


def other_bits(found: Tensor, expected: Tensor) -> str | None:
    """How two tensors differ, if they do in a single bit."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"{found.dtype} {tuple(found.shape)} where {expected.dtype} {tuple(expected.shape)} was expected"
    unequal = bits(found) != bits(expected)
    if not unequal.any():
        return None
    at = tuple(int(i) for i in unequal.nonzero()[0])
    gap = (found.double() - expected.double()).abs().nan_to_num(math.inf).max()
    return f"{int(unequal.sum())} of {unequal.numel()} numbers differ, by at most {gap:.2g}, the first at {at}"


def other_frame(found: Frame, expected: Frame) -> str | None:
    """How two frames differ in pixels, facts or maps, if they do in a single bit."""
    if text := other_bits(found.pixels, expected.pixels):
        return f"in the pixels {text}"
    for what, ours, theirs in (("fact", found.capture, expected.capture), ("map", found.maps, expected.maps)):
        if set(ours) != set(theirs):
            return f"{what}s {sorted(ours)} where {sorted(theirs)} were expected"
        for name in ours:
            if text := other_bits(ours[name], theirs[name]):
                return f"in the {what} {name!r} {text}"
    return None


def not_finite(frame: Frame) -> str | None:
    """Which numbers of a frame are NaN or infinite, if any."""
    tensors = {"pixels": frame.pixels}
    tensors |= {f"fact {name!r}": value for name, value in frame.capture.items()}
    tensors |= {f"map {name!r}": value for name, value in frame.maps.items()}
    for what, value in tensors.items():
        if value.is_floating_point() and (number := int((~value.isfinite()).sum())):
            return f"{number} of {value.numel()} numbers in the {what} are NaN or infinite"
    return None


def apart(found: Tensor, expected: Tensor, bound: float, outliers: float = 0.0) -> str | None:
    """How far two tensors are apart, if more than a share of their numbers are further than the bound."""
    gap = (found.double() - expected.double()).abs().nan_to_num(math.inf)
    if float((gap > bound).double().mean()) <= outliers:
        return None
    number = int((gap > bound).sum())
    return f"{number} of {gap.numel()} numbers differ by more than {bound:.2g}, at most by {gap.max():.2g}"
