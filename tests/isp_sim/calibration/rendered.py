"""Flats and darks of a sensor that is known, rendered by the program itself."""

import numpy as np
import torch

from isp_sim import registry
from isp_sim.cameras import profile
from isp_sim.frame import Capture, Frame
from isp_sim.parameters import Parameters
from isp_sim.pipeline import Pipeline, StageStep
from isp_sim.signal import Signal

BAYER = Signal(layout="mosaic", cfa="RGGB", colour="camera", white_balanced=False, transfer="linear", reference="scene")
BLACK = 800.0
WHITE = 16383.0


def frames(name, iso, level, number, size, tag, **params):
    """Frames [DN] of a flat light level, each with noise of its own; rounded, as a camera writes them."""
    plugin = registry.load("sensor_noise", *registry.STAGE_GROUPS)
    given = {"profile": name, "iso": float(iso), "scatter": False, "quantisation": "round"} | params
    step = StageStep("noise", "sensor_noise", plugin(), Parameters.bind(plugin.Params, given))
    span = profile.load(name).noise.dn
    found = []
    for i in range(number):
        frame = Frame(torch.full((1, 1, *size), level, dtype=torch.float64), BAYER, Capture(), (f"{tag} {iso} {i}",))
        found.append(Pipeline((step,), 11).run(frame).frame.pixels[0, 0].numpy() * span + BLACK)
    return found


def pairs(name, iso, size, levels=(0.02, 0.1, 0.25, 0.4, 0.55, 0.7), **params):
    return [tuple(frames(name, iso, float(x), 2, size, f"flat {x}", **params)) for x in levels]


def clipped(frame):
    return np.clip(frame, 0, WHITE)
