"""The three objectives of the method, [Guo2024] Eq. 5, 6 and 8, each a function of what its terms are made of.

Every term is a mean: over samples, positions and channels. So a weight means the same for a representation of any size,
and none of them is a sum that grows with the picture. Mutual information comes in the estimator's own unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F

from dirlearn.encoders.encoder import Posterior
from dirlearn.information.divergences import akl


@dataclass
class Objective:
    """A loss to minimise, and the terms it is the weighted sum of, for the log."""

    loss: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)


def average_kl(joint: Posterior, first: Posterior, second: Posterior) -> Tensor:
    """D_AKL: the mean of the divergences of the joint posterior from either marginal one, a dimension [nats].

    By Proposition 2 it is an upper bound of the information that the representation holds of one view and not of the
    other. That is minimised, although the text below Eq. 5 says "maximize".
    """
    return akl((joint.mean, joint.logvar), (first.mean, first.logvar), (second.mean, second.logvar))


def independent(
    first: Tensor, second: Tensor, average_kl: Tensor, prior: Tensor, weight: float, beta: float
) -> Objective:
    """Eq. 5, what DiRNet minimises.

    Parameters
    ----------
    first, second
        Information between the representation and either view.
    average_kl
        D_AKL of the joint posterior from the marginal ones.
    prior
        Divergence of the representation from the standard normal prior.
    weight, beta
        The paper's lambda and beta. A lambda of 1 in nats is neutral to what only one view shows; more removes it.
    """
    information = 0.5 * (first + second)
    loss = -information + weight * average_kl + beta * prior
    return Objective(loss, {"information": information, "akl": average_kl, "prior": prior})


def degradation_free(
    information: Tensor, picture: Tensor, target: Tensor, prior: Tensor, beta: float, weight: float = 1.0
) -> Objective:
    """Eq. 6, what DfRNet and its decoder minimise: information, L1 reconstruction, prior.

    `weight` is that of the reconstruction. The paper has none; but its L1 norm may be a sum over the picture, and here
    it is a mean, which is small beside the information.
    """
    reconstruction = F.l1_loss(picture, target)
    loss = -information + weight * reconstruction + beta * prior
    return Objective(loss, {"information": information, "l1": reconstruction, "prior": prior})


def refinement(
    refined: Tensor,
    reference: Tensor,
    picture: Tensor,
    target: Tensor,
    task: Tensor | None = None,
    gamma1: float = 0.0,
    gamma2: float = 1.0,
) -> Objective:
    """Eq. 8, what the alignment minimises: L1 of representations, the task's loss, L1 of pictures."""
    alignment = F.l1_loss(refined, reference)
    reconstruction = F.l1_loss(picture, target)
    loss = alignment + gamma2 * reconstruction
    terms = {"alignment": alignment, "l1": reconstruction}
    if task is not None:
        loss = loss + gamma1 * task
        terms["task"] = task
    return Objective(loss, terms)
