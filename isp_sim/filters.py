"""Filters by shifts and sums: the same bits for any batch, tile, stride and number of threads.

Pictures are (B, C, H, W). Beyond its edge a picture is mirrored about its outermost samples, which are not repeated:
for a picture abcd, ... c b | a b c d | c b ... . A filter that adds the differences from the sample in the middle, as
those here do, leaves a constant as it is to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

import torch
from torch import Tensor

from isp_sim.elementary import BLOCK

TRUNCATE: Final = 4.0
"""How many standard deviations a Gaussian reaches by default."""


# -- borders ---------------------------------------------------------------------------------------------------


def mirrored(length: int, reach: int, device: torch.device) -> Tensor:
    """Indices of -reach ... length + reach - 1, mirrored about the first and the last.

    Examples
    --------
    >>> mirrored(3, 2, torch.device("cpu")).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    period = max(2 * (length - 1), 1)
    index = torch.arange(-reach, length + reach, device=device).remainder(period)
    return torch.minimum(index, period - index)


def extend(x: Tensor, rows: int, columns: int) -> Tensor:
    """A picture (..., H, W) with so many mirrored samples above and below, and left and right."""
    if columns:
        x = x[..., mirrored(x.shape[-1], columns, x.device)]
    return x.index_select(-2, mirrored(x.shape[-2], rows, x.device)) if rows else x


# -- pieces that fit the cache ---------------------------------------------------------------------------------


class Strip(NamedTuple):
    """Rows ``start`` to ``stop`` of a picture, and the rows ``first`` to ``last`` that they depend on."""

    start: int
    stop: int
    first: int
    last: int


