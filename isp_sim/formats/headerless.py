"""Headerless RAW: samples alone, with a description in the recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator

from isp_sim.cameras.profile import Gain, Row
from isp_sim.formats.limits import refuse_giant
from isp_sim.formats.reader import InputFault, Item, PathParams, Reader, Reading
from isp_sim.frame import Capture, Frame
from isp_sim.signal import RAW, cfa_rows

Level = Annotated[float, Field(ge=0, le=65535)]


class Headerless(Reader):
    """Reads files that hold one mosaic's samples, row by row, and nothing else, in digital numbers.

    A file that is too short is refused; bytes after the last sample, and samples that need more bits than said, are
    noted.
    """

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
            if self.bits > (room := 8 * np.dtype(self.dtype).itemsize):
                raise ValueError(f"a sample of dtype {self.dtype} has {room} bits; {self.bits} do not fit into it")
            sites = sum(len(row) for row in cfa_rows(self.cfa))
            black = self.black if isinstance(self.black, tuple) else (self.black,)
            if len(black) not in (1, sites):
                raise ValueError(f"black has {len(black)} levels; the CFA {self.cfa} has {sites} sites")
            white, top = self.white_level, 2**self.bits - 1
            if not max(black) < white <= top:
                raise ValueError(f"white level {white:g} must lie above black level {max(black):g}, up to {top}")
            return self

        @property
        def white_level(self) -> float:
            return 2.0**self.bits - 1 if self.white is None else self.white

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        given = [name for name in ("wb_gains", "ccm") if getattr(params, name) is not None]
        self.facts = frozenset({"black_level", "white_level", *given})
        self.signal = replace(RAW, cfa=params.cfa, bit_depth=params.bits)

    def read(self, item: Item) -> Reading:
        p = self.params
        count = p.width * p.height
        needed = p.offset + count * np.dtype(p.dtype).itemsize
        refuse_giant(p.width, p.height)
        try:
            with item.on_disk() as path:
                found = path.stat().st_size
                if found < needed:
                    raise InputFault(f"holds {found} bytes; {p.width}x{p.height} samples of {p.dtype} need {needed}")
                with path.open("rb") as file:
                    file.seek(p.offset)
                    samples = np.fromfile(file, dtype=p.dtype, count=count)
        except OSError as error:
            raise InputFault(f"can't read the file: {error.strerror or error}") from None
        notes = [f"{found - needed} bytes after the last sample ignored"] if found > needed else []
        if excess := int(np.count_nonzero(samples >= 2**p.bits)):
            notes.append(f"{excess} samples need more than {p.bits} bits: are bits, dtype and offset right?")
        pixels = torch.from_numpy(samples.astype(np.float32).reshape(1, 1, p.height, p.width))
        return Reading(Frame(pixels, self.signal, Capture(self._facts()), (item.key,)), tuple(notes))

    def _facts(self) -> dict[str, torch.Tensor]:
        p = self.params
        rows = cfa_rows(p.cfa)
        sites = torch.empty(1, 1, len(rows), len(rows[0]))
        black = torch.tensor(p.black, dtype=sites.dtype)
        facts = {
            "black_level": black.expand(sites.numel()).reshape(sites.shape).clone(),
            "white_level": torch.full_like(sites, p.white_level),
        }
        if p.wb_gains is not None:
            gains = torch.tensor(p.wb_gains, dtype=sites.dtype).reshape(1, 3, 1, 1)
            facts["wb_gains"] = gains / gains.amin()
        if p.ccm is not None:
            facts["ccm"] = torch.tensor(p.ccm, dtype=sites.dtype)[None]
        return facts
