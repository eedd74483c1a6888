"""Bands of flickering light that a rolling shutter records."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation, Result


class RollingBanding(Degradation):
    """Brightens and darkens rows by a sine, as light does that flickers while they are read out. Linear light, mosaic
    or RGB; does not clip.

    `cycles` is the flicker's frequency, twice that of the mains, times the time from the first row to the last. An
    exposure of n periods of the flicker leaves sinc n of its depth, which is what `amplitude` is. Leaves the map
    ``banding``, (B, 1, H, W): the gain.
    """

    needs = Signal.where(transfer="linear", levels="unit")
    source = "Sheinin et al. 2017 [Sheinin2017]"

    severities: ClassVar = {"amplitude": (0.02, 0.05, 0.1, 0.2, 0.4)}

    class Params(StageParams):
        cycles: float = Field(
            3.0,
            ge=0,
            le=100,
            description="periods of the flicker over the picture's height [1]",
            json_schema_extra={"differentiable": False},
        )
        amplitude: float = Field(0.1, ge=0, le=1, description="of the gain around 1 [1]")
        phase: float | None = Field(
            None,
            ge=-360,
            le=360,
            description="of the sine at the upper edge [degree]; any, drawn, if not given",
            json_schema_extra={"differentiable": False},
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        cycles = p.cycles.detach().double().cpu().numpy()
        if p.phase is None:
            start = np.stack(rng.draw("phase", lambda g: g.random((1, 1, 1))))
        else:
            start = p.phase.detach().double().cpu().numpy() / 360
        row = ((np.arange(frame.size[0]) + 0.5) / frame.size[0])[None, None, :, None]
        # of each sample alone, because a function of many numbers may round them differently in other company
        waves = [np.sin(2 * np.pi * (cycles[i] * row[0] + start[i])) for i in range(frame.batch)]
        gain = 1 + p.amplitude * torch.from_numpy(np.stack(waves)).to(frame.pixels)
        return Result(frame.pixels * gain, maps={"banding": gain.expand(-1, -1, -1, frame.size[1])})