def strips(x: Tensor, context: int) -> Iterator[Strip]:
    """The rows of one sample of a picture (B, C, H, W) in strips whose intermediate results fit the cache.

    One strip where that would gain nothing: on other devices than the CPU, and where gradients are wanted.

    Parameters
    ----------
    context
        How many rows above and below a row depends on.
    """
    height = x.shape[-2]
    whole = x.device.type != "cpu" or (torch.is_grad_enabled() and x.requires_grad)
    rows = height if whole else max(BLOCK // (x.shape[1] * x.shape[-1]), 3 * context, 1)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        yield Strip(start, stop, max(0, start - context), min(height, stop + context))


def by_sample(function: Callable[..., Tensor], x: Tensor, *tables: Tensor) -> Tensor:
    """``function(x, *tables)`` one sample after the other on the CPU, whose cache holds no batch; at once elsewhere.

    Each table has one entry a sample. The bits are the same, because no sample of `function` depends on another.
    """
    if x.shape[0] == 1 or x.device.type != "cpu" or (torch.is_grad_enabled() and x.requires_grad):
        return function(x, *tables)
    if x[0].numel() < BLOCK // 16:  # where calls cost more than memory
        return function(x, *tables)
    return torch.cat([function(x[i : i + 1], *(t[i : i + 1] for t in tables)) for i in range(x.shape[0])])


# -- separable filters -----------------------------------------------------------------------------------------


def gaussian_weights(sigma: Tensor, truncate: float = TRUNCATE) -> Tensor:
    """The taps of sampled Gaussians on one side of the middle, (B, K), float64, on the CPU.

    Parameters
    ----------
    sigma
        Standard deviations [px], one a sample, in any shape of B numbers; 0 for no filter.
    truncate
        Each reaches ``floor(truncate * sigma + 0.5)`` samples, as SciPy's; its further taps are 0. K is the largest
        reach, so a sample's own taps do not depend on the batch.

    Examples
    --------
    >>> gaussian_weights(torch.tensor([0.5, 0.0]))
    tensor([[0.1065, 0.0003],
            [0.0000, 0.0000]], dtype=torch.float64)
    """
    sigma = sigma.reshape(-1, 1).to("cpu", torch.float64)
    reach = torch.floor(truncate * sigma.detach() + 0.5)
    step = torch.arange(1, int(reach.max()) + 1, dtype=torch.float64)[None]
    z = step / sigma
    taps = torch.where(step <= reach, torch.exp(-0.5 * (z * z)), 0.0)
    total = torch.ones_like(sigma)
    for k in range(taps.shape[1]):  # one after the other, so that the zeros of a longer neighbour change nothing
        total = total + 2 * taps[:, k : k + 1]
    return taps / total


def symmetric(x: Tensor, down: Tensor, across: Tensor | None = None) -> Tensor:
    """A separable filter whose kernels are symmetric and sum to 1. Any range; linear; flips commute with it.

    Parameters
    ----------
    x
        (B, C, H, W).
    down, across
        (B, K) each: the taps 1 to K samples from the middle, whose own is what is left to 1. The same if one is given.
    """
    across = down if across is None else across

    def filtered(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
        below, beside = down.shape[1], across.shape[1]
        extended = extend(x, below, beside)
        pieces = []
        for strip in strips(x, below):
            piece = extended[..., strip.start : strip.stop + 2 * below, :]
            pieces.append(_along(_along(piece, -2, down), -1, across))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)

    return by_sample(filtered, x, down.to(x), across.to(x))


def _along(x: Tensor, dim: int, taps: Tensor) -> Tensor:
    """One of the two passes, over a picture extended by the reach along `dim`."""
    reach = taps.shape[1]
    length = x.shape[dim] - 2 * reach
    middle = x.narrow(dim, reach, length)
    if reach == 0:
        return middle
    twice, out = middle + middle, middle.clone()
    for k in range(1, reach + 1):
        pair = x.narrow(dim, reach - k, length) + x.narrow(dim, reach + k, length)
        out.add_(pair.sub_(twice).mul_(taps[:, k - 1, None, None, None]))
    return out


def gaussian(x: Tensor, sigma: Tensor, truncate: float = TRUNCATE) -> Tensor:
    """Gaussian blur. Any range; linear; a constant stays as it is to the last bit.

    Parameters
    ----------
    x
        (B, C, H, W).
    sigma
        Standard deviation [px], one a sample, (B, 1, 1, 1); 0 leaves the sample as it is. No gradient flows to it.
    truncate
        Where the kernel ends [standard deviations].

    Notes
    -----
    SciPy's ``gaussian_filter(mode="mirror")`` is the same filter.

    Examples
    --------
    >>> edge = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 1, 4)
    >>> [round(value, 3) for value in gaussian(edge, torch.tensor([0.5])).flatten().tolist()]
    [0.001, 0.107, 0.893, 0.999]
    """
    return symmetric(x, gaussian_weights(sigma, truncate))


def gaussian_reach(sigma: float, truncate: float = TRUNCATE) -> int:
    """How many samples a Gaussian of this standard deviation reaches: a stage's `halo`, from its upper bound."""
    return int(truncate * sigma + 0.5)


def convolve(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolution with a kernel that sums to 1. Any range; linear; a constant stays as it is to the last bit.

    Parameters
    ----------
    x
        (B, C, H, W).
    kernels
        (B, K, L), K and L odd, float64, on the CPU: what each sample makes of a single point. The tap in the middle is
        not read: it is what the others leave to 1. Taps that are 0 cost nothing. No gradient flows to them.

    Notes
    -----
    SciPy's ``ndimage.convolve(mode="mirror")`` is the same filter.

    Examples
    --------
    >>> point = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 5)
    >>> convolve(point, torch.tensor([[[0.5, 0.25, 0.25]]])).flatten().tolist()
    [0.0, 0.5, 0.25, 0.25, 0.0]
    """
    if x.device.type == "cpu":  # each with its own taps, so that a neighbour's add no zeros
        return torch.cat([_convolved(x[i : i + 1], kernels[i : i + 1]) for i in range(x.shape[0])])
    return _convolved(x, kernels)


def _convolved(x: Tensor, kernels: Tensor) -> Tensor:
    down, across = (side // 2 for side in kernels.shape[1:])
    places = [place for place in kernels.ne(0).any(dim=0).nonzero().tolist() if place != [down, across]]
    weights = kernels.to(x)
    extended = extend(x, down, across)
    width = x.shape[-1]
    pieces = []
    for strip in strips(x, down):
        height = strip.stop - strip.start
        middle = extended[..., strip.start + down : strip.stop + down, across : across + width]
        out = middle.clone()
        for i, j in places:
            top, left = strip.start + 2 * down - i, 2 * across - j
            there = extended[..., top : top + height, left : left + width]
            out.add_((there - middle).mul_(weights[:, i, j, None, None, None]))
        pieces.append(out)
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)


def run_sums(x: Tensor, dim: int, length: int) -> Tensor:
    """Sums of `length` samples next to each other, one for each place where they fit. Powers of two, added up.

    A sum over the picture up to each sample would be quicker still, but its rounding depends on the place.

    Examples
    --------
    >>> run_sums(torch.arange(6.0), 0, 5).tolist()
    [10.0, 15.0]
    """
    places = x.shape[dim] - length + 1
    total, done, power = None, 0, 1
    while True:
        if length & power:
            part = x.narrow(dim, done, places)
            total = part if total is None else total + part
            done += power
        if done == length:
            return total if total is not None else x
        x = x.narrow(dim, 0, x.shape[dim] - power) + x.narrow(dim, power, x.shape[dim] - power)
        power *= 2


# -- pictures read at any place --------------------------------------------------------------------------------


def sampled(x: Tensor, places: Tensor, kernel: str = "bicubic") -> Tensor:
    """A picture read at any places. Linear in x; a constant stays as it is to the last bit, and so does what is read at
    the centre of a pixel. Beyond its edge a picture goes on as its outermost pixels.

    Parameters
    ----------
    x
        (B, C, H, W), any range.
    places
        (B or 1, 2, h, w), float64: x and y in pixels from the left and top edge. No gradient flows to them.
    kernel
        ``bilinear``, or ``bicubic``: Keys's with a = -1/2, which may overshoot.

    Returns
    -------
    Tensor
        (B, C, h, w).

    Examples
    --------
    >>> x = torch.tensor([0.0, 1.0, 4.0, 9.0]).reshape(1, 1, 1, 4)
    >>> places = torch.tensor([[1.5, 2.0], [0.5, 0.5]], dtype=torch.float64).reshape(1, 2, 1, 2)
    >>> sampled(x, places).flatten().tolist()
    [1.0, 2.25]
    """

    def read(x: Tensor, places: Tensor) -> Tensor:
        pixels = x.flatten(2)
        rows = _rows(x, places)
        pieces = [
            _read(pixels, x.shape[-2:], places[..., first : first + rows, :], kernel)
            for first in range(0, places.shape[-2], rows)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)

    return by_sample(read, x, places.expand(x.shape[0], -1, -1, -1))


def _rows(x: Tensor, places: Tensor) -> int:
    """How many rows to read at a time."""
    return max(BLOCK // (4 * x.shape[1] * places.shape[-1]), 1) if x.device.type == "cpu" else places.shape[-2]


def _read(pixels: Tensor, size: Sequence[int], places: Tensor, kernel: str) -> Tensor:
    """Pixels (B, C, H W) read at places (B, 2, h, w)."""

    def at(row: Tensor, column: Tensor) -> Tensor:
        index = row.clamp(0, size[0] - 1) * size[1] + column.clamp(0, size[1] - 1)
        index = index.reshape(pixels.shape[0], 1, -1).expand(-1, pixels.shape[1], -1)
        return pixels.gather(2, index).reshape(*pixels.shape[:2], *places.shape[-2:])

    x, y = places[:, 0], places[:, 1]
    middle = at(y.floor().long(), x.floor().long())
    before_x, before_y = (x - 0.5).floor(), (y - 0.5).floor()
    weights = _bilinear if kernel == "bilinear" else _keys
    across, down = (
        weights((value - 0.5 - before).to(pixels)[:, None]) for value, before in ((x, before_x), (y, before_y))
    )
    column, row = before_x.long(), before_y.long()
    out = middle.clone()
    for i, by_row in down:
        for j, by_column in across:
            out.add_((at(row + i, column + j) - middle).mul_(by_row * by_column))
    return out


def _bilinear(t: Tensor) -> list[tuple[int, Tensor]]:
    """The samples to take, counted from the one before, and their weights."""
    return [(0, 1 - t), (1, t)]


def _keys(t: Tensor) -> list[tuple[int, Tensor]]:
    u = 1 - t
    return [
        (-1, t * u * u * -0.5),
        (0, 1 - t * t * (2.5 - t * 1.5)),
        (1, 1 - u * u * (2.5 - u * 1.5)),
        (2, t * t * u * -0.5),
    ]


# -- means weighted by likeness --------------------------------------------------------------------------------


def half_offsets(radius: int, disc: bool = False) -> list[tuple[int, int]]:
    """The offsets (down, right) of a square, or of a disc, without 0: one of each pair of opposite ones."""
    return [
        (y, x)
        for y in range(radius + 1)
        for x in range(-radius, radius + 1)
        if (y > 0 or x > 0) and (not disc or y * y + x * x <= radius * radius)
    ]


def pair(x: Tensor, offset: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The samples (..., h, w) of x that have one at `offset` from them, and those ones."""
    y, dx = offset
    height, width = x.shape[-2] - y, x.shape[-1] - abs(dx)
    left = max(0, -dx)
    here = x.narrow(-2, 0, height).narrow(-1, left, width)
    there = x.narrow(-2, y, height).narrow(-1, left + dx, width)
    return here, there


def inside(x: Tensor, margin: int) -> Tensor:
    """A picture (..., H, W) without so many samples on each side."""
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def weighted_mean(
    x: Tensor,
    offsets: Sequence[tuple[int, int]],
    weight: Callable[[int, Tensor], Tensor],
    channels: int | None = None,
    margin: int = 0,
) -> Tensor:
    """Mean of each sample and those around it, with weights that are the same seen from either of two samples.

    Parameters
    ----------
    x
        (B, C, H + 2 margin, W + 2 margin): the picture and what lies around it.
    offsets
        Of `half_offsets`; those at which the picture holds no pair are left out.
    weight
        Takes the number of an offset and the differences of the pairs, (B, C, h + 2 margin, w + 2 margin), and returns
        (B, 1, h, w). The weight of the sample itself is 1.
    channels
        How many of the channels are wanted, the first ones; all if not given. The others are for the weights.
    margin
        How many samples of x on each side are for the weights only.
    """
    wanted = inside(x[:, :channels], margin)
    moved = torch.zeros_like(wanted)
    total = torch.ones_like(wanted[:, :1])
    for i, offset in enumerate(offsets):
        if offset[0] >= wanted.shape[-2] or abs(offset[1]) >= wanted.shape[-1]:
            continue
        here, there = pair(x, offset)
        difference = there - here
        w = weight(i, difference)
        pull = inside(difference[:, :channels], margin) * w
        pair(moved, offset)[0].add_(pull)
        pair(moved, offset)[1].sub_(pull)  # a view made anew, which autograd asks for
        pair(total, offset)[0].add_(w)
        pair(total, offset)[1].add_(w)
    return wanted + moved / total


def square(difference: Tensor) -> Tensor:
    """Sum over the channels of the squares, (B, 1, H, W)."""
    squares = difference * difference
    total = squares[:, :1]
    for channel in range(1, squares.shape[1]):
        total = total + squares[:, channel : channel + 1]
    return total


# -- order statistics ------------------------------------------------------------------------------------------


def extremes(x: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """The least and the greatest of the samples of x (B, C, H, W) up to `reach` away along both axes."""
    extended = extend(x, reach, reach)
    found = []
    for choose in (torch.minimum, torch.maximum):
        best = extended
        for dim in (-2, -1):
            length = x.shape[dim]
            line = best.narrow(dim, 0, length)
            for k in range(1, 2 * reach + 1):
                line = choose(line, best.narrow(dim, k, length))
            best = line
        found.append(best)
    return found[0], found[1]


SORTERS: Final = {
    3: ((0, 2), (0, 1), (1, 2)),
    5: ((0, 3), (1, 4), (0, 2), (1, 3), (0, 1), (2, 4), (1, 2), (3, 4), (2, 3)),
}
"""Sorting networks with the fewest exchanges, for 3 and 5 values."""


def _sorted(values: Sequence[Tensor]) -> list[Tensor]:
    ordered = list(values)
    for i, j in SORTERS[len(ordered)]:
        ordered[i], ordered[j] = torch.minimum(ordered[i], ordered[j]), torch.maximum(ordered[i], ordered[j])
    return ordered


def _middle(values: Sequence[Tensor]) -> Tensor:
    """The median of an odd number of values, by dropping the least and the greatest of just enough of them.

    Of n // 2 + 2 values, the least and the greatest can't be the median; the next value takes their place, and so on.
    """
    waiting = list(values)
    kept = [waiting.pop() for _ in range(len(values) // 2 + 2)] if len(values) > 1 else waiting
    while len(kept) > 1:
        for low, high in zip(range(len(kept) // 2), range(len(kept) - 1, 0, -1), strict=False):
            kept[low], kept[high] = torch.minimum(kept[low], kept[high]), torch.maximum(kept[low], kept[high])
        last = len(kept) - 1
        for i in range(1, (len(kept) + 1) // 2):
            kept[0], kept[i] = torch.minimum(kept[0], kept[i]), torch.maximum(kept[0], kept[i])
        for i in range(len(kept) // 2, last):
            kept[i], kept[last] = torch.minimum(kept[i], kept[last]), torch.maximum(kept[i], kept[last])
        kept = kept[1:-1] + ([waiting.pop()] if waiting else [])
    return kept[0]


@cache
def _candidates(size: int) -> tuple[tuple[int, int], ...]:
    """Where the median may be in a square whose columns were sorted, and then its rows: not where too many are at
    most as great, or at least as great."""
    half = size * size // 2
    return tuple(
        (i, j)
        for i in range(size)
        for j in range(size)
        if (i + 1) * (j + 1) - 1 <= half and (size - i) * (size - j) - 1 <= half
    )


def median(x: Tensor, size: int) -> Tensor:
    """Median of `size` x `size` samples, 3 or 5, by minima and maxima of shifted pictures. Exact; any range.

    The gradient goes to the sample that is the median; where several are, to each a part.

    Notes
    -----
    Columns are sorted once for all squares that they are part of; then the rows of each square, which leaves few
    candidates.
    """
    reach = size // 2
    extended = extend(x, reach, reach)
    pieces = []
    for strip in strips(x, 0):
        height = strip.stop - strip.start
        columns = _sorted([extended[..., strip.start + i : strip.start + i + height, :] for i in range(size)])
        rows = [_sorted([column[..., j : j + x.shape[-1]] for j in range(size)]) for column in columns]
        pieces.append(_middle([rows[i][j] for i, j in _candidates(size)]))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-2)
