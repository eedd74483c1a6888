"""Laws on a change of size or shape: what a stage says by its warp is what it does to the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from isp_sim.frame import Frame, Warp
from isp_sim.stage import Result
from isp_sim.testing.law import BITS, Broken, NotApplicable, law
from isp_sim.testing.subject import KEYS, MEDIUM, Setting, Subject

THERE_AND_BACK: Final = 0.01
"""How far a point may be from where it started [px]."""
PICTURE: Final = 0.4
"""How far the picture may be from where its warp says [new px]. The nearest pixel is up to a quarter off."""
PLACES: Final = ((0.5, 0.5), (0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7))
"""Where bumps are put, x and y as a share of the picture's size, one a sample."""


@law(
    "warp",
    "a stage that changes the picture's size says by its warp where each new pixel comes from and where each old "
    "point goes: the two are inverse to each other, and the picture moves as they say",
    "half a pixel forgotten (the centre of the first pixel lies at 0.5), x and y exchanged, or the size before taken "
    "for the size after",
    after=BITS,
)
def warp(s: Subject) -> str | None:
    tried = seen = 0
    for setting in s.settings:
        if setting.backward or s.moves:
            continue
        for indices, part, warp in _warps(s, setting, _flat(s, setting)):
            tried += 1
            _check_form(setting, part, warp)
            for i in range(len(indices)):
                _check_points(setting, warp, i)
        seen += _check_pictures(s, setting)
    if not tried:
        raise NotApplicable("it leaves every pixel at its place" if not s.moves else "it moves whole pixels")
    return None if seen else "bumps to follow were too small to be seen"


def _warps(s: Subject, setting: Setting, frame: Frame) -> Iterator[tuple[list[int], Frame, Warp]]:
    """The parts of a batch that are computed together, and their warps."""
    for indices, part, result in s.results(setting, frame, s.values(setting, KEYS[: frame.batch])):
        if isinstance(result, Result) and result.warp is not None:
            yield indices, part, result.warp


def _check_form(setting: Setting, part: Frame, warp: Warp) -> None:
    shape = tuple(warp.source.shape)
    if len(shape) != 4 or shape[0] not in (1, part.batch) or shape[1] != 2:
        raise Broken(f"{setting}: the warp's source is {shape}, not (1 or {part.batch}, 2, H, W)")
    if tuple(warp.size) != part.size:
        raise Broken(f"{setting}: the warp says that the picture was {warp.size}; it was {part.size}")


def _check_points(setting: Setting, warp: Warp, sample: int) -> None:
    """Each new pixel's centre is where the place that it shows goes."""
    source = warp.source[min(sample, warp.source.shape[0] - 1)].double()
    height, width = warp.output
    y, x = (torch.arange(side, dtype=torch.float64, device=source.device) + 0.5 for side in (height, width))
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
    found = warp.points(source.permute(1, 2, 0), sample).double()
    gap = torch.where(warp.inside[min(sample, warp.source.shape[0] - 1)][..., None], (found - centres).abs(), 0.0)
    if not float(gap.max()) <= THERE_AND_BACK:
        at = divmod(int(gap.amax(dim=-1).argmax()), width)
        raise Broken(
            f"{setting}: the pixel at row {at[0]}, column {at[1]} shows {_written(source[:, at[0], at[1]])}, which "
            f"goes to {_written(found[at])}, not to its centre"
        )


# -- pictures --------------------------------------------------------------------------------------------------


def _flat(s: Subject, setting: Setting) -> Frame:
    frame = s.frame(setting, KEYS[: len(PLACES)], setting.size(MEDIUM))
    return replace(frame, pixels=torch.full_like(frame.pixels, 0.4))


def _check_pictures(s: Subject, setting: Setting) -> int:
    """Compare the places of a bump before and after; returns for how many."""
    flat = _flat(s, setting)
    before, seen = list(_warps(s, setting, flat)), 0
    if not before:
        return 0
    height, width = flat.size
    places = torch.tensor(PLACES) * torch.tensor([width, height])
    coarse = max(max(height / w.output[0], width / w.output[1]) for _, _, w in before)
    spread = 2 * max(1.0, coarse)  # so that the bump is no smaller than the new pixels
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    bumps = torch.stack(
        [torch.exp(-((x - px) ** 2 + (y[:, None] - py) ** 2) / (2 * spread**2)) for px, py in places.tolist()]
    )
    marked = replace(flat, pixels=flat.pixels + 0.3 * bumps[:, None].to(flat.pixels))
    values = s.values(setting, KEYS[: len(PLACES)])
    change = (s.apply(setting, marked, values).pixels - s.apply(setting, flat, values).pixels).abs().sum(dim=1)
    for indices, _, warp in before:
        for i, sample in enumerate(indices):
            expected = warp.points(places[sample : sample + 1].double(), i)[0]
            found = _centre(change[sample].double())
            if found is None or not _fits(expected, warp.output, 2.5 * spread * _enlarged(warp)):
                continue
            seen += 1
            if float((found - expected).abs().max()) > PICTURE:
                raise Broken(
                    f"{setting}: a bump at {_written(places[sample])} came to {_written(found)}; the warp says "
                    f"{_written(expected)}"
                )
    return seen


def _centre(change: Tensor) -> Tensor | None:
    """The centre of mass, x and y in pixels; None if there is no mass."""
    total = change.sum()
    if float(total) < 1e-3:
        return None
    y, x = torch.arange(change.shape[0]) + 0.5, torch.arange(change.shape[1]) + 0.5
    return torch.stack([(change.sum(dim=0) * x).sum(), (change.sum(dim=1) * y).sum()]) / total


def _enlarged(warp: Warp) -> float:
    return max(warp.output[0] / warp.size[0], warp.output[1] / warp.size[1])


def _fits(place: Tensor, size: tuple[int, int], margin: float) -> bool:
    x, y = place.tolist()
    return bool(margin <= x <= size[1] - margin and margin <= y <= size[0] - margin)


def _written(place: Tensor) -> str:
    return "({:.2f}, {:.2f})".format(*place.tolist())
