"""No positive and no other view of an image is ever a negative."""

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dirlearn.information.negatives import derangement, product_pairs
from isp_sim.randomness import generator

identities = st.lists(st.sampled_from("abcdefg"), min_size=2, max_size=14)


def rng(seed=0):
    return generator(seed, "batch", 0, "test", "negatives")


@given(identities.filter(lambda names: len(set(names)) > 1))
def test_pairs_of_different_images(names):
    mask = product_pairs(names)
    assert not mask.diagonal().any()
    assert torch.equal(mask, mask.T)
    assert all(mask[i, j] == (a != b) for i, a in enumerate(names) for j, b in enumerate(names))
    numbers = torch.tensor([ord(name) for name in names])
    assert torch.equal(product_pairs(numbers), mask)


def test_gathered_columns_and_extra_ones():
    mask = product_pairs(["a", "b"], ["c", "a", "b"], extra=2)
    assert mask.tolist() == [[True, False, True, True, True], [True, True, False, True, True]]


def test_a_batch_of_one_image():
    with pytest.raises(ValueError, match="all 3 samples show one image, 'a'"):
        product_pairs(["a", "a", "a"])
    with pytest.raises(ValueError, match="empty"):
        product_pairs([])
    assert product_pairs(["a"], extra=1).tolist() == [[False, True]]


@given(identities, st.integers(0, 99))
def test_derangement(names, seed):
    if 2 * max(Counter(names).values()) > len(names):
        with pytest.raises(ValueError, match="more than half"):
            derangement(len(names), rng(seed), names)
        return
    found = derangement(len(names), rng(seed), names)
    assert sorted(found.tolist()) == list(range(len(names)))
    assert all(names[i] != names[j] for i, j in enumerate(found.tolist()))


@given(st.integers(2, 40), st.integers(0, 99))
def test_no_fixed_point(n, seed):
    found = derangement(n, rng(seed))
    assert sorted(found.tolist()) == list(range(n))
    assert (found != torch.arange(n)).all()


def test_derangement_is_keyed():
    assert torch.equal(derangement(30, rng(1)), derangement(30, rng(1)))
    assert not torch.equal(derangement(30, rng(1)), derangement(30, rng(2)))


def test_each_pair_of_different_images_is_equally_likely(tools):
    names, draws = list("aabbcc"), 3000
    g = rng()
    counts = torch.zeros(6, 6)
    for _ in range(draws):
        counts[range(6), derangement(6, g, names)] += 1
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if a == b:
                assert counts[i, j] == 0
            else:
                tools.assert_count(int(counts[i, j]), draws, 1 / 4)


@pytest.mark.parametrize(("n", "names"), [(0, None), (1, None), (3, ["a", "a", "b"])])
def test_where_there_is_none(n, names):
    with pytest.raises(ValueError, match="no permutation leads each sample to another image"):
        derangement(n, rng(), names)
    with pytest.raises(ValueError, match="2 identities for 3"):
        derangement(3, rng(), ["a", "b"])
