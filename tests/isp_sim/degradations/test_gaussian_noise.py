from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from isp_sim.signal import Signal

CODED = Signal()
BAYER = Signal(layout="mosaic", cfa="RGGB", colour="camera", white_balanced=False, transfer="linear")


@pytest.mark.parametrize("signal", [CODED, BAYER], ids=["rgb", "mosaic"])
def test_engine_laws(tools, signal):
    tools.assert_engine_laws("gaussian_noise", tools.picture(signal), {"sigma": {"uniform": [0, 0.2]}})


def test_gradient(tools):
    tools.assert_gradient("gaussian_noise", tools.picture(CODED, batch=1, size=(3, 2)))


def test_precision(tools):
    tools.assert_precision("gaussian_noise", tools.picture(CODED, dtype=torch.float64), bound=2e-7)


def test_no_noise_is_nothing(tools):
    frame = tools.picture(CODED)
    assert torch.equal(tools.run_stage("gaussian_noise", frame, {"sigma": 0}).pixels, frame.pixels)


class TestLaw:
    SIGMA = 0.07

    def noise(self, tools, batch=2, size=(160, 150), seed=5, value=None):
        frame = tools.picture(CODED, batch=batch, size=size, dtype=torch.float64)
        if value is not None:
            frame = replace(frame, pixels=torch.full_like(frame.pixels, value))
        after = tools.run_stage("gaussian_noise", frame, {"sigma": self.SIGMA}, seed=seed)
        assert after.signal == CODED
        return ((after.pixels - frame.pixels) / self.SIGMA).numpy()

    def test_normal_of_mean_0_and_the_sigma_asked_for(self, tools):
        z = self.noise(tools)
        tools.assert_mean(z, 0, 1)
        tools.assert_unit_variance(z)
        tools.assert_law(z.ravel()[:20_000], stats.norm())
        for far in (2, 3, 4):
            tools.assert_count((np.abs(z) > far).sum(), z.size, 2 * stats.norm.sf(far))

    def test_whatever_the_signal(self, tools):
        for value in (0.0, 0.5, 1.0):
            tools.assert_unit_variance(self.noise(tools, batch=1, value=value))
        assert np.allclose(self.noise(tools, value=0.0), self.noise(tools, value=1.0), atol=1e-9)

    def test_neighbours_channels_samples_and_seeds_are_independent(self, tools):
        z = self.noise(tools)
        tools.assert_uncorrelated(z[..., 1:], z[..., :-1])
        tools.assert_uncorrelated(z[..., 1:, :], z[..., :-1, :])
        tools.assert_uncorrelated(z[:, 0], z[:, 1])
        tools.assert_uncorrelated(z[0], z[1])
        tools.assert_uncorrelated(z, self.noise(tools, seed=6))

    def test_is_not_clipped(self, tools):
        after = tools.run_stage("gaussian_noise", tools.picture(CODED), {"sigma": 0.3}).pixels
        assert after.min() < -0.1
        assert after.max() > 1.1

    def test_another_crop_has_other_noise_but_the_same_law(self, tools):
        """Noise is drawn for the whole frame; a tile of it is never drawn for itself."""
        frame = tools.picture(CODED, batch=1, size=(64, 64))
        whole = tools.run_stage("gaussian_noise", frame).crop(0, 0, 64, 32)
        tile = tools.run_stage("gaussian_noise", frame.crop(0, 0, 64, 32))
        assert not torch.equal(whole.pixels, tile.pixels)
