"""A camera profile: colour, levels and noise of a camera, as a checked YAML file with provenance."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError, field_validator, model_validator

from isp_sim import located_yaml
from isp_sim.cameras.noise import ISO, LogLinear, NoiseProfiles, read_noise_law
from isp_sim.cameras.noise import Points as MeasuredNoise
from isp_sim.parameters import ParameterFaults, Parameters, StageParams, Static
from isp_sim.signal import cfa_rows

Gain = Annotated[float, Field(ge=0.01, le=100)]
Kelvin = Annotated[float, Field(ge=1667, le=25000)]
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

    wb_gains: tuple[Gain, Gain, Gain] | None = Field(
        None, description="gains of R, G and B [factor]; those of the light's temperature if none"
    )
    xyz_to_camera: Annotated[tuple[tuple[Row, Row, Row], ...], Static] = Field(
        min_length=1, description="matrices from CIE XYZ to camera RGB at D65, as DNG's ColorMatrix [1]"
    )
    mix: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        (1.0,), description="weight of each matrix in the camera's own; scaled to a sum of 1 [1]"
    )
    illuminants: Annotated[tuple[Kelvin, ...] | None, Static] = Field(
        None, description="colour temperature that each matrix was measured at; then the light's decides on the mix [K]"
    )
    temperature: Kelvin | None = Field(
        None, description="correlated colour temperature of the light [K]", json_schema_extra={"differentiable": False}
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
    iso: ISO | None = Field(None, description="ISO speed")

    @model_validator(mode="after")
    def _lit(self) -> CameraState:
        if self.illuminants is None and self.temperature is not None:
            raise ValueError("temperature needs illuminants, the temperature that each matrix was measured at")
        if self.illuminants is not None and len(self.illuminants) != len(self.xyz_to_camera):
            raise ValueError(
                f"{len(self.xyz_to_camera)} matrices need as many illuminants, found {len(self.illuminants)}"
            )
        if self.illuminants is not None and self.temperature is None:
            raise ValueError("illuminants need a temperature, that of the light")
        if self.wb_gains is None and self.temperature is None:
            raise ValueError("needs wb_gains, or illuminants and a temperature, from which they follow")
        return self

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


class Sensitivities(StageParams):
    """Relative spectral sensitivities."""

    wavelengths: tuple[Annotated[float, Field(ge=100, le=3000)], ...] = Field(min_length=2, description="[nm]")
    r: tuple[float, ...] = Field(description="[1]")
    g: tuple[float, ...] = Field(description="[1]")
    b: tuple[float, ...] = Field(description="[1]")

    @model_validator(mode="after")
    def _paired(self) -> Sensitivities:
        if {len(self.r), len(self.g), len(self.b)} != {len(self.wavelengths)}:
            raise ValueError("r, g and b need one value for each wavelength")
        if any(b <= a for a, b in pairwise(self.wavelengths)):
            raise ValueError("the wavelengths must rise")
        return self


class Sensor(StageParams):
    """What a profile says of a sensor beside its noise."""

    cfa: str | None = Field(None, description="colour filter array at the top-left pixel")
    black_level: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] | None = Field(
        None, min_length=1, description="black level, of all sites or of each in a period [DN]"
    )
    white_level: Annotated[float, Field(gt=0, le=1e6)] | None = Field(None, description="saturation level [DN]")
    sensitivities: Sensitivities | None = None

    @field_validator("cfa")
    @classmethod
    def _pattern(cls, cfa: str | None) -> str | None:
        if cfa is not None:
            cfa_rows(cfa)
        return cfa

    @model_validator(mode="after")
    def _ordered(self) -> Sensor:
        if self.black_level is not None and self.white_level is not None and max(self.black_level) >= self.white_level:
            raise ValueError(f"white_level {self.white_level} must lie above black_level {max(self.black_level)}")
        return self


NoiseLaws = LogLinear | MeasuredNoise | NoiseProfiles
ABOUT: Final = ("name", "description", "source", "licence")


@dataclass(frozen=True)
class Profile:
    """A camera or a family of cameras.

    Attributes
    ----------
    state
        The laws of its colour (see `CameraState`); None if the profile says nothing of colour.
    develop
        The stages that its state is for, first to last.
    sensor
        Its CFA, levels and spectral sensitivities, as far as they are known.
    noise
        How its noise depends on the ISO speed; None if the profile does not say.
    has_noise
        Whether the profile says anything of noise.
    source, licence
        Where its figures come from.
    """

    name: str
    description: str
    source: str
    licence: str
    state: Parameters | None
    develop: tuple[str, ...]
    sensor: Sensor
    noise: NoiseLaws | None
    has_noise: bool

    def state_at(self, iso: float | None) -> Parameters:
        """The laws of its colour, with the ISO speed given rather than drawn, if there is one.

        Raises
        ------
        ProfileFault
            If the profile says nothing of colour.
        """
        if self.state is None:
            raise ProfileFault(
                f"camera profile {self.name} says nothing of colour, which unprocess needs: take the colour "
                "of another, such as generic_phone, and give this one to sensor_noise"
            )
        if iso is None:
            return self.state
        laws = {path: law for path, law in self.state.laws.items() if path != ("iso",)}
        constants = self.state.constants.model_copy(update={"iso": iso})
        return replace(self.state, constants=constants, laws=MappingProxyType(laws))

    def check_iso(self, iso: float | None) -> None:
        """Raise ProfileFault if its noise is not known at an ISO speed."""
        if iso is None or self.noise is None:
            return
        low, high = self.noise.speeds
        if not low <= iso <= high:
            raise ProfileFault(f"the noise of {self.name} is known from ISO {low:g} to {high:g}; found ISO {iso:g}")


class ProfileFault(ValueError):
    """A profile that is missing or wrong."""


def names() -> list[str]:
    """The profiles that come with the package, and those in the user's own folder."""
    return sorted({*shipped(), *own()})


