"""Stage II: an alignment learns to lead r0 to r*, with DiRNet, DfRNet and D* frozen [Guo2024]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dirlearn.alignment.alignment import build_alignment
from dirlearn.component import build
from dirlearn.objectives import Objective, refinement
from dirlearn.represent import Representation
from dirlearn.settings import Refinement
from dirlearn.training.data import Batch, Needs
from dirlearn.training.job import Job


class Refine(Job):
    """Trains an alignment, and the task's head if there is one, by Eq. 8."""

    representation: Representation

    def __init__(self, representation: Representation, stage: Refinement) -> None:
        super().__init__()
        self.stage = stage
        found = self.freeze("representation", representation)
        self.__dict__["representation"] = found
        self.alignment = build_alignment(stage.alignment, found.dir.channels)
        self.head = build("dirlearn.heads", stage.head) if stage.head is not None else None
        self.needs = Needs(views=1, labels=self.head is not None)

    def forward(self, batch: Batch, step: int) -> Objective:
        (degraded,) = batch.views
        with torch.no_grad():
            r0 = self.representation.dir(degraded).mean
            pilot = self.representation.dfr(degraded).mean
            reference = self.representation.dfr(batch.clean).mean
        refined = self.alignment(r0, pilot)
        picture = self.representation.decoder(refined, batch.clean.shape[-2:])
        task = None if self.head is None else self.head.loss(picture, batch.labels)
        return refinement(refined, reference, picture, batch.clean, task, self.stage.gamma1, self.stage.gamma2)

    def refined(self, degraded: Tensor) -> Tensor:
        """r+ of degraded pictures."""
        found: Tensor = self.alignment(self.representation.dir(degraded).mean, self.representation.dfr(degraded).mean)
        return found

    def pictures(self, degraded: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        return {"restored": self.representation.decoder(self.refined(degraded), degraded.shape[-2:])}
