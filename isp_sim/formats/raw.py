"""Camera RAW and DNG files, through LibRaw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from isp_sim.formats.reader import InputFault, Item, PathParams, Reader, Reading
from isp_sim.frame import Capture, Frame, Move
from isp_sim.signal import OPEN, RAW, cfa_name
from isp_sim.stages.colour_matrix import ccm_from_xyz_to_camera

LARGEST_PERIOD: Final = 8

TURNS: Final = {
    0: {},
    3: {"mirror_x": True, "mirror_y": True},
    5: {"transpose": True, "mirror_y": True},
    6: {"transpose": True, "mirror_x": True},
}
"""How to turn the sensor's rows upright, by LibRaw's flip."""


class Raw(Reader):
    """Reads the visible area of a camera's RAW file, or of a DNG, in digital numbers.

    The CFA is the visible area's, at its top-left pixel. Black level of each site, white level, as-shot gains
    (scaled so that the smallest is 1) and colour matrix go into the capture. A DNG that is already demosaiced
    comes as camera RGB.
    """

    signal = replace(RAW, layout=OPEN)
    facts = frozenset({"black_level", "white_level", "wb_gains", "ccm"})
    suffixes = (
        *(
            ".dng",
            ".nef",
            ".nrw",
            ".cr2",
            ".cr3",
            ".crw",
            ".arw",
            ".sr2",
            ".srf",
            ".raf",
            ".rw2",
            ".orf",
            ".pef",
        ),
        *(".srw", ".rwl", ".3fr", ".fff", ".iiq", ".mos", ".mrw", ".erf", ".kdc", ".dcr", ".raw", ".x3f"),
    )

    class Params(PathParams):
        orient: bool = Field(
            False, description="turn the picture upright, CFA and all; otherwise rows stay the sensor's rows"
        )

    def read(self, item: Item) -> Reading:
        import rawpy

        try:
            with rawpy.imread(item.path) as raw:
                return self._reading(raw, item)
        except rawpy.LibRawError as error:
            reason = error.args[0] if error.args else error
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise InputFault(f"LibRaw can't read it as a RAW file: {text}") from None
        except OSError as error:
            raise InputFault(f"can't read the file: {error}") from None

    def _reading(self, raw: Any, item: Item) -> Reading:
        import rawpy

        notes: list[str] = []
        letters = raw.color_desc.decode("ascii", "replace")
        if raw.sizes.pixel_aspect != 1:
            notes.append(f"pixels are not square: aspect {raw.sizes.pixel_aspect:g}")
        data = raw.raw_image_visible
        if data is None:
            raise InputFault("holds no integer samples that LibRaw gives out (floating-point DNG, or layered)")
        if raw.raw_type == rawpy.RawType.Stack:
            planes = np.ascontiguousarray(data[..., :3].transpose(2, 0, 1)[None])
            signal = replace(RAW, layout="rgb", cfa=None)
            colours = np.arange(3).reshape(3, 1, 1)
            notes.append("already demosaiced")
        else:
            planes = np.ascontiguousarray(data)[None, None]
            colours = _period(raw.raw_colors_visible)[None]
            signal = replace(RAW, cfa=cfa_name(tuple("".join(letters[c] for c in row) for row in colours[0])))
        black = np.asarray(raw.black_level_per_channel, dtype=np.float32)[colours]
        white = np.full_like(black, raw.white_level)
        capture = Capture(
            {
                "black_level": torch.from_numpy(black[None]),
                "white_level": torch.from_numpy(white[None]),
                "wb_gains": torch.from_numpy(_gains(raw, notes)),
                "ccm": torch.from_numpy(_matrix(raw, notes)),
            }
        )
        signal = replace(signal, bit_depth=int(raw.white_level).bit_length())
        frame = Frame(torch.from_numpy(planes.astype(np.float32)), signal, capture, (item.key,))
        return self._turned(frame, raw.sizes.flip, notes)

    def _turned(self, frame: Frame, flip: int, notes: list[str]) -> Reading:
        if flip == 0:
            return Reading(frame, tuple(notes))
        if not self.params.orient:
            return Reading(frame, (*notes, f"orientation {flip} (LibRaw's flip) left as it is"))
        if flip not in TURNS:
            return Reading(frame, (*notes, f"orientation {flip} (LibRaw's flip) is not known and left as it is"))
        return Reading(frame.moved(Move(frame.size, **TURNS[flip])), (*notes, f"orientation {flip} applied"))


def _period(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The smallest period of the colour indices (H, W)."""
    for size in range(1, LARGEST_PERIOD + 1):
        if size in (3, 5, 7):
            continue
        tile = colours[:size, :size]
        rows, columns = (-(-n // size) for n in colours.shape)
        if np.array_equal(np.tile(tile, (rows, columns))[: colours.shape[0], : colours.shape[1]], colours):
            return tile
    raise InputFault(f"the colours of the sites do not repeat within {LARGEST_PERIOD} pixels")


def _gains(raw: Any, notes: list[str]) -> NDArray[np.float32]:
    """As-shot gains (1, 3, 1, 1), smallest 1."""
    for name, gains in (("as shot", raw.camera_whitebalance), ("daylight", raw.daylight_whitebalance)):
        rgb = np.asarray(gains[:3], dtype=np.float64)
        if np.all(np.isfinite(rgb)) and np.all(rgb > 0):
            if name != "as shot":
                notes.append(f"no as-shot white balance: {name} gains taken")
            return (rgb / rgb.min()).astype(np.float32).reshape(1, 3, 1, 1)
    notes.append("no white balance: gains of 1 taken")
    return np.ones((1, 3, 1, 1), dtype=np.float32)


def _matrix(raw: Any, notes: list[str]) -> NDArray[np.float32]:
    """White-balanced camera RGB to linear sRGB (1, 3, 3)."""
    matrix = np.asarray(raw.rgb_xyz_matrix, dtype=np.float64)[:3]
    if np.any(matrix):
        try:
            return ccm_from_xyz_to_camera(matrix).astype(np.float32)[None]
        except ValueError as error:
            notes.append(f"colour matrix not used: {error}")
    matrix = np.asarray(raw.color_matrix, dtype=np.float64)[:, :3]
    if np.any(matrix) and abs(np.linalg.det(matrix)) > 1e-9:
        return matrix.astype(np.float32)[None]
    notes.append("no colour matrix: the camera's primaries are taken as sRGB's")
    return np.eye(3, dtype=np.float32)[None]
