from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isp_sim.signal import Signal

LINEAR = Signal(transfer="linear", reference="scene")
RAW = LINEAR.changed({"layout": "mosaic", "cfa": "RGGB"})
NAME = "rolling_banding"
DRAWN = {"cycles": {"uniform": [1, 9]}, "amplitude": {"uniform": [0, 0.5]}}


def white(tools, signal=LINEAR, **options):
    frame = tools.picture(signal, **options)
    return replace(frame, pixels=torch.ones_like(frame.pixels))


@pytest.mark.parametrize("signal", [LINEAR, RAW])
@pytest.mark.parametrize("params", [DRAWN, DRAWN | {"phase": {"uniform": [-180, 180]}}])
def test_engine_laws(tools, signal, params):
    tools.assert_engine_laws(NAME, tools.picture(signal, low=-0.1, high=2), params)


def test_engine_laws_for_a_large_batch(tools):
    frame = tools.picture(LINEAR, batch=37, size=(13, 5), dtype=torch.float64)
    tools.assert_engine_laws(NAME, frame, DRAWN)


def test_precision(tools):
    tools.assert_precision(NAME, tools.picture(LINEAR, dtype=torch.float64), {"cycles": 7.5}, bound=2**-22)


def test_gradient(tools):
    tools.assert_gradient(NAME, tools.picture(LINEAR, batch=1, size=(3, 2)), {})


@given(st.floats(0, 30), st.floats(0, 1), st.floats(-360, 360), st.integers(1, 50))
def test_is_a_sine_along_the_rows(tools, cycles, amplitude, phase, height):
    frame = tools.picture(LINEAR, batch=1, size=(height, 3), dtype=torch.float64)
    after = tools.run_stage(NAME, frame, {"cycles": cycles, "amplitude": amplitude, "phase": phase})
    time = (np.arange(height) + 0.5) / height
    gain = 1 + amplitude * np.sin(2 * np.pi * cycles * time + np.radians(phase))
    np.testing.assert_allclose(after.maps["banding"], np.broadcast_to(gain[:, None], (1, 1, height, 3)), atol=1e-12)
    assert torch.equal(after.pixels, frame.pixels * after.maps["banding"])


@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 9))
def test_over_full_cycles_the_mean_is_kept(tools, cycles, amplitude, seed):
    frame = white(tools, batch=1, size=(31, 2), dtype=torch.float64)
    pixels = tools.run_stage(NAME, frame, {"cycles": cycles, "amplitude": amplitude}, seed=seed).pixels
    assert pixels.mean().item() == pytest.approx(1, abs=1e-13)
    assert pixels.std().item() == pytest.approx(amplitude / np.sqrt(2), rel=0.02, abs=1e-12)


def test_rows_only(tools):
    pixels = tools.run_stage(NAME, white(tools)).pixels
    assert torch.equal(pixels, pixels[:, :1, :, :1].expand_as(pixels))
    assert pixels[0, 0, :, 0].unique().numel() > 50


@pytest.mark.parametrize("signal", [LINEAR, RAW])
def test_nothing_is_nothing_to_the_bit(tools, signal):
    frame = tools.picture(signal, low=-1, high=2)
    assert torch.equal(tools.run_stage(NAME, frame, {"amplitude": 0}).pixels, frame.pixels)
    assert torch.equal(tools.run_stage(NAME, frame, {"cycles": 0, "phase": 0}).pixels, frame.pixels)


def test_any_phase_is_equally_likely(tools):
    from scipy import stats

    frame = white(tools, batch=1, size=(1, 1), dtype=torch.float64)
    frame = replace(frame, pixels=frame.pixels.expand(400, -1, -1, -1), keys=tuple(map(str, range(400))))
    gain = tools.run_stage(NAME, frame, {"cycles": 0, "amplitude": 1}).maps["banding"]
    tools.assert_law(gain.flatten() - 1, stats.arcsine(-1, 2))
