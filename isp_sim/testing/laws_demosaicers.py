"""Laws of demosaicing algorithms alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.frame import Frame, Move
from isp_sim.signal import mixed_sites
from isp_sim.stages.mosaic import mosaic
from isp_sim.testing.comparing import apart, other_bits
from isp_sim.testing.law import RUNS, Broken, NotApplicable, law, raised
from isp_sim.testing.pictures import CFAS, USUAL, keyed
from isp_sim.testing.subject import Subject


def _algorithm(s: Subject) -> Demosaicer:
    return cast(Demosaicer, s.plugin())


def _phases(s: Subject) -> list[str]:
    return [cfa for cfa in CFAS if cast(type[Demosaicer], s.plugin).accepts(cfa)]


def _random(height: int, width: int, key: str) -> Tensor:
    return torch.from_numpy(keyed("mosaic", key).uniform(-0.1, 1.2, (1, 1, height, width)).astype(np.float32))


def _at_least(s: Subject, *sizes: tuple[int, int]) -> list[tuple[int, int]]:
    least = _algorithm(s).smallest
    return [(max(height, least), max(width, least)) for height, width in sizes]


def _unlike(found: Tensor, expected: Tensor, cfa: str) -> str | None:
    """How two tensors differ, if they do: in a bit, or beyond rounding where colours had to be solved for."""
    if mixed_sites(cfa) and found.shape == expected.shape:
        return apart(found, expected, 1e-6)
    return other_bits(found, expected)


@law(
    "algorithm facts",
    "border says how the picture goes on beyond its edge, smallest is a whole number from 1, halo is None or a whole "
    "number from 0, it accepts a CFA, and scale is a whole number from 1 for those that it accepts",
    "a class fact left at its default",
)
def algorithm_facts(s: Subject) -> str | None:
    plugin = cast(type[Demosaicer], s.plugin)
    faults = [] if plugin.border.strip() else ["border is empty"]
    if not (isinstance(plugin.smallest, int) and plugin.smallest >= 1):
        faults.append(f"smallest is {plugin.smallest!r}")
    if not (plugin.halo is None or (isinstance(plugin.halo, int) and plugin.halo >= 0)):
        faults.append(f"halo is {plugin.halo!r}")
    if not _phases(s):
        faults.append(f"it accepts none of {', '.join(CFAS)}")
    scales = {cfa: plugin.scale(cfa) for cfa in _phases(s)}
    faults += [f"scale({cfa!r}) is {n!r}" for cfa, n in scales.items() if not (isinstance(n, int) and n >= 1)]
    if plugin.preserves_samples and max(scales.values(), default=1) != 1:
        faults.append("preserves_samples is True, yet several sites make one pixel")
    if faults:
        raise Broken("; ".join(faults))
    return f"accepts {', '.join(_phases(s))}"


@law(
    "smallest",
    "pictures of `smallest` sites in height or width, and of one more, come back in full, divided by `scale`",
    "a `smallest` below what the rule for the border can mirror",
    after=RUNS,
)
def smallest(s: Subject) -> str | None:
    algorithm = _algorithm(s)
    least = algorithm.smallest
    lengths = (least, least + 1, least + 7)
    for cfa, height, width in itertools.product(_phases(s), lengths, lengths):
        where = f"{cfa}, {height}x{width}"
        try:
            out = algorithm.demosaic(_random(height, width, cfa), cfa)
        except Exception as error:
            raise Broken(f"{where}: {raised(error)}") from error
        scale = algorithm.scale(cfa)
        if tuple(out.shape) != (1, 3, height // scale, width // scale):
            raise Broken(f"{where}: {tuple(out.shape)} came back")
        if not bool(out.isfinite().all()):
            raise Broken(f"{where}: NaN or infinite numbers")
    return None


@law(
    "constants",
    "a picture of one colour, whose channels differ, comes back to the last bit, at the border too, for every phase; "
    "within 1e-6 where sites mix colours",
    "a border that breaks the phase of the CFA (mirror about the outermost samples), channels mixed up in one phase, "
    "or weights whose sum is 1 only up to rounding: order the sums so that equal samples cancel",
    after=(*RUNS, "smallest"),
)
def constants(s: Subject) -> str | None:
    algorithm = _algorithm(s)
    least = algorithm.smallest
    colours = torch.from_numpy(keyed("colours", "").uniform(0, 1, (64, 3, 1, 1)).astype(np.float32))
    for cfa, size in itertools.product(_phases(s), _at_least(s, (least, least + 1), (13, 14), (14, 13))):
        flat = colours.expand(-1, -1, *size).contiguous()
        scale = algorithm.scale(cfa)
        expected = flat[..., : size[0] // scale, : size[1] // scale]
        if text := _unlike(algorithm.demosaic(mosaic(flat, cfa), cfa), expected, cfa):
            raise Broken(f"{cfa}, {size[0]}x{size[1]}: {text}")
    return None


@law(
    "samples kept",
    "mosaic(demosaic(m)) is m to the last bit; within 1e-6 where sites mix colours",
    "an interpolation that also smooths: then say preserves_samples = False; or rows and columns mixed up",
    after=RUNS,
)
def samples_kept(s: Subject) -> str | None:
    algorithm = _algorithm(s)
    if not algorithm.preserves_samples:
        raise NotApplicable("preserves_samples is False")
    for cfa, size in itertools.product(_phases(s), _at_least(s, (14, 16), (13, 15))):
        m = _random(*size, cfa)
        if text := _unlike(mosaic(algorithm.demosaic(m, cfa), cfa), m, cfa):
            raise Broken(f"{cfa}, {size[0]}x{size[1]}: {text}")
    return None


@law(
    "linear",
    "demosaic(a m + b n) is a demosaic(m) + b demosaic(n), within 1e-12",
    "a clip, a median, or a choice between directions: then say linear = False",
    after=RUNS,
)
def linear(s: Subject) -> str | None:
    algorithm = _algorithm(s)
    if not algorithm.linear:
        raise NotApplicable("linear is False")
    for cfa, size in itertools.product(_phases(s), _at_least(s, (14, 15))):
        m, n = _random(*size, f"{cfa} m").double(), _random(*size, f"{cfa} n").double()
        joint = algorithm.demosaic(1.5 * m - 0.7 * n, cfa)
        if text := apart(joint, 1.5 * algorithm.demosaic(m, cfa) - 0.7 * algorithm.demosaic(n, cfa), 1e-12):
            raise Broken(f"{cfa}: {text}")
    return None


@law(
    "flips",
    "a mirrored or transposed mosaic, with the phase that it then has, gives the mirrored or transposed picture, "
    "within 1e-9",
    "a filter that is not symmetric, rows and columns mixed up in one phase, or a border treated on one side only",
    after=RUNS,
)
def flips(s: Subject) -> str | None:
    algorithm = _algorithm(s)
    reached: set[tuple[str, tuple[int, int]]] = set()
    for cfa, size in itertools.product(_phases(s), _at_least(s, (14, 16), (13, 15), (14, 15))):
        if (cfa, size) in reached:
            continue  # a turn of an earlier phase, with which it was compared
        scale = algorithm.scale(cfa)
        size = (size[0] // scale * scale, size[1] // scale * scale)  # what is dropped is always at the end
        frame = Frame(_random(*size, cfa).double(), replace(USUAL["mosaic"], cfa=cfa))
        expected = algorithm.demosaic(frame.pixels, cfa)
        for transpose, mirror_x, mirror_y in itertools.product((False, True), repeat=3):
            move = Move(size, transpose, mirror_x, mirror_y)
            moved = frame.moved(move)
            phase = str(moved.signal.cfa)
            if not algorithm.accepts(phase):
                continue
            reached.add((phase, moved.size))
            expected_then = replace(move, size=(size[0] // scale, size[1] // scale)).pixels(expected)
            if text := apart(algorithm.demosaic(moved.pixels, phase), expected_then, 1e-9):
                turns = {"transposed": transpose, "mirrored in x": mirror_x, "mirrored in y": mirror_y}
                turned = " and ".join(name for name, on in turns.items() if on)
                raise Broken(f"{cfa} of {size[0]}x{size[1]}, {turned} to {phase}: {text}")
    return None
