"""Kriging of any periodic CFA, along rows and along columns."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isp_sim.demosaicing import periodic
from isp_sim.demosaicing.demosaicer import Demosaicer
from isp_sim.signal import cfa_rows

ALONG: Final = 5
ACROSS: Final = 3
"""How far a prediction looks along its direction, and across."""
DECISION: Final = 5
"""How far a decision looks: one pixel for the change of colour, four for its smoothing."""
MARGIN: Final = ALONG + DECISION

STRETCH: Final = 3.0
"""How much longer structures are along the direction than across."""
EXPONENT: Final = 1.6
"""Mean squared differences grow as this power of the distance: 1 for images of edges, 2 for smooth ones."""
CHROMA: Final = 0.03
"""Mean squared differences of colour, beside those of brightness."""
NUGGET: Final = 1e-4
"""Variance that belongs to one site alone. Keeps near-singular systems solvable."""
DECIDEDNESS: Final = 8
"""How the share of a direction follows from how little colour changes along it: by this power."""

Floats = NDArray[np.float64]
Taps = tuple[tuple[int, int], ...]


class DirectionalKriging(Demosaicer):
    """Best linear unbiased prediction of R, G and B, along rows and along columns; the smoother colour decides.

    The prior says that brightness changes as its distance, longer along the direction, to a power, and that colour
    changes far less. Each phase of the CFA has its own weights, so any periodic pattern will do, C, M, Y and W sites
    included. The two predictions are blended by how little their colour differences change around the pixel. Samples
    are kept, up to rounding at sites that mix colours. Any range; may leave the range of the samples; does not clip.
    """

    border = "weighted means of each colour, mirrored"
    halo = MARGIN + periodic.REACH
    smallest = periodic.REACH + 1
    source = (
        "prediction after Taubman 2000 [Taubman2000], decision after Menon, Andriani and Calvagno 2007 [Menon2007]; "
        "the directional prior and the blend are our own"
    )

    @classmethod
    def accepts(cls, cfa: str) -> bool:
        return periodic.is_dense(cfa)

    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        periodic.check_size(mosaic)
        return periodic.in_tiles(_interpolated, mosaic, cfa, self.halo)


def _interpolated(mosaic: Tensor, cfa: str) -> Tensor:
    size = mosaic.shape[-2], mosaic.shape[-1]
    means = periodic.means(mosaic, cfa)
    wide = _extended(mosaic, cfa, means)
    predictions = [_predicted(wide, cfa, size, direction) for direction in ("row", "column")]
    out = _inside(_blended(*predictions), DECISION)
    with torch.no_grad():
        # where all that a pixel looks at is flat, what the sums have rounded off is given back
        flat = _flat(mosaic, cfa, means)
        rounding = torch.where(flat, periodic.rgb_of(means, cfa) - out, 0.0)
    return periodic.fit(out + rounding, mosaic, cfa)


def _mirrored(length: int, reach: int, device: torch.device) -> Tensor:
    """Indices of -reach ... length + reach - 1, mirrored about the first and the last."""
    period = 2 * (length - 1)
    index = torch.arange(-reach, length + reach, device=device).remainder(period)
    return torch.minimum(index, period - index)


def _extended(mosaic: Tensor, cfa: str, means: dict[str, Tensor]) -> Tensor:
    """The mosaic with MARGIN more sites on every side, in which the pattern goes on."""
    height, width = mosaic.shape[-2:]
    rows, columns = (_mirrored(length, MARGIN, mosaic.device) for length in (height, width))
    size = (height + 2 * MARGIN, width + 2 * MARGIN)
    at = periodic.masks(cfa, size, mosaic.device, (-MARGIN, -MARGIN))
    wide = mosaic.new_zeros(mosaic.shape[0], 1, *size)
    for letter, plane in periodic.keep(mosaic, cfa, means).items():
        wide = torch.where(at[letter], plane[..., rows, :][..., columns], wide)
    return wide


def _flat(mosaic: Tensor, cfa: str, means: dict[str, Tensor]) -> Tensor:
    """Whether every sample that a prediction looks at equals the mean of its letter's samples around it."""
    apart = torch.zeros_like(mosaic)
    for letter, mask in periodic.masks(cfa, (mosaic.shape[-2], mosaic.shape[-1]), mosaic.device).items():
        apart = torch.where(mask, (mosaic - means[letter]).abs(), apart)
    return periodic.greatest(apart, MARGIN) == 0


def _inside(x: Tensor, margin: int) -> Tensor:
    return x[..., margin:-margin, margin:-margin]


# -- prediction ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def weights(cfa: str, direction: str) -> tuple[Taps, Floats]:
    """Offsets (dy, dx) of the samples that a prediction looks at, and their weights (3, h, w, taps) at each phase.

    Universal kriging: the least expected squared error among weights that give back every constant colour.
    """
    if direction == "column":
        turned = "/".join("".join(column) for column in zip(*cfa_rows(cfa), strict=True))
        if "/" not in turned:
            turned = f"{turned}/{turned}"
        taps, of_rows = weights(turned, "row")
        return tuple((dx, dy) for dy, dx in taps), of_rows.transpose(0, 2, 1, 3)
    rows = cfa_rows(cfa)
    height, width = len(rows), len(rows[0])
    taps = tuple(
        (dy, dx)
        for dy in range(-ACROSS, ACROSS + 1)
        for dx in range(-ALONG, ALONG + 1)
        if (dy / (ACROSS + 0.3)) ** 2 + (dx / (ALONG + 0.3)) ** 2 <= 1
    )
    shares = dict(zip(periodic.letters(cfa), periodic.filters(cfa), strict=True))
    found = np.empty((3, height, width, len(taps)))
    for y in range(height):
        for x in range(width):
            sampled = np.array([shares[rows[(y + dy) % height][(x + dx) % width]] for dy, dx in taps])
            found[:, y, x] = _solved(np.array(taps, dtype=np.float64), sampled)
    return taps, found


