"""An average of the weights over the last steps: less noisy than the weights of any one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average of a module's parameters; buffers are taken as they are.

    The first steps weigh less (the decay grows as ``(1 + n) / (10 + n)``), so the start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        self.values = {name: p.detach().clone() for name, p in module.named_parameters()} if decay else {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, from 0."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        own = dict(self.module.named_parameters())
        torch._foreach_lerp_(list(self.values.values()), [own[name].detach() for name in self.values], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module with the averaged weights, in evaluation mode, and as it was afterwards."""
        training = self.module.training
        self._swap()
        self.module.eval()
        try:
            yield
        finally:
            self._swap()
            self.module.train(training)

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self.module.named_parameters():
            if name in self.values:
                parameter.data, self.values[name] = self.values[name], parameter.data

    def state(self) -> dict[str, Tensor]:
        return dict(self.values)

    @torch.no_grad()
    def load(self, state: dict[str, Tensor]) -> None:
        for name, value in self.values.items():
            value.copy_(state[name])
