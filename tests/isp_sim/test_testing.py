"""The conformance kit: every plugin of this project passes it, and every deliberate mistake is caught by its law."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import Field, model_validator
from torch import Tensor

from isp_sim import registry, testing
from isp_sim.demosaicing.bilinear import Bilinear
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.demosaicing.malvar2004 import Malvar2004
from isp_sim.frame import Frame, Move, Warp
from isp_sim.parameters import ParameterFaults, StageParams, Static
from isp_sim.randomness import Randomness, generator
from isp_sim.signal import Signal, cfa_rows
from isp_sim.stage import Degradation, GeometricStage, Recovery, Result, Stage, as_it_is

COMBINATORS = ("one_of", "maybe", "shuffle")
BIT_LAWS = {"samples apart", "strided", "threads", "tile"}


def installed(*groups: str) -> list[str]:
    """The names that this project itself registers."""
    return [name for name in registry.names(*groups) if registry.origin(name, *groups) == "isp-sim"]


@cache
def report_on(plugin: Any) -> testing.Report:
    return testing.check(plugin)


def broken_laws(plugin: Any) -> set[str]:
    return {check.name for check in report_on(plugin).failures}


# -- this project's own plugins --------------------------------------------------------------------------------


# the kit takes half a minute on it, which holds some thousand operations a picture; its laws are in
# tests/isp_sim/stages, and `isp-sim plugin check` runs the kit
SLOW_STAGES = ("nlm",)
# so are these, whose laws are in tests/isp_sim/demosaicing
SLOW_DEMOSAICERS = ("monno2017", "residual_blend")


@pytest.mark.parametrize("name", [n for n in installed(*registry.STAGE_GROUPS) if n not in COMBINATORS + SLOW_STAGES])
def test_every_stage_and_degradation_conforms(name: str) -> None:
    report = report_on(name)
    assert report.passed, str(report)
    assert report["samples apart"].outcome == "passed"


@pytest.mark.parametrize("name", [n for n in installed("isp_sim.demosaicers") if n not in SLOW_DEMOSAICERS])
def test_every_demosaicer_conforms(name: str) -> None:
    report = report_on(name)
    assert report.passed, str(report)
    assert report["constants"].outcome == "passed"


def test_which_laws_say_something_of_which_plugin() -> None:
    def outcomes(name: str, *laws: str) -> list[str]:
        return [report_on(name)[law].outcome for law in laws]

    laws = ("keyed noise", "tile", "inverse", "codes", "precision")
    assert outcomes("gaussian_noise", *laws) == ["passed", "passed", "not applicable", "not applicable", "passed"]
    assert outcomes("exposure", *laws) == ["not applicable", "passed", "passed", "not applicable", "passed"]
    # the precision is that of its soft mode
    assert outcomes("quantise", *laws) == ["not applicable", "passed", "not applicable", "passed", "passed"]


# -- stages with one mistake each ------------------------------------------------------------------------------


class Scale(Degradation):
    """Multiplies every pixel by a factor. Any range; does not clip."""

    needs = Signal.where(levels="unit")
    halo: ClassVar[int | None] = 0

    class Params(StageParams):
        factor: float = Field(0.9, ge=0.1, le=2, description="of every pixel [factor]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor | Result:
        return frame.pixels * p.factor


class NoDocstring(Scale):
    pass


class SeveritiesOutOfOrder(Scale):
    """Multiplies."""

    severities: ClassVar = {"factor": (0.9, 0.6, 0.7, 0.4, 0.2)}


class SeverityOutOfBounds(Scale):
    """Multiplies."""

    severities: ClassVar = {"factor": (0.9, 0.7, 0.5, 0.3, 0.05)}


class NoDescription(Scale):
    """Multiplies."""

    class Params(StageParams):
        factor: float = Field(0.9, ge=0.1, le=2)


class NoUnit(Scale):
    """Multiplies."""

    class Params(StageParams):
        factor: float = Field(0.9, ge=0.1, le=2, description="of every pixel")


class NoBound(Scale):
    """Multiplies."""

    class Params(StageParams):
        factor: float = Field(0.9, ge=0.1, description="of every pixel [factor]")


class NoBoundInside(Scale):
    """Multiplies, by one factor of two."""

    class Params(StageParams):
        factor: tuple[Annotated[float, Field(ge=0.1)], float] = Field(
            (0.9, 0.1), description="only the first counts [factor]"
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * p.factor[:, :1]


class TextForNames(Scale):
    """Multiplies."""

    reads = "iso"  # type: ignore[assignment]


class DefaultOutOfBounds(Scale):
    """Multiplies."""

    class Params(StageParams):
        factor: float = Field(3.0, ge=0.1, le=2, description="of every pixel [factor]")


class ListOfNumbers(Scale):
    """Multiplies. A recipe's list becomes a tuple, which a list[...] does not take."""

    class Params(StageParams):
        factors: list[float] = Field([0.9], examples=[[0.5]], description="only the first counts [factor]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * 0.9


class FussyValidator(Scale):
    """Multiplies, by a factor that bounds do not tell of."""

    class Params(StageParams):
        factor: float = Field(0.75, ge=0.1, le=2, description="of every pixel [factor]")

        @model_validator(mode="after")
        def _three_quarters(self) -> FussyValidator.Params:
            if self.factor != 0.75:
                raise ValueError("must be three quarters")
            return self


class ChangesTransfer(Scale):
    """Multiplies, and says that the picture is in another transfer now."""

    needs = Signal.where(levels="unit", transfer="srgb")

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return replace(signal, transfer="linear", bit_depth=None)


class ContradictsGives(Stage):
    """Decodes nothing, and says two things of it."""

    needs = Signal.where(layout="rgb", transfer="srgb")
    gives = Signal.change(transfer="linear")
    halo = 0

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        return replace(signal, bit_depth=None)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * 1


class ComputesWithOpenDepth(Scale):
    """Multiplies, and takes a bit depth that is not known yet for a number."""

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        if signal.bit_depth is not None and int(signal.bit_depth) > 16:
            raise ValueError("more than 16 bit")
        return replace(signal, bit_depth=None)


class InverseForgetsField(Stage):
    """Encodes, and does not say what the signal was before."""

    needs = Signal.where(layout="rgb", transfer="linear", levels="unit", reference="scene")
    gives = Signal.change(transfer="srgb", reference="display")
    halo = 0

    def input_signal(self, signal: Signal, p: Any) -> Signal:
        return replace(signal, transfer="linear")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * 2

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels / 2


class NumbersForTensors(Scale):
    """Multiplies, with a parameter taken for a plain number."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * float(p.factor)


class WrongDtype(Scale):
    """Multiplies in float64."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return (frame.pixels * p.factor).double()


class WrongSize(Scale):
    """Multiplies, and loses a column."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return (frame.pixels * p.factor)[..., 1:]


class MapWithoutChannel(Scale):
    """Multiplies, and leaves a map of three axes."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return Result(frame.pixels * p.factor, maps={"bright": frame.pixels[:, 0] > 0.5})


class RootOfNegative(Scale):
    """Takes the square root, which negative pixels do not have."""

    differentiable = False

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return torch.sqrt(frame.pixels.detach()) * p.factor


class EndDividesByZero(Scale):
    """Divides by what is 0 at one end of the bounds."""

    class Params(StageParams):
        strength: float = Field(0.3, ge=0, le=1, description="share that is lost [1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels / (1 - p.strength)


class EndRaises(Scale):
    """Multiplies by an entry of a table that is one entry short."""

    class Params(StageParams):
        step: int = Field(1, ge=0, le=1000, description="which entry [1]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * torch.linspace(1, 2, 1000).to(frame.pixels)[p.step]


class ForgetsYCbCr(Scale):
    """Multiplies, and forgets one of the layouts that it says it takes."""

    needs = Signal.where(levels="unit", layout=("rgb", "ycbcr", "mosaic"), cfa=(None, "RGGB", "RG/GB/RB"))

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        if frame.signal.layout == "mosaic" and len(cfa_rows(str(frame.signal.cfa))) != 2:
            raise KeyError(frame.signal.cfa)
        return frame.pixels * p.factor


class LosesPhase(GeometricStage):
    """Cuts off the leftmost column, and says nothing of the CFA."""

    def move(self, frame: Frame, p: Any) -> Move:
        height, width = frame.size
        if width < 2:
            raise ValueError("needs two columns")
        return Move(frame.size, window=(0, 1, height, width - 1))


class EvenOnly(Scale):
    """Multiplies pairs of rows."""

    halo = None

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        if frame.size[1] == 9 or frame.size[0] == 9:
            raise ValueError("the size must be even")
        return frame.pixels * p.factor


class PaddingTooWide(Scale):
    """Mean of three pixels in a column, mirrored at the border in a way that one row does not have."""

    halo = 1

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = torch.nn.functional.pad(frame.pixels, (0, 0, 1, 1), mode="reflect")
        return (x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]) * (p.factor / 3)


class CodesWithoutRounding(Scale):
    """Multiplies, and says that the pixels are on 8 bit codes."""

    gives = Signal.change(bit_depth=8)


class KeepsNoCodes(Scale):
    """Multiplies, and says that quantised pixels stay on their codes."""

    keeps_codes = True


class ReadsSecretly(Scale):
    """Multiplies by the ISO speed, without a word of it."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * p.factor * (frame.capture["iso"] / 6400)


class WritesSecretly(Scale):
    """Multiplies, and sets a fact without a word of it."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return Result(frame.pixels * p.factor, capture={"iso": p.factor * 100})


class WritesNothing(Scale):
    """Multiplies, and promises a fact."""

    writes = ("iso",)


class WritesOtherShape(Scale):
    """Multiplies, and sets a fact in a shape of its own."""

    writes = ("ccm",)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        return Result(frame.pixels * p.factor, capture={"ccm": p.factor})


class MutatesInput(Scale):
    """Multiplies in place."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels.mul_(p.factor)


class MutatesView(Scale):
    """Multiplies, and blackens a corner of the picture that it got."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        out = frame.pixels * p.factor
        frame.pixels.detach()[..., :1, :1].zero_()
        return out


class MutatesCapture(Scale):
    """Multiplies, and doubles the ISO speed where it lies."""

    reads = ("iso",)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        frame.capture["iso"].mul_(2)
        return frame.pixels * p.factor


class TorchRandom(Scale):
    """Adds noise of torch's global generator."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels + torch.rand(frame.pixels.shape) * p.factor


class NumpyRandom(Scale):
    """Adds noise of NumPy's global generator."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels + p.factor * float(np.random.rand())  # noqa: NPY002 - the mistake


class PythonRandom(Scale):
    """Adds noise of Python's global generator."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels + p.factor * random.random()


class ReadsGlobalSeed(Scale):
    """Adds what it derives from the state of the global generator, without advancing it."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        own = torch.Generator().manual_seed(torch.initial_seed())
        return frame.pixels + p.factor * torch.rand((), generator=own).to(frame.pixels)


class UnseededGenerator(Scale):
    """Adds noise of a generator that is seeded by nothing."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels + p.factor * float(np.random.default_rng().random())


class CountsRuns(Scale):
    """Adds how often it was called."""

    runs = 0

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        self.runs += 1
        return frame.pixels * p.factor + self.runs


class NoiseWithoutView(Scale):
    """Adds noise that is the same in every epoch."""

    halo = None

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        noise = Randomness(rng.seed, 0, rng.stage, rng.keys).normal(frame.pixels)
        return frame.pixels + p.factor * noise


class NoiseWithoutKey(Scale):
    """Adds the same noise to every sample."""

    halo = None

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        noise = Randomness(rng.seed, rng.view, rng.stage, ("",) * frame.batch).normal(frame.pixels)
        return frame.pixels + p.factor * noise


class BatchStatistics(Scale):
    """Scales by the largest pixel of the batch."""

    halo = None

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * (p.factor / frame.pixels.amax())


class FirstSamplesParameter(Scale):
    """Multiplies all samples by the first one's factor."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * p.factor[:1]


class RoundsByBatch(Scale):
    """Multiplies by a power of two, whose last bit depends on how many samples there are."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * torch.exp2(p.factor)


class ReadsMemoryInOrder(Scale):
    """Multiplies what lies in memory, taken for a contiguous picture."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = frame.pixels
        b, c, h, w = x.shape
        return x.as_strided((b, c, h, w), (c * h * w, h * w, w, 1)) * p.factor


class Views(Scale):
    """Multiplies rows of a view, which a crop does not have."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return (frame.pixels.view(frame.batch, -1) * p.factor.view(frame.batch, 1)).view(frame.pixels.shape)


class SaysPointwise(Scale):
    """Mean of each pixel and its left neighbour, with a halo that says otherwise."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = frame.pixels
        return (x + torch.cat([x[..., :1], x[..., :-1]], dim=-1)) * p.factor


class HaloTooSmall(Scale):
    """Mean over two rows up and down, with a halo of one."""

    halo = 1

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        height = frame.size[0]
        at = torch.arange(height)
        up, down = (at - 2).clamp_min(0), (at + 2).clamp_max(height - 1)
        return (frame.pixels[..., up, :] + frame.pixels[..., down, :]) * p.factor


class DithersByIndex(Scale):
    """Adds a pattern that begins anew in each tile."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        height, width = frame.size
        pattern = (torch.arange(height)[:, None] * 3 + torch.arange(width) * 5) % 7
        return frame.pixels + p.factor * pattern.to(frame.pixels)


class NoisePerTile(Scale):
    """Adds keyed noise that depends on the size of what it is given."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        size = "x".join(map(str, frame.size))
        draws = [
            generator(rng.seed, key, rng.view, rng.stage, size).standard_normal(frame.pixels.shape[1:])
            for key in rng.keys
        ]
        return frame.pixels + p.factor * torch.from_numpy(np.stack(draws)).to(frame.pixels)


class KeepsLambda(Scale):
    """Multiplies by a function that it keeps."""

    def __init__(self) -> None:
        self.function = lambda x, factor: x * factor

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return self.function(frame.pixels, p.factor)


class HalfPrecision(Scale):
    """Multiplies by way of half precision."""

    differentiable = False

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = frame.pixels.detach()
        return (x.half().to(x) if x.dtype == torch.float32 else x) * p.factor


class Rounds(Scale):
    """Rounds to a hundredth, and says that it is differentiable."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return torch.floor(frame.pixels * p.factor * 100) / 100


class Detaches(Scale):
    """Multiplies apart from the graph, and says that it is differentiable."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels.detach() * p.factor


class WrongSlope(Scale):
    """Squares, with one of the factors detached."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels.detach() * frame.pixels * p.factor


class SlopeOfRootAtZero(Scale):
    """The square root of what is not negative, whose slope at 0 is infinite."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return torch.sqrt(frame.pixels.clamp_min(0)) * p.factor


class SaysNotDifferentiable(Scale):
    """Multiplies, and says that it has no gradient."""

    differentiable = False


class NoiseWithWrongSlope(Scale):
    """Adds noise in proportion to the pixel, to half of the pixel in the graph."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = frame.pixels
        return x * 0.5 + x.detach() * 0.5 + x.detach() * rng.normal(x) * (p.factor * 0.01)


class FactorAsNumber(Scale):
    """Multiplies, by a factor that has left the graph."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * p.factor.detach()


class WrongSlopeByFactor(Scale):
    """Multiplies, by a factor whose square enters as its double."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * (p.factor + (p.factor * p.factor).detach())


class SaysNoSlopeByFactor(Scale):
    """Multiplies, and says that no gradient flows to the factor."""

    class Params(StageParams):
        factor: float = Field(
            0.9, ge=0.1, le=2, description="of every pixel [factor]", json_schema_extra={"differentiable": False}
        )


class WrongInverse(Scale):
    """Multiplies, and undoes it by a formula of its own."""

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels * (2 - p.factor)


class ForgetfulInverse(Scale):
    """Multiplies, and forgets by what."""

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels * 1


class Coarser(Scale):
    """Multiplies, and rounds to a hundredth in one mode."""

    soft_gap: ClassVar[float | None] = 0.006

    class Params(StageParams):
        factor: float = Field(0.9, ge=0.1, le=2, description="of every pixel [factor]")
        mode: Literal["exact", "soft", "straight_through"] = Field("exact", description="rounded or not")

    def is_differentiable(self, p: Any) -> bool:
        return bool(p.mode != "exact")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        scaled = frame.pixels * p.factor
        rounded = torch.floor(scaled * 100) / 100
        if p.mode == "straight_through":
            return rounded + (scaled - scaled.detach())
        return scaled if p.mode == "soft" else rounded


class NoGap(Coarser):
    """Multiplies, and does not say how far its modes are apart."""

    soft_gap = None


class GapTooSmall(Coarser):
    """Multiplies, and says that its modes are closer than they are."""

    soft_gap = 0.001


class GapTooLarge(Coarser):
    """Multiplies, and says that its modes are further apart than they are."""

    soft_gap = 0.1


class GapWithoutModes(Scale):
    """Multiplies, in one way only."""

    soft_gap = 0.1


class StraightThroughSomethingElse(Coarser):
    """Multiplies, with other pixels in the mode that should have those of exact."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        out = super().apply(frame, p, rng)
        return out + 0.01 if p.mode == "straight_through" else out


class Halves(Scale):
    """Multiplies, and keeps every second pixel, from the first."""

    needs = Signal.where(layout="rgb", levels="unit")
    halo = None
    first: ClassVar[float] = 0.5
    """Where the first pixel of the result is said to come from."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Result:
        pixels = frame.pixels[..., ::2, ::2] * p.factor
        return Result(pixels, warp=self.warp(frame.size, pixels.shape[-2], pixels.shape[-1]))

    def warp(self, size: tuple[int, int], height: int, width: int) -> Warp:
        x, y = torch.arange(width), torch.arange(height)
        source = torch.stack(torch.meshgrid(x, y, indexing="xy"))[None] * 2 + self.first
        return Warp(source, size, lambda xy, sample: (xy - self.first) / 2 + 0.5)

    def recovery(self, p: Any) -> Recovery:
        return Recovery(lost="every second pixel")


class HalfPixelForgotten(Halves):
    """Keeps every second pixel, and forgets where the centre of a pixel is."""

    def warp(self, size: tuple[int, int], height: int, width: int) -> Warp:
        return replace(super().warp(size, height, width), forward=lambda xy, sample: xy / 2)


class OtherPixels(Halves):
    """Keeps every second pixel, and says that it kept the others."""

    first = 1.5


class RowsForColumns(Halves):
    """Keeps every second pixel, and mixes up x and y."""

    def warp(self, size: tuple[int, int], height: int, width: int) -> Warp:
        warp = super().warp(size, height, width)
        return replace(warp, source=warp.source.flip(1), forward=lambda xy, sample: (xy.flip(-1) - 0.5) / 2 + 0.5)


class OffersNothingSilently(Scale):
    """Multiplies, and says neither how to undo that nor why it can't."""

    def recovery(self, p: Any) -> Recovery:
        return Recovery()


class SaysNothingIsLost(Scale):
    """Multiplies, and says that the picture as it is is the one before."""

    def recovery(self, p: Any) -> Recovery:
        return Recovery(as_it_is, "the picture as it is")


BROKEN: list[tuple[type[Stage], str, str]] = [
    (NoDocstring, "docstring", "has none"),
    (NoDescription, "documented", "factor has no description"),
    (NoUnit, "documented", "factor is a number without a unit"),
    (NoBound, "bounded", "factor has no bound above"),
    (NoBoundInside, "bounded", "factor has no bound above; factor has no bound below and above"),
    (TextForNames, "class facts", "reads is 'iso'"),
    (DefaultOutOfBounds, "recipe", "its defaults: factor: 3.0 should be less than or equal to 2"),
    (ListOfNumbers, "recipe", "factors"),
    (FussyValidator, "values", "factor was tried with its default alone"),
    (ChangesTransfer, "signal", "a Degradation turned"),
    (ContradictsGives, "signal", "gives says transfer linear, output_signal says srgb"),
    (ComputesWithOpenDepth, "signal", "with CFA and bit depth open, ValueError"),
    (InverseForgetsField, "inverse signal", "which it does not accept"),
    (NumbersForTensors, "runs", "test_testing.py"),
    (WrongDtype, "output", "float32 pixels into torch.float64"),
    (WrongSize, "output", "5x6 pixels of 5x7"),
    (MapWithoutChannel, "output", "the map 'bright' is (3, 5, 7), not (3, n, 5, 7)"),
    (RootOfNegative, "finite", "are NaN or infinite"),
    (EndDividesByZero, "ends", "strength 1.0, rgb in unit levels: "),
    (EndRaises, "ends", "step 1000, rgb in unit levels: IndexError"),
    (ForgetsYCbCr, "signals", "KeyError: 'RG/GB/RB'"),
    (LosesPhase, "signals", "the move leaves [mosaic RGGB"),
    (EvenOnly, "sizes", "9x14: it refuses that, though it takes"),
    (PaddingTooWide, "sizes", "1x1: "),
    (CodesWithoutRounding, "codes", "of a 8 bit code off"),
    (KeepsNoCodes, "codes", "of a 8 bit code off"),
    (ReadsSecretly, "capture facts", "it reads iso, which facts_read does not name"),
    (WritesSecretly, "capture facts", "it sets iso, which facts_written does not name"),
    (WritesNothing, "capture facts", "it does not set iso, which facts_written names"),
    (WritesOtherShape, "capture facts", "it sets ccm of shape (3, 1, 1, 1)"),
    (MutatesInput, "input untouched", "in the pixels"),
    (MutatesView, "input untouched", "in the pixels 6 of 210 numbers differ"),
    (MutatesCapture, "input untouched", "in the fact 'iso'"),
    (TorchRandom, "own generators", "the generator of torch was advanced"),
    (NumpyRandom, "own generators", "the generator of numpy.random was advanced"),
    (PythonRandom, "own generators", "the generator of random was advanced"),
    (ReadsGlobalSeed, "own generators", "under another global seed"),
    (UnseededGenerator, "repeatable", "run again"),
    (CountsRuns, "repeatable", "run again"),
    (NoiseWithoutView, "keyed noise", "another view gives the same noise"),
    (NoiseWithoutKey, "keyed noise", "another key gives the same noise"),
    (BatchStatistics, "samples apart", "apart from the others"),
    (FirstSamplesParameter, "samples apart", "samples 3 to 5 of 37, apart from the others"),
    (RoundsByBatch, "samples apart", "apart from the others"),
    (ReadsMemoryInOrder, "strided", "channels_last"),
    (Views, "strided", "RuntimeError: view size is not compatible"),
    (SaysPointwise, "tile", "a tile in the middle"),
    (HaloTooSmall, "tile", "a tile in the top left corner"),
    (DithersByIndex, "tile", "a tile in the middle"),
    (NoisePerTile, "tile", "a tile in the top left corner"),
    (KeepsLambda, "pickles", "lambda"),
    (HalfPrecision, "precision", "differ by more than"),
    (Rounds, "gradient", "zero everywhere"),
    (Detaches, "gradient", "no gradient flows"),
    (WrongSlope, "gradient", "central differences give"),
    (SlopeOfRootAtZero, "gradient", "NaN or infinite, of a picture with pixels at 0"),
    (SaysNotDifferentiable, "gradient", "differentiable is False, yet"),
    (NoiseWithWrongSlope, "gradient", "the slope of the mean is"),
    (FactorAsNumber, "parameter gradient", "factor: number 0 has the slope 0, central differences give"),
    (WrongSlopeByFactor, "parameter gradient", "central differences give"),
    (SaysNoSlopeByFactor, "parameter gradient", "says differentiable False, yet"),
    (OffersNothingSilently, "recovery", "does not say why"),
    (SaysNothingIsLost, "recovery", "says that nothing is lost, yet"),
    (WrongInverse, "inverse", "differ by more than"),
    (ForgetfulInverse, "inverse", "differ by more than"),
    (NoGap, "soft twin", "soft_gap says nothing"),
    (GapTooSmall, "soft twin", "more than the soft_gap 0.001"),
    (GapTooLarge, "soft twin", "the soft_gap 0.1 says too little"),
    (GapWithoutModes, "soft twin", "there is no parameter mode"),
    (StraightThroughSomethingElse, "soft twin", "in mode straight_through"),
    (HalfPixelForgotten, "warp", "row 0, column 0 shows (0.50, 0.50), which goes to (0.25, 0.25), not to its centre"),
    (OtherPixels, "warp", "came to"),
    (RowsForColumns, "warp", "came to"),
    (SeveritiesOutOfOrder, "severities", "the PSNR is"),
    (SeverityOutOfBounds, "severities", "greater than or equal to 0.1"),
]


def test_the_stage_that_the_broken_ones_derive_from_conforms() -> None:
    testing.assert_conforms(Scale)
    assert testing.assert_conforms(Coarser)["soft twin"].found.endswith("apart")
    report = testing.assert_conforms(Halves)
    assert report["warp"].outcome == "passed"
    assert not report["warp"].found  # the picture was looked at, too


@pytest.mark.parametrize(("stage", "law", "found"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_mistake_is_caught_by_the_law_meant_for_it_and_no_other(stage: type[Stage], law: str, found: str) -> None:
    report = report_on(stage)
    assert {check.name for check in report.failures} == {law}, str(report)
    assert found in report[law].found


def test_every_law_of_stages_catches_one_of_the_mistakes() -> None:
    elsewhere = {"threads", "cuda"}  # see below; a device of its own
    assert {law.name for law in testing.STAGE_LAWS} - elsewhere == {law for _, law, _ in BROKEN}


# -- functions whose last bit depends on shape, stride or threads ----------------------------------------------


class TorchPow(Scale):
    """A power law by torch.pow. Negative pixels are taken as 0."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels.clamp_min(1e-4).pow(1 / 2.4) * p.factor


class Convolution(Scale):
    """The mean of 3x3 pixels by a convolution."""

    halo = 1

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x, channels = frame.pixels, frame.pixels.shape[1]
        kernel = torch.full((channels, 1, 3, 3), 1 / 9).to(x)
        wide = x[..., _repeated(x.shape[-2]), :][..., _repeated(x.shape[-1])]
        return torch.nn.functional.conv2d(wide, kernel, groups=channels) * p.factor


class ShiftsAndSums(Convolution):
    """The mean of 3x3 pixels by explicit sums."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        x = frame.pixels
        wide = x[..., _repeated(x.shape[-2]), :][..., _repeated(x.shape[-1])]
        rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
        return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) * (p.factor / 9)


def _repeated(length: int) -> Tensor:
    return torch.arange(-1, length + 1).clamp(0, length - 1)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="measured with these vector units"
)
@pytest.mark.parametrize("stage", [TorchPow, Convolution])
def test_functions_that_round_by_shape_break_laws_on_bits_alone(stage: type[Stage]) -> None:
    found = broken_laws(stage)
    assert found
    assert found <= BIT_LAWS


def test_shifts_and_sums_keep_their_bits() -> None:
    testing.assert_conforms(ShiftsAndSums)


class AsksForThreads(Scale):
    """Multiplies, and adds a last bit for each thread: on every machine, what a split sum does on some."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * p.factor * (1 + 2.0**-20 * torch.get_num_threads())


class FactorWithoutGradient(SaysNoSlopeByFactor):
    """Multiplies, by a factor that has left the graph, and says so."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * p.factor.detach()


def test_a_parameter_may_say_that_it_has_no_gradient() -> None:
    report = report_on(FactorWithoutGradient)
    assert report.passed
    assert report["parameter gradient"].outcome == "not applicable"


def test_threads_are_told_apart() -> None:
    assert broken_laws(AsksForThreads) == {"threads"}


# -- demosaicers with one mistake each -------------------------------------------------------------------------


class NoBorder(Bilinear):
    """Bilinear, with nothing said of the border."""

    border = ""


class AcceptsNothing(Bilinear):
    """Bilinear, for no pattern at all."""

    @classmethod
    def accepts(cls, cfa: str) -> bool:
        return False


class SmallestTooSmall(Bilinear):
    """Bilinear, with a smallest size that it can't do."""

    smallest = 1


class MixesColours(Bilinear):
    """Bilinear, with red and blue swapped in one phase."""

    preserves_samples = False

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        rgb = super().demosaic(mosaic, cfa)
        return rgb.flip(1) if cfa == "GBRG" else rgb


class WeightsUnequal(Bilinear):
    """Bilinear, then a weight that is 1 only up to rounding."""

    preserves_samples = False

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        rgb = super().demosaic(mosaic, cfa)
        return rgb * 0.1 + rgb * 0.2 + rgb * 0.7


class ZeroBorder(Bilinear):
    """Bilinear, with zeros beyond the border."""

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        wide = torch.nn.functional.pad(mosaic, (2, 2, 2, 2))
        return super().demosaic(wide, cfa)[..., 2:-2, 2:-2]


class Smooths(Bilinear):
    """Bilinear, and the brightest part cut off."""

    linear = False

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        return super().demosaic(mosaic, cfa).clamp(max=1.1)


class SaysLinear(Bilinear):
    """Bilinear, but the missing colours are never negative."""

    preserves_samples = False

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        return super().demosaic(mosaic, cfa).clamp_min(-0.05)


class OneSided(Bilinear):
    """Bilinear along rows, and a little of the left pixel's green; whole columns of one green stay."""

    linear = True
    preserves_samples = False
    halo = 2

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        rgb = super().demosaic(mosaic, cfa)
        left = torch.cat([rgb[..., :1], rgb[..., :-1]], dim=-1)
        return rgb + (left - rgb) * 0.25


class HaloOfOne(Malvar2004):
    """Malvar's filter, with a halo of one."""

    halo = 1


class RoundsDirections(Bilinear):
    """Bilinear, which forgets its samples' gradients."""

    linear = True

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        return super().demosaic(mosaic.detach(), cfa)


class HalvesUnsaid(Bilinear):
    """Leaves out every second pixel, and does not say so."""

    preserves_samples = False

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        return super().demosaic(mosaic, cfa)[..., ::2, ::2]


class SaysHalf(Bilinear):
    """Says that it makes one pixel of four sites, and keeps all samples."""

    @classmethod
    def scale(cls, cfa: str) -> int:
        return 2


@pytest.mark.parametrize(
    ("demosaicer", "law", "found"),
    [
        (NoBorder, "algorithm facts", "border is empty"),
        (AcceptsNothing, "algorithm facts", "it accepts none of"),
        (SaysHalf, "algorithm facts", "several sites make one pixel"),
        (HalvesUnsaid, "output", "what moves pixels is a GeometricStage or returns a warp"),
        (SmallestTooSmall, "smallest", "1x1"),
        (MixesColours, "constants", "GBRG"),
        (WeightsUnequal, "constants", "differ, by at most"),
        (ZeroBorder, "constants", "the first at (0, 0, 0, 0)"),
        (Smooths, "samples kept", "differ, by at most"),
        (SaysLinear, "linear", "differ by more than"),
        (OneSided, "flips", "mirrored in x"),
        (HaloOfOne, "tile", "a tile in"),
        (RoundsDirections, "gradient", "no gradient flows"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_mistake_in_a_demosaicer_is_caught(demosaicer: type[Demosaicer], law: str, found: str) -> None:
    report = report_on(demosaicer)
    assert law in {check.name for check in report.failures}, str(report)
    assert found in report[law].found


def test_a_mistake_in_a_demosaicer_breaks_few_laws() -> None:
    allowed = {SmallestTooSmall: {"sizes"}, MixesColours: {"flips"}, ZeroBorder: {"tile"}}
    for demosaicer in (NoBorder, AcceptsNothing, SmallestTooSmall, WeightsUnequal, HaloOfOne, SaysLinear, Smooths):
        assert len(broken_laws(demosaicer) - allowed.get(demosaicer, set())) == 1


# -- what a plugin says to the kit -----------------------------------------------------------------------------


class NeedsExamples(Stage):
    """Scales by the name of a preset, and by a factor of its own that has no bound above."""

    halo = 0

    class Params(StageParams):
        preset: str = Field(examples=["bright", "dark"], description="which gain")
        factor: float = Field(
            1.0, ge=0, description="on top [factor]", json_schema_extra={"unbounded": "light has no upper limit"}
        )

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * ({"bright": 2, "dark": 0.5}[p.preset] * p.factor)


class NeedsExamplesWithoutThem(NeedsExamples):
    """Scales by the name of a preset, of which the kit can know nothing."""

    class Params(StageParams):
        preset: str = Field(description="which gain")


def test_examples_and_reasons_are_taken_from_the_field() -> None:
    report = testing.assert_conforms(NeedsExamples)
    assert report["runs"].found == "in 3 settings"  # two presets, and the other layout
    assert broken_laws(NeedsExamplesWithoutThem) == {"values", "runs"}


class UndoesError(Scale):
    """Multiplies by a gain and by an error on top of it, and undoes the gain alone."""

    class Params(StageParams):
        gain: float = Field(1.0, ge=0.5, le=2, description="of every pixel [factor]")
        error: float = Field(1.0, ge=0.5, le=2, description="on top [factor]", json_schema_extra={"undone": False})

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * p.gain * p.error

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        return frame.pixels / p.gain


def test_an_error_on_top_is_not_undone() -> None:
    assert testing.assert_conforms(UndoesError)["inverse"].found == "with error at its default"


class RoundsInOneMode(Scale):
    """Rounds to a hundredth, or is smooth, and says so of each."""

    soft_gap: ClassVar[float | None] = 0.006

    class Params(StageParams):
        factor: float = Field(0.9, ge=0.1, le=2, description="of every pixel [factor]")
        mode: Literal["exact", "soft"] = Field("exact", description="rounded or not")

    def is_differentiable(self, p: Any) -> bool:
        return bool(p.mode == "soft")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        scaled = frame.pixels * p.factor
        return scaled if p.mode == "soft" else torch.floor(scaled * 100) / 100


class SaysSmoothInEveryMode(RoundsInOneMode):
    """Rounds to a hundredth, or is smooth, and mixes them up."""

    def is_differentiable(self, p: Any) -> bool:
        return bool(p.mode == "exact")


def test_gradients_are_asked_for_in_the_modes_that_have_them() -> None:
    assert report_on(RoundsInOneMode).passed, str(report_on(RoundsInOneMode))
    assert broken_laws(SaysSmoothInEveryMode) == {"gradient"}


class ReadsOwnFact(Scale):
    """Multiplies by a fact that no other stage knows."""

    reads = ("lens_factor",)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return frame.pixels * (p.factor * frame.capture["lens_factor"])


def test_a_fact_of_the_plugins_own_is_given_by_its_author() -> None:
    report = testing.check_stage(ReadsOwnFact)
    assert [check.name for check in report.failures] == ["runs"]
    assert "pass facts={'lens_factor': ...}" in report["runs"].found
    testing.assert_conforms(ReadsOwnFact, facts={"lens_factor": lambda rng: rng.uniform(0.5, 1, (1, 1, 1))})


class BreaksAtOneValue(Scale):
    """Multiplies, except by one factor that the kit would hardly try."""

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return torch.where(p.factor == 1.25, float("nan"), frame.pixels * p.factor)


def test_the_author_gives_more_parameters_to_try() -> None:
    testing.assert_conforms(BreaksAtOneValue)
    report = testing.check_stage(BreaksAtOneValue, parameters=[{"factor": 1.25}])
    assert "parameters[0], rgb" in report["finite"].found
    with pytest.raises(ParameterFaults, match="factor: 7"):
        testing.check_stage(BreaksAtOneValue, parameters=[{"factor": 7}])


class ManyTypes(Scale):
    """Multiplies, by parameters of many types."""

    class Params(StageParams):
        factor: float = Field(1.0, gt=0, lt=2, multiple_of=0.25, description="of every pixel [factor]")
        steps: int | None = Field(None, gt=0, lt=4, description="more factors of a half [1]")
        weights: tuple[Annotated[float, Field(ge=0.1, le=1)], ...] = Field(
            (1.0,), min_length=1, max_length=2, description="the first counts [1]"
        )
        matrix: tuple[tuple[float, float], tuple[float, float]] = Field(
            ((1.0, 0.0), (0.0, 1.0)), description="not used [1]", json_schema_extra={"unbounded": "not used"}
        )
        kind: Literal["plain", "double"] = Field("plain", description="which factor")
        flag: bool = Field(False, description="half of it")
        bits: Annotated[int, Static] = Field(8, ge=1, le=16, description="not used [bit]")

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        assert p.kind in ("plain", "double")
        assert isinstance(p.flag, bool)
        assert isinstance(p.bits, int)
        assert p.matrix.shape == (frame.batch, 2, 2)
        assert p.factor.shape == (frame.batch, 1, 1, 1)
        gain = p.factor * p.weights[:, :1] * (2 if p.kind == "double" else 1) * (0.5 if p.flag else 1)
        return frame.pixels * (gain if p.steps is None else gain / p.steps)


def test_every_type_of_parameter_is_tried() -> None:
    report = testing.assert_conforms(ManyTypes)
    assert report["values"].found == ""


# -- the report ------------------------------------------------------------------------------------------------


def test_the_report_says_what_to_look_for() -> None:
    text = str(report_on(MutatesInput))
    head, *lines = text.split("\n")
    assert re.fullmatch(r"degradation MutatesInput: \d+ passed, 1 failed, \d+ not applicable \(\d+\.\d s\)", head)
    at = lines.index("  FAILED          input untouched")
    assert lines[at + 1].startswith("      found     the defaults, rgb in unit levels: in the pixels")
    assert lines[at + 2].startswith("      expected  the frame that goes in is the same")
    assert lines[at + 3].startswith("      look for  an operation in place")


def test_laws_that_tell_nothing_more_are_not_counted_against_the_plugin() -> None:
    report = report_on(WrongDtype)
    assert report["strided"].outcome == "not applicable"
    assert report["strided"].found == "tells nothing until 'output' holds"
    with pytest.raises(KeyError):
        report["no such law"]


def test_a_broken_plugin_fails_its_own_test() -> None:
    with pytest.raises(AssertionError, match=r"FAILED +input untouched\n"):
        testing.assert_conforms(MutatesInput)


def test_names_are_found_in_their_groups() -> None:
    assert report_on("bilinear").kind == "demosaicer"
    assert report_on("quantise").kind == "degradation"
    assert report_on("mosaic").kind == "stage"
    with pytest.raises(registry.UnknownPlugin, match="did you mean 'clip'"):
        testing.check("clipp")
    with pytest.raises(TypeError, match="one_of is no Stage"):
        testing.check("one_of")
    with pytest.raises(TypeError, match="Scale is no Demosaicer"):
        testing.check_demosaicer(Scale)  # type: ignore[arg-type]


def test_the_callers_generators_and_threads_stay_as_they_were() -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the global generator is what is guarded
    random.seed(5)
    expected = (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002 - as above
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - as above
    random.seed(5)
    threads = torch.get_num_threads()
    testing.check(Scale)
    assert torch.get_num_threads() == threads
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected  # noqa: NPY002 - as above


def test_two_reports_are_equal_but_for_the_time() -> None:
    assert testing.check("gaussian_noise").checks == report_on("gaussian_noise").checks


def test_the_kit_needs_no_test_library() -> None:
    program = (
        "import sys\n"
        "for name in ('pytest', 'hypothesis', '_pytest'): sys.modules[name] = None\n"
        "from isp_sim.testing import check\n"
        "sys.exit(not check('clip').passed)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
