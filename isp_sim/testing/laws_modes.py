"""Laws on a stage that is exact in one mode and smooth in another."""

from __future__ import annotations

import typing
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from isp_sim.testing.comparing import other_bits
from isp_sim.testing.law import BITS, Broken, NotApplicable, law
from isp_sim.testing.laws_numbers import slope_of
from isp_sim.testing.subject import KEYS, MEDIUM, Setting, Subject

SLACK: Final = 3.0
"""How many times the measured gap a declared one may be, so that it says something."""
MODES: Final = ("exact", "soft")


@law(
    "soft twin",
    "of a stage with the modes exact and soft, soft_gap bounds the mean absolute difference between the two on "
    f"pictures in [0, 1], with default parameters, and is at most {SLACK:g} times it; in mode soft, gradients are "
    "finite and not zero everywhere; mode straight_through has the bits of exact, and gradients too",
    "soft_gap left out, or left over from other defaults; a soft mode that is the exact one",
    after=(*BITS, "gradient"),
)
def soft_twin(s: Subject) -> str | None:
    modes = typing.get_args(s.model.model_fields["mode"].annotation) if "mode" in s.model.model_fields else ()
    declared = s.type.soft_gap
    if not set(MODES) <= set(modes):
        if declared is not None:
            raise Broken(f"soft_gap is {declared:g}, but there is no parameter mode with exact and soft")
        raise NotApplicable("it has no modes exact and soft")
    if declared is None:
        raise Broken("it has the modes exact and soft, and soft_gap says nothing of their gap")
    gaps = []
    for setting in s.settings:
        if setting.backward or setting.case is not s.cases[0]:
            continue
        exact, soft = (_run(s, setting, mode) for mode in MODES)
        gaps.append(float((exact - soft).abs().mean(dtype=torch.float64)))
        _check_gradient(s, setting, "soft")
        if "straight_through" in modes:
            _check_gradient(s, setting, "straight_through")
            if text := other_bits(_run(s, setting, "straight_through"), exact):
                raise Broken(f"{setting}: in mode straight_through {text}")
    measured = max(gaps)
    if measured > declared:
        raise Broken(f"the gap is {measured:.3g}, more than the soft_gap {declared:g}")
    if declared > SLACK * measured:
        raise Broken(f"the gap is {measured:.3g}, and the soft_gap {declared:g} says too little")
    return f"{measured:.2g} apart"


def _in_mode(s: Subject, setting: Setting, mode: str) -> Setting:
    return s.fitted(replace(setting, case=setting.case.with_value("mode", mode)))


def _run(s: Subject, setting: Setting, mode: str) -> Tensor:
    """The pixels in a mode, of a picture in [0, 1]."""
    setting = _in_mode(s, setting, mode)
    frame = s.frame(setting, KEYS[:3], setting.size(MEDIUM))
    frame = replace(frame, pixels=frame.pixels.clamp(0, 1))
    return s.apply(setting, frame, s.values(setting, KEYS[:3])).pixels


def _check_gradient(s: Subject, setting: Setting, mode: str) -> None:
    setting = _in_mode(s, setting, mode)
    if not s.stage.is_differentiable(setting.constants):
        raise Broken(f"{setting}: is_differentiable says no")
    slope = slope_of(s, setting, inside=False)
    if slope is None or not bool((slope != 0).any()):
        raise Broken(f"{setting}: the gradient is zero everywhere")
    if not bool(slope.isfinite().all()):
        raise Broken(f"{setting}: slopes are NaN or infinite")
