"""Figures as others calculate them; the same degraded pictures for every method and at every time."""

import numpy as np
import pytest
import torch

from dirlearn.evaluate import evaluate_run, pictures
from dirlearn.metrics.ssim import ssim
from dirlearn.report import write_report
from dirlearn.run import Runner
from dirlearn.targets import TaskFault
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


def test_results_name_the_measures_that_were_asked_for(tiny) -> None:
    usual = tiny("methods={degraded: degraded}")
    usual.folder.mkdir(parents=True)
    found = evaluate_run(usual)
    row = found["rows"][0]
    assert list(row) == ["set", "degradation", "method", "psnr", "ssim", "pictures"]
    assert "measures" not in found, "results of the usual ones keep their shape"

    asked = tiny(
        "methods={degraded: degraded}", "evaluation.pictures=[psnr, {psnr_y: {border: 2}}, ssim_y]", folder="b"
    )
    assert asked.resolved["evaluation"]["pictures"] == [
        {"psnr": {"border": 0}}, {"psnr_y": {"border": 2}}, {"ssim_y": {"border": 0}},
    ]  # fmt: skip
    Runner(asked).prepare()
    more = evaluate_run(asked)
    assert list(more["rows"][0]) == ["set", "degradation", "method", "psnr", "psnr_y", "ssim_y", "pictures"]
    assert more["rows"][0]["psnr"] == row["psnr"] != more["rows"][0]["psnr_y"]
    assert list(more["measures"]) == ["psnr", "psnr_y", "ssim_y"]
    page = write_report(asked.folder).read_text()
    assert "PSNR in Y" in page
    assert f"{more['rows'][0]['ssim_y']:.4f}</td>" in page


@pytest.mark.parametrize("sets", ["evaluation.sets={}", "evaluation.crop=24"])
def test_pictures_too_small_for_a_measure_stop_a_run_before_it_starts(tiny, sets: str) -> None:
    recipe = tiny("methods={degraded: degraded}", "evaluation.pictures=[ms_ssim]", sets)
    with pytest.raises(TaskFault, match=r"the test set (validation|leaves): MS-SSIM is measured on .* found 24x24"):
        Runner(recipe).prepare()
    assert not recipe.folder.exists()
