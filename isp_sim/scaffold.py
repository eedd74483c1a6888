"""What `isp-sim plugin new` writes: an installable package with a working plugin and its test."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template
from typing import Final

from isp_sim import registry

GROUPS: Final = {
    "stage": "isp_sim.stages",
    "degradation": "isp_sim.degradations",
    "demosaicer": "isp_sim.demosaicers",
}

PYPROJECT: Final = Template("""\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "A $kind for isp_sim."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["isp-sim"]

[project.entry-points."$group"]
$module = "$module:$class_name"

[tool.hatch.build.targets.wheel]
packages = ["src/$module"]
""")

README: Final = Template("""\
# $distribution

A $kind for isp_sim.

```console
$$ pip install -e .
$$ isp-sim show $module
$$ isp-sim plugin check $module
```

Then its name is good in any recipe:

```yaml
version: 1
input: {reader: samples}
stages:
$recipe
output: {path: out}
```

Tests: `pytest`.
""")

RECIPES: Final = {
    "degradation": """\
  - srgb_eotf
  - $module: {red: 1.2, blue: 0.9}
  - clip
  - srgb_oetf""",
    "stage": """\
  - srgb_eotf
  - $module: {gamma: 2.2}""",
    "demosaicer": """\
  - unprocess
  - mosaic
  - white_balance
  - demosaic: {method: $module}
  - colour_matrix
  - tone_curve
  - clip
  - srgb_oetf""",
}

SOURCES: Final = {
    "degradation": Template('''\
"""A colour cast."""

from __future__ import annotations

from typing import Any

import torch
from isp_sim import Degradation, Frame, Signal
from isp_sim.parameters import StageParams
from pydantic import Field
from torch import Tensor


class $class_name(Degradation):
    """Tints the light: red and blue are multiplied, green stays. Linear light in, linear light out; does not clip."""

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit")
    halo = 0

    class Params(StageParams):
        red: float = Field(1.1, ge=0.1, le=10, description="gain of red [factor]")
        blue: float = Field(0.9, ge=0.1, le=10, description="gain of blue [factor]")

    def apply(self, frame: Frame, p: Any, rng: Any) -> Tensor:
        # p.red is (B, 1, 1, 1): one value for each picture of the batch
        return frame.pixels * torch.cat([p.red, torch.ones_like(p.red), p.blue], dim=1)
'''),
    "stage": Template('''\
"""A power-law transfer curve."""

from __future__ import annotations

from typing import Any

from isp_sim import Frame, Signal, Stage
from isp_sim.elementary import power
from isp_sim.parameters import StageParams
from pydantic import Field
from torch import Tensor


class $class_name(Stage):
    """Encodes linear light by x^(1 / gamma); negative light becomes 0. Does not clip above 1."""

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit")
    gives = Signal.change(transfer="gamma", reference="display")
    halo = 0

    class Params(StageParams):
        gamma: float = Field(2.2, ge=1, le=4, description="exponent of the display that decodes it [1]")

    def apply(self, frame: Frame, p: Any, rng: Any) -> Tensor:
        # not torch.pow, whose last bit depends on the shape of the batch
        return power(frame.pixels, 1 / p.gamma)
'''),
    "demosaicer": Template('''\
"""Demosaicing by a small tent filter."""

from __future__ import annotations

import torch
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.signal import cfa_rows
from torch import Tensor
from torch.nn.functional import pad


class $class_name(Demosaicer):
    """Each colour is the mean of its samples in 3x3 sites, weighted by 4, 2 and 1. Stays within their range."""

    preserves_samples = False
    linear = True
    border = "mirrored about the outermost samples"
    halo = 1
    smallest = 2

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        rows, columns = (-(-side // 2) for side in mosaic.shape[-2:])
        extended = pad(mosaic, (1, 1, 1, 1), mode="reflect")
        planes = []
        for colour in "RGB":
            cell = torch.tensor([[letter == colour for letter in row] for row in cfa_rows(cfa)], device=mosaic.device)
            mask = cell.repeat(rows, columns)[: mosaic.shape[-2], : mosaic.shape[-1]].to(mosaic)[None, None]
            mask = pad(mask, (1, 1, 1, 1), mode="reflect")
            planes.append(_tent(extended * mask) / _tent(mask))
        return torch.cat(planes, dim=1)


def _tent(x: Tensor) -> Tensor:
    """Weighted sum of 3x3 sites. Shifts and sums, because the last bit of a convolution depends on its shape."""
    centre = x[..., 1:-1, 1:-1]
    edges = (x[..., :-2, 1:-1] + x[..., 2:, 1:-1]) + (x[..., 1:-1, :-2] + x[..., 1:-1, 2:])
    corners = (x[..., :-2, :-2] + x[..., 2:, 2:]) + (x[..., :-2, 2:] + x[..., 2:, :-2])
    return centre * 4 + (edges * 2 + corners)
'''),
}

CONFORMS: Final = """\
from isp_sim.testing import assert_conforms

