"""The estimate of Barber and Agakov: what is left of an entropy."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from dirlearn.information.estimator import Estimator
from isp_sim.parameters import StageParams


def ba(positives: Tensor, entropy: float | Tensor) -> Tensor:
    """E_J[log q(y|x)] + h(y), nats.

    Examples
    --------
    >>> import torch
    >>> ba(torch.tensor([-1.0, -2.0]), entropy=4.0).item()
    2.5
    """
    return positives.mean() + entropy


class BA(Estimator):
    """E_J[log q(y|x)] + h(y): a lower bound of mutual information in nats; needs the entropy of y.

    It falls short by E KL(p(y|x) || q(y|x)). Where the entropy is not known, differences and gradients with respect to
    x are right all the same.
    """

    bound = "lower"
    unit = "nats"
    takes: ClassVar[Literal["scores", "log_density"]] = "log_density"
    source = "Barber and Agakov 2003 [Barber2003]; Poole et al. 2019 [Poole2019]"

    class Params(StageParams):
        entropy: float = Field(0.0, ge=-1e7, le=1e7, description="differential entropy of y [nats]")

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return ba(positives, self.params.entropy)
