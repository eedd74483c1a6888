"""Divergences against Monte Carlo, torch.distributions and closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence

from dirlearn.information.divergences import (
    BANDWIDTHS,
    akl,
    coral,
    gaussian_kl,
    gaussian_log_density,
    mixture_kl,
    mmd,
    mmd_to_normal,
    moment_kl,
    places_as_samples,
    sliced_wasserstein,
)
from isp_sim.randomness import generator

seeds = st.integers(0, 99)


def random(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def rng(seed=0):
    return generator(seed, "batch", 0, "test", "projections")


# -- diagonal Gaussians ----------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 5), st.integers(1, 6))
def test_kl_against_torch_distributions(seed, batch, size):
    mean_p, log_p, mean_q, log_q = random(4, batch, size, seed=seed)
    p, q = (Independent(Normal(m, (v / 2).exp()), 1) for m, v in ((mean_p, log_p), (mean_q, log_q)))
    torch.testing.assert_close(gaussian_kl(mean_p, log_p, mean_q, log_q, "sum"), kl_divergence(p, q).mean())
    prior = Independent(Normal(torch.zeros(size).double(), torch.ones(size).double()), 1)
    torch.testing.assert_close(gaussian_kl(mean_p, log_p, reduction="sum"), kl_divergence(p, prior).mean())
    torch.testing.assert_close(gaussian_log_density(mean_q, mean_p, log_p), p.log_prob(mean_q))


def test_akl_against_monte_carlo():
    joint, first, second = (tuple(random(2, 1, 6, seed=seed)) for seed in (1, 2, 3))
    mean, log_variance = joint
    r = mean + (log_variance / 2).exp() * random(200_000, 6, seed=4)
    ratios = gaussian_log_density(r, *joint) - (gaussian_log_density(r, *first) + gaussian_log_density(r, *second)) / 2
    expected, error = ratios.mean().item(), ratios.std().item() / math.sqrt(len(r))
    assert abs(akl(joint, first, second, "sum").item() - expected) < 4 * error
    assert error < 0.02 * expected


@given(seeds)
def test_kl_is_0_for_equals_alone(seed):
    mean, log_variance, other = random(3, 4, 5, seed=seed, dtype=torch.float32)
    assert gaussian_kl(mean, log_variance, mean, log_variance).item() == 0
    assert gaussian_kl(mean, log_variance, other, log_variance).item() > 0
    assert (gaussian_kl(mean, 1e-3 * log_variance, mean, 0 * mean, "none") >= 0).all()


def test_reductions_at_another_size():
    """A latent of twice the height, width and channels, with the same numbers: the mean stays, the sum is 8 times."""
    mean, log_variance = random(2, 3, 4, 2, 2)
    larger = [v.repeat(1, 2, 2, 2) for v in (mean, log_variance)]
    torch.testing.assert_close(gaussian_kl(*larger), gaussian_kl(mean, log_variance))
    torch.testing.assert_close(
        gaussian_kl(*larger, reduction="sum"), 8 * gaussian_kl(mean, log_variance, reduction="sum")
    )
    assert gaussian_kl(mean, log_variance, reduction="none").shape == mean.shape
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none'"):
        gaussian_kl(mean, log_variance, reduction="median")


def test_log_variances_are_limited():
    zero, most = torch.zeros(1, 1), torch.full((1, 1), 9.21034)
    for log_variance in (20.0, 200.0):
        huge = torch.full((1, 1), log_variance, requires_grad=True)
        value = gaussian_kl(zero, huge)
        assert value.item() == pytest.approx(gaussian_kl(zero, most).item(), rel=1e-5)
        assert gaussian_kl(zero, zero, zero, huge).item() == pytest.approx(0.5 * (9.2103 - 1 + 1e-4), rel=1e-4)
    tiny = torch.full((1, 1), -60.0)
    assert gaussian_kl(zero, tiny).item() == pytest.approx(29.5)


# -- the aggregate -----------------------------------------------------------------------------------------------


def test_mixture_of_standard_normals_is_the_prior():
    zero = torch.zeros(7, 3)
    assert mixture_kl(random(7, 3, dtype=torch.float32), zero, zero).item() == pytest.approx(0, abs=1e-6)


def test_mixture_of_two_by_quadrature():
    means, log_variances = torch.tensor([[-1.0], [0.7]]).double(), torch.tensor([[-1.0], [0.3]]).double()
    grid = torch.linspace(-12, 12, 48_001, dtype=torch.float64)[:, None]
    each = gaussian_log_density(grid[:, None], means[None], log_variances[None])
    mixture = torch.logsumexp(each, 1) - math.log(2)
    expected = torch.trapezoid(mixture.exp() * (mixture - Normal(0.0, 1.0).log_prob(grid[:, 0])), dx=0.0005).item()
    noise = random(20_000, 2, 1, seed=5)
    values = torch.vmap(lambda e: mixture_kl(means + (log_variances / 2).exp() * e, means, log_variances))(noise)
    assert abs(values.mean().item() - expected) < 4 * values.std().item() / math.sqrt(len(values))


def test_mixture_far_apart_is_the_mean_divergence_less_log_n():
    means = 40.0 * torch.eye(5, dtype=torch.float64)
    log_variances = torch.full((5, 5), -2.0, dtype=torch.float64)
    noise = random(4000, 5, 5)
    values = torch.vmap(lambda e: mixture_kl(means + math.exp(-1) * e, means, log_variances))(noise)
    expected = gaussian_kl(means, log_variances, reduction="sum").item() - math.log(5)
    assert values.mean().item() == pytest.approx(expected, abs=4 * values.std().item() / math.sqrt(4000))


def test_moments_of_a_standard_batch():
    x = torch.tensor([[-1.0, 1.0], [1.0, -1.0]])  # not independent, which moments of one dimension do not show
    assert moment_kl(x).item() == 0
    assert moment_kl(2 * x + 1, "sum").item() == pytest.approx(2 * 0.5 * (4 + 1 - 1 - math.log(4)))
    assert math.isfinite(moment_kl(torch.zeros(4, 3)).item())
    with pytest.raises(ValueError, match="two at least"):
        moment_kl(x[:1])


def test_places_as_samples():
    r = random(2, 3, 4, 5)
    rows = places_as_samples(r)
    assert rows.shape == (40, 3)
    assert torch.equal(rows[1 * 20 + 2 * 5 + 3], r[1, :, 2, 3])
    assert torch.equal(places_as_samples(r[..., 0, 0]), r[..., 0, 0])


def test_discrepancy_from_the_prior_by_quadrature():
    x = 0.8 * random(40, 1) + 0.3
    grid = torch.linspace(-9, 9, 721, dtype=torch.float64)[:, None]
    weight = Normal(0.0, 1.0).log_prob(grid).exp() * 0.025
    expected = []
    for s in BANDWIDTHS:
        among, across, prior = (torch.exp(-((a - b.T) ** 2) / (2 * s)) for a, b in ((x, x), (x, grid), (grid, grid)))
        pairs = (among.sum() - 40) / (40 * 39)
        expected.append(pairs - 2 * (across @ weight).mean() + (weight.T @ prior @ weight)[0, 0])
    assert mmd_to_normal(x).item() == pytest.approx(torch.stack(expected).mean().item(), abs=1e-10)


def test_discrepancy_from_the_prior_has_no_bias():
    fits, shifted = [], []
    for seed in range(300):
        x = random(16, 5, seed=seed)
        fits.append(mmd_to_normal(x).item())
        shifted.append(mmd_to_normal(x + 0.8).item())
    assert abs(np.mean(fits)) < 4 * np.std(fits) / math.sqrt(300)
    assert np.min(fits) < 0 < np.quantile(shifted, 0.01)
    with pytest.raises(ValueError, match="two at least"):
        mmd_to_normal(torch.zeros(1, 3))


# -- two batches -------------------------------------------------------------------------------------------------

DISTANCES = {
    "mmd": mmd,
    "mmd biased": lambda x, y: mmd(x, y, unbiased=False),
    "coral": coral,
    "coral wide": lambda x, y: coral(x.repeat(1, 30), y.repeat(1, 30)),
    "sliced wasserstein": lambda x, y: sliced_wasserstein(x, y, rng()),
}


@pytest.mark.parametrize("name", DISTANCES)
@given(seeds, st.integers(2, 12), st.integers(1, 5))
def test_identical_batches(name, seed, number, size):
    x = random(number, size, seed=seed, dtype=torch.float32)
    assert DISTANCES[name](x, x.clone()).item() == 0


@pytest.mark.parametrize("name", DISTANCES)
@given(seeds)
def test_the_order_of_the_batch(name, seed):
    x, y = random(2, 9, 4, seed=seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(9))
    expected = DISTANCES[name](x, y).item()
    assert DISTANCES[name](x[order], y[order]).item() == pytest.approx(expected, abs=1e-12)
    if name != "mmd":  # which leaves out the pairs at the same place
        assert DISTANCES[name](x[order], y).item() == pytest.approx(expected, abs=1e-12)
    assert DISTANCES[name](y, x).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", DISTANCES)
def test_other_distributions(name):
    x, y = random(2, 64, 3)
    assert DISTANCES[name](x, 2 * y + 1).item() > 5 * abs(DISTANCES[name](x, y).item())
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(DISTANCES[name](x, 2 * y + 1), x)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_mmd_without_bias():
    values = {True: [], False: []}
    for seed in range(200):
        x, y = random(2, 12, 4, seed=seed)
        for unbiased in values:
            values[unbiased].append(mmd(x, y, unbiased=unbiased).item())
    assert abs(np.mean(values[True])) < 4 * np.std(values[True]) / math.sqrt(200)
    assert np.min(values[False]) > 0
    x, y = random(12, 4), random(7, 4, seed=1)
    assert mmd(x, y).item() == pytest.approx(mmd(y, x).item(), abs=1e-12)


def test_mmd_of_two_pairs_by_hand():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0]])
    k = lambda a, b: math.exp(-((a - b) ** 2) / 2)  # noqa: E731
    expected = k(0, 1) + k(2, 4) - 2 * (k(0, 4) + k(1, 2)) / 2
    assert mmd(x, y, bandwidths=[1.0]).item() == pytest.approx(expected, rel=1e-6)
    among = (2 + 2 * k(0, 1)) / 4 + (2 + 2 * k(2, 4)) / 4
    across = (k(0, 2) + k(0, 4) + k(1, 2) + k(1, 4)) / 4
    assert mmd(x, y, bandwidths=[1.0], unbiased=False).item() == pytest.approx(among - 2 * across, rel=1e-6)


def test_coral_of_covariances():
    x, y = random(30, 4), random(20, 4, seed=1)
    expected = np.square(np.cov(x.numpy().T) - np.cov(y.numpy().T)).sum() / (4 * 16)
    assert coral(x, y).item() == pytest.approx(expected, rel=1e-12)
    assert coral(x + 3, y).item() == pytest.approx(expected, rel=1e-10)
    few = x[:3].repeat(1, 3), y[:3].repeat(1, 3)  # by products of samples
    expected = np.square(np.cov(few[0].numpy().T) - np.cov(few[1].numpy().T)).sum() / (4 * 144)
    assert coral(*few).item() == pytest.approx(expected, rel=1e-10)


def test_sliced_wasserstein_of_a_shift():
    """A batch and its shifted copy: along each direction the shift's part of it, on average |shift|^2 / d."""
    x, shift = random(50, 6), torch.tensor([3.0, 0, 4, 0, 0, 0], dtype=torch.float64)
    values = [sliced_wasserstein(x, x + shift, rng(seed), projections=64).item() for seed in range(50)]
    assert np.mean(values) == pytest.approx(25 / 6, abs=4 * np.std(values) / math.sqrt(50))
    assert sliced_wasserstein(x, x + shift, rng(0)).item() == sliced_wasserstein(x, x + shift, rng(0)).item()


def test_batches_that_do_not_fit():
    for function in (mmd, coral, DISTANCES["sliced wasserstein"]):
        for x, y in ((random(4, 2), random(4, 3)), (random(1, 2), random(4, 2)), (random(4), random(4))):
            with pytest.raises(ValueError, match=r"needed (are two samples|is \(N, d\))"):
                function(x, y)
    with pytest.raises(ValueError, match="one size"):
        sliced_wasserstein(random(4, 2), random(5, 2), rng())
