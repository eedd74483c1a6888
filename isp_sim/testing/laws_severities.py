"""The law on a degradation's table of severities."""

from __future__ import annotations

from itertools import pairwise

from isp_sim.parameters import ParameterFaults
from isp_sim.stage import SEVERITIES, Degradation
from isp_sim.surroundings import NoSurroundings, Surroundings, at_severity, psnr, sample_photo
from isp_sim.testing.law import Broken, NotApplicable, law
from isp_sim.testing.subject import Subject

SIDE = 160
"""Of the part of a sample photo that is degraded [px]."""


@law(
    "severities",
    "each severity from 1 to 5 is valid, and the PSNR of a developed sample photo against the undegraded one falls "
    "strictly from one to the next",
    "a table in the wrong order, or two severities that a photo can't tell apart",
    after=("class facts", "runs"),
)
def severities(s: Subject) -> str | None:
    table = s.type.severities if issubclass(s.type, Degradation) else {}
    if not table:
        raise NotApplicable("it declares none")
    try:
        steps = [at_severity(s.name, s.type, level) for level in range(1, SEVERITIES + 1)]
    except ParameterFaults as error:
        raise Broken(str(error)) from error
    photo = sample_photo(side=SIDE)
    try:
        around = Surroundings.of(steps[0], photo)
    except NoSurroundings as error:
        return f"not measured: {error}"
    clean = around.render(photo, None).pixels
    found = [psnr(around.render(photo, step).pixels, clean) for step in steps]
    text = ", ".join(f"{value:.1f}" for value in found)
    if any(worse >= better for better, worse in pairwise(found)):
        raise Broken(f"the PSNR is {text} dB")
    return f"{text} dB"
