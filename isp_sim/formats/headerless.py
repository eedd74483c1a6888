"""Headerless RAW: samples alone, with a description in the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from isp_sim.cameras.profile import Gain, Row
from isp_sim.formats.reader import InputFault, Item, PathParams, Reader, Reading
from isp_sim.frame import Capture, Frame
from isp_sim.signal import RAW, cfa_rows

Level = Annotated[float, Field(ge=0, le=65535)]


class Headerless(Reader):
    """Reads files that hold one mosaic's samples, row by row, and nothing else, in digital numbers."""

    signal = RAW
    facts = frozenset({"black_level", "white_level"})
    suffixes = (".raw", ".bin")

    class Params(PathParams):
        width: int = Field(ge=1, le=1 << 16, description="sites in a row [px]")
        height: int = Field(ge=1, le=1 << 16, description="rows [px]")
        dtype: Literal["u1", "<u2", ">u2"] = Field("<u2", description="a sample: 1 byte, or 2, little or big end first")
        bits: int = Field(ge=1, le=16, description="bits in use [bit]")
        cfa: str = Field("RGGB", description="one period of the CFA at the top-left pixel")
        offset: int = Field(0, ge=0, description="bytes before the first sample [byte]")
        black: Level | tuple[Level, ...] = Field(0.0, description="black level, one or one a CFA site, row by row [DN]")
        white: float | None = Field(
            None, gt=0, le=65535, description="saturation level [DN]; the largest code if not given"
        )
        wb_gains: tuple[Gain, Gain, Gain] | None = Field(None, description="as-shot gains of R, G and B [factor]")
        ccm: tuple[Row, Row, Row] | None = Field(None, description="white-balanced camera RGB to linear sRGB [1]")

        @field_validator("cfa")
        @classmethod
        def _rectangle(cls, cfa: str) -> str:
            cfa_rows(cfa)
            return cfa

        @model_validator(mode="after")
        def _levels(self) -> Headerless.Params:
            sites = sum(len(row) for row in cfa_rows(self.cfa))
            black = self.black if isinstance(self.black, tuple) else (self.black,)
            if len(black) not in (1, sites):
                raise ValueError(f"black has {len(black)} levels; the CFA {self.cfa} has {sites} sites")
            white = 2**self.bits - 1 if self.white is None else self.white
            if white <= max(black):
                raise ValueError(f"white level {white} must lie above black level {max(black)}")
            return self

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        given = [name for name in ("wb_gains", "ccm") if getattr(params, name) is not None]
        self.facts = frozenset({"black_level", "white_level", *given})
        self.signal = replace(RAW, cfa=params.cfa, bit_depth=params.bits)

    def read(self, item: Item) -> Reading:
        p = self.params
        path = Path(item.path)
        needed = p.offset + p.width * p.height * np.dtype(p.dtype).itemsize
        try:
            found = path.stat().st_size
            if found < needed:
                raise InputFault(f"holds {found} bytes; {p.width}x{p.height} samples of {p.dtype} need {needed}")
            with path.open("rb") as file:
                data = np.fromfile(file, dtype=p.dtype, count=p.width * p.height, offset=p.offset)
        except OSError as error:
            raise InputFault(f"can't read the file: {error.strerror}") from None
        notes = (f"{found - needed} bytes after the last sample ignored",) if found > needed else ()
        pixels = torch.from_numpy(data.reshape(1, 1, p.height, p.width).astype(np.float32))
        rows = cfa_rows(p.cfa)
        shape = (1, 1, len(rows), len(rows[0]))
        black = torch.tensor(p.black, dtype=torch.float32).reshape(
            shape if isinstance(p.black, tuple) and len(p.black) > 1 else (1, 1, 1, 1)
        )
        white = torch.full((1, 1, 1, 1), 2.0**p.bits - 1 if p.white is None else p.white)
        facts = {"black_level": black.expand(shape).clone(), "white_level": white.expand(shape).clone()}
        if p.wb_gains is not None:
            gains = torch.tensor(p.wb_gains, dtype=torch.float32).reshape(1, 3, 1, 1)
            facts["wb_gains"] = gains / gains.amin()
        if p.ccm is not None:
            facts["ccm"] = torch.tensor(p.ccm, dtype=torch.float32)[None]
        return Reading(Frame(pixels, self.signal, Capture(facts), (item.key,)), notes)