from $module import $class_name


def test_it_conforms() -> None:
    assert_conforms($class_name)


"""

TESTS: Final = {
    "degradation": Template(
        """\
import torch
from isp_sim import Frame, Signal
from isp_sim.parameters import Parameters
from isp_sim.pipeline import Pipeline, StageStep
"""
        + CONFORMS
        + """\
def test_green_is_not_touched() -> None:
    parameters = Parameters.bind($class_name.Params, {"red": 2.0, "blue": 0.5})
    pipeline = Pipeline((StageStep("cast", "cast", $class_name(), parameters),))
    frame = Frame(torch.rand(1, 3, 4, 5), Signal(transfer="linear"))
    expected = frame.pixels * torch.tensor([2.0, 1.0, 0.5]).reshape(1, 3, 1, 1)
    assert torch.equal(pipeline.run(frame).frame.pixels, expected)
"""
    ),
    "stage": Template(
        """\
import torch
from isp_sim import Frame, Signal
from isp_sim.parameters import Parameters
from isp_sim.pipeline import Pipeline, StageStep
"""
        + CONFORMS
        + """\
def test_the_display_undoes_it() -> None:
    parameters = Parameters.bind($class_name.Params, {"gamma": 2.0})
    pipeline = Pipeline((StageStep("gamma", "gamma", $class_name(), parameters),))
    frame = Frame(torch.rand(1, 3, 4, 5), Signal(transfer="linear"))
    encoded = pipeline.run(frame).frame
    assert encoded.signal.transfer == "gamma"
    torch.testing.assert_close(encoded.pixels.square(), frame.pixels)
"""
    ),
    "demosaicer": Template(
        """\
import torch
"""
        + CONFORMS
        + """\
def test_a_flat_colour_stays() -> None:
    mosaic = torch.tensor([[0.2, 0.5], [0.5, 0.9]]).repeat(3, 3)[None, None]
    rgb = $class_name().demosaic(mosaic, "RGGB")
    assert torch.equal(rgb, torch.tensor([0.2, 0.5, 0.9]).reshape(1, 3, 1, 1).expand(1, 3, 6, 6))
"""
    ),
}


def new(name: str, kind: str, parent: Path) -> Path:
    """Write a package that holds one plugin.

    Parameters
    ----------
    name
        Of the distribution, such as ``my-degradation``; the module and the plugin are called ``my_degradation``.
    kind
        ``stage``, ``degradation`` or ``demosaicer``.
    parent
        The folder to make the package's folder in.

    Returns
    -------
    Path
        The package's folder.

    Raises
    ------
    ValueError
        If the name can't be a distribution's and a module's, is taken by what is installed, or the kind is unknown.
    FileExistsError
        If the folder exists.
    """
    if kind not in GROUPS:
        raise ValueError(f"unknown kind {kind!r}; there are {', '.join(GROUPS)}")
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or keyword.iskeyword(module):
        raise ValueError(f"{name!r} can't be a package's name; use small letters, digits and '-', as in my-degradation")
    if importlib.util.find_spec(module) is not None:
        raise ValueError(f"{name!r} can't be a package's name here: a module {module} is installed already")
    if module in registry.names(*registry.GROUPS):
        raise ValueError(f"{name!r} can't be a package's name here: a plugin {module} is registered already")
    values = {
        "distribution": name,
        "module": module,
        "kind": kind,
        "group": GROUPS[kind],
        "class_name": "".join(part.capitalize() for part in module.split("_")),
    }
    values["recipe"] = Template(RECIPES[kind]).substitute(values)
    files = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"src/{module}/__init__.py": SOURCES[kind],
        f"tests/test_{module}.py": TESTS[kind],
    }
    folder = parent / name
    folder.mkdir(parents=True)
    for path, template in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(template.substitute(values), encoding="utf-8")
    (folder / "src" / module / "py.typed").touch()
    return folder
