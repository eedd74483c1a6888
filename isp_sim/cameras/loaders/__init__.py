"""Readers of the tables that users have, one file each: what they find becomes a camera profile.

A loader has ``read(path, camera)``. It returns the document of a profile, plain values ready for YAML, and raises
`LoaderFault`. Nothing in a file is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from isp_sim.cameras.loaders.table import LoaderFault

__all__ = ["FORMATS", "LoaderFault", "read"]

FORMATS: Final[Mapping[str, str]] = {
    "darktable": "noiseprofiles.json of darktable",
    "eld": "noise parameters of ELD, .npy or .json",
    "rawspeed": "cameras.xml of rawspeed",
    "rawtoaces": "spectral sensitivities, JSON of rawtoaces",
    "raw_file": "a DNG, or any RAW file that LibRaw reads",
}
"""The loaders, by the name of their file."""


def read(format: str, path: Path, camera: str | None = None) -> dict[str, Any]:
    """A profile's document from a file of one of the `FORMATS`; see there for what is raised."""
    document: dict[str, Any] = import_module(f"isp_sim.cameras.loaders.{format}").read(path, camera)
    return document
