"""Strips: a chain of stages taken through a picture piece by piece, each piece while it is in a processor's cache.

A stage that says how far a pixel depends on its surroundings (`Stage.reach`) gives the same bits for a piece as for the
whole. So on the CPU consecutive stages of that kind run together, strip by strip: nothing
between them travels to memory, which makes them several times faster, and a large picture needs little more memory
than for itself and its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isp_sim.frame import PERIODIC, Frame
from isp_sim.randomness import Randomness
from isp_sim.signal import cfa_rows

PIXELS: Final = 1 << 19
"""Pixels of a strip, of all samples in it, for each thread."""


def pixels() -> int:
    """Pixels of a strip."""
    return PIXELS * torch.get_num_threads()


class WantsWhole(Exception):
    """The stage of this id draws random numbers, which belong to the whole frame, or changes its size."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


class NoDraws(Randomness):
    """Randomness for a strip: refuses."""

    def draw(self, purpose: str, sample: Callable[[np.random.Generator], NDArray[Any]]) -> list[NDArray[Any]]:
        raise WantsWhole(self.stage)

    def fixed(self, thing: str) -> Randomness:
        raise WantsWhole(self.stage)


@dataclass(frozen=True)
class Link:
    """A stage of the chain: how to apply it to a part of the batch, with its parameters, and how far it reaches."""

    apply: Callable[[Frame, Any, Randomness], Frame]
    parameters: SimpleNamespace
    randomness: Randomness
    reach: int


@dataclass(frozen=True)
class Piece:
    """Some samples and rows of a batch: what is computed, with its surroundings, and what of it is kept."""

    samples: slice
    rows: slice
    kept: slice


def worthwhile(frame: Frame) -> bool:
    """Whether a frame is large enough to be cut, lies on the CPU, and no gradient is asked for."""
    return (
        frame.pixels.device.type == "cpu"
        and frame.batch * frame.size[0] * frame.size[1] > pixels()
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in (frame.pixels, *frame.capture.values())))
    )


def run(frame: Frame, links: Sequence[Link]) -> Frame:
    """Take a frame through a chain of stages, piece by piece. Equals one stage after the other, to the last bit.

    Raises
    ------
    WantsWhole
        If a stage draws random numbers or changes the size.
    """
    bare, place = replace(frame, targets={}), frame.placement
    gathered = _Gathered(frame)
    for piece in _pieces(frame, sum(link.reach for link in links)):
        cut = part = _cut(bare, piece, place)
        for link in links:
            rng = replace(link.randomness, keys=part.keys)
            part = link.apply(part, _parameters(link.parameters, piece.samples, frame.batch), rng)
            if part.size != cut.size:
                raise WantsWhole(rng.stage)
        gathered.put(piece, part, cut)
    return gathered.frame()


class _Gathered:
    """The whole frame, as far as its pieces have come."""

    def __init__(self, whole: Frame) -> None:
        self._whole = whole
        self._pixels = torch.empty(0)
        self._maps: dict[str, Tensor] = {}
        self._signal = whole.signal
        self._facts: dict[int, dict[str, Tensor]] = {}

    def put(self, piece: Piece, part: Frame, cut: Frame) -> None:
        """Put in a piece, of which `cut` was what went into the chain."""
        if not self._facts:
            self._signal = part.signal
            self._pixels = self._empty(part.pixels)
            self._maps = {name: self._empty(values) for name, values in part.maps.items()}
        self._facts[piece.samples.start] = {
            name: fact for name, fact in part.capture.items() if fact is not cut.capture.get(name)
        }
        start = piece.kept.start - piece.rows.start
        inner = slice(start, start + piece.kept.stop - piece.kept.start)
        self._pixels[piece.samples, :, piece.kept] = part.pixels[:, :, inner]
        for name, values in part.maps.items():
            self._maps[name][piece.samples, :, piece.kept] = values[:, :, inner]

    def frame(self) -> Frame:
        parts = [self._facts[start] for start in sorted(self._facts)]
        facts = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return replace(
            self._whole,
            pixels=self._pixels,
            signal=self._signal,
            capture=self._whole.capture.with_facts(facts),
            maps=self._maps,
        )

    def _empty(self, like: Tensor) -> Tensor:
        """Memory for the whole of what this is a piece of, by NumPy, which asks for large pages: touching small ones
        for the first time takes longer than most stages."""
        shape = (self._whole.batch, like.shape[1], *self._whole.size)
        memory = np.empty(math.prod(shape) * like.dtype.itemsize, dtype=np.uint8)
        return torch.from_numpy(memory).view(like.dtype).reshape(shape)


def _pieces(frame: Frame, reach: int) -> list[Piece]:
    height, width = frame.size
    if (together := pixels() // (height * width)) > 1:
        starts = range(0, frame.batch, together)
        whole = slice(0, height)
        return [Piece(slice(start, min(start + together, frame.batch)), whole, whole) for start in starts]
    period = _period(frame)
    around = -(-reach // period) * period
    rows = max(pixels() // width, 4 * around, 1)
    rows = -(-rows // period) * period
    pieces = []
    for sample in range(frame.batch):
        for top in range(0, height, rows):
            kept = slice(top, min(top + rows, height))
            computed = slice(max(0, top - around), min(kept.stop + around, height))
            pieces.append(Piece(slice(sample, sample + 1), computed, kept))
    return pieces


def _period(frame: Frame) -> int:
    """Rows after which everything that is periodic begins anew."""
    rows = len(cfa_rows(str(frame.signal.cfa))) if frame.signal.layout == "mosaic" else 1
    return math.lcm(rows, *(frame.capture[name].shape[-2] for name in PERIODIC if name in frame.capture))


def _cut(frame: Frame, piece: Piece, place: Tensor) -> Frame:
    """A piece, which begins with a full period, so that only its place is another."""
    samples, rows = piece.samples, piece.rows
    moved = place[samples].clone()
    moved[:, :, 2] += moved[:, :, 1] * rows.start
    return replace(
        frame,
        pixels=frame.pixels[samples, :, rows],
        capture=frame.capture.map(lambda fact: fact[samples]).with_facts({"placement": moved}),
        keys=frame.keys[samples],
        maps={name: values[samples, :, rows] for name, values in frame.maps.items()},
    )


def _parameters(parameters: SimpleNamespace, samples: slice, batch: int) -> SimpleNamespace:
    """The parameters of some of the samples."""
    if samples == slice(0, batch):
        return parameters
    return SimpleNamespace(
        **{name: value[samples] if isinstance(value, Tensor) else value for name, value in vars(parameters).items()}
    )
