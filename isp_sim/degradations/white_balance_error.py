"""A light taken for another: wrong white balance, counted in mired and tint."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from isp_sim.colorimetry import WHITES, XY, Matrix, conversion, xyz
from isp_sim.colour_temperature import cct_to_xy, xy_to_cct
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Degradation
from isp_sim.stages.camera_matrix import TINT_PER_DUV, camera_colour

HOTTEST, COOLEST = 40.0, 600.0
"""[mired] The lights that a camera may be set to: 25000 K to 1667 K."""
CAMERA: Final = ("color_matrices", "calibration_illuminants", "wb_gains")


class WhiteBalanceError(Degradation):
    """Multiplies R, G and B as if the white balance had been set for another light. Linear in, linear out; green stays;
    does not clip.

    Positive `mired` is a setting for light that much warmer than it is, so the picture turns blue; positive `tint` one
    for light that much greener, so it turns magenta. Where the capture holds the camera's colour matrices and as-shot
    gains, the light of the picture is the one that looks neutral by the gains, and the camera's own answer to both
    lights gives the gains. Else the light is taken as D65, and the answer as that of linear RGB of the picture's space,
    of sRGB for a camera's: an approximation, because a camera's colours are less apart than sRGB's. A setting ends at
    25000 K and at 1667 K.

    Raises
    ------
    ValueError
        If a light has no positive answer in some channel.
    """

    needs = Signal.where(layout=("mosaic", "rgb"), levels="unit", transfer="linear")
    halo = 0
    source = "Robertson 1968 [Robertson1968]; DNG 1.7.1, Mapping Camera Color Space to CIE XYZ Space [DNG2023]"
    severities: ClassVar = {"mired": (10.0, 20.0, 35.0, 60.0, 100.0)}

    class Params(StageParams):
        mired: float = Field(
            0.0,
            ge=-150,
            le=150,
            description="how much warmer the light is set than it is [mired]",
            json_schema_extra={"differentiable": False},
        )
        tint: float = Field(
            0.0,
            ge=-50,
            le=50,
            description="how much greener it is set than it is [1/3000 Duv]",
            json_schema_extra={"differentiable": False},
        )

    def refuses(self, signal: Signal, p: Any) -> str | None:
        return signal.no_spread

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        mired, tint = (x.flatten().to("cpu", torch.float64).tolist() for x in (p.mired, p.tint))
        gains = np.stack([_gains(frame, i, *error) for i, error in enumerate(zip(mired, tint, strict=True))])
        return frame.pixels * frame.spread(torch.from_numpy(gains).to(frame.pixels)[:, :, None, None])


def _gains(frame: Frame, sample: int, mired: float, tint: float) -> Matrix:
    """(3,), what the gains for the wrong light are over those for the right one, with that of green 1."""
    if frame.signal.colour == "camera" and all(name in frame.capture for name in CAMERA):
        camera = camera_colour(frame, sample, forward=False)
        as_shot = frame.capture["wb_gains"][sample].flatten().to("cpu", torch.float64).numpy()
        light = camera.white(1 / as_shot)
        answer = camera.neutral
    else:
        space = "srgb" if frame.signal.colour == "camera" else str(frame.signal.colour)
        light = WHITES["D65"]

        def answer(white: XY) -> Matrix:
            return np.asarray(conversion("xyz", space) @ xyz(white))

    ratio = answer(light) / _positive(answer(mistaken(light, mired, tint)))
    return np.asarray(ratio / ratio[1])


def mistaken(light: XY, mired: float, tint: float) -> XY:
    """The chromaticity of a light so much warmer [mired] and greener [1/3000 Duv] than another.

    Examples
    --------
    >>> tuple(round(c, 4) for c in mistaken(WHITES["D65"], 50, 0))
    (0.3485, 0.3608)
    """
    if mired == 0 and tint == 0:
        return light
    cct, duv = xy_to_cct(*light)
    setting = min(max(1e6 / cct + mired, HOTTEST), COOLEST)
    return cct_to_xy(1e6 / setting, duv + tint / TINT_PER_DUV)


def _positive(answer: Matrix) -> Matrix:
    if not np.all(answer > 0):
        raise ValueError(
            f"the wrong light looks like {np.round(answer, 4).tolist()}, which must be positive: take a smaller error"
        )
    return answer
