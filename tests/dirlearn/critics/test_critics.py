"""Critics: what a score is made of."""

import numpy as np
import pytest
import torch
from torch import nn

from dirlearn.component import build
from dirlearn.critics.critic import Projection, stem
from dirlearn.critics.local import offsets
from dirlearn.information.negatives import product_pairs
from isp_sim import registry
from isp_sim.randomness import generator

GROUP = "dirlearn.critics"
NAMES = [name for name in registry.names(GROUP) if registry.origin(name, GROUP) == "isp-sim"]


def random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def critic(node, r=5, x=3, stride=1):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build("dirlearn.critics", node, r_channels=r, x_channels=x, stride=stride)


def rng(seed=0):
    return generator(seed, "step", 0, "test", "offsets")


@pytest.mark.parametrize("name", NAMES)
def test_no_batch_statistics_and_no_positive_last_layer(name):
    """A BatchNorm tells pairs of each other; a softplus at the end would leave a score no sign."""
    network = critic(name)
    for module in network.modules():
        assert not isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout)
    maps = network.takes == "maps"
    scores = network(random(8, 5, 4, 4) if maps else random(8, 5), random(8, 3, 4, 4) if maps else random(8, 3))
    assert scores.min() < 0
    if network.gives == "scores":
        assert scores.max() > 0


def test_separable_is_of_low_rank():
    network = critic({"separable": {"embedding": 2}})
    assert torch.linalg.matrix_rank(network(random(9, 5), random(7, 3)), tol=1e-4) == 2


def test_concatenated_is_one_perceptron_of_both():
    network = critic({"concatenated": {"hidden": 8}})
    first = nn.Linear(8, 8)
    first.weight = nn.Parameter(torch.cat([network.of_r.weight, network.of_x.weight], dim=1))
    first.bias = network.of_r.bias
    r, x = random(4, 5), random(6, 3)
    pairs = torch.cat([r[:, None].expand(4, 6, 5), x[None].expand(4, 6, 3)], dim=-1)
    torch.testing.assert_close(network(r, x), network.rest(first(pairs)).squeeze(-1))


def test_gaussian_conditional_is_a_normal_density():
    network = critic("gaussian_conditional")
    r, x = random(4, 5), random(6, 3)
    law = torch.distributions.Normal(network.mean(r)[:, None], (network.log_variance(r) / 2).exp()[:, None])
    torch.testing.assert_close(network(r, x), law.log_prob(x).sum(-1))


@pytest.mark.parametrize("variance", [1e-3, 0.05, 30.0])
def test_gaussian_conditional_can_be_narrow_and_wide(variance):
    """A log variance in [-1, 1] could not be below 0.37 nor above 2.7."""
    network = critic("gaussian_conditional")
    with torch.no_grad():
        network.log_variance[-1].weight.zero_()
        network.log_variance[-1].bias.fill_(np.log(variance))
    r = random(4, 5)
    found = network(r, network.mean(r).detach()).diagonal()
    torch.testing.assert_close(found, torch.full((4,), -1.5 * float(np.log(2 * np.pi * variance))))
    (gradient,) = torch.autograd.grad(network(r, random(4, 3)).sum(), network.log_variance[-1].bias)
    assert (gradient != 0).all()


def test_projection_begins_near_the_identity():
    block = Projection(4, 6)
    shortcut = block.straight(random(2, 4, 3, 3))
    torch.testing.assert_close(shortcut[:, :4], random(2, 4, 3, 3), atol=0.2, rtol=0)
    assert shortcut[:, 4:].abs().max() < 0.2


@pytest.mark.parametrize(("stride", "expected"), [(1, (48, 32)), (2, (24, 16)), (16, (3, 2)), (6, (12, 8))])
def test_stem_brings_an_image_to_the_grid(stride, expected):
    assert stem(3, 32, stride)(random(1, 3, 48, 32)).shape == (1, 32, *expected)


