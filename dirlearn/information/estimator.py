"""What an estimator of mutual information is, and what it says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor

from dirlearn.component import Component
from dirlearn.information.pairs import split

Bound = Literal["lower", "upper", "neither"]
Unit = Literal["nats", "jsd"]


class Estimator(Component, ABC):
    """Estimates mutual information from the scores of a batch's pairs.

    A subclass gives `estimate`, and `surrogate` too if a critic is not trained by what is reported.
    """

    bound: ClassVar[Bound]
    """Whether the estimate lies, on average over batches, below or above what it estimates."""
    unit: ClassVar[Unit]
    """``nats``, or ``jsd``: E_J[-sp(-T)] - E_M[sp(T)] up to a constant, whose supremum is twice the Jensen-Shannon
    divergence of joint and product less log 4, in nats of that divergence but not of mutual information."""
    takes: ClassVar[Literal["scores", "log_density"]] = "scores"
    """What a score is: any number T(r_i, x_j), or a normalised log q(x_j | r_i)."""
    offset: ClassVar[float] = 0.0
    """The best critic is the logarithm of the density ratio, plus this."""

    def forward(self, scores: Tensor, negatives: Tensor | None = None, positives: Tensor | None = None) -> Tensor:
        """The estimate, a scalar in `unit`: at L places, the mean of their estimates.

        Parameters
        ----------
        scores
            (N, M) or (N, M, L): the score of r_i with x_j.
        negatives
            Boolean (N, M): the pairs that may count as independent. All but the positives, if not given.
        positives
            (N,): the column of each row's own x. 0, 1, 2, ... if not given.

        Raises
        ------
        ValueError
            If the shapes do not fit, or if no pair is left to count as negative.
        """
        return self.estimate(*split(scores, negatives, positives))

    def objective(self, scores: Tensor, negatives: Tensor | None = None, positives: Tensor | None = None) -> Tensor:
        """What a training maximises, over the critic and, for a lower bound, over the encoder. Takes what `forward`
        takes."""
        return self.surrogate(*split(scores, negatives, positives))

    @abstractmethod
    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        """The estimate from scores of joint pairs (N,) or (N, L), of others (N, M) or (N, M, L), and a mask (N, M)."""

    def surrogate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        """What a training maximises, from the same."""
        return self.estimate(positives, negatives, mask)


class SampleEstimator(Component, ABC):
    """Estimates mutual information from samples themselves, without a critic: to verify, not to train by."""

    bound: ClassVar[Bound]
    unit: ClassVar[Unit] = "nats"
    takes: ClassVar[Literal["samples"]] = "samples"

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The estimate, a scalar in nats, from N pairs: x (N, d) and y (N, e), or (N,)."""


def as_rows(*samples: Tensor) -> tuple[Any, ...]:
    """Samples as float64 matrices (N, d).

    Raises
    ------
    ValueError
        If they are not as many, or of another shape than (N,) or (N, d).
    """
    if any(s.ndim not in (1, 2) for s in samples) or len({s.shape[0] for s in samples}) != 1:
        raise ValueError(f"samples are of shapes {[tuple(s.shape) for s in samples]}: needed are (N, d) and (N, e)")
    return tuple(s.detach().double().reshape(s.shape[0], -1) for s in samples)
