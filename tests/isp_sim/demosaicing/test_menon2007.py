"""Menon's algorithm beside colour-demosaicing's."""

import warnings

import numpy as np
import pytest
import torch

from isp_sim.demosaicing.menon2007 import Menon2007, Menon2007Unrefined


@pytest.fixture(scope="module")
def reference():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("colour_demosaicing", reason="the bench extra is not installed")
    return module.demosaicing_CFA_Bayer_Menon2007


@pytest.mark.parametrize("cfa", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize(("algorithm", "refining"), [(Menon2007, True), (Menon2007Unrefined, False)])
def test_equals_the_reference_inside(reference, algorithm, refining, cfa):
    m = np.random.default_rng(0).uniform(size=(40, 43))  # no two directions change equally: ties are ours to break
    theirs = reference(m, cfa, refining)
    ours = algorithm().demosaic(torch.from_numpy(m)[None, None], cfa)[0].permute(1, 2, 0).numpy()
    inside = (slice(algorithm.halo, -algorithm.halo),) * 2
    np.testing.assert_allclose(ours[inside], theirs[inside], rtol=0, atol=1e-14)
