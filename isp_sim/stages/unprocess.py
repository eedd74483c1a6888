"""From a developed photo back to what a sensor would have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from isp_sim import registry
from isp_sim.cameras import profile as cameras
from isp_sim.cameras.noise import ISO, noise_profile_of
from isp_sim.cameras.profile import NoiseLaws
from isp_sim.colorimetry import WHITES, adaptation, xyz
from isp_sim.colour_temperature import mired_weights, reference_xy
from isp_sim.frame import Frame
from isp_sim.parameters import Parameters, StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Requirement, Signal
from isp_sim.stage import LOST, Recovery, Result, Stage, redo, undo
from isp_sim.stages.camera_matrix import CALIBRATION_ILLUMINANTS, D65
from isp_sim.stages.colour_matrix import camera_to_srgb
from isp_sim.stages.safe_highlights import Highlights, safely


class Unprocess(Stage):
    """Draws a camera's state from a profile and undoes the develop stages with it, last first.

    A developed photo in, linear camera RGB out, not yet a mosaic; does not clip. The state (gains, matrix, tone
    curve, noise) goes into the capture, where the develop stages of the recipe find it again: each stage's own
    inverse is run, so forward and backward can't drift apart. What the photo had lost by saturation is marked in
    the map ``saturated``, (B, 1, H, W); what an inverse can't know, such as that of safe highlights, in ``lost``.
    """

    source = "Brooks et al. 2019 [Brooks2019]; Kim et al. 2012 [Kim2012]"
    halo = 0

    class Params(StageParams):
        profile: str = Field("generic_phone", description="camera profile that the state is drawn from")
        develop: Annotated[tuple[str, ...], Static] = Field(
            cameras.DEVELOP,
            min_length=1,
            description="the stages that made the photo, first to last",
        )
        iso: ISO | None = Field(None, examples=[200.0], description="ISO speed [1]; the profile's law if not given")
        highlights: Highlights = "plain"

        @field_validator("profile")
        @classmethod
        def _known(cls, name: str) -> str:
            cameras.load(name).state_at(None)
            return name

        @model_validator(mode="after")
        def _known_speed(self) -> Unprocess.Params:
            cameras.load(self.profile).check_iso(self.iso)
            return self

        @field_validator("develop")
        @classmethod
        def _invertible(cls, names: tuple[str, ...]) -> tuple[str, ...]:
            for name in names:
                try:
                    stage = registry.load(name, *registry.STAGE_GROUPS)
                except LookupError as error:
                    raise ValueError(str(error)) from None
                if not (issubclass(stage, Stage) and stage.is_invertible()):
                    raise ValueError(f"{name} can't be undone")
            return names

    def requirement(self, p: Any) -> Requirement:
        return _after(_stage(p.develop[-1]))

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        for name in reversed(p.develop):
            stage = _stage(name)
            for field, found, accepted in _after(stage).faults(signal):
                needed = " or ".join(map(str, accepted))
                raise ValueError(
                    f"can't undo {name}, after which {field} is {needed}, not {found}; check the order of develop"
                )
            signal = stage.input_signal(signal, stage.Params())
        if signal.transfer != "linear" or signal.colour != "camera":
            raise ValueError(f"develop must lead back to linear camera RGB; it ends in: {signal}")
        return replace(signal, reference="scene", bit_depth=None)

    def input_signal(self, signal: Signal, p: Any) -> Signal:
        for name in p.develop:
            stage = _stage(name)
            signal = stage.output_signal(signal, stage.Params())
        return signal

    def facts_written(self, p: Any) -> tuple[str, ...]:
        facts = tuple(fact for name in p.develop for fact in _stage(name).facts_read(_stage(name).Params()))
        profile = cameras.load(p.profile)
        constants: Any = profile.state_at(p.iso).constants
        return (
            *facts,
            *(("iso",) if constants.iso is not None else ()),
            *(("noise_profile",) if _has_noise(profile, constants) else ()),
        )

    def remarks(self, p: Any, later: Sequence[str]) -> list[str]:
        missing = [name for name in p.develop if name not in later]
        remarks = [f"undoes {', '.join(missing)}, which no later stage does again"] if missing and later else []
        profile = cameras.load(p.profile)
        if unused := [name for name in profile.develop if name not in p.develop]:
            remarks.append(
                f"profile {p.profile} has {', '.join(unused)}, which develop does not hold; "
                f"it is for [{', '.join(profile.develop)}]"
            )
        return remarks

    def further(self, values: Mapping[str, Any]) -> Parameters:
        return cameras.load(values["profile"]).state_at(values["iso"])

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        facts = camera_facts(p)
        profile = cameras.load(p.profile)
        if p.iso is not None:
            facts["iso"] = p.iso
            if profile.noise is not None:
                facts["noise_profile"] = noise_profile(profile.noise, p.iso)
        capture = frame.capture.with_facts(facts)
        saturated = (frame.pixels >= 1).any(dim=1, keepdim=True)
        undone = replace(frame, capture=capture)
        for name in reversed(p.develop):
            stage = _stage(name)
            own = {"highlights": p.highlights} if "highlights" in stage.Params.model_fields else {}
            undone = undo(name, stage, undone, stage.Params(**own))
        maps = {"saturated": saturated}
        if LOST in undone.maps:
            maps[LOST] = undone.maps[LOST]
        return Result(undone.pixels, {n: capture[n] for n in self.facts_written(p)}, maps)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        """The photo again: the develop stages, first to last, with the state that the capture holds."""
        for name in p.develop:
            frame = redo(name, _stage(name), frame)
        return frame.pixels

    def recovery(self, p: Any) -> Recovery:
        return safely(super().recovery(p), p.highlights)


def camera_facts(p: Any) -> dict[str, Tensor]:
    """The capture facts of a drawn camera state (see `isp_sim.cameras.profile.CameraState`)."""
    if p.illuminants is None:
        xyz_to_camera, gains, kelvin = _mixed(p), p.wb_gains, CALIBRATION_ILLUMINANTS[D65]
        ccm = camera_to_srgb(xyz_to_camera)
    else:
        kelvin = p.temperature[:, 0, 0]
        xyz_to_camera, ccm, gains = _lit(p)
        gains = gains.to(p.temperature) if p.wb_gains is None else p.wb_gains
    color_matrix = xyz_to_camera.to(gains)
    facts = {
        "wb_gains": gains / gains.amin(dim=1, keepdim=True),
        "ccm": ccm.to(gains),
        "color_matrices": torch.stack([color_matrix, color_matrix], dim=1),
        "calibration_illuminants": gains.new_ones(len(color_matrix), 2) * kelvin,
        "tone_curve": p.tone_curve,
        "digital_gain": 1 / p.dimming,
        "noise_profile": torch.stack([p.shot[:, :, 0, 0], p.read[:, :, 0, 0]], dim=-1),
    }
    if isinstance(p.gamut_weights, Tensor):
        width = p.gamut_width[:, :, :, 0].expand(-1, p.gamut_weights.shape[1], -1)
        facts["gamut_map"] = torch.cat([p.gamut_centres, p.gamut_weights, width], dim=2)
    return facts


def _mixed(p: Any) -> Tensor:
    """The camera's own matrix (B, 3, 3), in float64: the mixture of the profile's."""
    mix: Tensor = p.mix.to("cpu", torch.float64)
    mixed = total = mix.new_zeros(())
    for k, matrix in enumerate(p.xyz_to_camera):  # not by a matrix product, whose last bit depends on the batch
        total = total + mix[:, k : k + 1, :, 0]
        mixed = mixed + mix[:, k : k + 1, :, 0] * torch.tensor(matrix, dtype=torch.float64)
    return mixed / total


def _lit(p: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Under each sample's light, in float64: the camera's matrix (B, 3, 3), that to sRGB with colours adapted to its
    white, and the gains (B, 3, 1, 1) that make the light grey."""
    matrices, adapted, gains = [], [], []
    for temperature in p.temperature.flatten().tolist():
        light = reference_xy(temperature)
        matrix = np.einsum("k,kij->ij", mired_weights(p.illuminants, temperature), np.asarray(p.xyz_to_camera))
        matrices.append(matrix)
        adapted.append(matrix @ adaptation(WHITES["D65"], light))
        gains.append((1 / (matrix @ xyz(light))).reshape(3, 1, 1))
    ccm = camera_to_srgb(torch.from_numpy(np.stack(adapted)))
    return torch.from_numpy(np.stack(matrices)), ccm, torch.from_numpy(np.stack(gains))


def noise_profile(law: NoiseLaws, iso: Tensor) -> Tensor:
    """DNG's NoiseProfile (B, n, 2) of a noise law at ISO speeds (B, 1, 1, 1): its middle, without scatter."""
    found = [noise_profile_of(law.at(float(speed)), law.dn) for speed in iso.flatten()]
    planes = max(len(profile) for profile in found)
    return torch.tensor([p if len(p) == planes else p * planes for p in found], dtype=torch.float64).to(iso)


def _has_noise(profile: cameras.Profile, constants: Any) -> bool:
    """Whether its NoiseProfile is known: that of a noise law at an ISO speed only."""
    return profile.has_noise if profile.noise is None else constants.iso is not None


def _stage(name: str) -> Stage:
    stage: Stage = registry.load(name, *registry.STAGE_GROUPS)()
    return stage


def _after(stage: Stage) -> Requirement:
    """The signals that a stage leaves behind it."""
    accepted = {**stage.needs.accepted, **{name: (value,) for name, value in stage.gives.items()}}
    return Requirement({name: values for name, values in accepted.items() if name != "bit_depth"})
