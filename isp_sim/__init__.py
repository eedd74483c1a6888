"""A camera ISP simulator: photos back to RAW, sensor noise, development and compression, from one YAML recipe."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isp_sim.frame import Capture, Frame
    from isp_sim.render.renderer import Renderer, load
    from isp_sim.signal import Signal
    from isp_sim.stage import Degradation, GeometricStage, Result, Stage

__version__: str

_HOMES = {
    "Capture": "isp_sim.frame",
    "Degradation": "isp_sim.stage",
    "Frame": "isp_sim.frame",
    "GeometricStage": "isp_sim.stage",
    "Renderer": "isp_sim.render.renderer",
    "Result": "isp_sim.stage",
    "Signal": "isp_sim.signal",
    "Stage": "isp_sim.stage",
    "load": "isp_sim.render.renderer",
}

__all__ = [
    "Capture",
    "Degradation",
    "Frame",
    "GeometricStage",
    "Renderer",
    "Result",
    "Signal",
    "Stage",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``isp-sim --help`` does not wait for torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("isp-sim")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'isp_sim' has no attribute {name!r}")
