"""Laws of estimators of mutual information."""

from __future__ import annotations

import math
import typing
from functools import cache, cached_property
from typing import Any, Final

import torch
from torch import Tensor

from dirlearn.information.estimator import Bound, Estimator, SampleEstimator, Unit
from dirlearn.information.jsd import jsd
from dirlearn.information.worlds import ExactConditional, ExactCritic, correlated, correlation, entropy, exact_ratio
from dirlearn.testing.component import DECLARED, Subject, check_copies, check_generators, normal
from isp_sim.randomness import generator
from isp_sim.testing.law import Broken, Law, NotApplicable, law

DIMENSIONS: Final = 4
INFORMATION: Final = 1.0
"""Nats in the world of the exact critic."""
BATCH: Final = 128
BATCHES: Final = 60
ERRORS: Final = 4.0
"""Standard errors that a mean may be off."""
RUNS: Final = ("class facts", "runs")


class EstimatorSubject(Subject):
    """An estimator of scores or log densities."""

    plugin: Any

    def value(self, setting: Any, scores: Tensor, negatives: Tensor | None = None, **options: Any) -> Tensor:
        """The estimate of a new instance."""
        value: Tensor = self.make(setting)(scores, negatives, **options)
        return value

    def gradient(self, setting: Any, scores: Tensor, negatives: Tensor | None = None) -> Tensor:
        """The objective's gradient with respect to the scores; 0 where none arrives."""
        leaf = scores.clone().requires_grad_()
        self.make(setting).objective(leaf, negatives).backward()
        if leaf.grad is None:
            raise Broken("the objective has no gradient with respect to the scores")
        return leaf.grad

    @cached_property
    def at_zero(self) -> float:
        """The estimate of a critic that knows nothing."""
        return self.value({}, torch.full((8, 8), self.plugin.offset)).item()

    def of_exact_critic(self, setting: Any, information: float) -> tuple[float, float]:
        """Mean and standard error over batches from Gaussians; y is scaled to have no entropy."""
        rho = correlation(information, DIMENSIONS)
        rng = generator(0, str(information), 0, "kit", "exact")
        values = []
        for _ in range(BATCHES):
            x, y = correlated(rng, BATCH, DIMENSIONS, rho)
            if self.plugin.takes == "scores":
                scores = ExactCritic(rho, self.plugin.offset)(x, y)
            else:
                scores = ExactConditional(rho)(x, y) + entropy(DIMENSIONS)
            values.append(self.value(setting, scores).item())
        sample = torch.tensor(values, dtype=torch.float64)
        return sample.mean().item(), sample.std().item() / math.sqrt(BATCHES)


@law(
    "class facts",
    "bound is lower, upper or neither, unit nats or jsd, takes scores, log_density or samples",
    "a fact that is missing, or another word for it",
)
def class_facts(s: Subject) -> str | None:
    allowed = {
        "bound": typing.get_args(Bound),
        "unit": typing.get_args(Unit),
        "takes": ("samples",) if issubclass(s.plugin, SampleEstimator) else ("scores", "log_density"),
    }
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
    "estimate and objective of (N, N), (N, N, L) and (N, M) scores are one finite number each, in the scores' "
    "dtype; of half precision, in single",
    "a missing mean over places, or float64 constants",
    after=("class facts",),
)
def runs(s: EstimatorSubject) -> str | None:
    for setting in s.settings:
        for shape in ((2, 2), (6, 6), (6, 6, 5), (4, 9), (2, 4, 3)):
            for dtype in (torch.float32, torch.float64, torch.bfloat16):
                estimator = s.make(setting)
                scores = normal(*shape).to(dtype)
                for what in ("forward", "objective"):
                    value = getattr(estimator, what)(scores)
                    where = f"{setting}: {what} of {shape} {dtype}"
                    if value.shape != () or not bool(value.isfinite()):
                        raise Broken(f"{where} is {value!r}")
                    if value.dtype != (torch.float32 if dtype == torch.bfloat16 else dtype):
                        raise Broken(f"{where} is of {value.dtype}")
    return None


