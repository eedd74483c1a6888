"""The shortest chain from a photo to what a stage needs, and back to a photo: to see or measure one stage alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from isp_sim import registry
from isp_sim.formats.samples import Samples
from isp_sim.frame import Frame
from isp_sim.pipeline import Pipeline, StageStep, State, Step
from isp_sim.stage import Stage

Entry = tuple[str, dict[str, Any]]

_DEVELOP: Final[tuple[Entry, ...]] = (
    ("colour_matrix", {}),
    ("tone_curve", {}),
    ("clip", {}),
    ("srgb_oetf", {}),
)
CHAINS: Final[tuple[tuple[tuple[Entry, ...], tuple[Entry, ...]], ...]] = (
    ((), (("clip", {}),)),
    (
        (("unprocess", {}), ("mosaic", {})),
        # highlights that lie above 1 in some channels alone would turn magenta; below 0 noise keeps its mean
        (("white_balance", {}), ("clip", {"low": -1.0}), ("demosaic", {"method": "malvar2004"}), *_DEVELOP),
    ),
    ((("unprocess", {}),), (("white_balance", {}), *_DEVELOP)),
    ((("unprocess", {}), ("white_balance", {})), _DEVELOP),
    ((("srgb_eotf", {}),), (("clip", {}), ("srgb_oetf", {}))),
    ((("rgb_to_ycbcr", {}),), (("ycbcr_to_rgb", {}), ("clip", {}))),
)
"""What may come before and after a stage. The first that fits is taken, so light comes as a mosaic where it can."""


class NoSurroundings(ValueError):
    """None of the chains leads to the signal that a stage needs."""


@dataclass(frozen=True)
class Surroundings:
    """What leads from a photo to a stage, and from there to a photo again."""

    before: tuple[Step, ...]
    after: tuple[Step, ...]

    @classmethod
    def of(cls, step: StageStep, photo: Frame) -> Surroundings:
        """The first of `CHAINS` that fits a step.

        Raises
        ------
        NoSurroundings
            If none does, with what the last of them lacked.
        """
        reason = "there is no chain"
        for before, after in CHAINS:
            found = cls(_steps(before, "before"), _steps(after, "after"))
            _, problems = Pipeline((*found.before, step, *found.after)).check(State(photo.signal))
            fatal = [problem for problem in problems if problem.fatal]
            if not fatal:
                return found
            reason = fatal[0].message
        raise NoSurroundings(f"no chain from a photo leads to {step.name} and back: {reason}")

    def around(self, step: StageStep | None) -> tuple[Step, ...]:
        """The whole chain; without a step, what is around it alone."""
        return (*self.before, *(() if step is None else (step,)), *self.after)

    def render(self, photo: Frame, step: StageStep | None, seed: int = 0) -> Frame:
        """The photo after the whole chain; without a step, as it would be undegraded."""
        return Pipeline(self.around(step), seed).run(photo).frame


def _steps(entries: tuple[Entry, ...], place: str) -> tuple[Step, ...]:
    return tuple(
        StageStep.read(f"{place} {number}", name, registry.load(name, *registry.STAGE_GROUPS), parameters)
        for number, (name, parameters) in enumerate(entries)
    )


def at_severity(name: str, stage: type[Stage], severity: int) -> StageStep:
    """A degradation at one of its severities, under an id that does not depend on it: the draws are the same."""
    return StageStep.read(name, name, stage, {"severity": severity})


def sample_photo(name: str = "astronaut.png", side: int | None = None) -> Frame:
    """A photo that comes with the program; with a `side`, a square of its middle, so many pixels wide."""
    reader = Samples(Samples.Params(names=(name,)))
    frame = reader.read(reader.items()[0]).frame
    if side is None:
        return frame
    height, width = frame.size
    return frame.crop((height - side) // 2, (width - side) // 2, side, side)


def psnr(a: Tensor, b: Tensor) -> float:
    """Of two pictures in [0, 1] [dB]; infinite if they are equal."""
    mse = float((a - b).to("cpu", torch.float64).square().mean())
    return math.inf if mse == 0 else -10 * math.log10(mse)
