"""Elementary functions whose last bit does not depend on shape, stride or thread count.

On the CPU `torch.pow` rounds differently in its vectorised and its scalar loop; `exp` and `log` do not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def power(x: Tensor, exponent: float | Tensor) -> Tensor:
    """``x ** exponent`` as exp(exponent * log x). Domain x >= 0, exponent > 0; 0 gives 0, with zero gradient.

    Negative x is taken as 0: extend the law before calling, as `isp_sim.stages.srgb` does.
    """
    positive = x > 0
    safe = torch.where(positive, x, torch.ones((), dtype=x.dtype, device=x.device))
    return torch.where(positive, torch.exp(torch.log(safe) * exponent), torch.zeros((), dtype=x.dtype, device=x.device))


def apply_matrix(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the channels of x (B, m, H, W) by matrix (B, n, m): explicit products and sums, (B, n, H, W)."""
    rows = []
    for i in range(matrix.shape[1]):
        total = x[:, 0] * matrix[:, i, 0, None, None]
        for j in range(1, matrix.shape[2]):
            total = total + x[:, j] * matrix[:, i, j, None, None]
        rows.append(total)
    return torch.stack(rows, dim=1)
