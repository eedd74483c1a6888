"""Light fall-off towards the corners."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from isp_sim import Degradation, Frame, Result, Signal
from isp_sim.parameters import StageParams
from isp_sim_lens.field import offsets


class Vignetting(Degradation):
    """Darkens a picture with the distance r from the optical centre. Linear light; does not clip.

    ``radial`` multiplies by 1 - strength r^2. ``cos4`` multiplies by cos^4 of the field angle, which for a lens of
    diagonal field of view v is 1 / (1 + (r tan(v / 2))^2)^2. r is 1 at the corners of a centred picture. Leaves the
    map ``gain``, (B, 1, H, W).
    """

    needs = Signal.where(transfer="linear", levels="unit")
    source = "Goldman 2010"
    severities: ClassVar = {"strength": (0.15, 0.3, 0.5, 0.75, 1.0)}

    class Params(StageParams):
        law: Literal["radial", "cos4"] = Field("radial", description="shape of the fall-off")
        strength: float = Field(0.3, ge=0, le=1, description="light lost at the corner, for radial [fraction]")
        field_of_view: float = Field(60.0, ge=0, le=150, description="diagonal field of view, for cos4 [degree]")
        centre_y: float = Field(0.0, ge=-0.5, le=0.5, description="optical centre below the middle [half diagonals]")
        centre_x: float = Field(0.0, ge=-0.5, le=0.5, description="optical centre right of the middle [half diagonals]")

    def apply(self, frame: Frame, p: Any, rng: Any) -> Result:
        y, x = offsets(frame.pixels, p.centre_y, p.centre_x)
        squared = y * y + x * x
        if p.law == "radial":
            gain = (1 - squared * p.strength).clamp_min(0)
        else:
            tangent = torch.tan(p.field_of_view * (torch.pi / 360))
            fall = 1 + squared * (tangent * tangent)
            gain = 1 / (fall * fall)
        return Result(frame.pixels * gain, maps={"gain": gain.expand(frame.batch, 1, *frame.size)})
