"""Measures of pictures against scikit-image, torchmetrics, and their definitions written out with SciPy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from dirlearn.metrics.luma import luma
from dirlearn.metrics.ms_ssim import ms_ssim
from dirlearn.metrics.picture_metric import GROUP, build_pictures
from dirlearn.metrics.ssim import structure
from dirlearn.targets import TaskFault
from isp_sim import registry
from isp_sim.randomness import generator

NAMES = registry.names(GROUP)
OWN = [name for name in NAMES if registry.origin(name, GROUP) == "isp-sim"]


def pair(size=(176, 181), noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth picture with edges, and it with noise; clipped, as both are when they are measured."""
    rng = generator(0, "pair", 0, "test", "pictures")
    x = ndimage.gaussian_filter(rng.random((3, *size)), (0, 2, 2)) * 4 - 1.5
    y = x + rng.normal(0, noise, x.shape)
    return tuple(torch.from_numpy(np.clip(p, 0, 1)).float()[None] for p in (x, y))


def measure(node, x: torch.Tensor, y: torch.Tensor) -> float:
    (metric,) = build_pictures([node]).values()
    return metric(x, y)


def in_last(x: torch.Tensor) -> np.ndarray:
    return x[0].permute(1, 2, 0).double().numpy()


def test_y_is_that_of_scikit_image() -> None:
    from skimage.color import rgb2ycbcr

    x, _ = pair()
    np.testing.assert_allclose(luma(x)[0, 0].numpy() * 255, rgb2ycbcr(in_last(x))[..., 0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("border", [0, 4])
def test_psnr_and_ssim_are_those_of_scikit_image(border: int) -> None:
    from skimage.color import rgb2ycbcr
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    x, y = pair()
    edge = slice(border, -border or None)
    a, b = (in_last(p)[edge, edge] for p in (x, y))
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    found = {name: measure({name: {"border": border}}, x, y) for name in ("psnr", "ssim", "psnr_y", "ssim_y")}
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-5)
    # which leaves out the windows that reach beyond: with mirrored edges it has those of the picture
    mirrored = (np.pad(p, ((5, 5), (5, 5), (0, 0)), mode="reflect") for p in (a, b))
    assert found["ssim"] == pytest.approx(structural_similarity(*mirrored, channel_axis=2, **options), abs=1e-5)
    # codes of 0 to 255, as papers have it
    a, b = (rgb2ycbcr(p)[..., 0] for p in (a, b))
    assert found["psnr_y"] == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)
    assert found["ssim_y"] == pytest.approx(structural_similarity(a, b, **{**options, "data_range": 255}), abs=1e-9)


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Wang, Simoncelli and Bovik's equation 7, window by window, of one channel."""
    ramp = np.arange(11) - 5
    window = np.exp(-(ramp[:, None] ** 2 + ramp[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(p: np.ndarray) -> np.ndarray:
        return ndimage.correlate(p, window)[5:-5, 5:-5]

    def halved(p: np.ndarray) -> np.ndarray:
        low, right = (n // 2 * 2 for n in p.shape)
        return ndimage.uniform_filter(p, 2, origin=-1)[:low:2, :right:2]

    factors = []
    for scale in range(5):
        if scale:
            x, y = halved(x), halved(y)
        a, b = mean(x), mean(y)
        spread_x, spread_y, both = mean(x * x) - a * a, mean(y * y) - b * b, mean(x * y) - a * b
        contrast = (2 * both + 0.03**2) / (spread_x + spread_y + 0.03**2)
        light = (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)
        factors.append((light * contrast if scale == 4 else contrast).mean())
    return float(np.prod(np.array(factors) ** np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])))


@pytest.mark.parametrize("size", [(176, 176), (192, 177)])
def test_ms_ssim_is_that_of_its_definition(size) -> None:
    x, y = pair(size)
    grey_x, grey_y = x[:, :1], y[:, :1]
    assert float(ms_ssim(grey_x, grey_y)) == pytest.approx(
        by_definition(grey_x[0, 0].double().numpy(), grey_y[0, 0].double().numpy()), abs=1e-12
    )


def test_ms_ssim_is_near_that_of_torchmetrics() -> None:
    """Which mirrors the edges at the last scale."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as theirs

    for noise in (0.02, 0.2):
        x, y = pair((192, 256), noise)
        assert measure("ms_ssim", x, y) == pytest.approx(float(theirs(x, y, data_range=1.0)), abs=2e-3)


def test_opposed_pictures_have_no_ms_ssim_below_zero() -> None:
    x, _ = pair()
    assert float(structure(x.double(), 1 - x.double())[1]) < 0
    assert measure("ms_ssim", 1 - x, x) == 0


@pytest.mark.parametrize("name", OWN)
def test_equal_pictures_have_the_best_figure_and_more_noise_a_worse_one(name: str) -> None:
    x, little = pair(noise=0.05)
    _, much = pair(noise=0.2)
    best = {"psnr": 100.0, "psnr_y": 100.0}.get(name, 1.0)
    assert measure(name, x, x) == pytest.approx(best, abs=1e-6)
    assert best > measure(name, little, x) > measure(name, much, x)


def test_what_can_not_be_measured_is_said() -> None:
    x, y = pair((175, 300))
    with pytest.raises(TaskFault, match=r"MS-SSIM is measured on pictures of at least 176x176 px; found 175x300"):
        measure("ms_ssim", x, y)
    with pytest.raises(TaskFault, match="at least 184x184 px"):
        measure({"ms_ssim": {"border": 4}}, *pair((180, 180)))
    with pytest.raises(TaskFault, match="names psnr twice"):
        build_pictures(["psnr", {"psnr": {"border": 2}}])


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from dirlearn.metrics.psnr import PSNR

    monkeypatch.setattr(PSNR, "needs", ("no_such_package",))
    monkeypatch.setattr(PSNR, "install", "some-plugin[extra]")
    with pytest.raises(TaskFault, match=r"picture metric psnr needs no_such_package: pip install 'some-plugin\[extra"):
        build_pictures(["psnr"])