def shipped() -> list[str]:
    """The profiles that come with the package."""
    return list(_shipped_names())


@cache
def _shipped_names() -> tuple[str, ...]:
    # asked for at every draw of a camera: reading the folder each time took a fifth of a small batch
    folder = resources.files("isp_sim.cameras") / "profiles"
    return tuple(sorted(e.name.removesuffix(".yaml") for e in folder.iterdir() if e.name.endswith(".yaml")))


def own() -> dict[str, Path]:
    """The user's own profiles, by name. One that comes with the package can't be replaced."""
    folder = own_folder()
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder.is_dir() else {}
    return {name: path for name, path in found.items() if name not in shipped()}


def own_folder() -> Path:
    """``$ISP_SIM_CAMERAS``, else ``isp-sim/cameras`` in the user's configuration folder."""
    if folder := os.environ.get("ISP_SIM_CAMERAS"):
        return Path(folder)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "isp-sim" / "cameras"


def load(name: str) -> Profile:
    """Read a profile by its name, or by the path of a YAML file below the working directory.

    A path has a ``/`` or ends in ``.yaml``. A recipe may come from anyone, so it reaches no file elsewhere: the path
    is relative, and what it leads to, links followed, lies below the working directory.

    Raises
    ------
    ProfileFault
        If there is none of this name, or with everything that is wrong with it.
    """
    path = _own_path(name)
    if path is not None:
        return _parsed(_read(path), str(path))
    if name in shipped():
        return _shipped(name)
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names())}"
    raise ProfileFault(f"unknown camera profile {name!r}: {hint}")


def content(name: str) -> bytes | None:
    """What the file of a profile of the user's own holds; None where it comes with the package."""
    path = _own_path(name)
    return None if path is None else _read(path)


def _own_path(name: str) -> Path | None:
    if "/" in name or "\\" in name or name.endswith((".yaml", ".yml")):
        return _below(name)
    return None if name in shipped() else own().get(name)


@cache
def _shipped(name: str) -> Profile:
    text = (resources.files("isp_sim.cameras") / "profiles" / f"{name}.yaml").read_bytes()
    return parse(text, f"{name}.yaml")


