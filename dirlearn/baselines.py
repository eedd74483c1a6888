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
from dirlearn.objectives import Objective
from dirlearn.represent import Representation
from dirlearn.settings import Networks
from dirlearn.training.data import Batch, Needs
from dirlearn.training.job import Job


class Supervised(Job, ABC):
    """A network from degraded to clean pictures, by L1: the canonical paradigm."""

    needs = Needs(views=1)

    @abstractmethod
    def restore(self, degraded: Tensor) -> Tensor:
        """The clean pictures (B, 3, H, W) that it finds for degraded ones."""

    def forward(self, batch: Batch, step: int) -> Objective:
        loss = F.l1_loss(self.restore(batch.views[0]), batch.clean)
        return Objective(loss, {"l1": loss})

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
