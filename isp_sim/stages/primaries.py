"""From one RGB space to another: primaries and white."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.colorimetry import RGB_NAMES, Matrix, conversion
from isp_sim.elementary import apply_matrix
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal
from isp_sim.stage import Stage

Space = Literal["srgb", "display_p3", "adobe_rgb", "rec2020", "prophoto", "aces_ap0", "aces_ap1", "xyz"]
SPACE_NAMES: Final = (*RGB_NAMES, "xyz")


class Primaries(Stage):
    """Converts linear RGB from one space to another, by Bradford adaptation where their whites differ. Linear in,
    linear out; colours outside the target's gamut leave [0, 1]; does not clip.

    Grey stays grey. ``xyz`` is CIE XYZ adapted to D65, the white's Y at 1, where grey has unequal channels.
    """

    needs = Signal.where(layout="rgb", levels="unit", transfer="linear", colour=SPACE_NAMES)
    can_give: ClassVar = {"colour": SPACE_NAMES}
    halo = 0
    source = (
        "IEC 61966-2-1:1999 [IEC61966]; SMPTE EG 432-1 [SMPTE432]; Adobe RGB (1998) [AdobeRGB]; ITU-R BT.2020-2 "
        "[BT2020]; ISO 22028-2 [ISO22028]; SMPTE ST 2065-1 [SMPTE2065]; S-2014-004 [ACEScg]; Lam 1985 [Lam1985]"
    )

    class Params(StageParams):
        source: Annotated[Space, Static] = Field("srgb", description="the space that the picture is in")
        to: Annotated[Space, Static] = Field("rec2020", description="the space to convert to")

    def requirement(self, p: Any) -> Requirement:
        accepted = {**self.needs.accepted, "colour": (p.source,)}
        if (p.source == "xyz") != (p.to == "xyz"):
            accepted["white_balanced"] = (p.source != "xyz",)
        return Requirement(accepted)

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return _relabelled(signal, p.source, p.to)

    def input_signal(self, signal: Signal, p: Any) -> Signal:
        return _relabelled(signal, p.to, p.source)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return _converted(frame.pixels, conversion(p.source, p.to))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return _converted(frame.pixels, conversion(p.to, p.source))


def _relabelled(signal: Signal, source: str, to: str) -> Signal:
    changed: dict[str, object] = {"colour": to, "bit_depth": None}
    if (source == "xyz") != (to == "xyz"):
        changed["white_balanced"] = to != "xyz"
    return signal.changed(changed)


def _converted(x: Tensor, matrix: Matrix) -> Tensor:
    return apply_matrix(x, torch.from_numpy(matrix).to(x).expand(x.shape[0], 3, 3))