@law(
    "scores at 0",
    "a critic that says the same of all pairs finds no information: a lower bound is not above 0, an upper bound not "
    "below; both are the same for any number of pairs",
    "a constant that is missing or counted twice; a wrong count of pairs under the logarithm",
    after=RUNS,
)
def scores_at_zero(s: EstimatorSubject) -> str | None:
    for setting in s.settings:
        values = [s.value(setting, torch.full((n, n), s.plugin.offset)).item() for n in (2, 5, 33)]
        if max(values) - min(values) > 1e-6:
            raise Broken(f"{setting}: it depends on the number of pairs: {values}")
        if s.plugin.bound == "lower" and values[0] > 1e-6:
            raise Broken(f"{setting}: a lower bound of {values[0]:.6g} of nothing")
        if s.plugin.bound == "upper" and values[0] < -1e-6:
            raise Broken(f"{setting}: an upper bound of {values[0]:.6g}")
    return f"{values[0]:.6f}"


@law(
    "order",
    "the order of the batch does not matter",
    "rolled rows or an index in place of the pairs of the mask",
    after=RUNS,
)
def order(s: EstimatorSubject) -> str | None:
    scores, mask = normal(9, 9), normal(9, 9, key="mask") > -0.5
    new = torch.from_numpy(generator(0, "", 0, "kit", "order").permutation(9))
    for setting in s.settings:
        a = s.value(setting, scores, mask).item()
        b = s.value(setting, scores[new][:, new], mask[new][:, new]).item()
        if abs(a - b) > 1e-5 * (1 + abs(a)):
            raise Broken(f"{setting}: {a} in one order, {b} in another")
    return None


@law(
    "masked pairs",
    "a pair that the mask hides has no influence, whatever its score, NaN included, and gets no gradient",
    "scores lowered by a constant in place of minus infinity; a product with the mask, which keeps NaN",
    after=RUNS,
)
def masked_pairs(s: EstimatorSubject) -> str | None:
    mask = normal(8, 8, key="mask") > -0.3
    hidden = ~mask
    hidden.fill_diagonal_(False)
    for setting in s.settings:
        for places in ((), (3,)):
            scores = normal(8, 8, *places) * 3 - 20
            spoilt = {}
            for other in (math.nan, math.inf, 1e30, 0.0):
                changed = scores.clone()
                changed[hidden] = other
                spoilt[other] = changed
            expected = s.value(setting, scores, mask)
            for other, changed in spoilt.items():
                if not torch.equal(s.value(setting, changed, mask), expected):
                    raise Broken(f"{setting}: hidden scores of {other} change the estimate from {expected:.6g}")
                gradient = s.gradient(setting, changed, mask)
                if not bool((gradient[hidden] == 0).all()):
                    raise Broken(f"{setting}: hidden scores of {other} get a gradient")
                if not bool(gradient.isfinite().all()):
                    raise Broken(f"{setting}: hidden scores of {other} spoil the others' gradient")
    return None


@law(
    "gathered columns",
    "scores against a batch that was gathered from several processes count by the columns that are named as positives",
    "the diagonal taken for the positives, although `positives` says otherwise",
    after=("class facts", "runs", "masked pairs"),
)
def gathered_columns(s: EstimatorSubject) -> str | None:
    scores = normal(6, 6)
    wide = torch.full((6, 11), math.nan)
    wide[:, 4:10] = scores
    mask = torch.zeros(6, 11, dtype=torch.bool)
    mask[:, 4:10] = True
    for setting in s.settings:
        expected = s.value(setting, scores)
        found = s.value(setting, wide, mask, positives=torch.arange(4, 10))
        if not torch.allclose(found, expected, atol=1e-6):
            raise Broken(f"{setting}: {found.item()} in place of {expected.item()}")
    return None


@law(
    "places",
    "the estimate at several places is the mean of theirs",
    "a logarithm or a softmax over places and pairs together",
    after=RUNS,
)
def places(s: EstimatorSubject) -> str | None:
    scores, mask = normal(7, 7, 4) * 2, normal(7, 7, key="mask") > -0.5
    for setting in s.settings:
        whole = s.value(setting, scores, mask).item()
        mean = sum(s.value(setting, scores[..., i], mask).item() for i in range(4)) / 4
        if abs(whole - mean) > 1e-5 * (1 + abs(mean)):
            raise Broken(f"{setting}: {whole} together, {mean} as a mean")
    return None


@law(
    "precision",
    "single precision follows double, in estimate and gradient, for scores of hundreds too, as far as it can hold them",
    "log(1 + exp(t)) or log(mean(exp(t))) written out; use logsigmoid and logsumexp",
    after=RUNS,
)
def precision(s: EstimatorSubject) -> str | None:
    base = normal(12, 12)
    for setting in s.settings:
        for scale, shift in ((1, 0), (10, 0), (100, 0), (1, 60), (1, -60), (1, 300), (1, -300)):
            scores = base * scale + shift
            for what in (s.value, s.gradient):
                double, single = what(setting, scores.double()), what(setting, scores)
                largest = double.abs().max().item()
                if largest > 1e30:  # a result beyond single precision, such as the exponential of a large score
                    continue
                if not torch.allclose(single.double(), double, rtol=1e-3, atol=1e-5 * max(largest, 1)):
                    which = "estimate" if what == s.value else "gradient"
                    raise Broken(f"{setting}: the {which} for scores {scale} z {shift:+} is off, or not finite")
    return None