@pytest.mark.parametrize("scales", [1, 3])
def test_local_scores_place_by_place(scales):
    """A change of one cell of r changes scores at that place alone; with coarser grids, near it too."""
    network = critic({"local": {"scales": scales}}, stride=4)
    r, x = random(3, 5, 8, 8), random(4, 3, 32, 32, seed=1)
    scores = network(r, x)
    assert scores.shape == (3, 4, 64)
    moved = r.clone()
    moved[1, :, 5, 2] += 1
    changed = ((network(moved, x) - scores).abs() > 1e-6).reshape(3, 4, 8, 8)
    assert changed[1, :, 5, 2].all()
    assert not changed[[0, 2]].any()
    reach = 2 ** (scales - 1)
    block = torch.zeros(8, 8, dtype=torch.bool)
    block[5 // reach * reach : 5 // reach * reach + reach, 2 // reach * reach : 2 // reach * reach + reach] = True
    assert torch.equal(changed[1].any(0), block)


def test_local_scores_are_scalar_products_of_the_embeddings():
    network = critic("local", stride=2)
    r, x = random(2, 5, 3, 4), random(3, 3, 6, 8, seed=1)
    a, b = network.of_r[0](r), network.of_x[0](network.stems[0](x))
    expected = (a[:, None] * b[None]).sum(2).flatten(2) / 128**0.5
    torch.testing.assert_close(network(r, x), expected, atol=1e-5, rtol=1e-5)


def test_scales_are_averaged():
    network = critic({"local": {"scales": 2}}, stride=1)
    r, x = random(2, 5, 4, 4), random(2, 3, 4, 4, seed=1)
    whole = network(r, x)
    parts = []
    for scale in (0, 1):
        one = critic("local", stride=1 << scale)
        for own, shared in ((one.stems, network.stems), (one.of_r, network.of_r), (one.of_x, network.of_x)):
            own[0].load_state_dict(shared[scale].state_dict())
        pooled = nn.functional.avg_pool2d(r, 2) if scale else r
        grid = one(pooled, x).reshape(4, 1, *pooled.shape[2:])
        parts.append(nn.functional.interpolate(grid, size=(4, 4)).reshape(2, 2, 16))
    torch.testing.assert_close(whole, (parts[0] + parts[1]) / 2, atol=1e-5, rtol=1e-4)


def test_offsets_score_other_places_of_the_same_image():
    network = critic({"local": {"offsets": 3}}, stride=2)
    r, x = random(2, 5, 3, 4), random(3, 3, 6, 8, seed=1)
    scores = network(r, x)
    assert scores.shape == (2, 6, 12)
    plain = critic("local", stride=2)
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(scores[:, :3], plain(r, x))
    a, b = network.of_r[0](r), network.of_x[0](network.stems[0](x))
    for column, move in enumerate(offsets(3, 4, 3)):
        for i in range(2):
            for y in range(3):
                for z in range(4):
                    other = b[i, :, (y - move[0]) % 3, (z - move[1]) % 4]
                    expected = (a[i, :, y, z] @ other) / 128**0.5
                    assert scores[i, 3 + column, 4 * y + z].item() == pytest.approx(expected.item(), abs=1e-5)


def test_offsets_are_drawn_by_key():
    network = critic({"local": {"offsets": 3}}, stride=2)
    r, x = random(2, 5, 5, 5), random(2, 3, 10, 10, seed=1)
    assert torch.equal(network(r, x, rng(1)), network(r, x, rng(1)))
    assert not torch.equal(network(r, x, rng(1)), network(r, x, rng(2)))
    assert torch.equal(network(r, x, rng(1))[:, :2], network(r, x)[:, :2])


@pytest.mark.parametrize(("height", "width"), [(1, 2), (3, 4), (4, 4), (5, 1)])
def test_offsets_are_all_other_places_once(height, width):
    number = height * width - 1
    for g in (None, rng()):
        found = offsets(height, width, number, g)
        assert {(down % height, right % width) for down, right in found} == {
            (y, x) for y in range(height) for x in range(width)
        } - {(0, 0)}
        assert len(found) == number
    with pytest.raises(ValueError, match="other places"):
        offsets(height, width, number + 1)


def test_offsets_with_an_estimator():
    """One image and its other places are a batch already; two views of it are not told apart."""
    network = critic({"local": {"offsets": 4}}, stride=2)
    r, x = random(2, 5, 4, 4).requires_grad_(), random(2, 3, 8, 8, seed=1)
    mask = product_pairs(["a", "a"], extra=network.extra_columns)
    assert mask.tolist() == [[False, False, True, True, True, True]] * 2
    build("dirlearn.estimators", "jsd").objective(network(r, x), mask).backward()
    assert r.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="each map's own image"):
        network(r, x[:1])


@pytest.mark.parametrize("node", ["local", {"local": {"offsets": 2}}, "global"])
def test_a_critic_of_maps_learns(node):
    """r knows the image's means over cells, up to noise: more is found than by chance, on images not seen."""
    network = critic({"local": {"width": 16, "embedding": 16}} if node == "local" else node, r=3, stride=4)
    estimator = build("dirlearn.estimators", "jsd")
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for step in range(41):
        x = nn.functional.interpolate(random(12, 3, 4, 4, seed=step), scale_factor=4)
        r = nn.functional.avg_pool2d(x, 4) + 0.1 * random(12, 3, 4, 4, seed=1000 + step)
        scores = network(r, x)
        if step == 40:
            assert estimator(scores).item() > -1.1
        else:
            optimiser.zero_grad()
            (-estimator.objective(scores)).backward()
            optimiser.step()
