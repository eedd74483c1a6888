import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.randomness import Randomness, generator

BASE = {"seed": 7, "key": "a/cat.png", "view": 0, "stage": "jpeg", "purpose": "param:quality"}
OTHER = {"seed": 8, "key": "a/dog.png", "view": 1, "stage": "jpeg_2", "purpose": "noise"}

texts = st.text(max_size=6)
addresses = st.tuples(st.integers(0, 5), texts, st.integers(0, 5), texts, texts)


class TestGenerator:
    def test_the_bits_of_a_release_stay(self):
        # a recipe, its seed and its drawn parameters are what a data set is made from again: these must not change
        assert generator(7, "cat.png", 0, "jpeg", "param:quality").random() == 0.8648995619795606
        assert generator(0, "a/é.png", 3, "noise", "normal").integers(1 << 62) == 3259039856630766714

    @given(addresses)
    def test_a_function_of_its_arguments(self, address):
        assert generator(*address).bit_generator.state["state"]["key"].tolist() == (
            generator(*address).bit_generator.state["state"]["key"].tolist()
        )

    @given(addresses, addresses)
    def test_another_address_is_another_generator(self, a, b):
        keys = [tuple(generator(*address).bit_generator.state["state"]["key"].tolist()) for address in (a, b)]
        assert (keys[0] == keys[1]) == (a == b)

    def test_neighbouring_texts_do_not_run_together(self):
        split = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")]
        assert len({generator(1, "k", 0, *pair).random() for pair in split}) == 4

    def test_file_names_that_are_no_unicode(self):
        name = b"\xff.png".decode("utf-8", "surrogateescape")
        assert generator(1, name, 0, "s", "p").random() != generator(1, "?.png", 0, "s", "p").random()


class TestRandomness:
    LIKE = torch.zeros(3, 2, 8, 8)
    RNG = Randomness(5, 0, "noise", ("a", "b", "c"))

    @pytest.mark.parametrize("law", ["normal", "uniform"])
    def test_a_sample_s_draws_do_not_depend_on_its_batch(self, law):
        whole = getattr(self.RNG, law)(self.LIKE)
        assert whole.shape == self.LIKE.shape
        for order in itertools.permutations(range(3), 2):
            part = Randomness(5, 0, "noise", tuple(self.RNG.keys[i] for i in order))
            assert torch.equal(getattr(part, law)(self.LIKE[:2]), whole[list(order)])

    @pytest.mark.parametrize("law", ["normal", "uniform"])
    def test_equal_bits_in_every_dtype(self, law):
        single = getattr(self.RNG, law)(self.LIKE)
        double = getattr(self.RNG, law)(self.LIKE.double())
        assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
        assert torch.equal(single.double(), double)

    def test_seed_view_stage_key_and_purpose_all_count(self):
        draws = [
            Randomness(seed, view, stage, (key,)).normal(self.LIKE[:1], purpose=purpose)
            for seed, view, stage, key, purpose in [
                (5, 0, "noise", "a", "normal"),
                (6, 0, "noise", "a", "normal"),
                (5, 1, "noise", "a", "normal"),
                (5, 0, "noise_2", "a", "normal"),
                (5, 0, "noise", "b", "normal"),
                (5, 0, "noise", "a", "rows"),
            ]
        ]
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(draws, 2))

    def test_samples_stages_and_views_are_uncorrelated(self, tools):
        like = torch.zeros(1, 1, 200, 200)
        draws = [
            Randomness(seed, view, stage, (key,)).normal(like)
            for seed, view, stage, key in [
                (5, 0, "n", "a"),
                (5, 0, "n", "b"),
                (5, 1, "n", "a"),
                (5, 0, "m", "a"),
                (6, 0, "n", "a"),
            ]
        ]
        for a, b in itertools.combinations(draws, 2):
            tools.assert_uncorrelated(a, b)

    def test_shape_of_its_own(self):
        rows = self.RNG.normal(self.LIKE, (1, 8, 1), "rows")
        assert rows.shape == (3, 1, 8, 1)
        assert self.RNG.uniform(self.LIKE, (4,)).shape == (3, 4)

    def test_the_laws(self, tools):
        from scipy import stats

        like = torch.zeros(1, 1, 100, 100)
        tools.assert_law(Randomness(1, 0, "s", ("a",)).normal(like).flatten(), stats.norm())
        uniform = Randomness(1, 0, "s", ("a",)).uniform(like).flatten()
        tools.assert_law(uniform, stats.uniform())
        assert uniform.min() >= 0
        assert uniform.max() < 1

    def test_global_generators_are_left_alone(self, tools):
        before = tools.global_generators()
        self.RNG.normal(self.LIKE)
        self.RNG.uniform(self.LIKE)
        assert tools.global_generators() == before
