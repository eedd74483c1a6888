"""Elementary functions whose last bit does not depend on shape, stride or thread count.

On the CPU `torch.pow` rounds differently in its vectorised and its scalar loop; `exp` and `log` do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

BLOCK: Final = 1 << 17
"""Elements of a block that, with its intermediate results, stays in a processor's cache."""


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
    if x.device.type != "cpu" or wants_grad or flat.shape[1] <= BLOCK:
        return function(flat, *tables).reshape(x.shape)
    out = torch.empty_like(flat, memory_format=torch.contiguous_format)
    for i in range(flat.shape[0]):
        rows = [table[i : i + 1] for table in tables]
        for start in range(0, flat.shape[1], BLOCK):
            out[i, start : start + BLOCK] = function(flat[i : i + 1, start : start + BLOCK], *rows)[0]
    return out.reshape(x.shape)


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
