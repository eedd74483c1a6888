"""The conformance kit: every estimator and critic passes it, and every deliberate mistake is caught by its law."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from dirlearn import testing
from dirlearn.critics.critic import Critic
from dirlearn.critics.local import Local
from dirlearn.critics.separable import Separable
from dirlearn.information.club import CLUB
from dirlearn.information.dv import DV
from dirlearn.information.estimator import Estimator, SampleEstimator
from dirlearn.information.gaussian import Gaussian
from dirlearn.information.infonce import InfoNCE
from dirlearn.information.jsd import JSD, jsd
from dirlearn.information.ksg import KSG
from dirlearn.information.mine import MINE
from dirlearn.information.nwj import NWJ
from dirlearn.testing.component import source
from isp_sim import registry
from isp_sim.parameters import StageParams

ROOT = Path(__file__).parents[3]
GROUPS = ("dirlearn.estimators", "dirlearn.critics")
OWN = [(g, n) for g in GROUPS for n in registry.names(g) if registry.origin(n, g) == "isp-sim"]
FURTHER: dict[str, list[dict[str, Any]]] = {
    "smile": [{"tau": 1.0}, {"tau": 100.0}],
    "mine": [{"decay": 0.0}],
    "ksg": [{"neighbours": 10}],
    "local": [{"offsets": 3, "scales": 2, "width": 8, "embedding": 8}],
    "global": [{"grid": 1, "layers": 0, "width": 8}],
    "separable": [{"layers": 0}],
}


@pytest.mark.parametrize(("group", "name"), OWN)
def test_every_estimator_and_critic_conforms(group: str, name: str, tools: Any) -> None:
    before = tools.global_generators()
    testing.assert_conforms(name, group=group, parameters=FURTHER.get(name, ()))
    assert tools.global_generators() == before


def test_sources_are_in_the_bibliography_and_names_in_the_changelog() -> None:
    bibliography = (ROOT / "docs" / "BIBLIOGRAPHY.bib").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    page = (ROOT / "docs" / "information.md").read_text()
    for group, name in OWN:
        plugin = registry.load(name, group)
        for key in plugin.source.split("[")[1:]:
            assert f"{{{key.partition(']')[0]}," in bibliography
        assert f"`{name}`" in changelog
        assert f"`{name}`" in page


@cache
def report_on(plugin: Any) -> testing.Report:
    return testing.check(plugin)


# -- deliberate mistakes -----------------------------------------------------------------------------------------


class Undocumented(JSD):
    source = "some paper"

    class Params(StageParams):
        strength: float = Field(1.0, description="how much")


class Exchanged(JSD):
    """Positives for negatives."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return -super().estimate(positives, negatives, mask)


class MaskByTen(InfoNCE):
    """Subtracts 10 in place of hiding."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        lowered = negatives - 10.0 * ~mask.reshape(mask.shape + (1,) * (negatives.ndim - 2))
        return super().estimate(positives, lowered, torch.ones_like(mask))


class DiagonalAmongNegatives(NWJ):
    """Takes the whole matrix for independent pairs."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return super().estimate(positives, negatives, torch.ones_like(mask))


class Pooled(DV):
    """One logarithm for all places."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        if negatives.ndim == 3:
            hidden = torch.where(mask[..., None], negatives, -torch.inf)
            count = (mask.sum() * negatives.shape[2]).to(negatives.dtype)
            return positives.mean() - torch.logsumexp(hidden.flatten(), 0) + count.log()
        return super().estimate(positives, negatives, mask)


class WrittenOut(JSD):
    """log(1 + exp(t)) as it stands."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        shape = mask.reshape(mask.shape + (1,) * (negatives.ndim - 2))
        kept = torch.where(shape, negatives, 0.0)
        product = torch.where(shape, torch.log(1 + torch.exp(kept)), 0.0).sum()
        places = negatives[0, 0].numel()
        return -torch.log(1 + torch.exp(-positives)).mean() - product / (mask.sum() * places)


class TooMuch(InfoNCE):
    """Twice what it should say."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return 2 * super().estimate(positives, negatives, mask)


class WrongOffset(NWJ):
    """Says that its best critic is the log density ratio itself."""

    offset = 0.0


class WrongConstant(NWJ):
    """Without the 1 in the exponent."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return super().estimate(positives, negatives, mask) + 0.3


class NotAnUpperBound(CLUB):
    """Half of an upper bound, less something."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return 0.3 * super().estimate(positives, negatives, mask)


class OnlyTheDiagonal(JSD):
    """Believes that positives lie on the diagonal."""

    def forward(self, scores: Tensor, negatives: Tensor | None = None, positives: Tensor | None = None) -> Tensor:
        return super().forward(scores, negatives)


class Rolled(JSD):
    """One negative each: the neighbour in the batch."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return jsd(positives, negatives.diagonal(1).movedim(-1, 0))


class Drawing(JSD):
    """Draws a negative by the global generator."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return super().estimate(positives, negatives, mask) * (1 + 1e-9 * torch.rand(()).to(positives.dtype))


class Moving(MINE):
    """Moves its average while it reports."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        self.updates += 1
        return super().estimate(positives, negatives, mask)


