"""Axial chromatic aberration: red and blue out of focus where green is sharp."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field

from isp_sim import filters
from isp_sim.degradations.blur import LIGHT, SIGMA, blur_map, gaussian_variance
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.stage import Degradation, Result


class AxialChromaticAberration(Degradation):
    """Blurs red and blue by Gaussians and leaves green, which is in focus. Linear RGB; stays in range; does not clip.

    Beyond its edge the picture is mirrored. Leaves the map ``blur``, (B, 1, H, W): standard deviation of all blur so
    far, the mean square of both axes and all channels [px].
    """

    needs = LIGHT
    halo = filters.gaussian_reach(SIGMA)
    source = "Hecht 2017, section 6.3.2 [Hecht2017]"

    severities: ClassVar = {"red": (0.5, 1.0, 1.6, 2.4, 3.5), "blue": (0.7, 1.4, 2.3, 3.4, 5.0)}

    class Params(StageParams):
        red: float = Field(1.0, ge=0, le=SIGMA, description="standard deviation of the blur of red [px]")
        blue: float = Field(1.5, ge=0, le=SIGMA, description="standard deviation of the blur of blue [px]")

    def reach(self, p: Any) -> int:
        return filters.gaussian_reach(max(float(sigma.max()) for sigma in (p.red, p.blue)))

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        x = frame.pixels
        pixels = torch.cat([filters.gaussian(x[:, :1], p.red), x[:, 1:2], filters.gaussian(x[:, 2:], p.blue)], dim=1)
        variances = (gaussian_variance(p.red) + gaussian_variance(p.blue)) / 3
        return Result(pixels, maps=blur_map(frame, variances))
