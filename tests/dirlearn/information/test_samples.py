"""Estimators of samples, against closed forms and scikit-learn."""

import math

import numpy as np
import pytest
import torch

from dirlearn.information.gaussian import gaussian, gaussian_information
from dirlearn.information.ksg import ksg
from dirlearn.information.worlds import correlated
from isp_sim.randomness import generator


def samples(number, dimensions, rho, key="", map="gaussian"):
    return correlated(generator(0, f"{key}{rho}", 0, "test", "samples"), number, dimensions, rho, map)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_ksg_of_200_points(rho):
    expected = -0.5 * math.log(1 - rho**2)
    assert ksg(*samples(200, 1, rho), neighbours=10).item() == pytest.approx(expected, rel=0.15, abs=0.12)


@pytest.mark.parametrize("map", ["gaussian", "cubic"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_ksg_of_2000_points(rho, map):
    expected = -0.5 * math.log(1 - rho**2)
    assert ksg(*samples(2000, 1, rho, map=map)).item() == pytest.approx(expected, abs=0.06)


def test_ksg_against_scikit_learn():
    feature_selection = pytest.importorskip("sklearn.feature_selection")
    x, y = samples(700, 1, 0.7)
    peer = feature_selection.mutual_info_regression(x.numpy(), y.numpy()[:, 0], n_neighbors=3, random_state=0)[0]
    # it counts by KDTree radii that are nudged by one bit, and adds noise of 1e-10
    assert ksg(x, y, neighbours=3).item() == pytest.approx(peer, abs=2e-3)


def test_ksg_by_chunks():
    """More samples than fit into one block of rows."""
    x, y = samples(1100, 2, 0.6)
    tree = pytest.importorskip("scipy.spatial").cKDTree
    joint = np.concatenate([x.numpy(), y.numpy()], axis=1).astype(np.float64)
    joint /= joint.std(axis=0, ddof=1)
    reach = tree(joint).query(joint, k=4, p=np.inf)[0][:, -1]
    psi = pytest.importorskip("scipy.special").digamma
    counts = [
        (np.abs(v[:, None] - v).max(-1) < reach[:, None]).sum(1) - 1 for v in (joint[:, :2], joint[:, 2:])
    ]  # less itself
    expected = psi(3) + psi(1100) - np.mean(psi(counts[0] + 1) + psi(counts[1] + 1))
    assert ksg(x, y).item() == pytest.approx(expected, abs=1e-12)


def test_ksg_does_not_know_the_scale():
    x, y = samples(300, 1, 0.6)
    assert ksg(x * 8, y / 64 + 3).item() == pytest.approx(ksg(x, y).item(), abs=1e-12)
    assert math.isfinite(ksg(torch.zeros(9), x[:9]).item())


@pytest.mark.parametrize("dimensions", [1, 4])
@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
def test_gaussian_of_many_samples(dimensions, rho):
    expected = -dimensions / 2 * math.log(1 - rho**2)
    number = 20_000
    # each canonical correlation's part has about unit variance times rho^2 / N, and bias 1 / 2N a pair of dimensions
    bound = dimensions**2 / (2 * number) + 5 * math.sqrt(dimensions) * (rho + 0.01) / math.sqrt(number)
    assert abs(gaussian(*samples(number, dimensions, rho)).item() - expected) < bound


def test_gaussian_is_the_sum_over_canonical_correlations():
    x, y = (v.double() for v in samples(500, 3, 0.5))
    y = y @ torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3)))
    whiten = [torch.linalg.qr(v - v.mean(0)).Q for v in (x, y)]
    correlations = torch.linalg.svdvals(whiten[0].T @ whiten[1])
    assert gaussian(x, y).item() == pytest.approx(-0.5 * torch.log1p(-(correlations**2)).sum().item(), abs=1e-10)


def test_gaussian_information_of_a_chain():
    """x -> y -> z: what z knows of x is less than what y knows, and nothing beyond y."""
    covariance = torch.tensor([[1.0, 1, 1], [1, 2, 2], [1, 2, 3]], dtype=torch.float64)
    assert gaussian_information(covariance, [0], [1]).item() == pytest.approx(0.5 * math.log(2))
    assert gaussian_information(covariance, [0], [2]).item() == pytest.approx(0.5 * math.log(1.5))
    both = gaussian_information(covariance, [0], [1, 2]).item()
    assert both == pytest.approx(0.5 * math.log(2))


def test_too_few_samples():
    with pytest.raises(ValueError, match="needed are 5"):
        gaussian(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="more than the 3 neighbours"):
        ksg(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="samples are of shapes"):
        gaussian(torch.zeros(4, 2), torch.zeros(5, 2))
