"""Haze: light scattered by the air between the camera and the scene."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from isp_sim import Degradation, Frame, Result, Signal
from isp_sim.parameters import StageParams
from isp_sim_haze.depth import WAVES, depth

Light = Annotated[float, Field(ge=0, le=10)]


class Haze(Degradation):
    """Replaces a part of the light J of a scene by airlight A: J t + A (1 - t), t = exp(-beta d). Linear light, mosaic
    or RGB; between J and A; does not clip.

    The depth d is made up, since a picture does not tell it: falling from top to bottom by `gradient`, plus smooth
    noise, 1 in the mean. So exp(-beta) is about the part of the light that comes through. Where white is still to be
    balanced and the capture holds the as-shot gains, the airlight is divided by them, so that grey air comes out grey.
    Leaves the map ``transmission``, (B, 1, H, W): t.
    """

    needs = Signal.where(layout=("rgb", "mosaic"), transfer="linear", levels="unit")
    source = "Koschmieder 1924; Narasimhan and Nayar 2002"

    severities: ClassVar = {"beta": (0.2, 0.5, 1.0, 1.8, 3.0)}

    class Params(StageParams):
        beta: float = Field(1.0, ge=0, le=100, description="optical thickness of the air at the mean depth [1]")
        airlight: tuple[Light, Light, Light] = Field(
            (0.8, 0.8, 0.8), description="what infinitely thick air looks like once white is balanced, R, G, B [1]"
        )
        gradient: float = Field(
            0.7,
            ge=0,
            le=1,
            description="depth added at the top and lost at the bottom [mean depth]",
            json_schema_extra={"differentiable": False},
        )
        roughness: float = Field(
            0.2,
            ge=0,
            le=1,
            description="standard deviation of the noise in depth [mean depth]",
            json_schema_extra={"differentiable": False},
        )

    def refuses(self, signal: Signal, p: Any) -> str | None:
        return signal.no_spread

    def apply(self, frame: Frame, p: Any, rng: Any) -> Result:
        shapes = zip(p.gradient.flatten().tolist(), p.roughness.flatten().tolist(), strict=True)
        draws = rng.draw("depth", lambda g: g.standard_normal((WAVES + 1, WAVES + 1)))
        depths = [depth(frame.size, *shape, drawn) for shape, drawn in zip(shapes, draws, strict=True)]
        transmission = torch.exp(-p.beta * torch.from_numpy(np.stack(depths))[:, None].to(frame.pixels))
        airlight = p.airlight
        if not frame.signal.white_balanced and "wb_gains" in frame.capture:
            airlight = airlight / frame.capture["wb_gains"].to(airlight)
        # as a sum of two products, which is exact at both ends
        pixels = frame.pixels * transmission + frame.spread(airlight) * (1 - transmission)
        return Result(pixels, maps={"transmission": transmission})
