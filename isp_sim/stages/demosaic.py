"""The demosaic stage: any registered algorithm."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, field_validator

from isp_sim import registry
from isp_sim.demosaicing.demosaicer import GROUP, Demosaicer
from isp_sim.frame import Frame, Warp
from isp_sim.parameters import StageParams
from isp_sim.randomness import Randomness
from isp_sim.signal import CFA_NAMES, OPEN, Signal
from isp_sim.stage import Recovery, Result, Stage
from isp_sim.stages.mosaic import mosaic


def interpolated(algorithm: Demosaicer, frame: Frame) -> Result:
    """What an algorithm makes of a frame: RGB, and a warp where several sites make one pixel.

    Raises
    ------
    ValueError
        If the frame is too small for it.
    """
    if min(frame.size) < algorithm.smallest:
        raise ValueError(
            f"a mosaic of {frame.size[0]}x{frame.size[1]} is too small: it must be at least "
            f"{algorithm.smallest}x{algorithm.smallest}"
        )
    cfa = str(frame.signal.cfa)
    scale = algorithm.scale(cfa)
    rgb = algorithm.demosaic(frame.pixels, cfa)
    return Result(rgb, warp=None if scale == 1 else shrunk(frame, scale))


def shrunk(frame: Frame, scale: int) -> Warp:
    """The warp by which each square of sites becomes a pixel; what does not fill one is dropped."""
    y, x = (
        (torch.arange(length // scale, dtype=torch.float32, device=frame.pixels.device) + 0.5) * scale
        for length in frame.size
    )
    source = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))])[None]
    return Warp(source, frame.size, lambda xy, sample: xy / scale)


class Demosaic(Stage):
    """Interpolates a mosaic to RGB. Linear in, linear out; does not clip.

    An algorithm of which several sites make one pixel, such as `superpixel`, leaves a smaller picture; maps and labels
    follow.
    """

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

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        algorithm: Demosaicer = registry.load(p.method, GROUP)()
        if not algorithm.accepts(str(frame.signal.cfa)):
            raise ValueError(f"{p.method} does not know the CFA {frame.signal.cfa}")
        return interpolated(algorithm, frame)

    def recovery(self, p: Any) -> Recovery:
        algorithm: type[Demosaicer] = registry.load(p.method, GROUP)

        if any(algorithm.accepts(cfa) and algorithm.scale(cfa) > 1 for cfa in CFA_NAMES.values()):
            return Recovery(lost="it makes one pixel of several sites")
        lost = "" if algorithm.preserves_samples else f"the samples that {p.method} changes"
        return Recovery(lambda frame, p, before: mosaic(frame.pixels, str(before.cfa)), "mosaic", lost)
