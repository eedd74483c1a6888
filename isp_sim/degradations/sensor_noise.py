"""All of a sensor's noise at once, from a camera profile or from its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.cameras import profile as cameras
from isp_sim.cameras.noise import ISO, ROUNDING, Offsets, Shape
from isp_sim.cameras.profile import NoiseLaws
from isp_sim.degradations.fixed_pattern import own_gains, own_offsets
from isp_sim.degradations.read_noise import Scale, read_noise, tukey_lambda_sd
from isp_sim.degradations.sensor import (
    GAIN,
    SENSOR,
    Gain,
    SensorName,
    SensorTerm,
    capture_span,
    counting_noise,
    dn_scale,
    joined_sigma,
    light,
    site_values,
)
from isp_sim.distributions import Normal
from isp_sim.elementary import root
from isp_sim.frame import Frame
from isp_sim.parameters import Parameters, StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal
from isp_sim.stage import Result


class Scatter(StageParams):
    """How far a camera's state lies from the law of its profile."""

    read_deviation: float = Field(0.0, ge=-5, le=5, description="of the read noise, in the law's scatter [sd]")
    row_deviation: float = Field(0.0, ge=-5, le=5, description="of the row noise, in the law's scatter [sd]")


@dataclass(frozen=True)
class State:
    """A sensor's noise, ready to broadcast: gain [DN/e-], all else in DN; `shape` None for normal read noise."""

    gain: Tensor
    read: Tensor
    shape: Tensor | None
    row: Tensor
    offsets: Tensor


