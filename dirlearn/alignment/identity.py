"""No alignment."""

from __future__ import annotations

from torch import Tensor

from dirlearn.alignment.alignment import Alignment


class Identity(Alignment):
    """The representation as it is: the baseline of every alignment."""

    def forward(self, r0: Tensor, pilot: Tensor) -> Tensor:
        return r0
