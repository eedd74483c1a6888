"""From a camera's own primaries to linear sRGB by the matrices of a DNG: two illuminants, interpolated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Final

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.colorimetry import WHITES, XY, Matrix, adaptation, chromaticity, conversion, xyz
from isp_sim.colour_temperature import cct_to_xy, mired_weights, xy_to_cct
from isp_sim.elementary import apply_matrix
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

CALIBRATION_ILLUMINANTS: Final = MappingProxyType(
    {
        1: 5503.0,  # daylight
        2: 4150.0,  # fluorescent
        3: 2856.0,  # tungsten
        4: 5503.0,  # flash
        9: 5503.0,  # fine weather
        10: 6504.0,  # cloudy
        11: 7504.0,  # shade
        12: 6400.0,  # daylight fluorescent, D
        13: 5050.0,  # day white fluorescent, N
        14: 4150.0,  # cool white fluorescent, W
        15: 3525.0,  # white fluorescent, WW
        16: 2925.0,  # warm white fluorescent, L
        17: 2856.0,  # standard light A
        18: 4874.0,  # standard light B
        19: 6774.0,  # standard light C
        20: 5503.0,  # D55
        21: 6504.0,  # D65
        22: 7504.0,  # D75
        23: 5003.0,  # D50
        24: 3200.0,  # ISO studio tungsten
    }
)
"""Temperature [K] of the values of DNG's CalibrationIlluminant: that of CIE's illuminants, and the middle of the ranges
that EXIF gives for fluorescent lamps [EXIF]."""

D65: Final = 21
"""DNG's number of the illuminant."""

PASSES: Final = 100
"""Of the search for a white. It needs about ten; after some it goes half as far each time, lest it go to and fro."""

TINT_PER_DUV: Final = 3000.0
"""How RAW developers count the distance from the black body."""

PCS: Final = WHITES["D50"]
"""The white of DNG's profile connection space."""

X = Annotated[float, Field(ge=0.2, le=0.565)]
Y = Annotated[float, Field(ge=0.2, le=0.42)]
"""A chromaticity: of lights down to 1700 K, and with some blue in any of them."""


@dataclass(frozen=True)
class CameraColour:
    """One camera's answer to colours, as a DNG describes it.

    Attributes
    ----------
    color_matrices
        (2, 3, 3), CIE XYZ to camera RGB at the first and the second calibration illuminant.
    illuminants
        (2,) [K].
    calibrations
        (2, 3, 3), AnalogBalance times CameraCalibration; identities if not given.
    forward_matrices
        (2, 3, 3), white-balanced camera RGB to CIE XYZ at D50; None if there are none.
    """

    color_matrices: Matrix
    illuminants: Matrix
    calibrations: Matrix | None = None
    forward_matrices: Matrix | None = None

    @cached_property
    def _calibrations(self) -> Matrix:
        return np.stack([np.eye(3)] * 2) if self.calibrations is None else self.calibrations

    def share(self, cct: float) -> float:
        """The weight of the first illuminant: linear in mired between both, and held beyond.

        Examples
        --------
        >>> camera = CameraColour(np.ones((2, 3, 3)), np.array([2856.0, 6504.0]))
        >>> camera.share(2000), camera.share(6504), round(camera.share(4000), 3)
        (1.0, 0.0, 0.49)
        """
        if self.illuminants[0] == self.illuminants[1]:
            return 1.0
        return float(mired_weights(self.illuminants, cct)[0])

    def _between(self, matrices: Matrix, cct: float) -> Matrix:
        share = self.share(cct)
        # a weight of 0 or 1 gives the matrix itself, to the last bit
        return np.asarray(matrices[0] * share + matrices[1] * (1 - share))

    def xyz_to_camera(self, cct: float) -> Matrix:
        """(3, 3), CIE XYZ to camera RGB under light of a temperature [K]."""
        return np.asarray(self._between(self._calibrations, cct) @ self._between(self.color_matrices, cct))

    def neutral(self, white: XY) -> Matrix:
        """(3,), what the camera sees of a white surface, which reflects light of this chromaticity.

        Raises
        ------
        ValueError
            If that is not positive in every channel.
        """
        seen = self.xyz_to_camera(xy_to_cct(*white)[0]) @ xyz(white)
        if not np.all(seen > 0):
            raise ValueError(
                f"the camera's matrices make {np.round(seen, 4).tolist()} of white light ({white[0]:.4f}, "
                f"{white[1]:.4f}), which must be positive: check color_matrices, or the white that is given"
            )
        return np.asarray(seen)

    def white(self, neutral: Matrix) -> XY:
        """The chromaticity of the light under which a white surface looks `neutral` (3,) to the camera.

        The matrices depend on the light, so it is found by iteration: light to matrix to light, from D50 on, as in
        chapter 6 of the DNG specification.

        Raises
        ------
        ValueError
            If no light looks so.
        """
        light = PCS
        for number in range(PASSES):
            seen = np.asarray(np.linalg.solve(self.xyz_to_camera(xy_to_cct(*light)[0]), neutral), dtype=np.float64)
            if not (seen.sum() > 0 and seen[1] > 0):
                raise ValueError(
                    f"no light looks neutral at {np.round(neutral, 4).tolist()} to the camera: check white-balance "
                    "gains and color_matrices"
                )
            found = chromaticity(seen)
            if abs(found[0] - light[0]) + abs(found[1] - light[1]) < 1e-12:
                break
            step = 1.0 if number < PASSES // 4 else 0.5
            light = (light[0] + step * (found[0] - light[0]), light[1] + step * (found[1] - light[1]))
        return light

    def to_xyz_d50(self, white: XY) -> Matrix:
        """(3, 3), camera RGB that is white-balanced for a light to CIE XYZ adapted to D50; white becomes D50, Y = 1."""
        cct, _ = xy_to_cct(*white)
        neutral = self.neutral(white)
        if self.forward_matrices is None:
            return np.asarray(adaptation(white, PCS) @ np.linalg.solve(self.xyz_to_camera(cct), np.diag(neutral)))
        calibration = self._between(self._calibrations, cct)
        forward = self._between(self.forward_matrices, cct)
        forward = forward * (xyz(PCS) / forward.sum(axis=1))[:, None]
        reference = np.linalg.solve(calibration, neutral)
        return np.asarray(forward @ np.diag(1 / reference) @ np.linalg.solve(calibration, np.diag(neutral)))

    def to_srgb(self, white: XY) -> Matrix:
        """(3, 3), camera RGB that is white-balanced for a light to linear sRGB; rows sum to 1."""
        return np.asarray(conversion("xyz", "srgb") @ adaptation(PCS, WHITES["D65"]) @ self.to_xyz_d50(white))


