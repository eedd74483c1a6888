"""Camera RAW and DNG files, through LibRaw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from isp_sim.formats.reader import InputFault, Item, PathParams, Reader, Reading, one_line
from isp_sim.frame import Capture, Frame, Move
from isp_sim.signal import OPEN, RAW, cfa_name
from isp_sim.stages.colour_matrix import ccm_from_xyz_to_camera

Floats = NDArray[np.float32]

PERIODS: Final = (2, 6)
"""Sides of the patterns that LibRaw describes rightly: Bayer and X-Trans. Of wider ones it keeps 16 sites."""


class Raw(Reader):
    """Reads the visible area of a camera's RAW file, or of a DNG, in digital numbers.

    The CFA is the visible area's, at its top-left pixel. Black level of each site, white level, as-shot gains
    (scaled so that the smallest is 1) and colour matrix go into the capture. A DNG that is already demosaiced
    comes as camera RGB. Sensors without colours, with others than red, green and blue, or with rows at 45 degrees
    are refused, and so are floating-point samples.
    """

    signal = replace(RAW, layout=OPEN)
    facts = frozenset({"black_level", "white_level", "wb_gains", "ccm"})
    suffixes = (
        *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".srf", ".raf", ".rw2", ".orf", ".pef"),
        *(".srw", ".rwl", ".3fr", ".fff", ".iiq", ".mos", ".mrw", ".erf", ".kdc", ".dcr", ".raw", ".x3f"),
    )

    class Params(PathParams):
        orient: bool = Field(
            False, description="turn the picture upright, CFA and all; otherwise rows stay the sensor's rows"
        )

    def read(self, item: Item) -> Reading:
        import rawpy

        try:
            Path(item.path).open("rb").close()
            tags = _tags(item.path)
            with rawpy.imread(item.path) as raw:
                return self._reading(raw, tags, item)
        except rawpy.LibRawError as error:
            reason = error.args[0] if error.args else error
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else one_line(reason)
            raise InputFault(f"LibRaw can't read it as a RAW file: {text}") from None
        except OSError as error:
            raise InputFault(f"can't read the file: {error.strerror or error}") from None

    def _reading(self, raw: Any, tags: dict[int, Any], item: Item) -> Reading:
        import rawpy

        notes: list[str] = []
        sizes = raw.sizes
        data = raw.raw_image_visible
        if raw.num_colors == 1:
            raise InputFault("a monochrome sensor: there are no colours to develop")
        letters = raw.color_desc.decode("ascii", "replace")
        if letters[:3] != "RGB" or letters[3:] not in ("", "G"):
            raise InputFault(f"a sensor of the colours {letters}; only red, green and blue can be developed")
        if data.shape[:2] != (sizes.height, sizes.width):
            raise InputFault("a sensor whose rows lie at 45 degrees (Super CCD), which is not read")
        if sizes.pixel_aspect != 1:
            notes.append(f"pixels are not square: aspect {sizes.pixel_aspect:g}")
        if raw.raw_type == rawpy.RawType.Stack:
            planes = data[..., :3].transpose(2, 0, 1)
            signal = replace(RAW, layout="rgb", cfa=None)
            black = np.asarray(raw.black_level_per_channel[:3], dtype=np.float32).reshape(3, 1, 1)
            notes.append("already demosaiced")
        else:
            planes = data[None]
            tile = _tile(raw)
            signal = replace(RAW, cfa=cfa_name(tuple("".join(letters[c] for c in row) for row in tile)))
            black = _black(raw, tile, tags)[None]
        if raw.white_level <= black.max():
            raise InputFault(f"its white level {raw.white_level} does not lie above its black level {black.max():g}")
        capture = Capture(
            {
                "black_level": torch.from_numpy(black[None]),
                # The levels per channel that some cameras give are where linearity ends, not saturation.
                "white_level": torch.full((1, *black.shape), float(raw.white_level)),
                "wb_gains": torch.from_numpy(_gains(raw, notes)),
                "ccm": torch.from_numpy(_matrix(raw, notes)),
            }
        )
        signal = replace(signal, bit_depth=int(raw.white_level).bit_length())
        # LibRaw's memory ends with `raw`, so this must be a copy.
        frame = Frame(torch.from_numpy(planes.astype(np.float32))[None], signal, capture, (item.key,))
        return self._turned(frame, sizes.flip, notes)

    def _turned(self, frame: Frame, flip: int, notes: list[str]) -> Reading:
        """Apply LibRaw's flip: 4 exchanges rows and columns, then 2 mirrors the rows' order and 1 the columns'."""
        if flip and not self.params.orient:
            notes.append(f"orientation {flip} (LibRaw's flip) left as it is")
        elif flip:
            notes.append(f"orientation {flip} (LibRaw's flip) applied")
            # LibRaw says where a turned pixel comes from, so its mirrors come first and change places with the axes.
            swap, mirror_y, mirror_x = bool(flip & 4), bool(flip & 2), bool(flip & 1)
            if swap:
                mirror_x, mirror_y = mirror_y, mirror_x
            frame = frame.moved(Move(frame.size, transpose=swap, mirror_x=mirror_x, mirror_y=mirror_y))
        return Reading(frame, tuple(notes))


def _tile(raw: Any) -> NDArray[np.uint8]:
    """One period of the colour indices, at the top-left pixel of the visible area.

    Not from `raw_pattern` and `raw_colors`: with margins over 6 pixels they read an X-Trans pattern out of bounds.
    """
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    colours = np.array([[raw.raw_color(top + y, left + x) for x in range(24)] for y in range(24)], dtype=np.uint8)
    for side in PERIODS:
        tile = colours[:side, :side]
        # Greens have two indices, and a pattern that is no Bayer one can still repeat: three colours it must have.
        if set(tile.flat) >= {0, 1, 2} and np.array_equal(np.tile(tile, (24 // side, 24 // side)), colours):
            return tile
    raise InputFault("neither a Bayer nor an X-Trans pattern: LibRaw does not describe others")


_BLACK_DIM, _BLACK, _ACTIVE_AREA, _MASKED_AREAS, _VERSION = 50713, 50714, 50829, 50830, 50706


def _tags(path: str) -> dict[int, Any]:
    """The tags of a DNG's samples, checked; empty if the file is no DNG.

    Raises
    ------
    InputFault
        If LibRaw would make up what is not in the file: missing samples, the pattern of a plain TIFF, and how
        bright floating-point samples are.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            first = file.pages.first
            pages = [first, *(first.pages or ())]
            ...
    except Exception:
        return {}
    return {}
