"""Laws of critics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from dirlearn.critics.critic import Critic
from dirlearn.testing.component import DECLARED, Subject, check_copies, check_generators, normal
from isp_sim.randomness import generator
from isp_sim.testing.law import Broken, Law, law

R_CHANNELS: Final = 5
X_CHANNELS: Final = 3
SIZES: Final = ((3, 4, 1), (3, 4, 4), (5, 2, 6))
"""Height and width of a map, and how many pixels of the image lie in a cell."""
RUNS: Final = ("class facts", "runs")


class CriticSubject(Subject):
    """A critic of vectors or maps."""

    plugin: Any

    def cases(self) -> Iterator[tuple[str, Any, Tensor, Tensor]]:
        """A name, a critic, 4 r and 6 x."""
        for setting in self.settings:
            if self.plugin.takes == "vectors":
                critic = self.make(setting, r_channels=R_CHANNELS, x_channels=X_CHANNELS)
                yield str(setting), critic, normal(4, R_CHANNELS), normal(6, X_CHANNELS, key="x")
                continue
            for height, width, stride in SIZES:
                critic = self.make(setting, r_channels=R_CHANNELS, x_channels=X_CHANNELS, stride=stride)
                r = normal(4, R_CHANNELS, height, width)
                x = normal(6, X_CHANNELS, height * stride, width * stride, key="x")
                yield f"{setting}, {height}x{width}, stride {stride}", critic, r, x


@law(
    "class facts",
    "takes is vectors or maps, gives is scores or log_density",
    "a fact that is missing, or another word for it",
)
def class_facts(s: Subject) -> str | None:
    allowed = {"takes": ("vectors", "maps"), "gives": ("scores", "log_density")}
    faults = [
        f"{fact} is {getattr(s.plugin, fact, 'missing')!r}"
        for fact, words in allowed.items()
        if getattr(s.plugin, fact, None) not in words
    ]
    if faults:
        raise Broken("; ".join(faults))
    return None


@law(
    "runs",
    "N representations and M images give finite scores (N, M + extra_columns), and of maps (N, M + extra_columns, L)",
    "r and x exchanged, a missing axis of places, extra_columns not said",
    after=("class facts",),
)
def runs(s: CriticSubject) -> str | None:
    for where, critic, r, x in s.cases():
        scores = critic(r, x)
        expected = (4, 6 + critic.extra_columns)
        if scores.shape[:2] != expected or scores.ndim != (2 if s.plugin.takes == "vectors" else 3):
            raise Broken(f"{where}: scores are of shape {tuple(scores.shape)}")
        if not bool(scores.isfinite().all()):
            raise Broken(f"{where}: scores are not finite")
        if scores.detach()[:, :6].std() == 0:
            raise Broken(f"{where}: all scores are the same")
    return None


@law(
    "pairs apart",
    "a score is the same whatever else is in the batch, in training and in evaluation mode",
    "a BatchNorm or another statistic over the batch, a dropout",
    after=RUNS,
)
def pairs_apart(s: CriticSubject) -> str | None:
    for where, critic, r, x in s.cases():
        whole = critic.train()(r, x)
        for mode in (True, False):
            part = critic.train(mode)(r[:2], x[:3])
            both = torch.cat([whole[:2, :3], whole[:2, 6:]], dim=1)
            if not torch.allclose(part, both, atol=1e-5, rtol=1e-4):
                raise Broken(f"{where}: in {'training' if mode else 'evaluation'} mode, apart from the others, a score "
                             f"differs by {(part - both).abs().max().item():.3g}")  # fmt: skip
    return None


@law(
    "order",
    "scores move with r and x",
    "rows and columns exchanged",
    after=RUNS,
)
def order(s: CriticSubject) -> str | None:
    rows = torch.tensor([2, 0, 3, 1])
    columns = torch.tensor([2, 0, 3, 1, 5, 4])  # each r keeps its own x
    for where, critic, r, x in s.cases():
        scores = critic(r, x)
        expected = torch.cat([scores[rows][:, columns], scores[rows][:, 6:]], dim=1)
        if not torch.allclose(critic(r[rows], x[columns]), expected, atol=1e-5, rtol=1e-4):
            raise Broken(f"{where}: another order of the batch gives other scores")
    return None


@law(
    "gradients",
    "finite gradients reach r, x and every weight",
    "a weight that is not used, a detach",
    after=RUNS,
)
def gradients(s: CriticSubject) -> str | None:
    for where, critic, r, x in s.cases():
        r, x = r.clone().requires_grad_(), x.clone().requires_grad_()
        scores = critic(r, x)
        (scores * normal(*scores.shape, key="weights")).sum().backward()
        for name, tensor in {"r": r, "x": x, **dict(critic.named_parameters())}.items():
            if tensor.grad is None:
                raise Broken(f"{where}: none reaches {name}")
            if not bool(tensor.grad.isfinite().all()):
                raise Broken(f"{where}: that of {name} is not finite")
    return None


@law(
    "precision",
    "single precision follows double",
    "a constant in single precision, squares that cancel",
    after=RUNS,
)
def precision(s: CriticSubject) -> str | None:
    for where, critic, r, x in s.cases():
        single = critic(r, x)
        double = critic.double()(r.double(), x.double())
        if double.dtype != torch.float64:
            raise Broken(f"{where}: scores of float64 are {double.dtype}")
        if not torch.allclose(single.double(), double, atol=1e-4, rtol=1e-3):
            raise Broken(f"{where}: off by {(single - double).abs().max().item():.3g}")
    return None


@law(
    "copies",
    "a pickled critic, and a new one with its state_dict, give the same scores",
    "weights that are kept outside parameters and buffers",
    after=RUNS,
)
def copies(s: CriticSubject) -> str | None:
    for where, critic, r, x in s.cases():
        other = s.plugin(critic.params, r_channels=R_CHANNELS, x_channels=X_CHANNELS, stride=critic.stride)

        def run(c: Any, r: Tensor = r, x: Tensor = x) -> Tensor:
            scores: Tensor = c(r, x)
            return scores

        check_copies(critic, other, run, where)
    return None


@law(
    "own generators",
    "the global generators are neither read nor advanced: what is drawn is drawn by `rng`, the same by the same",
    "torch.randperm or a dropout; draw by `rng`",
    after=RUNS,
)
def own_generators(s: CriticSubject) -> str | None:
    for where, critic, r, x in s.cases():
        for rng in (False, True):

            def run(critic: Any = critic, r: Tensor = r, x: Tensor = x, rng: bool = rng) -> Tensor:
                scores: Tensor = critic(r, x, generator(0, "", 0, "kit", "critic") if rng else None)
                return scores

            check_generators(run, where)
    return None


LAWS: Final[tuple[Law, ...]] = (
    class_facts,
    *DECLARED,
    runs,
    pairs_apart,
    order,
    gradients,
    precision,
    copies,
    own_generators,
)


def suited(name: str, plugin: Any, given: Any) -> tuple[Subject, tuple[Law, ...]]:
    """What is tested, and by which laws.

    Raises
    ------
    TypeError
        If the plugin is no critic.
    """
    if not (isinstance(plugin, type) and issubclass(plugin, Critic)):
        raise TypeError(f"{name} is no Critic")
    return CriticSubject(name, plugin, given), LAWS