class Forgetful(MINE):
    """Keeps its average outside the state."""

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        del self.log_average
        self.log_average = torch.zeros(())


class Vector(JSD):
    """One number a place."""

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return positives.sum(0) - negatives.sum((0, 1))


class NoFacts(Estimator):
    """Says nothing of itself."""

    source = "[Key]"

    def estimate(self, positives: Tensor, negatives: Tensor, mask: Tensor) -> Tensor:
        return positives.mean()


class Bits(Gaussian):
    """In bits."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x, y) / 0.6931


class Lopsided(KSG):
    """Favours the first."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x, y) + 1e-3 * x.mean()


class NoisyTies(KSG):
    """Tells samples apart by noise."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return super().forward(x + 1e-3 * torch.randn(x.shape), y)


class ThirdLogit(SampleEstimator):
    """Not a number but several."""

    source = "[Key]"
    bound = "neither"

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class Batched(Separable):
    """With a BatchNorm."""

    def __init__(self, params: Any, **channels: Any) -> None:
        super().__init__(params, **channels)
        self.of_r.append(nn.BatchNorm1d(params.embedding))


class Dropping(Separable):
    """With a dropout."""

    def __init__(self, params: Any, **channels: Any) -> None:
        super().__init__(params, **channels)
        self.of_r.append(nn.Dropout(0.5))


class Unused(Separable):
    """A weight that nothing depends on."""

    def __init__(self, params: Any, **channels: Any) -> None:
        super().__init__(params, **channels)
        self.spare = nn.Parameter(torch.zeros(3))


class Turned(Separable):
    """x by r."""

    def forward(self, r: Tensor, x: Tensor, rng: Any = None) -> Tensor:
        return super().forward(r, x).T


class Sorted(Separable):
    """Counts places in the batch."""

    def forward(self, r: Tensor, x: Tensor, rng: Any = None) -> Tensor:
        return super().forward(r, x) + torch.arange(len(r))[:, None]


class Single(Separable):
    """Goes through single precision."""

    def forward(self, r: Tensor, x: Tensor, rng: Any = None) -> Tensor:
        return super().forward(r, x).float()


class Outside(Separable):
    """Keeps a weight outside the state."""

    def __init__(self, params: Any, **channels: Any) -> None:
        super().__init__(params, **channels)
        self.gain = 1 + torch.rand(())

    def forward(self, r: Tensor, x: Tensor, rng: Any = None) -> Tensor:
        return super().forward(r, x) * self.gain


class RandomOffsets(Local):
    """Draws its offsets by the global generator."""

    def forward(self, r: Tensor, x: Tensor, rng: Any = None) -> Tensor:
        torch.randperm(3)
        return super().forward(r, x)


class NoPlace(Critic):
    """For what?"""

    source = "[Key]"
    takes = "sounds"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("plugin", "law"),
    [
        (Undocumented, "docstring"),
        (Undocumented, "source"),
        (Undocumented, "documented"),
        (Undocumented, "bounded"),
        (Exchanged, "sign"),
        (MaskByTen, "masked pairs"),
        (DiagonalAmongNegatives, "masked pairs"),
        (DiagonalAmongNegatives, "sign"),
        (Pooled, "places"),
        (WrittenOut, "precision"),
        (TooMuch, "bound"),
        (WrongOffset, "independence"),
        (WrongConstant, "scores at 0"),
        (NotAnUpperBound, "bound"),
        (OnlyTheDiagonal, "gathered columns"),
        (Rolled, "order"),
        (Drawing, "own generators"),
        (Moving, "reports change nothing"),
        (Forgetful, "copies"),
        (Vector, "runs"),
        (NoFacts, "class facts"),
        (Bits, "truth"),
        (Lopsided, "samples alike"),
        (NoisyTies, "own generators"),
        (ThirdLogit, "runs"),
        (Batched, "pairs apart"),
        (Dropping, "own generators"),
        (Unused, "gradients"),
        (Turned, "runs"),
        (Sorted, "order"),
        (Single, "precision"),
        (Outside, "copies"),
        (RandomOffsets, "own generators"),
        (NoPlace, "class facts"),
    ],
)
def test_a_mistake_is_caught_by_its_law(plugin: Any, law: str) -> None:
    report = report_on(plugin)
    assert law in {check.name for check in report.failures}, str(report)


def test_what_does_not_conform_is_said() -> None:
    with pytest.raises(AssertionError, match=r"FAILED +class facts"):
        testing.assert_conforms(NoFacts)


def test_what_is_no_part_of_a_training() -> None:
    with pytest.raises(TypeError, match="int is no Estimator"):
        testing.check(int)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="laws for"):
        testing.check("jsd", group="isp_sim.stages")
    with pytest.raises(registry.UnknownPlugin, match="did you mean 'infonce'"):
        testing.check("infonse")
    assert source.name == "source"


def test_names_are_found_without_their_group() -> None:
    assert testing.check("gaussian").kind == "estimator"
    assert testing.check("separable").kind == "critic"
