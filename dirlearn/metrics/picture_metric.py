"""What every measure of restored pictures does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, cast

from pydantic import Field
from torch import Tensor

from dirlearn.targets import TaskFault, require
from isp_sim.parameters import StageParams

GROUP: Final = "dirlearn.picture_metrics"
USUAL: Final = ("psnr", "ssim")
"""What a recipe measures that names nothing else."""


class PictureMetric(ABC):
    """A measure of one picture, beside the clean one or by itself. Means over pictures are taken outside of it."""

    label: ClassVar[str]
    """Its heading in tables, with the unit."""
    digits: ClassVar[int] = 4
    """Decimal places in tables."""
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    alone: ClassVar[bool] = False
    """Whether it looks at the picture alone."""
    smallest: ClassVar[int] = 1
    """Shortest side of what it can measure, without the border [px]."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that it needs beyond the extra [learn]."""
    install: ClassVar[str] = "isp-sim[tasks]"
    """What pip installs to get them."""
    source: ClassVar[str] = ""

    class Params(StageParams):
        border: int = Field(0, ge=0, le=256, description="edge of the picture that is not measured [px]")

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def measure(self, picture: Tensor, clean: Tensor) -> float:
        """The figure of a picture (1, 3, H, W) of sRGB in [0, 1]."""

    def __call__(self, picture: Tensor, clean: Tensor) -> float:
        """The figure, without the border.

        Raises
        ------
        TaskFault
            If the picture is too small.
        """
        self.check(*picture.shape[-2:])
        if edge := self.params.border:
            picture, clean = (x[..., edge:-edge, edge:-edge] for x in (picture, clean))
        return self.measure(picture, clean)

    @property
    def needed(self) -> int:
        """Shortest side of what it can measure [px]."""
        return self.smallest + 2 * int(self.params.border)

    def check(self, height: int, width: int) -> None:
        """Refuse a size that can't be measured.

        Raises
        ------
        TaskFault
            With the size that is needed.
        """
        if min(height, width) < self.needed:
            raise TaskFault(
                f"{self.label} is measured on pictures of at least {self.needed}x{self.needed} px; found "
                f"{height}x{width}. Leave it out of `evaluation.pictures`, or measure larger ones: `evaluation.crop`, "
                "or `smallest` of the data set"
            )


def build_pictures(nodes: Sequence[str | Mapping[str, Any]]) -> dict[str, PictureMetric]:
    """The measures that a recipe names, by name.

    Raises
    ------
    TaskFault
        If one is named twice, or needs a package that is not installed.
    """
    from dirlearn.component import build
    from isp_sim import registry

    found: dict[str, PictureMetric] = {}
    for node in nodes:
        name = node if isinstance(node, str) else next(iter(node))
        if name in found:
            raise TaskFault(f"evaluation.pictures names {name} twice; results have one column of each name")
        plugin = cast(type[PictureMetric], registry.load(name, GROUP))
        require(f"picture metric {name}", plugin.needs, plugin.install)
        found[name] = build(GROUP, node)
    return found


def about(metric: PictureMetric | type[PictureMetric]) -> dict[str, Any]:
    """What a table has to know of a measure."""
    return {"label": metric.label, "digits": metric.digits, "better": metric.better}


KNOWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "psnr": {"label": "PSNR [dB]", "digits": 2, "better": "higher"},
    "ssim": {"label": "SSIM", "digits": 4, "better": "higher"},
}
"""What tables know of the usual ones, of which results don't tell."""


def columns(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The measures of pictures in results, in their order, with what a table has to know of each."""
    known = {**KNOWN, **results.get("measures", {})}
    return {name: facts for name, facts in known.items() if any(name in row for row in results["rows"])}
