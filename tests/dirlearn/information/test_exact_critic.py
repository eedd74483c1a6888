"""With the critic that knows the densities, every estimator gives the figures that are known for it."""

import math

import numpy as np
import pytest
import torch

from dirlearn.component import build
from dirlearn.information.worlds import ExactConditional, ExactCritic, correlated, correlation, exact_ratio
from isp_sim.randomness import generator

DIMENSIONS = 20
BATCHES = 400

# True information: mean and standard deviation over batches of 64, from 4000 of them; InfoNCE of batches of 128, 1500.
JSD = {2: (-0.684, 0.072), 4: (-0.332, 0.059), 6: (-0.153, 0.042), 8: (-0.067, 0.027), 10: (-0.028, 0.016)}
INFONCE = {2: (1.815, 0.199), 4: (3.067, 0.184), 6: (3.739, 0.127), 8: (4.024, 0.071), 10: (4.122, 0.037)}
INFONCE_128 = {2: (1.893, 0.150), 4: (3.341, 0.151), 6: (4.205, 0.111), 8: (4.623, 0.068), 10: (4.785, 0.037)}
NWJ = {2: (2.003, 0.262), 4: (4.010, 0.560)}  # heavier tails than a mean can be tested with, from 6 nats on
DV = {2: (2.008, 0.259), 4: (4.060, 0.437)}
SMILE_1 = {2: (2.376, 0.248), 4: (4.657, 0.337), 6: (6.827, 0.386), 8: (8.925, 0.421), 10: (10.97, 0.439)}
SMILE_5 = {2: (2.031, 0.252), 4: (4.265, 0.369), 6: (6.716, 0.461), 8: (9.330, 0.572), 10: (12.06, 0.698)}
CLUB = {2: 4.428, 4: 9.836, 6: 16.442, 8: 24.511, 10: 34.366}
POPULATION_JSD = {0.5: 0.1129, 1: 0.2060, 2: 0.3513, 4: 0.5279, 6: 0.6166, 8: 0.6596, 10: 0.6797}

TABLE = [
    (node, level, *figures)
    for node, column in (
        ("jsd", JSD),
        ("dim_jsd", {level: (mean + 2 * math.log(2), sd) for level, (mean, sd) in JSD.items()}),
        ("infonce", INFONCE),
        ("nwj", NWJ),
        ("nwj_js", NWJ),
        ("dv", DV),
        ("mine", DV),
        ({"smile": {"tau": 1.0}}, SMILE_1),
        ({"smile": {"tau": 5.0}}, SMILE_5),
    )
    for level, figures in column.items()
]


def batches(level, number, size, key="batches"):
    """x and y, (number, size, 20)."""
    rho = correlation(level, DIMENSIONS)
    x, y = correlated(generator(1, str(level), 0, "test", key), number * size, DIMENSIONS, rho)
    return rho, x.reshape(number, size, -1), y.reshape(number, size, -1)


def estimates(node, level, number=BATCHES, size=64):
    """One estimate a batch."""
    estimator = build("dirlearn.estimators", node)
    rho, x, y = batches(level, number, size)
    scores = ExactCritic(rho, estimator.offset)(x, y)
    return torch.vmap(estimator)(scores).double().numpy()


def assert_figures(values, mean, sd, of):
    """Within 3 standard errors of both, and half a unit of the figure's last digit."""
    error = math.hypot(values.std(ddof=1) / math.sqrt(values.size), sd / math.sqrt(of))
    assert abs(values.mean() - mean) <= 3 * error + 0.5 * 10 ** -(3 if mean < 10 else 2)


@pytest.mark.parametrize(("node", "level", "mean", "sd"), TABLE)
def test_figures_of_batches_of_64(node, level, mean, sd):
    values = estimates(node, level)
    assert_figures(values, mean, sd, of=4000)
    if node not in ("nwj", "nwj_js"):  # a few pairs decide their spread
        assert values.std(ddof=1) == pytest.approx(sd, rel=0.2)


@pytest.mark.parametrize("level", INFONCE_128)
def test_infonce_of_batches_of_128(level):
    assert_figures(estimates("infonce", level, number=200, size=128), *INFONCE_128[level], of=1500)


