"""One batch out of the parts that several processes hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _Gathered(torch.autograd.Function):
    """All processes' parts, one after the other. A part's gradient is the sum of what every process makes of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


def gathered(x: Tensor) -> Tensor:
    """The whole batch (sum of B, ...), with gradient.

    What is computed from it is the same in every process, so that the mean of gradients which data-parallel training
    takes is the gradient of the one loss of the whole batch.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return x
    whole: Tensor = _Gathered.apply(x)  # type: ignore[no-untyped-call]  # torch does not type it
    return whole
