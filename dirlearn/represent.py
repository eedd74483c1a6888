"""Stage I: DiRNet learns from two degraded views, DfRNet and its decoder from the picture itself [Guo2024]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dirlearn.component import build
from dirlearn.decoders.decoder import build_decoder
from dirlearn.encoders.encoder import JointEncoder, Posterior, build_encoder
from dirlearn.information.negatives import product_pairs
from dirlearn.objectives import Objective, average_kl, degradation_free, independent
from dirlearn.priors import Prior
from dirlearn.settings import Networks, StageOne
from dirlearn.training.data import Batch, Needs
from dirlearn.training.gather import gathered
from dirlearn.training.job import Job
from isp_sim.randomness import generator


class Representation(nn.Module):
    """What Stage I leaves: DiRNet, DfRNet and the decoder D* of the latter."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.dir = build_encoder(networks.encoder)
        self.dfr = build_encoder(networks.encoder)
        self.decoder = build_decoder(networks.decoder, self.dfr)


class Represent(Job):
    """Trains DiRNet by Eq. 5 and, beside it, DfRNet with D* by Eq. 6. The two share no parameter."""

    def __init__(self, networks: Networks, stage: StageOne, patch: int) -> None:
        super().__init__()
        self.stage = stage
        self.representation = Representation(networks)
        encoder = self.representation.dir
        self.joint = JointEncoder(encoder)
        self.estimator = build("dirlearn.estimators", networks.estimator)
        self.dir_critic, self.dfr_critic = (self._critic(networks.critic) for _ in range(2))
        self.dir_prior = Prior(stage.prior, encoder.channels, stage.beta.end)
        self.dfr_prior = Prior(stage.prior, encoder.channels, stage.beta_star.end)
        side = -(-patch // encoder.stride)
        shape = (encoder.channels, side, side)
        self.needs = Needs(views=2, noise=(shape, shape))

    def _critic(self, node: Any) -> Any:
        encoder = self.representation.dir
        return build("dirlearn.critics", node, r_channels=encoder.channels, x_channels=3, stride=encoder.stride)

    def forward(self, batch: Batch, step: int) -> Objective:
        extra = self.dir_critic.extra_columns
        pairs = product_pairs(gathered(batch.identities), extra=extra).to(batch.clean.device)
        parts = {"dir": self._independent(batch, pairs, step), "dfr": self._degradation_free(batch, pairs, step)}
        terms = {f"{name}/{term}": value for name, part in parts.items() for term, value in part.terms.items()}
        return Objective(parts["dir"].loss + parts["dfr"].loss, terms)

    def _independent(self, batch: Batch, pairs: Tensor, step: int) -> Objective:
        count = len(batch.clean)
        both = self.representation.dir(torch.cat(batch.views))
        first, second = (
            Posterior(both.mean[rows], both.logvar[rows], both.features[rows])
            for rows in (slice(count), slice(count, None))
        )
        joint = self.joint(first.features, second.features)
        r = joint.sample(batch.noise[0])
        whole = gathered(r)
        information = [self._information(self.dir_critic, whole, view, pairs, step) for view in batch.views]
        return independent(
            information[0],
            information[1],
            average_kl(joint, first, second),
            self.dir_prior(_gathered(joint), whole),
            self.stage.lambda_.at(step),
            self.stage.beta.at(step),
        )

    def _degradation_free(self, batch: Batch, pairs: Tensor, step: int) -> Objective:
        posterior = self.representation.dfr(batch.clean)
        r = posterior.sample(batch.noise[1])
        whole = gathered(r)
        return degradation_free(
            self._information(self.dfr_critic, whole, batch.clean, pairs, step),
            self.representation.decoder(r, batch.clean.shape[-2:]),
            batch.clean,
            self.dfr_prior(_gathered(posterior), whole),
            self.stage.beta_star.at(step),
            self.stage.reconstruction,
        )

    def _information(self, critic: nn.Module, r: Tensor, x: Tensor, pairs: Tensor, step: int) -> Tensor:
        """Information between the whole batch's representations and its pictures."""
        rng = generator(0, "critic", step, "dirlearn", "places")
        scores: Tensor = critic(r, gathered(x), rng)
        value: Tensor = self.estimator.objective(scores.float(), pairs)
        return value

    def parts(self) -> Mapping[str, Iterator[nn.Parameter]]:
        dir = (self.representation.dir, self.joint, self.dir_critic, self.dir_prior)
        dfr = (self.representation.dfr, self.representation.decoder, self.dfr_critic, self.dfr_prior)
        return {
            name: (p for module in modules for p in module.parameters())
            for name, modules in (("dir", dir), ("dfr", dfr))
        }

    def pictures(self, degraded: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        found = self.representation
        size = clean.shape[-2:]
        return {
            "D*(DfR(y))": found.decoder(found.dfr(clean).mean, size),
            "D*(DfR(x))": found.decoder(found.dfr(degraded).mean, size),
        }


def _gathered(posterior: Posterior) -> Posterior:
    return Posterior(gathered(posterior.mean), gathered(posterior.logvar), posterior.features)
