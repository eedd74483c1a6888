"""From a developed photo back to what a sensor would have seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from isp_sim import registry
from isp_sim.cameras import profile as cameras
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
        highlights: Highlights = "plain"

        @field_validator("profile")
        @classmethod
        def _known(cls, name: str) -> str:
            cameras.load(name)
            return name

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
        return (*facts, "noise_profile") if cameras.load(p.profile).has_noise else facts

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
        return cameras.load(values["profile"]).state

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        capture = frame.capture.with_facts(camera_facts(p))
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
    mix = p.mix.to("cpu", torch.float64)
    total = mix[:, :1].new_zeros(())
    mixed = total
    for k, matrix in enumerate(p.xyz_to_camera):  # not by a matrix product, whose last bit depends on the batch
        total = total + mix[:, k : k + 1, :, 0]
        mixed = mixed + mix[:, k : k + 1, :, 0] * torch.tensor(matrix, dtype=torch.float64)
    color_matrix = (mixed / total).to(p.wb_gains)
    facts = {
        "wb_gains": p.wb_gains / p.wb_gains.amin(dim=1, keepdim=True),
        "ccm": camera_to_srgb(mixed / total).to(p.wb_gains),
        "color_matrices": torch.stack([color_matrix, color_matrix], dim=1),
        "calibration_illuminants": p.wb_gains.new_full((len(color_matrix), 2), CALIBRATION_ILLUMINANTS[D65]),
        "tone_curve": p.tone_curve,
        "digital_gain": 1 / p.dimming,
        "noise_profile": torch.stack([p.shot[:, :, 0, 0], p.read[:, :, 0, 0]], dim=-1),
    }
    if isinstance(p.gamut_weights, Tensor):
        width = p.gamut_width[:, :, :, 0].expand(-1, p.gamut_weights.shape[1], -1)
        facts["gamut_map"] = torch.cat([p.gamut_centres, p.gamut_weights, width], dim=2)
    return facts


def _stage(name: str) -> Stage:
    stage: Stage = registry.load(name, *registry.STAGE_GROUPS)()
    return stage


def _after(stage: Stage) -> Requirement:
    """The signals that a stage leaves behind it."""
    accepted = {**stage.needs.accepted, **{name: (value,) for name, value in stage.gives.items()}}
    return Requirement({name: values for name, values in accepted.items() if name != "bit_depth"})
