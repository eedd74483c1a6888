"""What Eq. 5 does, in a world where everything has a closed form.

s is standard normal, the views are x_i = s + sigma n_i, and r = w_1 x_1 + w_2 x_2 + tau e.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dirlearn.information.divergences import akl, gaussian_kl
from dirlearn.information.gaussian import gaussian_information

X1, X2, R = 0, 1, 2

# sigma, (w1, w2, tau): I(r;x1), I(r;x2), I(r;x1|x2), I(r;x2|x1), interaction information, I(x1;x2)
TABLE = [
    (0.25, (0.5, 0.5, 0.1), (1.6255, 1.6255, 0.6973, 0.6973, 0.9283, 1.0850)),
    (0.25, (0.5, 0.5, 0.5), (0.7598, 0.7598, 0.0573, 0.0573, 0.7026, 1.0850)),
    (0.5, (1.0, 0.0, 0.1), (2.4181, 0.5038, 1.9143, 0.0000, 0.5038, 0.5108)),
    (0.5, (0.5, 0.5, 0.1), (1.1131, 1.1131, 1.2528, 1.2528, -0.1396, 0.5108)),
    (0.5, (0.5, 0.5, 1.0), (0.3236, 0.3236, 0.0533, 0.0533, 0.2703, 0.5108)),
    (1.0, (0.5, 0.5, 0.1), (0.6833, 0.6833, 1.8253, 1.8253, -1.1420, 0.1438)),
    (1.0, (1.0, 0.0, 0.1), (2.6517, 0.1430, 2.5086, 0.0000, 0.1430, 0.1438)),
]

sigmas = st.floats(0.2, 2)
weights = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1))


def covariance(sigma, encoder):
    """Of x1, x2 and r."""
    w1, w2, tau = encoder
    views = np.array([[1 + sigma**2, 1], [1, 1 + sigma**2]])
    w = np.array([w1, w2])
    across = views @ w
    return torch.tensor(np.block([[views, across[:, None]], [across[None], w @ across + tau**2]]))


def information(sigma, encoder):
    """The columns of the table."""
    c = covariance(sigma, encoder)
    first, second, both = (gaussian_information(c, [R], x).item() for x in ([X1], [X2], [X1, X2]))
    return first, second, both - second, both - first, first + second - both, gaussian_information(c, [X1], [X2]).item()


def marginal(sigma, encoder, view):
    """p(r | x_view) = N(slope x, variance), exactly."""
    c = covariance(sigma, encoder)
    slope = (c[R, view] / c[view, view]).item()
    return slope, (c[R, R] - slope * c[R, view]).item()


def views(sigma):
    """Nodes and weights over (x1, x2) that are exact for polynomials of degree 5, such as the KL's squares."""
    nodes, w = np.polynomial.hermite_e.hermegauss(3)
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    root = np.linalg.cholesky(covariance(sigma, (0, 0, 1))[:2, :2].numpy())
    x = torch.from_numpy(grid @ root.T)
    return x[:, :1], x[:, 1:], torch.from_numpy(np.outer(w, w).ravel() / w.sum() ** 2)


def posteriors(sigma, encoder, models):
    """Mean and log variance of p(r|x1,x2), and of each model (slope, variance) of p(r|x_i); and the weights."""
    w1, w2, tau = encoder
    x1, x2, weight = views(sigma)
    joint = w1 * x1 + w2 * x2, torch.full_like(x1, 2 * math.log(tau))
    of_one = [
        (slope * x, torch.full_like(x, math.log(v))) for x, (slope, v) in zip((x1, x2), models, strict=True)
    ]  # fmt: skip
    return joint, of_one, weight


def expected(elements, weight):
    return (elements[:, 0] * weight).sum().item()


@pytest.mark.parametrize(("sigma", "encoder", "figures"), TABLE)
def test_table(sigma, encoder, figures):
    assert information(sigma, encoder) == pytest.approx(figures, abs=5.1e-5)


