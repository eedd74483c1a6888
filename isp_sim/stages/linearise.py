"""From stored codes to numbers proportional to light: linearisation tables and OECF curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator
from torch import Tensor

from isp_sim.elementary import blockwise
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import NotInvertible, Stage

Number = Annotated[float, Field(ge=0, le=2**24 - 1)]
Knot = tuple[Number, Number]


class Linearise(Stage):
    """Looks each sample up in a linearisation table. DN in, DN out, before the black level is subtracted.

    Codes between two entries are interpolated linearly; those beyond the table take its first or last entry. The
    recipe gives the table as knots of a piecewise linear curve, the way in which sensors describe how they compand;
    the capture, as one entry a code, as DNG's LinearizationTable does. Black and white level are those of the
    linear numbers, so they stay.

    The `raw` reader gives out samples to which LibRaw has applied the file's table already, and so no table: this
    stage is for headerless samples and for simulated companding sensors. The inverse is the companding.

    Raises
    ------
    NotInvertible
        When it is undone, if the table does not rise strictly.
    """

    needs = Signal.where(layout=("mosaic", "rgb"), levels="dn", transfer="linear")
    halo = 0
    source = "DNG 1.7.1, LinearizationTable [DNG2023]; ISO 14524 [ISO14524]"

    class Params(StageParams):
        table: Annotated[tuple[Knot, ...] | None, Static] = Field(
            None,
            min_length=2,
            max_length=2**16,
            examples=[
                [[0, 0], [1024, 1024]],
                [[0, 0], [256, 256], [512, 1280], [1100, 16383]],
                [[16, 0], [400, 99.5], [1200, 4095]],
            ],
            description="knots [code, number], codes rising and numbers not falling [DN]; the capture's table if not "
            "given",
        )

        @field_validator("table")
        @classmethod
        def _rising(cls, table: tuple[Knot, ...] | None) -> tuple[Knot, ...] | None:
            for (code, number), (next_code, next_number) in zip(table or (), (table or ())[1:], strict=False):
                if next_code <= code or next_number < number:
                    raise ValueError(
                        f"codes must rise and numbers must not fall; [{next_code:g}, {next_number:g}] follows "
                        f"[{code:g}, {number:g}]"
                    )
            return table

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("linearization_table",) if p.table is None else ()

    def output_signal(self, signal: Signal, p: Any) -> Signal:
        whole = p.table is not None and all(code == int(code) and number == int(number) for code, number in p.table)
        # between the knots of a curve numbers are not whole; a table with an entry a code has nothing between
        complete = whole and len(p.table) == p.table[-1][0] - p.table[0][0] + 1
        depth = int(p.table[-1][1]).bit_length() if complete and signal.bit_depth is not None else None
        return replace(signal, bit_depth=depth)

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        codes, numbers = self._table(frame, p)
        return blockwise(_interpolated, frame.pixels, codes, numbers)

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        codes, numbers = self._table(frame, p)
        if not bool((numbers[:, 1:] > numbers[:, :-1]).all()):
            raise NotInvertible("the linearisation table does not rise strictly, so codes can't be told from numbers")
        return blockwise(_interpolated, frame.pixels, numbers, codes)

    @staticmethod
    def _table(frame: Frame, p: Any) -> tuple[Tensor, Tensor]:
        """Codes and numbers of the knots, (B, n) each."""
        if p.table is None:
            numbers = frame.capture["linearization_table"]
            codes = torch.arange(numbers.shape[1], dtype=numbers.dtype, device=numbers.device)
            return codes.repeat(numbers.shape[0], 1), numbers
        knots = torch.tensor(p.table, dtype=frame.pixels.dtype, device=frame.pixels.device)
        return knots[:, 0].repeat(frame.batch, 1), knots[:, 1].repeat(frame.batch, 1)


def _interpolated(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through the knots (xs, ys), (B, n) each, at x (B, N). At a knot, and of a line, exact."""
    inside = torch.where(x < xs[:, :1], xs[:, :1], x)
    inside = torch.where(inside > xs[:, -1:], xs[:, -1:], inside)
    k = torch.searchsorted(xs[:, 1:-1].contiguous(), inside.detach(), right=True)
    x0, y0 = xs.gather(1, k), ys.gather(1, k)
    slope = ((ys[:, 1:] - ys[:, :-1]) / (xs[:, 1:] - xs[:, :-1])).gather(1, k)
    # at the last knot the sum of a rounded slope might miss the entry
    return torch.where(inside == xs[:, -1:], ys[:, -1:], y0 + (inside - x0) * slope)
