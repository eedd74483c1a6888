"""Degraded views of pictures, drawn on the fly by an isp_sim recipe. The same key and view give the same pixels."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isp_sim import Renderer
from isp_sim import recipe as simulator
from isp_sim.deviation import MODES
from isp_sim.distributions import LogUniform
from isp_sim.parameters import dotted
from isp_sim.pipeline import Given, StageStep, Step, Values, walk
from isp_sim.stage import Degradation


@dataclass(frozen=True)
class Views:
    """An isp_sim recipe as a source of views. Picklable."""

    renderer: Renderer

    values: Given | None = None
    """Tensors in place of what the recipe says; see `isp_sim.pipeline.Pipeline.run`. Gradients flow to them."""

    def render(self, clean: Tensor, keys: Sequence[str], epochs: Sequence[int], which: int, of: int) -> Tensor:
        """View number `which` of `of` of every picture (B, 3, H, W), in its epoch; in [0, 1].

        In epoch e the views are the simulator's renderings ``of * e``, ``of * e + 1``, ...: never the same noise twice.
        """
        if len(set(epochs)) == 1:
            return self._at(clean, keys, of * epochs[0] + which)
        out = torch.empty_like(clean)
        for epoch in sorted(set(epochs)):
            rows = [i for i, e in enumerate(epochs) if e == epoch]
            out[rows] = self._at(clean[rows], [keys[i] for i in rows], of * epoch + which)
        return out

    def _at(self, clean: Tensor, keys: Sequence[str], view: int) -> Tensor:
        with nullcontext() if self.values else torch.no_grad():
            rendered: Tensor = self.renderer(clean, tuple(keys), view, values=self.values)
        return rendered.clamp(0, 1)

    def drawn(self, clean: Tensor, keys: Sequence[str], view: int) -> tuple[Tensor, list[dict[str, Drawn]]]:
        """A rendering of every picture (B, 3, H, W), and what was drawn for it.

        Returns
        -------
        tuple
            Pictures in [0, 1]; and for each, by dotted names, what the recipe's laws and deviations drew, the branches
            that its combinators took, and of the camera's state the gains of white balance. Of a law that is even in
            the logarithm, the logarithm.
        """
        with torch.no_grad():
            rendered, values = self.renderer(clean, tuple(keys), view, return_params=True)
        steps = list(walk(self.renderer.recipe.pipeline.steps))
        return rendered.clamp(0, 1), [_drawn(steps, own) for own in values]


Drawn = float | str
"""A number, or one of several choices."""


def _drawn(steps: Sequence[Step], values: Values) -> dict[str, Drawn]:
    found: dict[str, Drawn] = {}
    for step in steps:
        own = values.get(step.id)
        if own is None:  # on a branch that this sample did not take
            continue
        if not isinstance(step, StageStep):
            found |= {f"{step.id}.{name}": str(value) for name, value in own.items() if isinstance(value, int)}
            continue
        laws = {dotted(path): law for path, law in step.parameters.laws.items()}
        for name, value in step.random(own).items():
            # a camera's matrix and curve are undone with it; what its gains do to noise is not
            by_recipe = name in laws or name.endswith(tuple(f" {mode}" for mode in MODES))
            asked = by_recipe or isinstance(step.stage, Degradation) or name.startswith("wb_gains")
            if asked and isinstance(value, bool | int | float | str):
                logarithmic = isinstance(laws.get(name), LogUniform)
                found[f"{step.id}.{name}"] = math.log(float(value)) if logarithmic else _plain(value)
    return found


def _plain(value: bool | float | str) -> Drawn:
    return str(value) if isinstance(value, bool | str) else float(value)


def load_views(node: str | Mapping[str, Any], base: Path) -> tuple[Views, dict[str, Any]]:
    """The views that a recipe asks for, and the simulator's recipe with every default explicit.

    Parameters
    ----------
    node
        The path of an isp_sim recipe, relative to `base`, or such a recipe itself; of that `version`, `input` and
        `output` may be left out.

    Raises
    ------
    isp_sim.recipe.RecipeError
        With everything that is wrong with the recipe.
    """
    if isinstance(node, str):
        found = simulator.read(base / node)
    else:
        found = simulator.parse(json.dumps({"version": simulator.VERSION, **node}), "views")
    if found.reader.signal.layout != "rgb":
        fault = simulator.Fault(
            found.name, 1, f"views are made of pictures; this recipe starts from {found.reader_name}"
        )
        raise simulator.RecipeError([fault])
    resolved = found.resolved
    return Views(Renderer(found)), {key: resolved[key] for key in ("version", "seed", "stages")}