@law(
    "sign",
    "the objective grows with the scores of joint pairs and falls with those of independent pairs",
    "positives and negatives exchanged, or a loss in place of what is maximised",
    after=RUNS,
)
def sign(s: EstimatorSubject) -> str | None:
    scores = normal(8, 8)
    joint = torch.eye(8, dtype=torch.bool)
    for setting in s.settings:
        gradient = s.gradient(setting, scores)
        if not bool((gradient[joint] > 0).all()):
            raise Broken(f"{setting}: it does not grow with the scores of joint pairs")
        if s.plugin.takes == "scores" and not bool((gradient[~joint] <= 0).all() and (gradient[~joint] < 0).any()):
            raise Broken(f"{setting}: it does not fall with the scores of independent pairs")
    return None


@law(
    "independence",
    "of independent variables, the best critic finds no information, within chance",
    "a wrong constant; an `offset` that is not the best critic's",
    after=RUNS,
)
def independence(s: EstimatorSubject) -> str | None:
    target = s.at_zero if s.plugin.unit == "jsd" else 0.0
    for setting in s.settings:
        mean, error = s.of_exact_critic(setting, 0.0)
        if abs(mean - target) > ERRORS * error + 1e-5:
            raise Broken(f"{setting}: {mean:.4f} +- {error:.4f} in place of {target:.4f}")
    return f"{mean:.4f} +- {error:.4f}"


@law(
    "bound",
    f"with the best critic of Gaussians of {INFORMATION:g} nat, a lower bound lies not above the truth, an upper bound "
    "not below, within chance, and both see that there is something",
    "positives among the negatives; an estimator that is no bound should say neither",
    after=(*RUNS, "scores at 0"),
)
def bound(s: EstimatorSubject) -> str | None:
    if s.plugin.bound == "neither":
        raise NotApplicable("it says that it is no bound")
    truth = INFORMATION if s.plugin.unit == "nats" else s.at_zero + _twice_jsd()
    floor = 0.0 if s.plugin.unit == "nats" else s.at_zero
    for setting in s.settings:
        mean, error = s.of_exact_critic(setting, INFORMATION)
        slack = ERRORS * error + 1e-5
        found = f"{setting}: {mean:.4f} +- {error:.4f}, the truth is {truth:.4f}"
        if s.plugin.bound == "lower" and not floor + (truth - floor) / 4 < mean <= truth + slack:
            raise Broken(found)
        if s.plugin.bound == "upper" and not mean >= truth - slack:
            raise Broken(found)
    return f"{mean:.4f} +- {error:.4f} of {truth:.4f}"


@cache
def _twice_jsd() -> float:
    """2 JSD(J || M) of the Gaussians, by very many pairs."""
    rng, rho = generator(0, "", 0, "kit", "jsd"), correlation(INFORMATION, DIMENSIONS)
    x, y = correlated(rng, 100_000, DIMENSIONS, rho)
    return jsd(exact_ratio(x, y, rho), exact_ratio(x, y.roll(1, 0), rho)).item() + 2 * math.log(2)


@law(
    "reports change nothing",
    "the estimate leaves buffers as they are, and so does the objective in evaluation mode",
    "a moving average that moves without a training step",
    after=RUNS,
)
def reports_change_nothing(s: EstimatorSubject) -> str | None:
    for setting in s.settings:
        for what, mode in (("forward", True), ("forward", False), ("objective", False)):
            estimator = s.make(setting).train(mode)
            before = {name: value.clone() for name, value in estimator.state_dict().items()}
            scores = normal(5, 5)
            getattr(estimator, what)(scores)
            if changed := [n for n, value in estimator.state_dict().items() if not torch.equal(value, before[n])]:
                raise Broken(f"{setting}: {what} changes {', '.join(changed)}")
            if not torch.equal(scores, normal(5, 5)):
                raise Broken(f"{setting}: {what} changes the scores")
    return None


