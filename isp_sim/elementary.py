"""Elementary functions whose last bit does not depend on shape, stride or thread count.

On the CPU `torch.pow` rounds differently in its vectorised and its scalar loop; `exp` and `log` do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

BLOCK: Final = 1 << 19
"""Elements of a block that, with its intermediate results, stays in a processor's cache, and is still large enough for
several threads."""

# glibc gives large blocks back to the system when they are freed, and touching them anew takes longer than most of what
# is done here, until it once sees a block of nearly 32 MB: then it keeps such memory.
torch.empty(31 << 20, dtype=torch.uint8)


def blockwise(function: Callable[..., Tensor], x: Tensor, *tables: Tensor) -> Tensor:
    """``function(x, *tables)`` for a pointwise function of x, computed in blocks that fit the cache.

    The result is the same to the last bit; on the CPU it comes several times faster, because intermediate results
    never travel to memory. On other devices, and where gradients are wanted, `function` is called once.

    Parameters
    ----------
    function
        Takes values (B, N) and the tables, and returns (B, N).
    x
        (B, ...), or a single number.
    tables
        (B, ...) each, one entry a sample.
    """
    flat = x.reshape(x.shape[0] if x.ndim else 1, -1)
    wants_grad = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tables))
    if x.device.type != "cpu" or wants_grad or flat.numel() <= BLOCK:
        return function(flat, *tables).reshape(x.shape)
    out = torch.empty_like(flat, memory_format=torch.contiguous_format)
    together = max(1, BLOCK // flat.shape[1])
    for first in range(0, flat.shape[0], together):
        rows = slice(first, first + together)
        for start in range(0, flat.shape[1], BLOCK):
            columns = slice(start, start + BLOCK)
            out[rows, columns] = function(flat[rows, columns], *(table[rows] for table in tables))
    return out.reshape(x.shape)


def between(condition: Tensor, yes: Tensor, no: Tensor, out: Tensor | None = None) -> Tensor:
    """`yes` where the condition, of 1 and 0 in the dtype of the values, is 1, and `no` where it is 0: exactly, and on
    a CPU in a fraction of the time of `torch.where`. The values must be finite. Written to `out`, if that is given."""
    if out is not None and torch.is_grad_enabled() and (yes.requires_grad or no.requires_grad):
        return out.copy_(torch.lerp(no, yes, condition))
    return torch.lerp(no, yes, condition, out=out)


def at_most(x: Tensor, bound: float | Tensor) -> Tensor:
    """1 where x <= bound, else 0, in the dtype of x; has no gradient. A condition for `between`."""
    x = x.detach()
    return torch.le(x, bound, out=torch.empty_like(x))


def positive_power(x: Tensor, exponent: float | Tensor) -> Tensor:
    """``x ** exponent`` as exp(exponent * log x), for x > 0."""
    return torch.exp(torch.log(x) * exponent)


def power(x: Tensor, exponent: float | Tensor) -> Tensor:
    """``x ** exponent`` as exp(exponent * log x). Domain x >= 0, exponent > 0; 0 gives 0, with zero gradient.

    Negative x is taken as 0: extend the law before calling, as `isp_sim.stages.srgb` does.
    """
    positive = x > 0
    safe = torch.where(positive, x, torch.ones((), dtype=x.dtype, device=x.device))
    return torch.where(positive, torch.exp(torch.log(safe) * exponent), torch.zeros((), dtype=x.dtype, device=x.device))


def root(x: Tensor) -> Tensor:
    """The square root, 0 for x <= 0, with zero gradient there: its infinite slope would turn others' into NaN."""
    positive = x > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, x, 1.0)), 0.0)


def apply_matrix(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the channels of x (B, m, H, W) by matrix (B, n, m): explicit products and sums, (B, n, H, W)."""
    rows = []
    for i in range(matrix.shape[1]):
        total = x[:, 0] * matrix[:, i, 0, None, None]
        for j in range(1, matrix.shape[2]):
            total = total + x[:, j] * matrix[:, i, j, None, None]
        rows.append(total)
    return torch.stack(rows, dim=1)


def total(x: Tensor) -> Tensor:
    """The sum over the last axis, (..., N) to (...), by adding the second half to the first until one is left.

    The order of the sum is that of the numbers, so its last bit depends neither on threads and strides nor on the
    other axes, and its error grows with log N alone. Sum in float64 what a picture depends on as a whole.

    Examples
    --------
    >>> total(torch.arange(5.0)).item()
    10.0
    """
    while (n := x.shape[-1]) > 1:
        half = (n + 1) // 2
        rest = x[..., half:]
        x = torch.cat([x[..., : n - half] + rest, x[..., n - half : half]], dim=-1)
    return x.squeeze(-1) if x.shape[-1] else x.sum(dim=-1)


def soft_clamp(x: Tensor, low: float | Tensor, high: float | Tensor, softness: float | Tensor) -> Tensor:
    """A smooth ``clamp(low, high)``: the integral of a logistic step up at `low` and one down at `high`.

    Domain: all numbers; range: between `low` and `high`, and never beyond. The slope is positive everywhere, though
    it underflows far outside. At a limit, the distance from the clamped value is softness * log 2.

    Examples
    --------
    >>> [round(value, 3) for value in soft_clamp(torch.tensor([-9.0, 0.0, 0.5, 1.0]), 0.0, 1.0, 0.1).tolist()]
    [0.0, 0.069, 0.5, 0.931]
    """
    return low + softness * (_softplus((x - low) / softness) - _softplus((x - high) / softness))


def soft_ceiling(x: Tensor, high: float | Tensor, softness: float | Tensor) -> Tensor:
    """A smooth ``clamp(max=high)``: the integral of a logistic step down at `high`.

    Domain: all numbers; range: below `high`. What lies far below stays as it is. The slope is positive everywhere,
    though it underflows far above. At the limit, the distance from it is softness * log 2.

    Examples
    --------
    >>> [round(value, 3) for value in soft_ceiling(torch.tensor([-9.0, 0.5, 1.0, 9.0]), 1.0, 0.1).tolist()]
    [-9.0, 0.499, 0.931, 1.0]
    """
    return x - softness * _softplus((x - high) / softness)


def _softplus(z: Tensor) -> Tensor:
    """log(1 + exp z). Maxima and minima, because at a tie their gradient is the mean of both sides."""
    zero = torch.zeros((), dtype=z.dtype, device=z.device)
    return torch.maximum(z, zero) + torch.log(1 + torch.exp(torch.minimum(z, -z)))
