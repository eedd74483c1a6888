"""The terms mean the same whatever the size of the representation, and their signs are right."""

import math

import pytest
import torch

from dirlearn.encoders.encoder import Posterior
from dirlearn.objectives import average_kl, degradation_free, independent, refinement
from dirlearn.priors import Prior


def posterior(batch, channels, side, *, mean=0.0, sd=1.0, logvar=-1.0, seed=0):
    g = torch.Generator().manual_seed(seed)
    shape = (batch, channels, side, side)
    return Posterior(mean + sd * torch.randn(shape, generator=g), torch.full(shape, logvar), torch.zeros(batch, 1))


def repeated(p: Posterior, times: int, axis: int) -> Posterior:
    """The same numbers on a larger representation."""
    sizes = [times if i == axis else 1 for i in range(4)]
    return Posterior(p.mean.repeat(sizes), p.logvar.repeat(sizes), p.features)


@pytest.mark.parametrize("axis", [1, 2, 3], ids=["channels", "height", "width"])
def test_doubling_the_representation_leaves_the_terms(axis: int) -> None:
    joint, first, second = (posterior(3, 4, 6, seed=s, logvar=0.1 * s) for s in range(3))
    before = average_kl(joint, first, second)
    torch.testing.assert_close(average_kl(*(repeated(p, 2, axis) for p in (joint, first, second))), before)
    r, target = joint.mean, first.mean
    terms = refinement(r, target, r, target).terms
    more = [repeated(p, 2, axis).mean for p in (joint, first)]
    torch.testing.assert_close(refinement(*more, *more).terms, terms)


@pytest.mark.parametrize("name", ["mmd", "moments", "per_sample"])
@pytest.mark.parametrize("size", [(32, 6), (8, 12)], ids=["channels", "places"])
def test_doubling_the_representation_leaves_the_prior(name: str, size: tuple[int, int]) -> None:
    """For draws of one law, where the terms are estimates; the shift makes them much larger than their error."""
    prior = Prior(name, 8, 0.1)
    small = posterior(16, 8, 6, mean=1.5, seed=1)
    large = posterior(16, *size, mean=1.5, seed=2)
    a, b = prior(small, small.mean), Prior(name, size[0], 0.1)(large, large.mean)
    # the kernel term is bounded, and settles as dimensions grow: what it must not do is double
    assert b.item() == pytest.approx(a.item(), rel=0.25 if name == "mmd" else 0.05)


def test_average_kl_is_the_closed_form() -> None:
    joint, first, second = (posterior(2, 3, 2, seed=s, logvar=0.3 * s) for s in range(3))

    def normal(p: Posterior) -> torch.distributions.Normal:
        return torch.distributions.Normal(p.mean.double(), (0.5 * p.logvar.double()).exp())

    kl = torch.distributions.kl_divergence
    expected = (kl(normal(joint), normal(first)).mean() + kl(normal(joint), normal(second)).mean()) / 2
    assert average_kl(joint, first, second).item() == pytest.approx(expected.item(), rel=1e-5)
    assert average_kl(joint, joint, joint).item() == 0


def test_what_is_maximised_and_what_is_minimised() -> None:
    one = [torch.tensor(0.5, requires_grad=True) for _ in range(4)]
    independent(*one, weight=2.0, beta=3.0).loss.backward()
    assert [t.grad.item() for t in one] == [-0.5, -0.5, 2.0, 3.0]

    information, prior = (torch.tensor(0.5, requires_grad=True) for _ in range(2))
    picture = torch.zeros(1, 3, 2, 2, requires_grad=True)
    degradation_free(information, picture, torch.ones(1, 3, 2, 2), prior, beta=4.0).loss.backward()
    assert (information.grad.item(), prior.grad.item()) == (-1.0, 4.0)
    assert picture.grad.sum().item() == pytest.approx(-1.0)  # towards the target

    task = torch.tensor(1.0)
    r, y = torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 2, 2)
    found = refinement(r, r + 0.25, y, y + 0.5, task, gamma1=5.0, gamma2=2.0)
    assert found.loss.item() == pytest.approx(0.25 + 5.0 + 1.0)


@pytest.mark.parametrize("name", ["mmd", "moments", "mixture", "per_sample"])
def test_priors_pull_to_the_standard_normal(name: str) -> None:
    prior = Prior(name, 4, 0.1)
    near, far = (posterior(64, 4, 2, mean=m, sd=0.9, logvar=-1.66, seed=1) for m in (0.0, 2.0))
    noise = torch.randn(near.mean.shape, generator=torch.Generator().manual_seed(7))
    assert prior(far, far.sample(noise)) > prior(near, near.sample(noise))


def test_adversarial_prior_pulls_encoder_and_critic_apart() -> None:
    prior = Prior("adversarial", 4, 0.1)
    p = posterior(8, 4, 2, mean=3.0)
    r = p.mean.requires_grad_()
    loss = prior(p, r)
    (reversed_gradient,) = torch.autograd.grad(loss, r, retain_graph=True)
    with torch.no_grad():
        moved = prior(p, r - 1e-2 * reversed_gradient / reversed_gradient.norm())
    assert moved > loss, "a step of the encoder makes its draws harder to tell"
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(loss, list(prior.parameters())[:-1]))


def test_per_sample_prior_of_weight_one_warns() -> None:
    with pytest.warns(UserWarning, match="cancels the mutual information"):
        Prior("per_sample", 4, 1.0)


def test_mixture_of_identical_posteriors_is_its_closed_form() -> None:
    """A mixture of equal Gaussians is that Gaussian."""
    shape = (400, 2, 1, 1)
    p = Posterior(torch.full(shape, 0.5), torch.full(shape, math.log(0.25)), torch.zeros(1))
    r = p.sample(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    expected = 0.5 * (0.25 + 0.25 - 1 - math.log(0.25))
    assert Prior("mixture", 2, 0.1)(p, r).item() == pytest.approx(expected, abs=0.05)
