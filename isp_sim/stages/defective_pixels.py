"""Correction of hot, dead and stuck pixels on the mosaic."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Result, Stage
from isp_sim.stages.same_colour import DIRECTIONS, REACH, Phase, Sites, Surroundings, of_phase, too_wide


class DefectivePixels(Stage):
    """Replaces pixels that stand out from their neighbours of the same colour. Any range in, the same out; does not
    clip.

    The neighbours are the nearest of the same colour in eight directions, on any periodic CFA. A pixel is defective
    if it is brighter than all of them by more than `threshold`, or darker than all; so is one that the map
    ``defects`` marks, when the frame has that map. A marked neighbour counts for nothing. Beyond the edge, and where
    a neighbour is marked, the one on the opposite side stands in.

    The gradient of a replaced pixel flows to its neighbours. Leaves the map ``repaired``, (B, 1, H, W).
    """

    needs = Signal.where(layout="mosaic", levels="unit", transfer="linear")
    halo = REACH
    source = "openISP, dead pixel correction [openISP]"

    class Params(StageParams):
        threshold: float = Field(
            0.05, ge=0, le=10, description="how much brighter or darker than all its neighbours a defect is [1]"
        )
        replace: Literal["gradient", "median"] = Field(
            "gradient",
            description="interpolate between opposite neighbours, in the direction in which they differ least, or take "
            "the median of all",
        )

    def refuses(self, signal: Signal, p: Any) -> str | None:
        return too_wide(signal)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        sites = Sites(str(frame.signal.cfa))
        marked = _marked(frame)
        light, sound = Surroundings(frame.pixels, sites.period), Surroundings(~marked, sites.period)
        pixels, repaired = frame.pixels.clone(), torch.zeros_like(frame.pixels, dtype=torch.bool)
        for phase in sites.phases():
            own = of_phase(pixels, phase, sites.period)
            if not own.numel():
                continue
            around = _Around(sites, phase, light, sound)
            defective = around.stands_out(own.detach(), p.threshold) | of_phase(marked, phase, sites.period)
            defective = defective & around.exist
            if bool(defective.any()):
                own[defective] = around.interpolated(defective) if p.replace == "gradient" else around.median(defective)
                of_phase(repaired, phase, sites.period)[:] = defective
        return Result(pixels, maps={"repaired": repaired})


def _marked(frame: Frame) -> Tensor:
    """The known defects, (B or 1, 1, H, W)."""
    if "defects" in frame.maps:
        return (frame.maps["defects"] != 0).any(dim=1, keepdim=True)
    return torch.zeros((1, 1, *frame.size), dtype=torch.bool, device=frame.pixels.device)


class _Around:
    """The eight neighbours of the sites of a phase, in pairs of opposite ones."""

    def __init__(self, sites: Sites, phase: Phase, light: Surroundings, sound: Surroundings) -> None:
        self._pairs: list[tuple[Tensor, Tensor]] = []
        self._whole: list[Tensor] = []
        """Whether both of a pair are there."""
        self._some: list[Tensor] = []
        """Whether one of them is; it stands in for the other."""
        self._distances: list[tuple[int, int]] = []
        for down, right in DIRECTIONS:
            ahead, behind = (sites.towards(phase, sign * down, sign * right) for sign in (1, -1))
            a, b = light.seen(phase, ahead), light.seen(phase, behind)
            has_a, has_b = sound.seen(phase, ahead), sound.seen(phase, behind)
            self._pairs.append((torch.where(has_a, a, b), torch.where(has_b, b, a)))
            self._whole.append((has_a & has_b).expand_as(a))
            self._some.append((has_a | has_b).expand_as(a))
            self._distances.append((max(map(abs, ahead)), max(map(abs, behind))))
        self.exist = self._some[0] | self._some[1] | self._some[2] | self._some[3]

    def stands_out(self, own: Tensor, threshold: Tensor) -> Tensor:
        lowest, highest = torch.full_like(own, float("inf")), torch.full_like(own, float("-inf"))
        for pair, some in zip(self._pairs, self._some, strict=True):
            for value in pair:
                lowest = torch.where(some, torch.minimum(lowest, value.detach()), lowest)
                highest = torch.where(some, torch.maximum(highest, value.detach()), highest)
        return (own - highest > threshold) | (lowest - own > threshold)

    def interpolated(self, where: Tensor) -> Tensor:
        """In the direction of the least difference, linear between the two; the median where no pair is whole."""
        differences, values = [], []
        for (a, b), whole, (to_a, to_b) in zip(self._pairs, self._whole, self._distances, strict=True):
            a, b, span = a[where], b[where], to_a + to_b
            differences.append(torch.where(whole[where], (a - b).detach().abs(), float("inf")))
            values.append(a * (to_b / span) + b * (to_a / span))
        least = torch.stack(differences).min(dim=0)
        value = torch.stack(values).gather(0, least.indices[None])[0]
        return torch.where(least.values.isinf(), self.median(where), value)

    def median(self, where: Tensor) -> Tensor:
        """The mean of the two in the middle."""
        some = torch.stack([some[where] for some in self._some for _ in range(2)])
        values = torch.stack([value[where] for pair in self._pairs for value in pair])
        ordered = torch.where(some, values, float("inf")).sort(dim=0).values
        half = some.sum(dim=0, keepdim=True) // 2
        return (ordered.gather(0, half - 1)[0] + ordered.gather(0, half)[0]) * 0.5