@law(
    "copies",
    "a pickled estimator, and a new one with its state_dict, give the same after some training",
    "state that is kept as a plain attribute in place of a buffer",
    after=RUNS,
)
def copies(s: EstimatorSubject) -> str | None:
    for setting in s.settings:
        estimator = s.make(setting)
        for i in range(3):
            estimator.objective(normal(6, 6, key=str(i)))

        def run(e: Any) -> Tensor:
            value: Tensor = e.objective(normal(6, 6, key="last"))
            return value

        check_copies(estimator, s.make(setting), run, str(setting))
    return None


@law(
    "own generators",
    "the global generators of torch, NumPy and Python are neither read nor advanced",
    "negatives drawn inside: they are given by the mask",
    after=RUNS,
)
def own_generators(s: EstimatorSubject) -> str | None:
    for setting in s.settings:
        for what in ("forward", "objective"):
            estimator = s.make(setting).eval()

            def run(estimator: Any = estimator, what: str = what) -> Tensor:
                value: Tensor = getattr(estimator, what)(normal(7, 7, 2))
                return value

            check_generators(run, f"{setting}, {what}")
    return None


SCORE_LAWS: Final[tuple[Law, ...]] = (
    class_facts,
    *DECLARED,
    runs,
    scores_at_zero,
    order,
    masked_pairs,
    gathered_columns,
    places,
    precision,
    sign,
    independence,
    bound,
    reports_change_nothing,
    copies,
    own_generators,
)


# -- estimators of samples -----------------------------------------------------------------------------------------


@law("runs", "the estimate of (N, d) and (N, e), and of (N,), is one finite number", "", after=("class facts",))
def samples_run(s: Subject) -> str | None:
    for setting in s.settings:
        for shape in ((200,), (200, 1), (200, 3)):
            value = s.make(setting)(normal(*shape), normal(200, 2))
            if value.shape != () or not bool(value.isfinite()):
                raise Broken(f"{setting}: of {shape} it is {value!r}")
    return None


@law(
    "samples alike",
    "neither the order of the samples nor which of both comes first matters",
    "a neighbour search that counts a sample itself for one side only",
    after=RUNS,
)
def samples_alike(s: Subject) -> str | None:
    x, y = correlated(generator(0, "", 0, "kit", "samples"), 300, 2, 0.6)
    new = torch.from_numpy(generator(0, "", 0, "kit", "order").permutation(300))
    for setting in s.settings:
        estimator = s.make(setting)
        values = [estimator(*pair).item() for pair in ((x, y), (x[new], y[new]), (y, x))]
        if max(values) - min(values) > 1e-6:
            raise Broken(f"{setting}: as given, in another order, exchanged: {values}")
    return None


@law(
    "truth",
    "of 2000 samples of a pair of Gaussians it is right to 0.1 nats at correlations of 0, 0.5 and 0.9",
    "a wrong constant, logarithms of another base",
    after=RUNS,
)
def truth(s: Subject) -> str | None:
    for setting in s.settings:
        for rho in (0.0, 0.5, 0.9):
            x, y = correlated(generator(0, str(rho), 0, "kit", "samples"), 2000, 1, rho)
            found, expected = s.make(setting)(x, y).item(), -0.5 * math.log(1 - rho * rho)
            if abs(found - expected) > 0.1:
                raise Broken(f"{setting}: {found:.3f} in place of {expected:.3f} at a correlation of {rho}")
    return None


@law("own generators", own_generators.expected, "noise added to tell samples apart", after=RUNS)
def samples_own_generators(s: Subject) -> str | None:
    for setting in s.settings:
        estimator = s.make(setting)

        def run(estimator: Any = estimator) -> Tensor:
            value: Tensor = estimator(normal(100, 2), normal(100, 2, key="y"))
            return value

        check_generators(run, str(setting))
    return None


SAMPLE_LAWS: Final[tuple[Law, ...]] = (
    class_facts,
    *DECLARED,
    samples_run,
    samples_alike,
    truth,
    samples_own_generators,
)


def suited(name: str, plugin: Any, given: Any) -> tuple[Subject, tuple[Law, ...]]:
    """What is tested, and by which laws.

    Raises
    ------
    TypeError
        If the plugin is no estimator.
    """
    if isinstance(plugin, type) and issubclass(plugin, SampleEstimator):
        return Subject(name, plugin, given), SAMPLE_LAWS
    if isinstance(plugin, type) and issubclass(plugin, Estimator):
        return EstimatorSubject(name, plugin, given), SCORE_LAWS
    raise TypeError(f"{name} is no Estimator and no SampleEstimator")
