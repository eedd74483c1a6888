"""What each estimator must be whatever the critic, and the mistakes that are known of others."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, softplus

from dirlearn.component import build
from dirlearn.information.ba import ba
from dirlearn.information.club import club
from dirlearn.information.dim_jsd import dim_jsd
from dirlearn.information.dv import dv
from dirlearn.information.infonce import infonce
from dirlearn.information.jsd import jsd
from dirlearn.information.l1out import l1out
from dirlearn.information.mine import mine
from dirlearn.information.nwj import nwj
from dirlearn.information.nwj_js import nwj_js
from dirlearn.information.smile import smile
from isp_sim import registry

GROUP = "dirlearn.estimators"
OWN = [name for name in registry.names(GROUP) if registry.origin(name, GROUP) == "isp-sim"]
NAMES = [name for name in OWN if registry.load(name, GROUP).takes != "samples"]
sizes = st.tuples(st.integers(2, 9), st.sampled_from([(), (1,), (3,)]))
spreads = st.sampled_from([0.0, 0.1, 1.0, 10.0, 100.0])


def random(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def off_diagonal(scores):
    return scores[~torch.eye(len(scores), dtype=torch.bool)]


# -- formulas, written down again with nothing but sums --------------------------------------------------------


def written(name, scores):
    """The formula on a square matrix, in float64."""
    joint, product = scores.diagonal(), off_diagonal(scores)
    n = len(scores)
    if name in ("jsd", "dim_jsd"):
        return -softplus(-joint).mean() - softplus(product).mean() + (2 * math.log(2) if name == "dim_jsd" else 0)
    if name == "nwj":
        return joint.mean() - (product - 1).exp().mean()
    if name == "nwj_js":
        return 1 + joint.mean() - product.exp().mean()
    if name in ("dv", "mine"):
        return joint.mean() - product.exp().mean().log()
    if name == "smile":
        return joint.mean() - product.exp().clip(math.exp(-5), math.exp(5)).mean().log()
    if name == "infonce":
        return math.log(n) - cross_entropy(scores, torch.arange(n))
    if name == "club":
        return joint.mean() - product.mean()
    if name == "l1out":
        sums = [torch.stack([scores[j, i] for j in range(n) if j != i]).exp().mean().log() for i in range(n)]
        return joint.mean() - torch.stack(sums).mean()
    assert name == "ba"
    return joint.mean()


@pytest.mark.parametrize("name", NAMES)
@given(n=st.integers(2, 9), seed=st.integers(0, 99))
def test_formula(name, n, seed):
    scores = 2 * random(n, n, seed=seed)
    assert build("dirlearn.estimators", name)(scores).item() == pytest.approx(written(name, scores).item(), abs=1e-12)


@pytest.mark.parametrize(
    ("function", "name"),
    [(jsd, "jsd"), (dim_jsd, "dim_jsd"), (nwj, "nwj"), (nwj_js, "nwj_js"), (dv, "dv"), (infonce, "infonce")],
)
@pytest.mark.parametrize("places", [(), (3,)])
def test_disjoint_positives_and_negatives(function, name, places):
    """As rows they are the matrix; as a list they are one row for all."""
    scores = random(5, 5, *places)
    rows = torch.stack([torch.cat([scores[i, :i], scores[i, i + 1 :]]) for i in range(5)])
    joint = scores[range(5), range(5)]
    torch.testing.assert_close(function(joint, rows), build("dirlearn.estimators", name)(scores))
    shared = random(7, *places, seed=1)
    torch.testing.assert_close(function(joint, shared), function(joint, shared.expand(5, *shared.shape)))


def test_shapes_that_do_not_fit():
    for scores, options, message in (
        (random(3), {}, "needed is"),
        (random(3, 2), {}, "M >= N"),
        (random(3, 3), {"negatives": torch.ones(3, 2, dtype=torch.bool)}, "negatives"),
        (random(3, 3), {"negatives": torch.ones(3, 3)}, r"torch\.bool"),
        (random(3, 3), {"positives": torch.arange(2)}, "positives"),
        (random(1, 1), {}, "two images"),
        (random(3, 3), {"negatives": torch.eye(3, dtype=torch.bool)}, "two images"),
    ):
        with pytest.raises(ValueError, match=message):
            build("dirlearn.estimators", "jsd")(scores, **options)
    for joint, others in ((random(3), random(2, 4)), (random(3, 2), random(3, 4, 5)), (random(1, 1, 1), random(1))):
        with pytest.raises(ValueError, match="do not fit"):
            jsd(joint, others)
    with pytest.raises(ValueError, match="mask"):
        jsd(random(3), random(3, 4), torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="two rows"):
        build("dirlearn.estimators", "l1out")(random(1, 3))


# -- the known values ------------------------------------------------------------------------------------------


@given(sizes)
def test_knowing_nothing_is_minus_twice_log_2(size):
    n, places = size
    zero = torch.zeros(n, n, *places)
    assert build("dirlearn.estimators", "jsd")(zero).item() == pytest.approx(-1.386294, abs=5e-7)
    assert build("dirlearn.estimators", "dim_jsd")(zero).item() == pytest.approx(0, abs=5e-7)


@given(sizes, spreads, st.floats(-200, 200), st.integers(0, 99))
def test_jsd_is_never_above_0(size, spread, shift, seed):
    n, places = size
    for dtype in (torch.float32, torch.float64):
        scores = random(n, n, *places, seed=seed, dtype=dtype) * spread + shift
        scores[range(n), range(n)] += 2 * abs(shift)
        value = build("dirlearn.estimators", "jsd")(scores).item()
        assert value <= 0
        assert build("dirlearn.estimators", "dim_jsd")(scores).item() <= 2 * math.log(2) + 1e-6


def test_jsd_reaches_0():
    assert build("dirlearn.estimators", "jsd")(400 * torch.eye(4) - 200).item() == 0


def test_exchanged_pairs_turn_the_gradient():
    joint, product = (random(6, seed=seed).requires_grad_() for seed in (1, 2))
    right = torch.autograd.grad(jsd(joint, product), (joint, product))
    wrong = torch.autograd.grad(jsd(product, joint), (joint, product))
    assert bool((right[0] > 0).all() & (wrong[0] < 0).all())
    assert bool((right[1] < 0).all() & (wrong[1] > 0).all())


@given(sizes, st.floats(-300, 300), st.integers(0, 99))
def test_a_constant_leaves_donsker_varadhan_as_it_is(size, constant, seed):
    n, places = size
    scores = random(n, n, *places, seed=seed)
    for name in ("dv", "mine", "infonce", "club", "l1out"):
        estimator = build("dirlearn.estimators", name)
        assert estimator(scores + constant).item() == pytest.approx(estimator(scores).item(), abs=1e-11)


def test_a_constant_is_not_nothing_to_the_others():
    scores = random(5, 5)
    for name in ("jsd", "nwj", "nwj_js", "smile", "ba"):
        estimator = build("dirlearn.estimators", name)
        assert estimator(scores + 30).item() != pytest.approx(estimator(scores).item(), abs=1e-3)


@given(sizes, spreads, st.integers(0, 99))
def test_infonce_is_never_above_log_k(size, spread, seed):
    n, places = size
    scores = random(n, n, *places, seed=seed, dtype=torch.float32) * spread
    estimator = build("dirlearn.estimators", "infonce")
    assert estimator(scores).item() <= math.log(n) + 1e-6
    scores[range(n), range(n)] += 1000
    assert estimator(scores).item() == pytest.approx(math.log(n), abs=1e-6)
    assert estimator(torch.full_like(scores, spread)).item() == pytest.approx(0, abs=1e-6)


def test_infonce_counts_what_the_mask_leaves():
    """With both views of an image in the batch, each row has two candidates less: the cap is log(K - 1)."""
    identities = torch.arange(8) % 4
    mask = identities[:, None] != identities
    scores = 1000 * torch.eye(8)
    assert build("dirlearn.estimators", "infonce")(scores, mask).item() == pytest.approx(math.log(7), abs=1e-5)


def test_smile_without_clipping_is_donsker_varadhan():
    scores = random(6, 6)
    wide = build("dirlearn.estimators", {"smile": {"tau": 100.0}})
    assert wide(scores).item() == pytest.approx(build("dirlearn.estimators", "dv")(scores).item(), abs=1e-12)
    joint, product = scores.diagonal(), off_diagonal(scores)
    assert smile(joint, product, tau=1e-9).item() == pytest.approx(joint.mean().item(), abs=1e-8)


# -- training ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nwj_js", "smile"])
def test_trained_by_jsd_and_reported_without_gradient(name):
    estimator = build("dirlearn.estimators", name)
    scores = random(5, 5).requires_grad_()
    torch.testing.assert_close(estimator.objective(scores), build("dirlearn.estimators", "jsd")(scores))
    assert estimator.objective(scores).requires_grad
    assert not estimator(scores).requires_grad


@pytest.mark.parametrize("name", ["jsd", "dim_jsd", "nwj", "infonce", "dv"])
def test_trained_by_what_is_reported(name):
    estimator = build("dirlearn.estimators", name)
    assert torch.equal(estimator.objective(random(5, 5)), estimator(random(5, 5)))


@pytest.mark.parametrize("name", ["club", "l1out", "ba"])
def test_densities_are_trained_by_their_likelihood(name):
    scores = random(5, 5)
    assert build("dirlearn.estimators", name).objective(scores) == pytest.approx(scores.diagonal().mean().item())


def test_mine_divides_by_the_average_of_the_past():
    estimator = build("dirlearn.estimators", {"mine": {"decay": 0.75}})
    average = None
    for seed in range(4):
        scores = random(5, 5, seed=seed).requires_grad_()
        (gradient,) = torch.autograd.grad(estimator.objective(scores), scores)
        product = off_diagonal(scores.detach()).exp()
        average = product.mean() if average is None else 0.75 * average + 0.25 * product.mean()
        expected = torch.eye(5, dtype=torch.float64) / 5
        expected[~torch.eye(5, dtype=torch.bool)] = -product / average / 20
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert estimator.log_average.exp().item() == pytest.approx(average.item(), rel=1e-6)


def test_mine_begins_as_donsker_varadhan():
    scores = random(6, 6, 3).requires_grad_()
    objective = build("dirlearn.estimators", {"mine": {"decay": 0.0}}).objective(scores[..., 0])
    (first,) = torch.autograd.grad(objective, scores)
    (expected,) = torch.autograd.grad(build("dirlearn.estimators", "dv")(scores[..., 0]), scores)
    torch.testing.assert_close(first, expected)


@given(st.floats(-3, 3), st.integers(0, 99))
def test_mine_with_any_average_lies_below_donsker_varadhan(log_average, seed):
    joint, product = random(5, seed=seed), random(5, 4, seed=seed + 1)
    assert mine(joint, product, torch.tensor(log_average)).item() <= dv(joint, product).item() + 1e-12


# -- mistakes that are known of others ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jsd", "dim_jsd", "nwj", "nwj_js", "dv", "mine", "smile", "club"])
def test_the_diagonal_is_not_among_the_negatives(name):
    """The gradient with respect to a joint pair is that of the first term alone."""
    scores = random(6, 6).requires_grad_()
    (gradient,) = torch.autograd.grad(build("dirlearn.estimators", name).objective(scores), scores)
    by_jsd = name in ("jsd", "dim_jsd", "nwj_js", "smile")
    expected = torch.sigmoid(-scores.diagonal()) / 6 if by_jsd else torch.full((6,), 1 / 6, dtype=torch.float64)
    torch.testing.assert_close(gradient.diagonal(), expected)


@pytest.mark.parametrize("name", ["infonce", "dv", "nwj", "jsd", "smile", "l1out"])
def test_pairs_are_hidden_and_not_lowered(name):
    """Subtracting 10 from a score does not hide it among scores that lie lower still."""
    scores = random(6, 6, seed=3) - 60
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[:, 4:] = mask[4:, :] = False
    hidden = scores.clone()
    hidden[:4, 4:] = hidden[4:, :4] = 60
    hidden[4:, 4:] = torch.where(torch.eye(2, dtype=torch.bool), scores[4:, 4:], 60.0)
    estimator = build("dirlearn.estimators", name)
    assert estimator(hidden, mask).item() == pytest.approx(estimator(scores, mask).item(), abs=1e-12)
    first = estimator(scores[:4, :4]).item()
    if name == "l1out":  # rows without others do not count
        assert estimator(hidden, mask).item() == pytest.approx(first, abs=1e-12)


def test_both_views_of_an_image_in_a_batch():
    """With the other view among the negatives, a perfect critic would be told that it knows less than it does."""
    identities = torch.arange(10) % 5
    same = identities[:, None] == identities
    scores = torch.where(same, 20.0, -20.0)
    estimator = build("dirlearn.estimators", "jsd")
    assert estimator(scores, ~same).item() > -1e-6
    assert estimator(scores).item() < -1


def test_half_precision_is_raised():
    scores = random(8, 8, dtype=torch.float32).bfloat16()
    for name in NAMES:
        estimator = build("dirlearn.estimators", name)
        torch.testing.assert_close(estimator(scores), estimator(scores.float()))


@pytest.mark.parametrize("name", NAMES)
def test_no_device_is_written_in(name):
    scores = torch.zeros(4, 4, 2, device="meta")
    estimator = build("dirlearn.estimators", name).to("meta")
    assert estimator(scores).device.type == "meta"
    assert estimator.objective(scores).device.type == "meta"


def test_dimensions_are_added_up():
    """A density of d dimensions that was averaged over them would leave 1 / d of the bound."""
    torch.testing.assert_close(club(torch.tensor([20.0]), torch.tensor([[0.0]])), torch.tensor(20.0))
    assert ba(torch.tensor([-28.4]), entropy=28.4).item() == pytest.approx(0)
    assert l1out(torch.tensor([3.0]), torch.tensor([[1.0, 1.0]])).item() == pytest.approx(2)
