"""Noise reduction on the mosaic, before anything mixes the samples' noise."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Structural
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage
from isp_sim.stages.same_colour import REACH, Sites, Surroundings, of_phase


class RawDenoise(Stage):
    """Averages each sample with its neighbours of the same colour, as far as noise explains why they differ. Any range
    in, the same out; does not clip.

    A bilateral filter, on any periodic CFA: a neighbour counts by exp(-d^2 / 2 s^2) of its distance d, and by
    exp(-v^2 / 2 r^2) of its difference v. The range r is `strength` times the standard deviation that the noise
    profile gives to the mean of the neighbourhood, so one strength suits every ISO speed and every brightness. Beyond
    the edge there are no neighbours.

    Flat fields are left as they are to the bit, and so is everything where there is no noise.
    """

    needs = Signal.where(layout="mosaic", white_balanced=False, levels="unit", transfer="linear")
    halo = REACH
    source = "Tomasi and Manduchi 1998 [Tomasi1998]; DNG 1.7.1, NoiseProfile [DNG2023]"

    class Params(StageParams):
        strength: float = Field(3.0, ge=0, le=100, description="range, in standard deviations of the noise [1]")
        radius: Annotated[int, Structural] = Field(
            4, ge=1, le=REACH, description="how far off the neighbours may lie [px]"
        )
        spread: float = Field(2.0, gt=0, le=100, description="standard deviation of the weight of distances [px]")
        shot: float | None = Field(
            None,
            ge=0,
            le=1,
            description="S of NoiseProfile, variance a unit of signal [1]; the capture's if not given",
        )
        read: float | None = Field(
            None,
            ge=0,
            le=1,
            description="O of NoiseProfile, variance in the dark [1]; the capture's, or 0 with a shot",
        )

        @model_validator(mode="after")
        def _shot_first(self) -> RawDenoise.Params:
            if self.read is not None and self.shot is None:
                raise ValueError("read is given without shot; for read noise alone write shot: 0")
            return self

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("noise_profile",) if p.shot is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        sites = Sites(str(frame.signal.cfa))
        light = Surroundings(frame.pixels, sites.period)
        exist = Surroundings(torch.ones_like(frame.pixels[:1]), sites.period)
        out = frame.pixels.clone()
        for phase in sites.phases():
            own = of_phase(frame.pixels, phase, sites.period)
            offsets = sites.within(phase, p.radius)
            if not offsets or not own.numel():
                continue
            # sums of differences, which are exactly 0 on a flat field
            total, number = torch.zeros_like(own), torch.ones_like(own[:1])
            for offset in offsets:
                there = exist.seen(phase, offset)
                total = total + (light.seen(phase, offset) - own) * there
                number = number + there
            shot, read = _profile(frame, p, phase.letter)
            variance = shot * (own + total / number).clamp_min(0) + read
            # where there is no noise, any difference at all is too much
            scale = 1 / (2 * p.strength * p.strength * variance).clamp_min(1e-30)
            total, weights = torch.zeros_like(own), torch.ones_like(own)
            for dy, dx in offsets:
                difference = light.seen(phase, (dy, dx)) - own
                near = torch.exp((dy * dy + dx * dx) / (-2 * p.spread * p.spread))
                weight = torch.exp(-(difference * difference) * scale) * (near * exist.seen(phase, (dy, dx)))
                total = total + weight * difference
                weights = weights + weight
            of_phase(out, phase, sites.period)[:] = own + total / weights
        return out


def _profile(frame: Frame, p: Any, letter: str) -> tuple[Tensor, Tensor]:
    """S and O of a colour, (B, 1, 1, 1) each."""
    if p.shot is not None:
        return p.shot, torch.zeros_like(p.shot) if p.read is None else p.read
    profile = frame.capture["noise_profile"]
    if profile.shape[1] == 1:
        plane = 0
    elif letter in "RGB" and profile.shape[1] == 3:
        plane = "RGB".index(letter)
    else:
        raise ValueError(f"the noise profile has {profile.shape[1]} planes, none of which is known to be {letter}'s")
    return profile[:, plane, 0, None, None, None], profile[:, plane, 1, None, None, None]
