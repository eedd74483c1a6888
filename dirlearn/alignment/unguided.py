"""The paper's alignment without the pilot."""

from __future__ import annotations

from torch import Tensor

from dirlearn.alignment.guided import Guided, GuidedParams


class Unguided(Guided):
    """As `guided`, with the representation itself in the pilot's place: what the pilot adds is the difference."""

    class Params(GuidedParams):
        """The sizes of the three modules, and of the kernels."""

    def guide(self, r0: Tensor, pilot: Tensor) -> Tensor:
        return r0
