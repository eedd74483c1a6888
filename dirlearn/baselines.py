"""What the method is compared with, trained by the same loop on the same batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from dirlearn.component import build
from dirlearn.decoders.decoder import build_decoder
from dirlearn.encoders.encoder import Encoder, build_encoder
from dirlearn.heads.head import Head
from dirlearn.objectives import Objective
from dirlearn.perception import TaskJob
from dirlearn.represent import Representation
from dirlearn.settings import Networks, Task
from dirlearn.training.data import Batch, Needs


class Supervised(TaskJob, ABC):
    """A network from degraded to clean pictures, by L1, the canonical paradigm; and by the task's loss, with a head."""

    needs = Needs(views=1)
    weights = (0.0, 1.0)
    """Of the task's loss and of L1; the paper's gamma1 and gamma2."""

    def learn(self, head: Head | None, task: Task) -> None:
        """Take a head, and what it weighs."""
        self.hold(head, task.head_rate)
        self.weights = (task.gamma1, task.gamma2)

    @abstractmethod
    def restore(self, degraded: Tensor) -> Tensor:
        """The clean pictures (B, 3, H, W) that it finds for degraded ones."""

    def forward(self, batch: Batch, step: int) -> Objective:
        restored = self.restore(batch.views[0])
        l1 = F.l1_loss(restored, batch.clean)
        task = self.task(restored, batch)
        if task is None:
            return Objective(l1, {"l1": l1})
        gamma1, gamma2 = self.weights
        return Objective(gamma1 * task + gamma2 * l1, {"l1": l1, "task": task})

    def pictures(self, degraded: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        return {"restored": self.restore(degraded)}


class AutoEncoder(Supervised):
    """DiRNet's encoder and D*'s decoder, trained as one: the "Auto-Encoder" of Table 5."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.encoder = build_encoder(networks.encoder)
        self.decoder = build_decoder(networks.decoder, self.encoder)

    def restore(self, degraded: Tensor) -> Tensor:
        restored: Tensor = self.decoder(self.encoder(degraded).mean, degraded.shape[-2:])
        return restored


class DecodedRepresentation(Supervised):
    """A decoder of its own for the frozen r0: what the unaligned representation holds.

    It starts from D*. The paper does not say how its row "r0" gets from representations to pictures.
    """

    encoder: Encoder

    def __init__(self, representation: Representation, networks: Networks) -> None:
        super().__init__()
        self.__dict__["encoder"] = self.freeze("encoder", representation.dir)
        self.decoder = build_decoder(networks.decoder, representation.dfr)
        self.decoder.load_state_dict(representation.decoder.state_dict())

    def restore(self, degraded: Tensor) -> Tensor:
        with torch.no_grad():
            r0 = self.encoder(degraded).mean
        restored: Tensor = self.decoder(r0, degraded.shape[-2:])
        return restored


class Restorer(Supervised):
    """A restoration network that a recipe names."""

    def __init__(self, node: object) -> None:
        super().__init__()
        self.network = build("dirlearn.restorers", node)  # type: ignore[arg-type]  # checked with the recipe

    def restore(self, degraded: Tensor) -> Tensor:
        restored: Tensor = self.network(degraded)
        return restored