def _below(name: str) -> Path:
    path = Path(name)
    here = Path.cwd().resolve()
    try:
        found = (here / path).resolve()
        inside = not path.is_absolute() and "\\" not in name and found.is_relative_to(here)
    except (OSError, ValueError, RuntimeError):  # a loop of links, or a name that no file can have
        inside = False
    if not inside:
        raise ProfileFault(
            f"unknown camera profile {name!r}: a path must be relative and lead to a file below the working directory; "
            f"profiles in {own_folder()} are found by their name"
        )
    return found


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > located_yaml.LARGEST:
            raise ProfileFault(f"{path}: the file holds {size} bytes; at most {located_yaml.LARGEST} are read")
        return path.read_bytes()
    except OSError as error:
        raise ProfileFault(f"can't read the camera profile {path}: {error.strerror or error}") from None


def parse(text: bytes, name: str) -> Profile:
    """Read a profile from YAML; see `load` for what is raised."""
    document = located_yaml.parse(text, name)
    faults = [f"{name}:{line}: {message}" for line, message in document.faults]
    data: dict[str, Any] = dict(document.data) if isinstance(document.data, dict) else {}
    about = {key: data.pop(key, None) for key in ABOUT}
    faults += [f"{name}: needs {key!r}, a text" for key, value in about.items() if not isinstance(value, str)]
    sensor, wrong = _sensor({key: data.pop(key) for key in Sensor.model_fields if key in data})
    faults += [f"{name}:{document.line(path)}: {message}" for path, message in wrong]
    noise = None
    if "noise" in data:
        noise, wrong = read_noise_law(data.pop("noise"))
        faults += [f"{name}:{document.line(('noise', *path))}: {message}" for path, message in wrong]
    develop = data.pop("develop", list(DEVELOP))
    if not (isinstance(develop, list) and develop and all(isinstance(stage, str) for stage in develop)):
        faults.append(f"{name}:{document.line(('develop',))}: develop is a list of names of stages")
        develop = []
    if isinstance(other := data.get("xyz_to_camera"), str):
        try:
            data["xyz_to_camera"] = _matrices(other)
        except ProfileFault as error:
            faults.append(f"{name}:{document.line(('xyz_to_camera',))}: {error}")
            del data["xyz_to_camera"]
    if not faults and not data and noise is None:
        faults.append(f"{name}: says nothing of colour and nothing of noise")
    state = None
    if data:
        try:
            state = Parameters.bind(CameraState, data)
            faults += _state_faults(name, document, state)
        except ParameterFaults as error:
            faults += [f"{name}:{document.line(path)}: {message}" for path, message in error.faults]
    if noise is not None and "shot" in data:
        faults.append(f"{name}:{document.line(('shot',))}: shot and read stand beside a noise block; give one of them")
    if faults or sensor is None:
        raise ProfileFault("\n".join(faults))
    return Profile(
        **about,
        state=state,
        develop=tuple(develop),
        sensor=sensor,
        noise=noise,
        has_noise="shot" in data or noise is not None,
    )


@cache
def _parsed(text: bytes, name: str) -> Profile:
    return parse(text, name)


def _matrices(name: str) -> list[list[list[float]]]:
    """The matrices of another profile: of one that comes with the package, lest profiles go round in a circle."""
    if name not in shipped():
        close = difflib.get_close_matches(name, shipped(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"matrices can be those of {', '.join(shipped())}"
        raise ProfileFault(f"unknown camera profile {name!r}: {hint}")
    constants: Any = _shipped(name).state_at(None).constants
    return [[list(row) for row in matrix] for matrix in constants.xyz_to_camera]


def _state_faults(name: str, document: located_yaml.Document, state: Parameters) -> list[str]:
    constants: Any = state.constants
    matrices, mix = constants.xyz_to_camera, constants.mix
    if constants.illuminants is None and len(matrices) != len(mix):
        return [f"{name}:{document.line(('mix',))}: {len(matrices)} matrices need as many weights, found {len(mix)}"]
    return []


def _sensor(data: Mapping[str, Any]) -> tuple[Sensor | None, list[tuple[tuple[str | int, ...], str]]]:
    def tuples(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: tuples(item) for key, item in value.items()}
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    try:
        return Sensor.model_validate(tuples(data)), []
    except ValidationError as error:
        return None, [
            (item["loc"], f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}")
            for item in error.errors()
        ]