def _solved(places: Floats, sampled: Floats) -> Floats:
    """Weights (3, n) of samples at n places, each the share (n, 3) of R, G and B that it is made of."""
    colour = CHROMA * (np.eye(3) - 1 / 3)
    brightness = np.ones((3, 3))

    def covariance(a: Floats, b: Floats, of_a: Floats, of_b: Floats) -> Floats:
        d = a[:, None] - b[None]
        far, near = (np.hypot(d[..., 0], d[..., 1] / s) ** EXPONENT for s in (STRETCH, 1.0))
        return -(of_a @ brightness @ of_b.T * far + of_a @ colour @ of_b.T * near)

    n = len(places)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = covariance(places, places, sampled, sampled) + NUGGET * np.eye(n)
    system[:n, n:], system[n:, :n] = sampled, sampled.T
    wanted = np.vstack([covariance(places, np.zeros((3, 2)), sampled, np.eye(3)), np.eye(3)])
    solution = np.linalg.solve(system, wanted)
    # with residuals in extended precision, so that patterns that mirror each other get weights that do
    for _ in range(2):
        residual = wanted.astype(np.longdouble) - system.astype(np.longdouble) @ solution.astype(np.longdouble)
        solution = solution + np.linalg.solve(system, residual.astype(np.float64))
    return np.asarray(solution[:n].T)


def _predicted(wide: Tensor, cfa: str, size: tuple[int, int], direction: str) -> Tensor:
    """R, G and B along one direction, (B, 3, H + 2 DECISION, W + 2 DECISION).

    Pixels are sorted by phase, so that each tap is one product and one sum of planes for all pixels.
    """
    taps, table = weights(cfa, direction)
    height, width = table.shape[1:3]
    rows, columns = size[0] + 2 * DECISION, size[1] + 2 * DECISION
    down, across = -(-rows // height), -(-columns // width)
    # room for the last period, which the picture need not fill
    wide = torch.nn.functional.pad(wide, (0, across * width - columns, 0, down * height - rows))
    table = np.roll(table, (DECISION % height, DECISION % width), axis=(1, 2)).reshape(3, height * width, len(taps))
    by_tap = torch.from_numpy(table).to(wide)
    total = wide.new_zeros(wide.shape[0], 3, height * width, down, across)
    for i, (dy, dx) in enumerate(taps):
        top, left = ALONG + dy, ALONG + dx
        seen = wide[:, 0, top : top + down * height, left : left + across * width]
        seen = seen.reshape(-1, down, height, across, width).permute(0, 2, 4, 1, 3)
        seen = seen.reshape(wide.shape[0], 1, height * width, down, across)
        total += seen * by_tap[:, :, i, None, None]
    total = total.reshape(-1, 3, height, width, down, across).permute(0, 1, 4, 2, 5, 3)
    return total.reshape(-1, 3, down * height, across * width)[..., :rows, :columns]


# -- decision --------------------------------------------------------------------------------------------------


def _blended(along_rows: Tensor, along_columns: Tensor) -> Tensor:
    """The prediction whose colour changes less, or nearly so: a smooth decision."""
    tiny = math.sqrt(torch.finfo(along_rows.dtype).tiny)
    rough_rows, rough_columns = _change(along_rows) + tiny, _change(along_columns) + tiny
    total = rough_rows + rough_columns
    for_rows, for_columns = rough_columns / total, rough_rows / total
    for _ in range(3):  # to the power DECIDEDNESS
        for_rows, for_columns = for_rows * for_rows, for_columns * for_columns
    return along_rows + (along_columns - along_rows) * (for_columns / (for_rows + for_columns))


def _change(rgb: Tensor) -> Tensor:
    """How much R - G and B - G change around each pixel, (B, 1, H, W)."""
    colour = torch.cat([rgb[:, 0:1] - rgb[:, 1:2], rgb[:, 2:3] - rgb[:, 1:2]], dim=1)
    change = torch.zeros_like(colour[:, :1])
    for dim in (-1, -2):
        wide = _repeated(colour, dim)
        length = colour.shape[dim]
        before, after = wide.narrow(dim, 0, length), wide.narrow(dim, 2, length)
        steps = (colour - before).abs() + (after - colour).abs() + (after - before).abs()
        change = change + (steps[:, :1] + steps[:, 1:])
    for _ in range(DECISION - 1):
        for dim in (-1, -2):
            wide = _repeated(change, dim)
            length = change.shape[dim]
            change = (wide.narrow(dim, 0, length) + wide.narrow(dim, 2, length)) * 0.25 + change * 0.5
    return change


def _repeated(x: Tensor, dim: int) -> Tensor:
    """One more pixel on both sides, equal to the outermost."""
    length = x.shape[dim]
    return torch.cat([x.narrow(dim, 0, 1), x, x.narrow(dim, length - 1, 1)], dim=dim)
