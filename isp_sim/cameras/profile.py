"""A camera profile: the state that `unprocess` draws, as a checked YAML file."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Annotated, Any, Final

from pydantic import Field, field_validator, model_validator

from isp_sim import located_yaml
from isp_sim.parameters import ParameterFaults, Parameters, StageParams, Static

Gain = Annotated[float, Field(ge=0.01, le=100)]
Coordinate = Annotated[float, Field(ge=0, le=1)]
Points = tuple[tuple[Coordinate, Coordinate], ...]
Row = tuple[float, float, float]
Centre = tuple[Coordinate, Coordinate, Coordinate]
Move = Annotated[float, Field(ge=-1, le=1)]
Shift = tuple[Move, Move, Move]

CONTRACTION: Final = 0.5
"""The most that the moves of a gamut map may keep of a distance."""

DEVELOP: Final = ("white_balance", "colour_matrix", "tone_curve", "srgb_oetf")
"""The stages that a camera develops by, where its profile does not say."""


class CameraState(StageParams):
    """What a camera's state consists of; in a profile, laws may stand in place of the numbers."""

    wb_gains: tuple[Gain, Gain, Gain] = Field(description="gains of R, G and B [factor]")
    xyz_to_camera: Annotated[tuple[tuple[Row, Row, Row], ...], Static] = Field(
        min_length=1, description="matrices from CIE XYZ to camera RGB at D65, as DNG's ColorMatrix [1]"
    )
    mix: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (1.0,), description="weight of each matrix in the camera's own; scaled to a sum of 1 [1]"
    )
    tone_curve: Points = Field(((0.0, 0.0), (1.0, 1.0)), min_length=2, description="knots [x, y] of the tone curve [1]")
    dimming: float = Field(
        1.0, ge=0.01, le=100, description="what undoing the digital gain multiplies by, 1 / gain [factor]"
    )
    gamut_centres: tuple[Centre, ...] = Field((), description="centres of the gamut map in linear sRGB [1]")
    gamut_weights: tuple[Shift, ...] = Field((), description="how far R, G and B move at each centre [1]")
    gamut_width: float = Field(0.4, ge=0.2, le=2, description="standard deviation of the gamut map's functions [1]")
    shot: float = Field(0.0, ge=0, le=1, description="S of NoiseProfile [1]")
    read: float = Field(0.0, ge=0, le=1, description="O of NoiseProfile [1]")

    @field_validator("tone_curve")
    @classmethod
    def _rising(cls, points: Points) -> Points:
        return rising(points)

    @model_validator(mode="after")
    def _contracts(self) -> CameraState:
        check_contraction(self.gamut_centres, self.gamut_weights, self.gamut_width)
        return self


def rising(points: Points) -> Points:
    """The knots of a tone curve, if they rise strictly from (0, 0) to (1, 1); else ValueError."""
    if points[0] != (0, 0) or points[-1] != (1, 1):
        raise ValueError(f"the curve must run from [0, 0] to [1, 1]; found {points[0]} to {points[-1]}")
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 - x0 < 1e-6 or y1 - y0 < 1e-6:
            raise ValueError(f"the curve must rise from knot to knot; found {(x0, y0)} then {(x1, y1)}")
    return points


def check_contraction(centres: tuple[Centre, ...], weights: tuple[Shift, ...], width: float) -> None:
    """ValueError unless the moves of a gamut map shrink every distance by `CONTRACTION` at least.

    A Gaussian of standard deviation s has the slope exp(-1/2) / s at most. The bound is on each number alone, so that
    numbers within it may be drawn independently of each other.
    """
    if len(centres) != len(weights):
        raise ValueError(f"{len(centres)} centres of the gamut map need as many weights, found {len(weights)}")
    if not weights:
        return
    largest = max(abs(number) for weight in weights for number in weight)
    bound = CONTRACTION * width * math.exp(0.5) / (math.sqrt(3) * len(weights))
    if largest > bound:
        raise ValueError(
            f"a weight of {largest:g} is too large for a gamut map that can be undone: {len(weights)} functions of "
            f"width {width:g} may have weights up to {bound:.4g}"
        )


@dataclass(frozen=True)
class Profile:
    """A camera or a family of cameras.

    Attributes
    ----------
    state
        The laws of its state (see `CameraState`).
    develop
        The stages that its state is for, first to last.
    has_noise
        Whether the profile says anything of noise.
    source, licence
        Where its figures come from.
    """

    name: str
    description: str
    source: str
    licence: str
    state: Parameters
    develop: tuple[str, ...]
    has_noise: bool


class ProfileFault(ValueError):
    """A profile that is missing or wrong."""


def names() -> list[str]:
    """The profiles that come with the package."""
    folder = resources.files("isp_sim.cameras") / "profiles"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@cache
def load(name: str) -> Profile:
    """Read a profile by name.

    Raises
    ------
    ProfileFault
        If there is none of this name, or with everything that is wrong with it.
    """
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names())}"
        raise ProfileFault(f"unknown camera profile {name!r}: {hint}")
    text = (resources.files("isp_sim.cameras") / "profiles" / f"{name}.yaml").read_bytes()
    return parse(text, f"{name}.yaml")


def parse(text: bytes, name: str) -> Profile:
    """Read a profile from YAML; see `load` for what is raised."""
    document = located_yaml.parse(text, name)
    faults = [f"{name}:{line}: {message}" for line, message in document.faults]
    data: dict[str, Any] = dict(document.data) if isinstance(document.data, dict) else {}
    about = {key: data.pop(key, None) for key in ("name", "description", "source", "licence")}
    develop = data.pop("develop", list(DEVELOP))
    if not (isinstance(develop, list) and develop and all(isinstance(stage, str) for stage in develop)):
        faults.append(f"{name}:{document.line(('develop',))}: develop is a list of names of stages")
    if isinstance(matrices := data.get("xyz_to_camera"), str):  # of another profile
        try:
            constants: Any = load(matrices).state.constants
            data["xyz_to_camera"] = [[list(row) for row in matrix] for matrix in constants.xyz_to_camera]
        except ProfileFault as error:
            faults.append(f"{name}:{document.line(('xyz_to_camera',))}: {error}")
            del data["xyz_to_camera"]
    faults += [f"{name}: needs {key!r}, a text" for key, value in about.items() if not isinstance(value, str)]
    try:
        state = Parameters.bind(CameraState, data)
    except ParameterFaults as error:
        faults += [f"{name}:{document.line(path)}: {message}" for path, message in error.faults]
        raise ProfileFault("\n".join(faults)) from None
    constants = state.constants
    matrices, mix = constants.xyz_to_camera, constants.mix
    if len(matrices) != len(mix):
        faults.append(
            f"{name}:{document.line(('mix',))}: {len(matrices)} matrices need as many weights, found {len(mix)}"
        )
    if faults:
        raise ProfileFault("\n".join(faults))
    return Profile(**about, state=state, develop=tuple(develop), has_noise="shot" in data)