class SensorNoise(SensorTerm):
    """Photon and dark-current shot noise, read, row and column noise, fixed pattern, colour bias, quantisation.

    Linear light in and out; zero mean but for the fixed pattern and the colour bias; does not clip. In order: light /
    `ratio`, the pixel's own gain (PRNU), Poisson counts of light and dark electrons less the dark ones' mean, times K,
    own offset (DSNU), colour bias, rows, columns, read noise, quantisation, times `ratio`.

    With a `profile`, gain, read and row noise, shape and colour bias are the camera's at an ISO speed, each camera
    scattering about the profile's law; what is given besides replaces it. Pixels must then be in [0, 1]. Leaves the
    map ``sigma`` of what changes from picture to picture, and the capture's noise_profile and iso.
    """

    source = "Wei et al. 2020, 2021 [Wei2020] [Wei2021]; EMVA 1288 release 4.0 [EMVA1288]"
    writes = ("noise_profile",)

    severities: ClassVar = {
        "ratio": (1.0, 3.0, 10.0, 30.0, 100.0),
        "iso": (1600.0,) * 5,
        "profile": ("eld_sony_a7s2",) * 5,
    }

    class Params(SensorTerm.Params):
        profile: str | None = Field(None, examples=["eld_sony_a7s2"], description="camera profile, by name or path")
        iso: ISO | None = Field(
            None, examples=[200.0, 1600.0], description="ISO speed, with a profile [1]; the capture's if not given"
        )
        scatter: bool = Field(True, description="whether cameras scatter about the law of the profile")
        ratio: float = Field(
            1.0, ge=1, le=1e4, examples=[1.0, 30.0], description="how much darker the scene is, then amplified [factor]"
        )
        gain: Gain | None = Field(None, description=f"{GAIN}; the profile's, or 1")
        photons: Literal["poisson", "gaussian"] = Field("poisson", description="law of the shot noise")
        read: Scale | None = Field(
            None, description="standard deviation, or scale of the Tukey lambda law [DN]; the profile's, or 0"
        )
        shape: Shape | None = Field(None, description="lambda of the read noise [1]; the profile's, or a normal law")
        row: Scale | None = Field(None, description="standard deviation of rows [DN]; the profile's, or 0")
        column: Scale = Field(0.0, description="standard deviation of columns [DN]")
        colour_bias: Offsets | None = Field(
            None, description="offsets of R, G in R's rows, G in B's rows, B [DN]; the profile's, or 0"
        )
        dark: float = Field(0.0, ge=0, le=1e6, description="electrons of the dark current [e-]; their mean is removed")
        sensor: SensorName = Field("sensor", examples=["another sensor"], description=SENSOR)
        dsnu: Scale = Field(0.0, description="standard deviation of the pixels' own offsets [DN]")
        prnu: float = Field(0.0, ge=0, le=0.3, description="standard deviation of the pixels' own gains [fraction]")
        quantisation: Literal["uniform", "round", "none"] = Field(
            "uniform", description="to whole DN: as uniform noise of half a DN, by rounding, or not at all"
        )

        @model_validator(mode="after")
        def _goes_with_profile(self) -> SensorNoise.Params:
            if self.profile is None:
                if self.iso is not None:
                    raise ValueError("iso is given without a profile, which says what noise a speed has")
                return self
            noise_law(self.profile)
            cameras.load(self.profile).check_iso(self.iso)
            return self

    def facts_read(self, p: Any) -> tuple[str, ...]:
        if p.profile is None:
            return super().facts_read(p)
        return ("iso",) if p.iso is None else ()

    def facts_written(self, p: Any) -> tuple[str, ...]:
        return self.writes if p.profile is None else (*self.writes, "iso")

    def requirement(self, p: Any) -> Requirement:
        levels = {} if p.profile is None else {"levels": ("unit",)}
        return Requirement({**self.needs.accepted, **levels})

    def refuses(self, signal: Signal, p: Any) -> str | None:
        by_colour = p.profile is not None or p.colour_bias is not None
        return super().refuses(signal, p) or (signal.no_spread if by_colour else None)

    def is_differentiable(self, p: Any) -> bool:
        return bool(p.quantisation != "round")

    def further(self, values: Mapping[str, Any]) -> Parameters | None:
        if values["profile"] is None or not values["scatter"] or not noise_law(values["profile"]).scatters:
            return None
        normal = Normal(0.0, 1.0, -5.0, 5.0)
        return Parameters(
            Scatter,
            Scatter(),
            MappingProxyType({("read_deviation",): normal, ("row_deviation",): normal}),
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        law = None if p.profile is None else noise_law(p.profile)
        iso = None if law is None else frame.capture["iso"] if p.iso is None else p.iso
        scale, has_dn = self._scale(frame, p, law)
        state = self._state(frame, p, law, iso, scale)
        gain, read = (frame.spread(v) if v.shape[1] == 3 else v for v in (state.gain, state.read))

        level = light(frame, scale) / p.ratio
        fixed = rng.fixed(p.sensor)
        added = level * own_gains(frame, p.prnu, fixed) if _any(p.prnu) else torch.zeros_like(level)
        # in float64: where there are many electrons, float32 does not tell one from the next
        electrons = ((level + added).double() / gain.double()).clamp_min(0) + p.dark
        if p.photons == "poisson":
            counted = counting_noise(electrons, rng, "photons")
        else:
            counted = rng.normal(frame.pixels, purpose="photons") * root(electrons)
        added = added + counted.to(level) * gain
        added = added + read_noise(frame, read, state.shape, rng)
        if p.profile is not None or p.colour_bias is not None:
            added = added + site_values(frame, state.offsets)
        added = added + rng.normal(frame.pixels, (1, frame.size[0], 1), "rows") * state.row
        if _any(p.column):
            added = added + rng.normal(frame.pixels, (1, 1, frame.size[1]), "columns") * p.column
        if _any(p.dsnu):
            added = added + own_offsets(frame, p.dsnu, fixed)

        unit = p.ratio / scale
        quantisation = p.quantisation if has_dn else "none"
        if quantisation == "uniform":
            added = added + (rng.uniform(frame.pixels, purpose="quantisation") - 0.5)
        pixels = frame.pixels + added * unit if quantisation != "round" else _rounded(frame, level + added, unit)

        sd = state.read if state.shape is None else state.read * tukey_lambda_sd(state.shape).to(state.read)
        dark = sd.square() + state.row.square() + p.column.square() + p.dark * state.gain.square()
        dark = dark if quantisation == "none" else dark + ROUNDING
        spread = frame.spread(dark) if dark.shape[1] == 3 else dark
        variance = (electrons - p.dark).to(level) * gain * gain + spread
        # one factor for the whole picture, as a NoiseProfile has it
        whole = p.ratio / (capture_span(frame) if frame.signal.levels == "dn" else scale).amin((1, 2, 3), keepdim=True)
        shot, read_variance = state.gain * whole, dark * whole * whole
        planes = (shot + 0 * read_variance, read_variance + 0 * shot)  # of as many colours
        facts = {"noise_profile": torch.stack([plane[:, :, 0, 0] for plane in planes], dim=-1)}
        if iso is not None:
            facts["iso"] = iso
        return Result(pixels, facts, joined_sigma(frame, variance * unit * unit))

    @staticmethod
    def _scale(frame: Frame, p: Any, law: NoiseLaws | None) -> tuple[Tensor, bool]:
        """DN a unit of the pixels, and whether they are those of an ADC."""
        if law is None or p.span is not None:
            return dn_scale(frame, p.span), True
        if law.dn is not None:
            return torch.full_like(frame.pixels[:, :1, :1, :1], law.dn), True
        return torch.ones_like(frame.pixels[:, :1, :1, :1]), False

    @staticmethod
    def _state(frame: Frame, p: Any, law: NoiseLaws | None, iso: Tensor | None, scale: Tensor) -> State:
        like = frame.pixels
        none = torch.zeros_like(like[:, :1, :1, :1])
        if law is None or iso is None:
            return State(
                none + 1 if p.gain is None else p.gain,
                none if p.read is None else p.read,
                p.shape,
                none if p.row is None else p.row,
                none.expand(-1, 4, -1, -1) if p.colour_bias is None else p.colour_bias,
            )
        drawn = [getattr(p, name, none).flatten().tolist() for name in ("read_deviation", "row_deviation")]
        states = [law.at(*values) for values in zip(iso.flatten().tolist(), *drawn, strict=True)]

        def batched(values: list[Any]) -> Tensor:
            tensor = torch.tensor(values, dtype=torch.float64)
            return tensor.reshape(len(values), -1, 1, 1).to(like)

        # a law for the range [0, 1] becomes one for the DN that its unit has
        unit = 1.0 if law.dn is not None else scale
        has_shape = states[0].shape is not None
        return State(
            batched([s.gain for s in states]) * unit if p.gain is None else p.gain,
            batched([s.read for s in states]) * unit if p.read is None else p.read,
            p.shape if p.shape is not None or not has_shape else batched([s.shape for s in states]),
            batched([s.row for s in states]) if p.row is None else p.row,
            batched([s.offsets for s in states]) if p.colour_bias is None else p.colour_bias,
        )


def noise_law(name: str) -> NoiseLaws:
    """The noise law of a camera profile.

    Raises
    ------
    ProfileFault
        If there is no such profile, or if it says nothing of noise at an ISO speed.
    """
    law = cameras.load(name).noise
    if law is None:
        raise cameras.ProfileFault(
            f"camera profile {name} has no noise at ISO speeds, which sensor_noise needs; "
            "what unprocess draws from it is added by shot_read_noise"
        )
    return law


def _rounded(frame: Frame, level: Tensor, unit: Tensor) -> Tensor:
    """Pixels of a signal above black [DN], in whole DN as a camera writes them, the black level included."""
    if frame.signal.levels == "unit":
        return torch.floor(level + 0.5) * unit
    black = frame.tiled(frame.capture["black_level"])
    return (torch.floor(level + black + 0.5) - black) * unit + black


def _any(x: Tensor) -> bool:
    return bool((x != 0).any())
