"""Figures as others calculate them; the same degraded pictures for every method and at every time."""

import numpy as np
import pytest
import torch

from dirlearn.evaluate import evaluate_run, pictures, ssim
from dirlearn.run import Runner
from dirlearn.training.samples import psnr
from isp_sim.randomness import generator


def pair(size=(48, 61)):
    rng = generator(0, "pair", 0, "test", "pictures")
    x = rng.random((1, 3, *size))
    return torch.from_numpy(x).float(), torch.from_numpy(np.clip(x + rng.normal(0, 0.1, x.shape), 0, 1)).float()


def test_figures_are_those_of_scikit_image() -> None:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    x, y = pair()
    a, b = (t[0].permute(1, 2, 0).double().numpy() for t in (x, y))
    assert float(psnr(x, y)) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-4)
    expected = structural_similarity(
        a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(x, y) == pytest.approx(expected, abs=5e-4)  # which differ in how they treat the edges


def test_each_picture_is_measured_by_itself() -> None:
    x, y = pair()
    both = psnr(torch.cat([x, x]), torch.cat([y, x]))
    assert both[0] == psnr(x, y)[0]
    assert both[1] == 100.0, "equal pictures count as 100 dB"


def test_all_methods_see_the_same_at_every_time(tiny) -> None:
    recipe = tiny(
        "methods={degraded: degraded, again: degraded}", "evaluation.degradations={noise: {stages: [gaussian_noise]}}"
    )
    recipe.folder.mkdir(parents=True)
    first = evaluate_run(recipe)
    assert evaluate_run(recipe) == first
    rows = {(r["degradation"], r["method"]): r["psnr"] for r in first["rows"]}
    assert rows["seen", "degraded"] == rows["seen", "again"] != rows["noise", "again"]
    other = evaluate_run(tiny("methods={degraded: degraded}", "evaluation.seed=9"))
    assert other["rows"][0]["psnr"] != rows["seen", "degraded"]


def test_pictures_have_even_sides_and_can_be_cropped(tiny) -> None:
    data = Runner(tiny()).train_data
    (_, whole), *_ = pictures(data, None, 1)
    assert whole.shape == (1, 3, 24, 24)
    (_, crop), *rest = pictures(data, 16, 2)
    assert crop.shape == (1, 3, 16, 16)
    assert len(rest) == 1
    assert torch.equal(crop, whole[..., 4:20, 4:20])
