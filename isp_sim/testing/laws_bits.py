"""Laws on equal bits: the same sample gives the same bits in any batch, tile, layout of memory and thread."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from isp_sim.frame import Frame, Move
from isp_sim.randomness import Randomness
from isp_sim.testing.comparing import other_bits, other_frame
from isp_sim.testing.law import BITS, RUNS, Broken, NotApplicable, law, raised
from isp_sim.testing.pictures import period
from isp_sim.testing.subject import KEYS, MEDIUM, SMALL, Recorded, Setting, Subject, Window

LARGE = (181, 183)
"""Beyond the 32768 numbers below which torch uses one thread."""


# -- randomness ------------------------------------------------------------------------------------------------


def _global_states() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "numpy.random": np.random.get_state(),  # noqa: NPY002 - the global generator is what is guarded
        "random": random.getstate(),
    }


def _seed_globals(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - as above
    random.seed(seed)


@contextmanager
def unchanged() -> Iterator[None]:
    """Leave the global generators and the number of threads as they were; in between, use one thread.

    Pictures here are small, and threads that wait for one another cost more than they give.
    """
    threads, states = torch.get_num_threads(), _global_states()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(states["torch"])
        np.random.set_state(states["numpy.random"])  # noqa: NPY002 - as above
        random.setstate(states["random"])


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(_equal, a, b))
    return bool((a == b).all()) if isinstance(a, Tensor | np.ndarray) else bool(a == b)


@law(
    "repeatable",
    "the same key, view and parameters give the same bits again, from the same instance and from a new one",
    "a generator seeded by the time or by nothing, state kept on self, or torch.empty left unfilled",
    after=RUNS,
)
def repeatable(s: Subject) -> str | None:
    def run(subject: Subject, setting: Setting) -> Frame:
        _seed_globals(0)  # that they are used at all has a law of its own
        return subject.run(setting, KEYS[:3])

    for setting in s.settings:
        first = run(s, setting)
        if text := other_frame(run(s, setting), first):
            raise Broken(f"{setting}: run again, {text}")
        if text := other_frame(run(s.anew(), setting), first):
            raise Broken(f"{setting}: from a new instance, {text}")
    return None


@law(
    "own generators",
    "the global generators of torch, NumPy and Python are neither read nor advanced: all draws come from `rng`",
    "torch.rand, torch.normal, np.random.*, random.*, or a dropout; draw by rng.normal or rng.uniform",
    after=(*RUNS, "repeatable"),
)
def own_generators(s: Subject) -> str | None:
    for setting in s.settings:
        outs = []
        for seed in (1, 2):
            _seed_globals(seed)
            before = _global_states()
            outs.append(s.run(setting, KEYS[:2]))
            after = _global_states()
            if advanced := [name for name in before if not _equal(before[name], after[name])]:
                raise Broken(f"{setting}: the generator of {' and '.join(advanced)} was advanced")
        if text := other_frame(outs[1], outs[0]):
            raise Broken(f"{setting}: under another global seed, {text}")
    return None


@law(
    "keyed noise",
    "what a stage draws depends on the sample's key, on the view, on the recipe's seed and on the stage's id",
    "a generator of the stage's own that is seeded by part of these; draw by rng.normal or rng.uniform",
    after=(*BITS, "samples apart"),
)
def keyed_noise(s: Subject) -> str | None:
    log: list[str] = []
    depends = False
    for setting in s.settings:
        size = setting.size(SMALL)
        values = s.values(setting, KEYS[:1] * 4)

        def run(setting: Setting, size: Any, values: Any, seed: int = 0, view: int = 0, id: str = "a") -> Frame:
            frame = s.frame(setting, KEYS[:1] * 4, size, keys=KEYS[:4])
            return s.apply(setting, frame, values, lambda keys: Recorded(seed, view, id, keys, log))

        first = run(setting, size, values)
        others = {
            "view": run(setting, size, values, view=1).pixels,
            "seed": run(setting, size, values, seed=1).pixels,
            "stage id": run(setting, size, values, id="b").pixels,
        }
        moved = {name: other_bits(pixels, first.pixels) is not None for name, pixels in others.items()}
        if s.stage.further(values[0]) is None:  # else parameters, too, are drawn by key
            moved["key"] = any(other_bits(first.pixels[i], first.pixels[0]) for i in range(1, 4))
        if any(moved.values()):
            depends = True
            if same := [name for name, differs in moved.items() if not differs]:
                raise Broken(f"{setting}: another {' or '.join(same)} gives the same noise")
    if not depends:
        raise NotApplicable("it draws, but nothing comes of it here" if log else "it draws nothing while it runs")
    return None


# -- batches, strides, threads, tiles --------------------------------------------------------------------------


@law(
    "samples apart",
    "each sample of a batch gets the bits that it would get alone, whatever the order of the batch",
    "a statistic over the batch (x.mean(), x.amax()), the first sample's parameter used for all, or a function whose "
    "last bit depends on the length of a tensor: torch.pow, exp2, sigmoid, atan2, a convolution "
    "(isp_sim.elementary.power does not)",
    after=BITS,
)
def samples_apart(s: Subject) -> str | None:
    for setting in s.settings:
        # three parameters at a time do not fill a vector register, and all of them do
        ways = [(len(KEYS), 3, setting.smallest), (3, 1, setting.size(MEDIUM))]
        for (number, together, size), dtype in itertools.product(ways, (torch.float32, torch.float64)):
            if setting.is_large and (number, dtype) != (3, torch.float32):
                continue
            names = KEYS[:number]
            where = f"{setting}, {size[0]}x{size[1]}, {dtype}"
            whole = s.run(setting, names, size, dtype=dtype)
            for i in range(0, number, together):
                part = range(i, min(i + together, number))
                if text := other_frame(s.run(setting, [names[j] for j in part], size, dtype=dtype), whole.select(part)):
                    raise Broken(f"{where}: samples {i} to {part[-1]} of {number}, apart from the others, {text}")
            if text := other_frame(s.run(setting, names[::-1], size, dtype=dtype), whole.select(range(number)[::-1])):
                raise Broken(f"{where}: in reversed order, {text}")
    return None


def _every_second_column(x: Tensor) -> Tensor:
    wider = torch.full((*x.shape[:-1], x.shape[-1] * 2), 7.0, dtype=x.dtype)
    wider[..., ::2] = x
    return wider[..., ::2]


def _window(x: Tensor) -> Tensor:
    larger = torch.full((*x.shape[:-2], x.shape[-2] + 3, x.shape[-1] + 5), 7.0, dtype=x.dtype)
    larger[..., 1:-2, 3:-2] = x
    return larger[..., 1:-2, 3:-2]


_LAYOUTS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(-1, -2).contiguous().transpose(-1, -2),
    "every second column of a wider picture": _every_second_column,
    "a window of a larger picture": _window,
}
"""The same numbers in other places of memory."""


@law(
    "strided",
    "a picture that does not lie in one piece of memory (a crop, a transpose, channels_last) gives the same bits",
    "view, as_strided or data_ptr on pixels that need not be contiguous; torch.pow and the like, which round "
    "differently by stride",
    after=BITS,
)
def strided(s: Subject) -> str | None:
    for setting in s.settings:
        sizes = dict.fromkeys((setting.smallest, setting.size(MEDIUM)))
        for size, dtype in itertools.product(sizes, (torch.float32, torch.float64)):
            expected = s.run(setting, KEYS[:3], size, dtype=dtype)
            for layout, lay in _LAYOUTS.items():
                frame = s.frame(setting, KEYS[:3], size, dtype)
                where = f"{setting}, {size[0]}x{size[1]}, {dtype}, {layout}"
                try:
                    out = s.apply(setting, replace(frame, pixels=lay(frame.pixels)), s.values(setting, KEYS[:3]))
                except Exception as error:
                    raise Broken(f"{where}: {raised(error)}") from error
                if text := other_frame(out, expected):
                    raise Broken(f"{where}: {text}")
    return None


@law(
    "threads",
    "one thread gives the bits of two",
    "a sum over a whole picture, torch.pow, or interpolate: torch splits them by the number of threads",
    after=BITS,
)
def threads(s: Subject) -> str | None:
    for setting in s.settings:
        for dtype in (torch.float32, torch.float64) if setting is s.settings[0] else (torch.float32,):
            size = setting.size(LARGE)
            outs = []
            try:
                for number in (2, 1):
                    torch.set_num_threads(number)
                    outs.append(s.run(setting, KEYS[:1], size, dtype=dtype))
            finally:
                torch.set_num_threads(1)
            if text := other_frame(outs[1], outs[0]):
                raise Broken(f"{setting}, {size[0]}x{size[1]}, {dtype}: {text}")
    return None


@law(
    "tile",
    "a tile with a margin of `halo` pixels, and its part of the draws, gives the bits of the whole picture",
    "a halo (or reach) too small, or a result that depends on the place in the picture or on its size: then None",
    after=BITS,
)
def tile(s: Subject) -> str | None:
    if s.moves:
        raise NotApplicable("it moves pixels")
    left_out: NotApplicable | None = None
    number = 0
    for setting in s.settings:
        try:
            if (halo := s.reach(setting)) is None:
                raise NotApplicable("a pixel may depend on the whole picture")
            _tiles(s, setting, halo)
            number += 1
        except NotApplicable as reason:
            left_out = reason
    if left_out is None:
        return None
    if not number:
        raise left_out
    return f"in {number} of {len(s.settings)} settings; in the others {left_out}"


def _up_to(n: int, step: int) -> int:
    return -(-n // step) * step


def _tiles(s: Subject, setting: Setting, halo: int) -> None:
    other = s.stage.input_signal if setting.backward else s.stage.output_signal
    after = other(setting.signal, setting.constants)
    rows, columns = map(math.lcm, period(setting.signal), period(after))
    size = setting.size((2 * halo + 6 * rows + 29, 2 * halo + 6 * columns + 31))
    height, width = 2 * rows + 7, 2 * columns + 9
    scale = s.scale(setting.signal)
    if scale > 1:  # whole pixels of the result
        size, (height, width) = ((a // scale * scale, b // scale * scale) for a, b in (size, (height, width)))
    places = {
        "the top left corner": (0, 0),
        "the middle": (_up_to(halo + 2 * rows, scale), _up_to(halo + 2 * columns, scale)),
        "the bottom right corner": (size[0] - height, size[1] - width),
    }
    values = s.values(setting, KEYS[:2])
    for dtype, (place, (y, x)) in itertools.product((torch.float32, torch.float64), places.items()):
        # cut on full periods of the CFA, so that the pattern stays
        top, left = max(0, y - halo) // rows * rows, max(0, x - halo) // columns * columns
        bottom, right = min(size[0], y + height + halo), min(size[1], x + width + halo)
        window = (top, left, bottom - top, right - left)

        def rng(keys: Sequence[str], window: tuple[int, int, int, int] = window) -> Randomness:
            return Window(0, 0, s.name, tuple(keys), size, window)

        part = s.frame(setting, KEYS[:2], size, dtype).crop(*window)
        cut = s.apply(setting, replace(part, pixels=part.pixels.contiguous()), values, rng)
        y, x, top, left = y // scale, x // scale, top // scale, left // scale
        inner = cut.moved(Move(cut.size, window=(y - top, x - left, height // scale, width // scale)))
        whole = s.run(setting, KEYS[:2], size, dtype=dtype)
        if text := other_frame(inner, whole.moved(Move(whole.size, window=(y, x, height // scale, width // scale)))):
            raise Broken(f"{setting}, {dtype}, a tile in {place}: {text}")


@law(
    "pickles",
    "the class and an instance can be pickled, as a pool of processes needs, and give the same bits afterwards",
    "an open file, a lambda or a lock kept on self, or a class defined inside a function",
    after=BITS,
)
def pickles(s: Subject) -> str | None:
    again = pickle.loads(pickle.dumps(s.plugin()))
    if s.plugin is s.type:
        setting = s.settings[0]
        if text := other_frame(s.anew(again).run(setting, KEYS[:2]), s.run(setting, KEYS[:2])):
            raise Broken(f"after a round trip through pickle, {text}")
    return None