@given(sigmas, weights)
def test_interaction_information(sigma, encoder):
    """Eq. 2 and 3 agree, and neither is above what the views share."""
    first, second, given_second, given_first, shared, views = information(sigma, encoder)
    assert first - given_second == pytest.approx(shared, abs=1e-9)
    assert second - given_first == pytest.approx(shared, abs=1e-9)
    assert shared <= views + 1e-9
    assert min(given_first, given_second) >= -1e-9


@given(sigmas, weights)
def test_with_a_weight_of_1_bits_of_one_view_cost_nothing(sigma, encoder):
    """-[I(r;x1) + I(r;x2)] / 2 + [I(r;x1|x2) + I(r;x2|x1)] / 2 is minus the interaction information, whatever r says of
    one view alone."""
    first, second, given_second, given_first, shared, _ = information(sigma, encoder)
    assert -(first + second) / 2 + (given_first + given_second) / 2 == pytest.approx(-shared, abs=1e-9)


def test_keeping_all_of_one_view_is_nearly_the_best():
    *_, shared, views = information(1.0, (1.0, 0.0, 0.1))
    assert shared > 0.99 * views
    *_, shared, _ = information(1.0, (0.5, 0.5, 0.1))
    assert shared < -1


@given(sigmas, weights)
def test_proposition_2_is_tight_for_the_exact_marginal(sigma, encoder):
    exact = [marginal(sigma, encoder, view) for view in (X1, X2)]
    joint, (of_x1, of_x2), weight = posteriors(sigma, encoder, exact)
    _, _, given_second, given_first, _, _ = information(sigma, encoder)
    assert expected(gaussian_kl(*joint, *of_x2, "none"), weight) == pytest.approx(given_second, abs=1e-8)
    assert expected(gaussian_kl(*joint, *of_x1, "none"), weight) == pytest.approx(given_first, abs=1e-8)
    both = expected(akl(joint, of_x1, of_x2, "none"), weight)
    assert both == pytest.approx((given_first + given_second) / 2, abs=1e-8)


@given(sigmas, weights, st.floats(-1, 1), st.floats(0.1, 3))
def test_proposition_2_and_its_gap(sigma, encoder, slope, variance):
    """E KL(p(r|x1,x2) || q(r|x2)) - I(r;x1|x2) = E KL(p(r|x2) || q(r|x2)), for any model q."""
    joint, (_, model), weight = posteriors(sigma, encoder, [(0.0, 1.0), (slope, variance)])
    _, (_, exact), _ = posteriors(sigma, encoder, [(0.0, 1.0), marginal(sigma, encoder, X2)])
    bound = expected(gaussian_kl(*joint, *model, "none"), weight)
    gap = expected(gaussian_kl(*exact, *model, "none"), weight)
    _, _, given_second, *_ = information(sigma, encoder)
    assert bound - given_second == pytest.approx(gap, abs=1e-7)
    assert gap >= -1e-12


@given(st.floats(0.1, 2), st.floats(-2, 2), st.floats(-2, 2), st.floats(0.05, 2))
def test_the_usual_prior_term_is_information_and_the_aggregate(sd, slope, shift, variance):
    """E KL(q(r|x) || N) = I(r;x) + KL(q(r) || N): with weight 1 it cancels a -I(r;x)."""
    nodes, w = np.polynomial.hermite_e.hermegauss(3)
    x, weight = torch.from_numpy(sd * nodes)[:, None], torch.from_numpy(w / w.sum())
    each = gaussian_kl(slope * x + shift, torch.full_like(x, math.log(variance)), reduction="none")
    c = torch.tensor([[sd**2, slope * sd**2], [slope * sd**2, slope**2 * sd**2 + variance]], dtype=torch.float64)
    mean, log_variance = torch.tensor([[shift]], dtype=torch.float64), c[1, 1].log().reshape(1, 1)
    aggregate = gaussian_kl(mean, log_variance).item()
    assert abs(expected(each, weight) - gaussian_information(c, [0], [1]).item() - aggregate) < 1e-6
