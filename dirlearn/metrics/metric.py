"""What every metric does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

from dirlearn.targets import Target, TaskFault, require
from isp_sim.parameters import StageParams


class Metric(ABC):
    """A measure of predictions over a data set. It counts one picture after the other and keeps no picture."""

    takes: ClassVar[tuple[type[Target], ...]]
    """Kinds of targets that it can measure."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that it needs beyond the extra [learn]."""
    install: ClassVar[str] = "isp-sim[tasks]"
    """What pip installs to get them."""
    source: ClassVar[str] = ""

    class Params(StageParams):
        """No parameters."""

    def __init__(self, params: Any, kind: type[Target], classes: Sequence[str]) -> None:
        self.params, self.kind, self.classes = params, kind, tuple(classes)

    @abstractmethod
    def update(self, prediction: Any, target: Any) -> None:
        """Count one picture."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Count what another one counted, as if both had been one."""

    @abstractmethod
    def compute(self) -> Mapping[str, float | None]:
        """The figures, as fractions of 1; None where the data set does not define one."""

    def by_class(self) -> Mapping[str, float | None]:
        """The main figure of every class."""
        return {}


def build_metric(node: str | Mapping[str, Any], kind: type[Target], classes: Sequence[str]) -> Metric:
    """The metric that a recipe names, for targets of a kind.

    Raises
    ------
    dirlearn.targets.TaskFault
        If it does not measure such targets, or needs a package that is not installed.
    """
    from dirlearn.component import build
    from isp_sim import registry

    name = node if isinstance(node, str) else next(iter(node))
    plugin = cast(type[Metric], registry.load(name, "dirlearn.metrics"))
    if kind not in plugin.takes:
        measured = ", ".join(t.__name__ for t in plugin.takes)
        raise TaskFault(f"metric {name} measures {measured}; the head predicts {kind.__name__}")
    require(f"metric {name}", plugin.needs, plugin.install)
    return cast(Metric, build("dirlearn.metrics", node, kind=kind, classes=classes))
