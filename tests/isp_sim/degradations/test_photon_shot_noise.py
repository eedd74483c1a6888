import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import SignalFault
from isp_sim.signal import Signal

SPAN = 1000.0


def test_engine_laws(tools):
    params = {"span": SPAN, "gain": {"loguniform": [0.1, 10]}}
    tools.assert_engine_laws("photon_shot_noise", tools.picture(Signal(transfer="linear"), low=-0.1), params)


@settings(max_examples=15)
@given(gain=st.floats(0.05, 20), x=st.floats(0.001, 1), seed=st.integers(0, 999))
def test_variance_over_mean_is_the_gain(tools, flat, noise_of, gain, x, seed):
    electrons = x * SPAN / gain
    z = noise_of("photon_shot_noise", flat(x, size=(100, 100)), {"span": SPAN, "gain": gain}, span=SPAN, seed=seed)
    z = z / math.sqrt(gain * x * SPAN)
    # where there are few photons, the sum of so many of them is not yet normal
    if electrons * z.size > 1000:
        tools.assert_mean(z, 0, 1)
        tools.assert_mean(z**2, 1, math.sqrt(2 + 1 / electrons))
        tools.assert_mean(z**3, electrons**-0.5, math.sqrt(15 + 36 / electrons + 14 / electrons**2 + electrons**-3))


def test_counts_are_whole_and_poisson(tools, flat):
    after = tools.run_stage("photon_shot_noise", flat(0.01), {"span": SPAN, "gain": 2.0}).pixels * SPAN / 2
    counts = after.round().numpy().ravel()
    assert np.abs(after.numpy().ravel() - counts).max() < 1e-9
    for k in range(1, 12):
        tools.assert_count((counts <= k).sum(), counts.size, stats.poisson.cdf(k, 5.0))


def test_neighbours_are_independent(tools, flat, noise_of):
    z = noise_of("photon_shot_noise", flat(0.4, 0.4), {"span": SPAN}, span=SPAN) / math.sqrt(400)
    tools.assert_uncorrelated(z[..., 1:], z[..., :-1])
    tools.assert_uncorrelated(z[..., 1:, :], z[..., :-1, :])
    tools.assert_uncorrelated(z[0], z[1])


def test_below_black_there_are_no_photons(flat, noise_of):
    assert not noise_of("photon_shot_noise", flat(-0.2, 0.0, size=(9, 9)), {"span": SPAN}).any()


def test_digital_numbers_have_the_levels_of_the_capture(tools, flat, levels):
    """The same light in both ranges has the same noise, and sigma says which."""
    unit = flat(0.3, size=(40, 40), capture=levels)
    dn = replace(unit, pixels=unit.pixels * SPAN + 60, signal=unit.signal.changed({"levels": "dn"}))
    in_unit = tools.run_stage("photon_shot_noise", unit, {"gain": 0.5})
    in_dn = tools.run_stage("photon_shot_noise", dn, {"gain": 0.5})
    np.testing.assert_allclose((in_dn.pixels - 60) / SPAN, in_unit.pixels, atol=1e-12)
    np.testing.assert_allclose(in_dn.maps["sigma"], math.sqrt(0.5 * 300), rtol=1e-12)
    np.testing.assert_allclose(in_unit.maps["sigma"], math.sqrt(0.5 * 300) / SPAN, rtol=1e-12)
    given = tools.run_stage("photon_shot_noise", flat(0.3, size=(40, 40)), {"gain": 0.5, "span": SPAN})
    assert torch.equal(given.pixels, in_unit.pixels)


def test_sigmas_of_two_terms_add_up(tools, flat):
    both = [{"photon_shot_noise": {"span": SPAN}}, {"read_noise": {"span": SPAN, "scale": 5.0}}]
    frame = flat(0.1, size=(4, 4))
    for entries in (both, both[::-1]):
        after = tools.run_chain(entries, frame)
        assert after.maps["sigma"].mean().item() * SPAN == pytest.approx(math.sqrt(100 + 25), rel=0.1)


def test_mistakes(tools, flat, levels):
    with pytest.raises(ParameterFaults):
        tools.chain([{"photon_shot_noise": {"gain": 0}}])
    with pytest.raises(KeyError, match=r"white_level|black_level"):
        tools.run_stage("photon_shot_noise", flat(0.1, size=(2, 2)))
    dn = flat(100.0, size=(2, 2), signal=flat(0.0).signal.changed({"levels": "dn"}), capture=levels)
    with pytest.raises(SignalFault, match="span"):
        tools.run_stage("photon_shot_noise", dn, {"span": SPAN})
    upside_down = {"black_level": levels["white_level"], "white_level": levels["black_level"]}
    with pytest.raises(ValueError, match="above the black level"):
        tools.run_stage("photon_shot_noise", flat(0.1, size=(2, 2), capture=upside_down))
