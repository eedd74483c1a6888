"""Flat pictures, on which a sensor's noise shows as it is."""

from dataclasses import replace

import pytest
import torch

from isp_sim.signal import Signal

BAYER = Signal(layout="mosaic", cfa="GRBG", colour="camera", white_balanced=False, transfer="linear", reference="scene")


@pytest.fixture(scope="session")
def flat(tools):
    """One flat picture for each value, float64."""

    def make(*values, size=(200, 200), signal=BAYER, capture=None, keys=None):
        frame = tools.picture(signal, batch=len(values), size=size, dtype=torch.float64, capture=capture, keys=keys)
        levels = torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1, 1)
        return replace(frame, pixels=levels.expand_as(frame.pixels).clone())

    return make


@pytest.fixture(scope="session")
def noise_of(tools):
    """What a stage adds to a frame, as an array; in DN where there is a span."""

    def added(name, frame, params, *, span=1.0, seed=5, view=0):
        after = tools.run_stage(name, frame, params, seed=seed, view=view)
        return ((after.pixels - frame.pixels) * span).numpy()

    return added


@pytest.fixture
def levels():
    """Capture facts: black at 60 and white at 1060 DN, so a span of 1000."""
    return {"black_level": torch.full((1, 1, 2, 2), 60.0), "white_level": torch.full((1, 1, 2, 2), 1060.0)}