def camera_colour(frame: Frame, sample: int, forward: bool = True) -> CameraColour:
    """What a frame's capture says of one sample's camera; with `forward`, its forward matrices where it has some."""

    def fact(name: str) -> Matrix:
        return frame.capture[name][sample].to("cpu", torch.float64).numpy()

    def optional(name: str) -> Matrix | None:
        found = fact(name) if name in frame.capture else None
        return None if found is None or not np.all(np.isfinite(found)) else found

    return CameraColour(
        fact("color_matrices"),
        fact("calibration_illuminants"),
        optional("camera_calibrations"),
        optional("forward_matrices") if forward else None,
    )


class CameraMatrix(Stage):
    """Converts white-balanced camera RGB to linear sRGB by the colour matrices of a DNG. Linear in, linear out;
    out-of-gamut colours leave [0, 1]; does not clip.

    The matrices for two illuminants are interpolated in mired, for the light of the picture: that which looks neutral
    by the as-shot gains, or the one that is given. Forward matrices lead to CIE XYZ at D50 where the capture has them;
    else the inverse of the colour matrix does, with Bradford adaptation. Grey stays grey, whatever the light.

    Raises
    ------
    ValueError
        If the camera's matrices give no positive neutral for the light, or no light for the gains.
    """

    needs = Signal.where(layout="rgb", colour="camera", white_balanced=True, levels="unit", transfer="linear")
    gives = Signal.change(colour="srgb")
    halo = 0
    source = (
        "DNG 1.7.1, Mapping Camera Color Space to CIE XYZ Space [DNG2023]; Robertson 1968 [Robertson1968]; Lam 1985 "
        "[Lam1985]"
    )

    class Params(StageParams):
        cct: float | None = Field(
            None,
            ge=2000,
            le=25000,
            description="correlated colour temperature of the light [K]; as shot if not given",
            json_schema_extra={"differentiable": False},
        )
        tint: float = Field(
            0.0,
            ge=-150,
            le=150,
            examples=[-20.0, 0.0, 15.0],
            description="with cct: how much greener than a black body the light is [1/3000 Duv]",
            json_schema_extra={"differentiable": False},
        )
        xy: tuple[X, Y] | None = Field(
            None,
            description="chromaticity x, y of the light, in place of cct [1]",
            json_schema_extra={"differentiable": False},
        )
        forward: bool = Field(True, description="whether to use the forward matrices, where the capture has them")

        @model_validator(mode="after")
        def _one_light(self) -> CameraMatrix.Params:
            if self.cct is not None and self.xy is not None:
                raise ValueError("cct and xy both say what the light is; give one of them")
            if self.cct is None and self.tint != 0:
                raise ValueError("tint goes with cct, which is not given")
            return self

    def facts_read(self, p: Any) -> tuple[str, ...]:
        facts = ("color_matrices", "calibration_illuminants")
        return (*facts, "wb_gains") if p.cct is None and p.xy is None else facts

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return apply_matrix(frame.pixels, torch.from_numpy(matrices(frame, p)).to(frame.pixels))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return apply_matrix(frame.pixels, torch.from_numpy(np.linalg.inv(matrices(frame, p))).to(frame.pixels))


def matrices(frame: Frame, p: Any) -> Matrix:
    """The matrix of each sample (B, 3, 3), in float64."""
    cameras = [camera_colour(frame, i, p.forward) for i in range(frame.batch)]
    if p.xy is not None:
        lights = [(float(x), float(y)) for x, y in p.xy.flatten(1).tolist()]
    elif p.cct is not None:
        pairs = zip(p.cct.flatten().tolist(), p.tint.expand_as(p.cct).flatten().tolist(), strict=True)
        lights = [cct_to_xy(cct, tint / TINT_PER_DUV) for cct, tint in pairs]
    else:
        gains = frame.capture["wb_gains"].to("cpu", torch.float64).flatten(1).numpy()
        lights = [camera.white(1 / gain) for camera, gain in zip(cameras, gains, strict=True)]
    return np.stack([camera.to_srgb(light) for camera, light in zip(cameras, lights, strict=True)])
