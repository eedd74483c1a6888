"""The demosaic stage: any registered algorithm."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator
from torch import Tensor

from isp_sim import registry
from isp_sim.demosaicing.demosaicer import GROUP, Demosaicer
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import OPEN, Signal
from isp_sim.stage import Recovery, Stage
from isp_sim.stages.mosaic import mosaic


class Demosaic(Stage):
    """Interpolates a mosaic to RGB. Linear in, linear out; does not clip."""

    needs = Signal.where(layout="mosaic", transfer="linear")
    gives = Signal.change(layout="rgb", cfa=None)

    class Params(StageParams):
        method: str = Field("malvar2004", description="name of the algorithm; `isp-sim list demosaicers` shows all")

        @field_validator("method")
        @classmethod
        def _installed(cls, method: str) -> str:
            if method not in registry.names(GROUP):
                raise ValueError(str(registry.UnknownPlugin(method, (GROUP,))))
            return method

    def refuses(self, signal: Signal, p: Any) -> str | None:
        algorithm = registry.load(p.method, GROUP)
        if signal.cfa != OPEN and not algorithm.accepts(signal.cfa):
            return f"by {p.method} does not know the CFA {signal.cfa}; `isp-sim list demosaicers` shows the others"
        return None

    def reach(self, p: Any) -> int | None:
        algorithm: type[Demosaicer] = registry.load(p.method, GROUP)
        return algorithm.halo

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        algorithm: Demosaicer = registry.load(p.method, GROUP)()
        if not algorithm.accepts(str(frame.signal.cfa)):
            raise ValueError(f"{p.method} does not know the CFA {frame.signal.cfa}")
        if min(frame.size) < algorithm.smallest:
            raise ValueError(
                f"a mosaic of {frame.size[0]}x{frame.size[1]} is too small for {p.method}, "
                f"which needs at least {algorithm.smallest}x{algorithm.smallest}"
            )
        return algorithm.demosaic(frame.pixels, str(frame.signal.cfa))

    def recovery(self, p: Any) -> Recovery:
        keeps = registry.load(p.method, GROUP).preserves_samples
        lost = "" if keeps else f"the samples that {p.method} changes"
        return Recovery(lambda frame, p, before: mosaic(frame.pixels, str(before.cfa)), "mosaic", lost)
