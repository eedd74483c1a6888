"""What every part of a training has in common: a name in a recipe, bounded parameters, a place in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from dirlearn.groups import GROUPS
from isp_sim import registry
from isp_sim.parameters import Parameters, StageParams

__all__ = ["GROUPS", "Component", "build"]


class Component(nn.Module):
    """A part of a training that a recipe names: an estimator, an encoder, a head.

    A subclass declares its parameters as a bounded model `Params`, and takes an instance of it as the first argument of
    its constructor; what it must know of the other parts (a number of channels) follows as keywords.
    """

    source: ClassVar[str] = ""
    """BibTeX key or title of the paper."""

    class Params(StageParams):
        """No parameters."""

    def __init__(self, params: Any) -> None:
        super().__init__()
        self.params = params


def build(group: str, node: str | Mapping[str, Any], **context: Any) -> Any:
    """The part that a recipe names, ``name`` or ``{name: {parameter: value}}``.

    Raises
    ------
    isp_sim.registry.UnknownPlugin, isp_sim.registry.BrokenPlugin
        If no usable plugin of the name is installed.
    isp_sim.parameters.ParameterFaults
        With everything that is wrong with the parameters.
    """
    ((name, values),) = ({node: {}} if isinstance(node, str) else node).items()
    plugin = registry.load(name, group)
    return plugin(Parameters.bind(plugin.Params, values).constants, **context)
