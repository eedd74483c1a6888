"""Plugins by name, through entry points. Listing imports nothing; one name loads one plugin.

Built-ins register in this project's own metadata, the same way as a third party's plugins do. A plugin that
fails to import costs one warning and its own name; two distributions that claim one name disable that name alone.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Final

GROUPS: Final = (
    "isp_sim.stages",
    "isp_sim.degradations",
    "isp_sim.demosaicers",
    "isp_sim.readers",
    "isp_sim.writers",
)
"""The groups of the simulator; dirlearn has its own."""
STAGE_GROUPS: Final = ("isp_sim.stages", "isp_sim.degradations")
"""Both are found under a recipe's ``stages``."""

OPTIONAL: Final[Mapping[str, str]] = {
    "vignetting": "isp-sim-lens",
    "lateral_chromatic_aberration": "isp-sim-lens",
    "flare": "isp-sim-lens",
    "haze": "isp-sim-haze",
    "tuba": "dirlearn-tuba",
    "timm": "dirlearn-timm",
    "deeplabv3": "dirlearn-torchvision",
    "retinanet": "dirlearn-torchvision",
    "fcos": "dirlearn-torchvision",
    "mask_rcnn": "dirlearn-torchvision",
    "niqe": "dirlearn-pyiqa",
    "nrqm": "dirlearn-pyiqa",
    "hyperiqa": "dirlearn-pyiqa",
    "lpips": "dirlearn-pyiqa",
}
"""Known plugins that are installed separately: name to distribution."""


class UnknownPlugin(LookupError):
    """No plugin of this name is installed."""

    def __init__(self, name: str, groups: tuple[str, ...]) -> None:
        self.name, self.groups = name, groups
        self.nearest = next(iter(difflib.get_close_matches(name, names(*groups), n=1, cutoff=0.6)), None)
        super().__init__(name)

    def __str__(self) -> str:
        kinds = sorted({group.rpartition(".")[2].removesuffix("s") for group in self.groups})
        kind = " or ".join(kinds) if len(kinds) < 3 else "plugin"
        if self.name in OPTIONAL:
            return f"{kind} {self.name!r} is not installed: pip install {OPTIONAL[self.name]}"
        hint = f"did you mean {self.nearest!r}?" if self.nearest else "`isp-sim list` shows what is installed"
        return f"unknown {kind} {self.name!r}: {hint}"


class BrokenPlugin(LookupError):
    """A plugin of this name is installed, but can't be used."""


@cache
def _everything() -> EntryPoints:
    return entry_points()  # type: ignore[return-value]  # the stub knows the older signature


@cache
def _index(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Entry points of a group by name; one distribution that is found twice counts once."""
    found: dict[str, list[EntryPoint]] = {}
    for point in _everything().select(group=group):
        found.setdefault(point.name, []).append(point)
    return {name: _once(points) for name, points in sorted(found.items())}


def _once(points: list[EntryPoint]) -> tuple[EntryPoint, ...]:
    if len(points) == 1:  # asking for the distribution's name parses its metadata, which takes time
        return tuple(points)
    return tuple({(distribution(point), point.value): point for point in points}.values())


def refresh() -> None:
    """Forget what was found, after packages were installed or removed."""
    _everything.cache_clear()
    _index.cache_clear()
    load.cache_clear()
    _imported.cache_clear()


def distribution(point: EntryPoint) -> str:
    """The name of the distribution that an entry point belongs to."""
    return point.dist.name if point.dist is not None else "an unnamed distribution"


def names(*groups: str) -> list[str]:
    """The names registered in the groups, sorted, without importing anything."""
    return sorted({name for group in groups for name in _index(group)})


def origin(name: str, *groups: str) -> str:
    """The distributions that register a name, joined by commas."""
    return ", ".join(sorted({distribution(point) for group in groups for point in _index(group).get(name, ())}))


@cache
def load(name: str, *groups: str) -> Any:
    """Import the plugin of this name.

    Raises
    ------
    UnknownPlugin
        If no installed distribution registers the name.
    BrokenPlugin
        If two distributions do, or if the plugin can't be imported.
    """
    points = [point for group in groups for point in _index(group).get(name, ())]
    if not points:
        raise UnknownPlugin(name, groups)
    if len(points) > 1:
        claims = " and ".join(sorted(f"{distribution(p)} ({p.value})" for p in points))
        raise BrokenPlugin(f"{name!r} is registered by {claims}: uninstall one of them")
    plugin, error = _imported(points[0].group, name)
    if error is not None:
        raise BrokenPlugin(_failure(points[0], error)) from error
    return plugin


@cache
def _imported(group: str, name: str) -> tuple[Any, Exception | None]:
    """The plugin, or what its import raised. Tried once, so that a broken one warns once."""
    (point,) = _index(group)[name]
    try:
        return point.load(), None
    except Exception as error:  # noqa: BLE001 - whatever a third party's import raises costs only its own name
        warnings.warn(_failure(point, error), RuntimeWarning, stacklevel=3)
        return None, error


def _failure(point: EntryPoint, error: Exception) -> str:
    return f"plugin {point.name!r} of {distribution(point)} can't be loaded: {type(error).__name__}: {error}"
