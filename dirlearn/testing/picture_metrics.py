"""Laws of measures of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dirlearn.metrics.picture_metric import PictureMetric
from dirlearn.testing.component import Subject, check_generators, docstring
from isp_sim.randomness import generator
from isp_sim.testing import laws_declared
from isp_sim.testing.law import Broken, Law, NotApplicable, law

LEAST: Final = 48
"""Shorter side of the pictures, where a measure takes them [px]."""
RUNS: Final = ("class facts", "runs")


class PictureSubject(Subject):
    """A measure of pictures."""

    plugin: Any

    @cached_property
    def metrics(self) -> list[tuple[str, Any]]:
        return [(str(setting), self.make(setting)) for setting in self.settings]

    def cases(self) -> Iterator[tuple[str, Any, Tensor, Tensor, Tensor]]:
        """A name, a measure, a clean picture, and the same with little and with much noise."""
        for where, metric in self.metrics:
            side = max(metric.needed, LEAST)
            for height, width in ((side, side), (side + 5, side + 18)):
                rng = generator(0, f"{height}x{width}", 0, "kit", "pictures")
                smooth = gaussian_filter(rng.random((3, height, width)), (0, 2, 2)) * 4 - 1.5
                noise = rng.normal(0, 1, smooth.shape)
                made = (np.clip(smooth + scale * noise, 0, 1) for scale in (0, 0.03, 0.2))
                clean, little, much = (torch.from_numpy(x).float()[None] for x in made)
                yield f"{where}, {height}x{width}", metric, clean, little, much


@law(
    "class facts",
    "label is a text, digits a number from 0, better is higher or lower, alone says whether it needs no clean picture",
    "a fact that is missing, or another word for it",
)
def class_facts(s: Subject) -> str | None:
    plugin: Any = s.plugin
    faults = []
    if not (isinstance(getattr(plugin, "label", None), str) and plugin.label.strip()):
        faults.append(f"label is {getattr(plugin, 'label', 'missing')!r}")
    if not (isinstance(plugin.digits, int) and 0 <= plugin.digits <= 12):
        faults.append(f"digits is {plugin.digits!r}")
    if plugin.better not in ("higher", "lower"):
        faults.append(f"better is {plugin.better!r}")
    if not isinstance(plugin.alone, bool):
        faults.append(f"alone is {plugin.alone!r}")
    if not issubclass(plugin.Params, PictureMetric.Params):
        faults.append(f"Params is {plugin.Params!r}, not derived from PictureMetric.Params")
    if faults:
        raise Broken("; ".join(faults))
    return None


@law(
    "runs",
    "of pictures of any size from the smallest, the figure is a finite number, and they are left as they were",
    "a tensor in place of a number, a smallest size that is not said, an operation in place",
    after=("class facts",),
)
def runs(s: PictureSubject) -> str | None:
    for where, metric, clean, little, _ in s.cases():
        kept = [clean.clone(), little.clone()]
        value = metric(little, clean)
        if not (isinstance(value, float) and math.isfinite(value)):
            raise Broken(f"{where}: the figure is {value!r}")
        if not all(map(torch.equal, kept, (clean, little))):
            raise Broken(f"{where}: it changed a picture")
    return None


@law(
    "best",
    "no picture has a better figure than the clean one itself, and more noise has a worse one",
    "`better` the wrong way round, the two pictures exchanged",
    after=RUNS,
)
def best(s: PictureSubject) -> str | None:
    if s.plugin.alone:
        raise NotApplicable("it looks at the picture alone")
    sign = 1 if s.plugin.better == "higher" else -1
    for where, metric, clean, little, much in s.cases():
        values = [metric(x, clean) for x in (clean, little, much)]
        if sorted(values, key=lambda v: -sign * v) != values or len(set(values)) < 3:
            raise Broken(f"{where}: equal, a little noise, much of it: " + ", ".join(f"{v:.6g}" for v in values))
    return None


@law(
    "alone",
    "a measure that looks at the picture alone gives the same beside any clean picture",
    "`alone` said of a measure that compares",
    after=RUNS,
)
def alone(s: PictureSubject) -> str | None:
    if not s.plugin.alone:
        raise NotApplicable("it compares two pictures")
    for where, metric, clean, little, much in s.cases():
        if metric(little, clean) != metric(little, much):
            raise Broken(f"{where}: beside another clean picture it gives another figure")
    return None


@law(
    "border",
    "a border is not measured: the figure is that of the pictures without it",
    "a `__call__` of one's own that forgets it",
    after=RUNS,
)
def border(s: PictureSubject) -> str | None:
    for setting in s.settings:
        plain, framed = s.make({**setting, "border": 0}), s.make({**setting, "border": 3})
        side = max(framed.needed, LEAST)
        rng = generator(0, "border", 0, "kit", "pictures")
        clean, found = (torch.from_numpy(rng.random((1, 3, side, side + 6))).float() for _ in range(2))
        inner = [x[..., 3:-3, 3:-3] for x in (found, clean)]
        if framed(found, clean) != plain(*inner):
            raise Broken(f"{setting}: it is measured along")
    return None


@law(
    "own generators",
    "the global generators are neither read nor advanced",
    "patches drawn at random",
    after=RUNS,
)
def own_generators(s: PictureSubject) -> str | None:
    for where, metric, clean, little, _ in s.cases():

        def run(metric: Any = metric, clean: Tensor = clean, little: Tensor = little) -> Tensor:
            return torch.tensor(metric(little, clean), dtype=torch.float64)

        check_generators(run, where)
    return None


LAWS: Final[tuple[Law, ...]] = (
    class_facts,
    docstring,
    laws_declared.documented,
    laws_declared.bounded,
    runs,
    best,
    alone,
    border,
    own_generators,
)


def suited(name: str, plugin: Any, given: Any) -> tuple[Subject, tuple[Law, ...]]:
    """What is tested, and by which laws.

    Raises
    ------
    TypeError
        If the plugin is no measure of pictures.
    """
    if not (isinstance(plugin, type) and issubclass(plugin, PictureMetric)):
        raise TypeError(f"{name} is no PictureMetric")
    return PictureSubject(name, plugin, given), LAWS
