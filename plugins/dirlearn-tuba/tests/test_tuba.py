"""The bound, and the conformance kit, as any third party would run them."""

import math

import pytest
import torch
from dirlearn_tuba.tuba import tuba

from dirlearn.component import build
from dirlearn.information.dv import dv
from dirlearn.information.nwj import nwj
from dirlearn.testing import assert_conforms


def random(*size: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(size[-1]), dtype=torch.float64)


def test_it_conforms() -> None:
    assert_conforms("tuba")


def test_at_e_it_is_nwj() -> None:
    joint, product = random(5), random(5, 4)
    torch.testing.assert_close(tuba(joint, product, torch.tensor(1.0, dtype=torch.float64)), nwj(joint, product))


def test_at_its_best_it_is_donsker_varadhan_and_below_elsewhere() -> None:
    joint, product = random(5), random(5, 4)
    best = product.exp().mean().log()
    torch.testing.assert_close(tuba(joint, product, best), dv(joint, product))
    for log_baseline in torch.linspace(-3, 3, 13, dtype=torch.float64):
        assert tuba(joint, product, log_baseline) <= dv(joint, product) + 1e-12


def test_the_baseline_is_learnt() -> None:
    estimator = build("dirlearn.estimators", "tuba")
    scores = random(16, 16).float() + 2
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        (-estimator.objective(scores)).backward()
        optimiser.step()
    product = scores[~torch.eye(16, dtype=torch.bool)]
    assert estimator.log_baseline.item() == pytest.approx(math.log(product.exp().mean().item()), abs=1e-2)
    assert "log_baseline" in estimator.state_dict()
