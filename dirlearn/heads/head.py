"""What every head does: a picture and its labels to a loss, a picture alone to a prediction."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from pydantic import Field
from torch import Tensor

from dirlearn.component import Component
from dirlearn.targets import Prediction, Target, require
from isp_sim.parameters import StageParams


class Head(Component):
    """The network T of a task. Pictures are (B, 3, H, W), sRGB of [0, 1], of any size; gradients pass to them."""

    takes: ClassVar[type[Target]]
    """The kind of labels that it learns from and predicts."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that it needs beyond the extra [learn]."""
    install: ClassVar[str] = "isp-sim[tasks]"
    """What pip installs to get them."""

    class Params(StageParams):
        classes: int = Field(ge=1, le=254, description="classes of the data set, without what does not count [1]")

    @abstractmethod
    def loss(self, picture: Tensor, targets: Sequence[Any]) -> Tensor:
        """The loss of a batch; `targets` are of the kind `takes`, one for each picture, on any device."""

    @abstractmethod
    def predict(self, picture: Tensor) -> Sequence[Prediction]:
        """What it finds in each picture, at the picture's size."""


def build_head(node: str | Mapping[str, Any], pretrained: bool = True) -> Head:
    """The head that a recipe names.

    Parameters
    ----------
    pretrained
        False leaves out what the recipe says of `weights`, where others are loaded right after.

    Raises
    ------
    dirlearn.targets.TaskFault
        If a package or the weights are not there.
    """
    from dirlearn.component import build
    from isp_sim import registry

    ((name, values),) = ({node: {}} if isinstance(node, str) else node).items()
    plugin = cast(type[Head], registry.load(name, "dirlearn.heads"))
    require(f"head {name}", plugin.needs, plugin.install)
    if not pretrained:
        values = {key: value for key, value in (values or {}).items() if key != "weights"}
    return cast(Head, build("dirlearn.heads", {name: values}))