@pytest.mark.parametrize(
    ("node", "expected"),
    [("jsd", -2 * math.log(2)), ("infonce", 0), ("nwj", 0), ("dv", 0), ({"smile": {"tau": 1.0}}, 0), ("nwj_js", 0)],
)
def test_of_independent_variables(node, expected):
    np.testing.assert_allclose(estimates(node, 0, number=3), expected, atol=2e-7)


@pytest.mark.parametrize("level", CLUB)
def test_club_is_twice_the_symmetric_divergence(level):
    estimator = build("dirlearn.estimators", "club")
    rho, x, y = batches(level, 40, 64)
    values = torch.stack([estimator(ExactConditional(rho)(*pair)) for pair in zip(x, y, strict=True)]).double().numpy()
    closed = DIMENSIONS * rho**2 / (1 - rho**2)
    assert closed == pytest.approx(CLUB[level], abs=5e-4)
    assert abs(values.mean() - closed) <= 3 * values.std(ddof=1) / math.sqrt(values.size)


def test_leave_one_out_of_two_is_club():
    """So its mean over batches of two has a closed form: twice the symmetric divergence."""
    rho, x, y = batches(2, 800, 2)
    l1out, club = (build("dirlearn.estimators", name) for name in ("l1out", "club"))
    scores = [ExactConditional(rho)(*pair) for pair in zip(x, y, strict=True)]
    values = np.array([l1out(matrix).item() for matrix in scores])
    np.testing.assert_allclose(values, [club(matrix).item() for matrix in scores], rtol=1e-5, atol=1e-5)
    closed = DIMENSIONS * rho**2 / (1 - rho**2)
    assert abs(values.mean() - closed) <= 3 * values.std(ddof=1) / math.sqrt(values.size)


@pytest.mark.parametrize("level", [1, 3])
def test_leave_one_out_and_infonce_enclose_the_truth(level):
    """They are the same matrix summed along columns and rows; with the true densities the truth lies between."""
    rho, x, y = batches(level, 200, 32)
    conditional = [ExactConditional(rho)(*pair) for pair in zip(x, y, strict=True)]
    upper = np.array([build("dirlearn.estimators", "l1out")(scores).item() for scores in conditional])
    lower = estimates("infonce", level, number=200, size=32)
    assert lower.mean() < level < upper.mean()
    assert upper.mean() - level < {1: 0.15, 3: 1.5}[level]


def test_barber_agakov_with_the_true_conditional_is_the_truth():
    rho, x, y = batches(4, 100, 64)
    entropy = DIMENSIONS / 2 * math.log(2 * math.pi * math.e)
    estimator = build("dirlearn.estimators", {"ba": {"entropy": entropy}})
    values = np.array([estimator(ExactConditional(rho)(*pair)).item() for pair in zip(x, y, strict=True)])
    assert abs(values.mean() - 4) <= 3 * values.std(ddof=1) / 10
    assert values.std(ddof=1) < 0.7


@pytest.mark.parametrize("level", POPULATION_JSD)
def test_the_jensen_shannon_divergence_of_many_pairs(level):
    rho, x, y = batches(level, 1, 100_000)
    joint, product = (exact_ratio(x[0], other, rho).double() for other in (y[0], y[0].roll(1, 0)))
    estimator = build("dirlearn.estimators", "dim_jsd")
    value = estimator.estimate(joint, product, torch.ones(len(product), dtype=torch.bool)).item() / 2
    softplus = torch.nn.functional.softplus
    error = math.hypot(softplus(-joint).std().item(), softplus(product).std().item()) / 2 / math.sqrt(len(joint))
    assert abs(value - POPULATION_JSD[level]) <= 3 * error + 5e-5


def test_the_exact_critic_is_the_log_density_ratio():
    rho, x, y = batches(3, 1, 5)
    x, y = x[0].double(), y[0].double()
    conditional = torch.distributions.Normal(rho * x[:, None], math.sqrt(1 - rho**2)).log_prob(y).sum(-1)
    marginal = torch.distributions.Normal(0.0, 1.0).log_prob(y).sum(-1)
    torch.testing.assert_close(ExactCritic(rho, 0.25)(x, y), conditional - marginal + 0.25)
    torch.testing.assert_close(ExactConditional(rho)(x, y), conditional)
    torch.testing.assert_close(exact_ratio(x, y, rho), (conditional - marginal).diagonal())
