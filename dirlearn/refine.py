"""Stage II: an alignment learns to lead r0 to r*, with DiRNet, DfRNet and D* frozen [Guo2024]."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dirlearn.alignment.alignment import build_alignment
from dirlearn.heads.head import Head
from dirlearn.objectives import Objective, refinement
from dirlearn.perception import TaskJob
from dirlearn.represent import Representation
from dirlearn.settings import Refinement
from dirlearn.training.data import Batch


class Refine(TaskJob):
    """Trains an alignment, and the task's head if there is one, by Eq. 8."""

    representation: Representation

    def __init__(self, representation: Representation, stage: Refinement, head: Head | None = None) -> None:
        super().__init__()
        self.stage = stage
        found = self.freeze("representation", representation)
        self.__dict__["representation"] = found
        self.alignment = build_alignment(stage.alignment, found.dir.channels)
        self.hold(head, stage.head_rate)

    def forward(self, batch: Batch, step: int) -> Objective:
        (degraded,) = batch.views
        with torch.no_grad():
            r0 = self.representation.dir(degraded).mean
            pilot = self.representation.dfr(degraded).mean
            reference = self.representation.dfr(batch.clean).mean
        refined = self.alignment(r0, pilot)
        picture = self.representation.decoder(refined, batch.clean.shape[-2:])
        task = self.task(picture, batch)
        return refinement(refined, reference, picture, batch.clean, task, self.stage.gamma1, self.stage.gamma2)

    def refined(self, degraded: Tensor) -> Tensor:
        """r+ of degraded pictures."""
        found: Tensor = self.alignment(self.representation.dir(degraded).mean, self.representation.dfr(degraded).mean)
        return found

    def pictures(self, degraded: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        return {"restored": self.representation.decoder(self.refined(degraded), degraded.shape[-2:])}
