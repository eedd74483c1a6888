"""Degraded views of pictures, drawn on the fly by an isp_sim recipe. The same key and view give the same pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isp_sim import Renderer
from isp_sim import recipe as simulator


@dataclass(frozen=True)
class Views:
    """An isp_sim recipe as a source of views. Picklable."""

    renderer: Renderer

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
        with torch.no_grad():
            rendered: Tensor = self.renderer(clean, tuple(keys), view)
        return rendered.clamp(0, 1)


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
