"""Camera RAW and DNG files, through LibRaw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from isp_sim.formats.limits import refuse_giant
from isp_sim.formats.opcodes import FixVignetteRadial, GainMap, OpcodeFault, Shading, parse
from isp_sim.formats.reader import InputFault, Item, PathParams, Reader, Reading, one_line
from isp_sim.formats.tiff import refuse_lost_segments
from isp_sim.frame import Capture, Frame, Move
from isp_sim.signal import OPEN, RAW, cfa_name
from isp_sim.stages.camera_matrix import CALIBRATION_ILLUMINANTS, D65
from isp_sim.stages.colour_matrix import XYZ_FROM_SRGB, ccm_from_xyz_to_camera

Floats = NDArray[np.float32]

PERIODS: Final = (2, 6)
"""Sides of the patterns that LibRaw describes rightly: Bayer and X-Trans. Of others it keeps 16 sites, so a DNG's tags
have to tell."""


class Raw(Reader):
    """Reads the visible area of a camera's RAW file, or of a DNG, in digital numbers.

    A linearisation table, such as a DNG's, has been applied: LibRaw does so while it unpacks the samples.

    The CFA is the visible area's, at its top-left pixel. Black level of each site, white level, as-shot gains
    (scaled so that the smallest is 1) and colour matrices go into the capture, and so does the lens shading that a
    DNG's opcodes describe: gain maps and the radial correction, neutral where there are none, not yet applied. A DNG
    that is already demosaiced comes as camera RGB. Bayer, X-Trans, and in a DNG any other pattern of red, green and
    blue, such as Quad Bayer, are read. Sensors without colours, with others than red, green and blue, or with rows at
    45 degrees are refused, and so are floating-point samples.
    """

    signal = replace(RAW, layout=OPEN)
    facts = frozenset(
        {
            *("black_level", "white_level", "wb_gains", "ccm", "color_matrices", "calibration_illuminants"),
            *("gain_map", "gain_map_geometry", "vignette"),
        }
    )
    suffixes = (
        *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".sr2", ".srf"),
        *(".raf", ".rw2", ".orf", ".pef", ".srw", ".rwl", ".3fr", ".fff", ".iiq"),
        *(".mos", ".mrw", ".erf", ".kdc", ".dcr", ".raw", ".x3f"),
    )

    class Params(PathParams):
        orient: bool = Field(
            False, description="turn the picture upright, CFA and all; otherwise rows stay the sensor's rows"
        )
        noise_profile: bool = Field(
            False, description="take a DNG's NoiseProfile into the capture; a file without one is refused"
        )

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        if params.noise_profile:
            self.facts = self.facts | {"noise_profile"}

    def read(self, item: Item) -> Reading:
        import rawpy

        try:
            # LibRaw does not say why it can't open a file. It is not given the open one: from a buffer it takes
            # truncated samples for whole ones.
            with item.on_disk() as path:
                with path.open("rb") as file:
                    dng = _dng(file)
                with rawpy.imread(str(path)) as raw:
                    return self._reading(raw, dng, item)
        except UnicodeEncodeError:
            raise InputFault("LibRaw takes no file name that is not UTF-8: rename it") from None
        except rawpy.LibRawError as error:
            # rawpy passes on LibRaw's own bytes.
            reason = error.args[0] if error.args else b""
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) and reason else one_line(error)
            raise InputFault(f"LibRaw can't read it as a RAW file: {text}") from None
        except OSError as error:
            raise InputFault(f"can't read the file: {error.strerror or error}") from None
        except MemoryError:
            raise InputFault("there is not enough memory to decode it") from None
        except RuntimeError as error:
            raise InputFault(f"LibRaw does not give out its samples: {one_line(error)}") from None

    def _reading(self, raw: Any, dng: dict[str, Any], item: Item) -> Reading:
        import rawpy

        notes: list[str] = []
        sizes = raw.sizes
        refuse_giant(sizes.raw_width, sizes.raw_height)
        data = raw.raw_image_visible
        if raw.num_colors == 1:
            raise InputFault("a monochrome sensor: there are no colours to develop")
        letters = raw.color_desc.decode("ascii", "replace")
        if letters[:3] != "RGB" or letters[3:] not in ("", "G"):
            raise InputFault(f"a sensor of other colours than red, green and blue; LibRaw calls them {letters}")
        if data.shape[:2] != (sizes.height, sizes.width):
            raise InputFault("its visible area does not fit its samples, as with rows at 45 degrees (Super CCD)")
        if sizes.pixel_aspect != 1:
            notes.append(f"pixels are not square: aspect {sizes.pixel_aspect:g}")
        if raw.raw_type == rawpy.RawType.Stack:
            planes = data[..., :3].transpose(2, 0, 1)
            signal = replace(RAW, layout="rgb", cfa=None)
            black = np.asarray(raw.black_level_per_channel[:3], dtype=np.float32).reshape(3, 1, 1)
            notes.append("already demosaiced")
        else:
            planes = data[None]
            tile = _tile(raw, dng)
            signal = replace(RAW, cfa=cfa_name(tuple("".join(letters[c] for c in row) for row in tile)))
            black = _black(raw, tile, dng)[None]
        if raw.white_level <= black.max():
            raise InputFault(f"its white level {raw.white_level} does not lie above its black level {black.max():g}")
        capture = Capture(
            {
                "black_level": torch.from_numpy(black[None]),
                # The levels per channel that some cameras give are where linearity ends, not saturation.
                "white_level": torch.full((1, *black.shape), float(raw.white_level)),
                "wb_gains": torch.from_numpy(_gains(raw, notes)),
                "ccm": torch.from_numpy(_matrix(raw, notes)),
                **{name: torch.from_numpy(fact) for name, fact in (dng.get("colour") or _daylight(raw)).items()},
                **_shading(dng, signal.layout, notes).facts(),
                **_placement(raw, dng),
            }
        )
        if self.params.noise_profile:
            capture = capture.with_facts({"noise_profile": _noise_profile(dng)})
        signal = replace(signal, bit_depth=int(raw.white_level).bit_length())
        # LibRaw's memory ends with `raw`, so this must be a copy.
        frame = Frame(torch.from_numpy(planes.astype(np.float32))[None], signal, capture, (item.key,))
        return self._turned(frame, sizes.flip, notes)

    def _turned(self, frame: Frame, flip: int, notes: list[str]) -> Reading:
        """Apply LibRaw's flip, which says where a turned pixel comes from: 4 exchanges row and column, then 2 counts
        the rows from the end and 1 the columns."""
        if flip and not self.params.orient:
            notes.append(f"orientation {flip} (LibRaw's flip) left as it is")
        elif flip:
            notes.append(f"orientation {flip} (LibRaw's flip) applied")
            rows, columns = bool(flip & 2), bool(flip & 1)
            # A move exchanges the axes first, so then what mirrors the old rows mirrors the new columns.
            mirror_x, mirror_y = (rows, columns) if flip & 4 else (columns, rows)
            frame = frame.moved(Move(frame.size, transpose=bool(flip & 4), mirror_x=mirror_x, mirror_y=mirror_y))
        return Reading(frame, tuple(notes))


def _tile(raw: Any, dng: dict[str, Any]) -> NDArray[np.uint8]:
    """One period of the colour indices, at the top-left pixel of the visible area.

    LibRaw's, unless a DNG gives a pattern of another size.
    Not from `raw_pattern` and `raw_colors`: with margins over 6 pixels they read an X-Trans pattern out of bounds.
    """
    top, left = raw.sizes.top_margin, raw.sizes.left_margin
    pattern: NDArray[np.uint8] | None = dng.get("cfa")
    if pattern is not None and pattern.shape not in [(side, side) for side in PERIODS]:
        moved = np.roll(pattern, (dng["origin"][0] - top, dng["origin"][1] - left), axis=(0, 1))
        again = np.tile(moved[:2, :2], (-(-len(moved) // 2), -(-len(moved[0]) // 2)))
        even = not (len(moved) % 2 or len(moved[0]) % 2)
        return moved[:2, :2] if even and np.array_equal(again, moved) else moved
    colours = np.array([[raw.raw_color(top + y, left + x) for x in range(24)] for y in range(24)], dtype=np.uint8)
    for side in PERIODS:
        tile = colours[:side, :side]
        # Greens have two indices, and a pattern that is no Bayer one can still repeat: three colours it must have.
        if set(tile.flat) >= {0, 1, 2} and np.array_equal(np.tile(tile, (24 // side, 24 // side)), colours):
            return tile
    raise InputFault("neither a Bayer nor an X-Trans pattern: LibRaw does not describe others, and no DNG tag does")


def _black(raw: Any, tile: NDArray[np.uint8], dng: dict[str, Any]) -> Floats:
    """Black level of each site, one period (h, w) at the top-left pixel of the visible area.

    LibRaw's, unless a DNG gives a pattern: of one wider than 2x2 LibRaw tells only the least level, and where the
    active area begins at an odd row or column, it moves the area on but not the pattern.
    """
    levels = np.asarray(raw.black_level_per_channel, dtype=np.float32)
    pattern = dng.get("black")
    if pattern is None:
        return levels[tile]
    top, left = dng["origin"]
    moved = np.roll(pattern, (top - raw.sizes.top_margin, left - raw.sizes.left_margin), axis=(0, 1))
    return np.asarray(levels.min() + moved - moved.min(), dtype=np.float32)


def _dng(source: BinaryIO) -> dict[str, Any]:
    """What LibRaw does not tell of a DNG: the patterns of its CFA and black level, where they begin, its opcodes, its
    colour matrices and its noise. Else empty.

    Raises
    ------
    InputFault
        If LibRaw would make something up: the CFA of a plain TIFF, missing tiles, or the scale of floating-point
        samples.
    """
    import tifffile

    try:
        with tifffile.TiffFile(source) as file:
            pages = [file.pages.first, *(file.pages.first.pages or ())]
            if "DNGVersion" not in pages[0].tags:
                if "Make" not in pages[0].tags and not any("CFAPattern" in page.tags for page in pages):
                    raise InputFault("a TIFF that does not say which camera or CFA it comes from")
                return {}
            samples = [page for page in pages if page.photometric in _SAMPLES and not page.subfiletype]
            about = {"colour": _dng_colour(pages[0].tags)}
            if not samples:
                return about
            page = max(samples, key=lambda page: page.size)
            about["noise"] = page.tags.valueof("NoiseProfile") or pages[0].tags.valueof("NoiseProfile")
            return _levels(page, file.filehandle.size) | _lens(page) | about
    except InputFault:
        raise
    except Exception:  # noqa: BLE001  no TIFF, or a strange one: LibRaw may read it all the same
        return {}


_SAMPLES: Final = (32803, 34892)
"""Photometric interpretation of samples: those of a CFA, and linear ones."""


def _levels(page: Any, size: int) -> dict[str, Any]:
    if page.sampleformat == 3:
        raise InputFault("holds floating-point samples, which LibRaw rescales by their maximum")
    if page.compression != 1:
        refuse_lost_segments(page, size)
    if page.samplesperpixel != 1:
        return {}
    found: dict[str, Any] = {"origin": page.tags.valueof("ActiveArea", (0, 0))[:2]}
    dim, cfa = page.tags.valueof("CFARepeatPatternDim"), page.tags.valueof("CFAPattern")
    if dim is not None and cfa is not None:
        found["cfa"] = np.frombuffer(bytes(cfa), dtype=np.uint8).reshape(dim)
    dim, black = page.tags.valueof("BlackLevelRepeatDim"), page.tags.get("BlackLevel")
    # Where there are masked areas, LibRaw measures the black level there.
    if dim is not None and black is not None and "MaskedAreas" not in page.tags:
        found["black"] = _numbers(black).reshape(dim)
    return found


def _numbers(tag: Any) -> NDArray[np.float64]:
    """The numbers of a tag, fractions worked out; not finite where the denominator is 0."""
    values = np.atleast_1d(np.asarray(tag.value, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        return values[::2] / values[1::2] if tag.dtype in (5, 10) else values


def _dng_colour(tags: Any) -> dict[str, Floats]:
    """What a DNG says of its colours, as capture facts; empty if it says nothing that can be used."""

    def matrices(name: str) -> NDArray[np.float64] | None:
        """Both matrices of a name (2, 3, 3), or one twice."""
        found = [_numbers(tag) for i in (1, 2) if (tag := tags.get(f"{name}{i}")) is not None]
        if not found or any(m.size != 9 or not np.all(np.isfinite(m)) for m in found):
            return None
        return np.stack([found[0], found[-1]]).reshape(2, 3, 3)

    color = matrices("ColorMatrix")
    if color is None or np.any(np.abs(np.linalg.det(color)) < 1e-9):
        return {}
    numbers = [tags.valueof(f"CalibrationIlluminant{i}", 0) for i in (1, 2)]
    known = [CALIBRATION_ILLUMINANTS.get(number) for number in numbers]
    facts, forward = {"color_matrices": color}, matrices("ForwardMatrix")
    if forward is not None:
        facts["forward_matrices"] = forward
    calibration = matrices("CameraCalibration")
    # They belong to one profile's matrices: to those of the same signature.
    signatures = [str(tags.valueof(f"{of}CalibrationSignature", "")).strip("\0") for of in ("Camera", "Profile")]
    if calibration is None or signatures[0] != signatures[1]:
        calibration = np.stack([np.eye(3)] * 2)
    balance = np.ones(3) if (tag := tags.get("AnalogBalance")) is None else _numbers(tag)
    if balance.size == 3 and np.all(np.isfinite(balance) & (balance > 0)):
        calibration = np.diag(balance) @ calibration
    if not np.array_equal(calibration, np.stack([np.eye(3)] * 2)):
        facts["camera_calibrations"] = calibration
    if None in known:  # nothing to interpolate between: the first matrices hold for any light
        facts = {name: np.stack([fact[0], fact[0]]) for name, fact in facts.items()}
    facts["calibration_illuminants"] = np.array([cct or CALIBRATION_ILLUMINANTS[D65] for cct in known])
    return {name: fact.astype(np.float32)[None] for name, fact in facts.items()}


def _daylight(raw: Any) -> dict[str, Floats]:
    """LibRaw's matrix for the camera, which is for D65, as capture facts; that of the sRGB primaries if it has none."""
    table = np.asarray(raw.rgb_xyz_matrix, dtype=np.float64)[:3]
    if not np.any(table) or abs(np.linalg.det(table)) < 1e-9:
        table = np.asarray(np.linalg.inv(XYZ_FROM_SRGB), dtype=np.float64)
    return {
        "color_matrices": np.stack([table, table]).astype(np.float32)[None],
        "calibration_illuminants": np.full((1, 2), CALIBRATION_ILLUMINANTS[D65], dtype=np.float32),
    }


def _lens(page: Any) -> dict[str, Any]:
    """The opcodes that apply to linear samples and to demosaiced ones, and the area that they are about."""
    area = page.tags.valueof("ActiveArea", (0, 0, page.imagelength, page.imagewidth))
    lists = {name: page.tags.valueof(tag) for name, tag in (("linear", 51009), ("demosaiced", 51022))}
    return {"area": tuple(map(int, area)), "opcodes": {name: value for name, value in lists.items() if value}}


def _shading(dng: dict[str, Any], layout: str, notes: list[str]) -> Shading:
    """The gain maps and the radial correction of a DNG; what can't be used is noted."""
    maps: list[GainMap] = []
    vignettes: list[FixVignetteRadial] = []
    for name, value in dng.get("opcodes", {}).items():
        try:
            opcodes = parse(bytes(value))
        except (OpcodeFault, TypeError) as error:
            notes.append(f"opcodes for {name} samples not used: {error}")
            continue
        found = [opcode for opcode in opcodes if isinstance(opcode, GainMap)]
        if found and name == "demosaiced" and layout == "mosaic":
            notes.append("gain maps for demosaiced samples not used")
        else:
            maps += found
        vignettes += [opcode for opcode in opcodes if isinstance(opcode, FixVignetteRadial)]
    if len(vignettes) > 1:
        notes.append(f"of {len(vignettes)} radial corrections only the first is used")
    return Shading(maps, vignettes[0]) if vignettes else Shading(maps)


def _placement(raw: Any, dng: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Where the visible area lies on a DNG's active area, if it is another."""
    sizes = raw.sizes
    visible = (sizes.top_margin, sizes.left_margin, sizes.top_margin + sizes.height, sizes.left_margin + sizes.width)
    top, left, bottom, right = dng.get("area", visible)
    if visible == (top, left, bottom, right):
        return {}
    place = [[1, 0, visible[1] - left, right - left], [0, 1, visible[0] - top, bottom - top]]
    return {"placement": torch.tensor([place], dtype=torch.float32)}


def _noise_profile(dng: dict[str, Any]) -> torch.Tensor:
    """DNG's NoiseProfile (1, n, 2), for all colours or for R, G and B."""
    values = np.asarray(dng.get("noise") or (), dtype=np.float64)
    if values.size not in (2, 6) or not np.all(np.isfinite(values)):
        raise InputFault(f"no NoiseProfile of one or three colours; it holds {values.size} numbers for it")
    return torch.from_numpy(values.reshape(1, -1, 2).clip(min=0).astype(np.float32))


def _gains(raw: Any, notes: list[str]) -> Floats:
    """As-shot gains (1, 3, 1, 1), smallest 1."""
    for name, found in (("as-shot", raw.camera_whitebalance), ("daylight", raw.daylight_whitebalance)):
        gains = np.asarray(found[:3], dtype=np.float64)
        # LibRaw's daylight gains are 1 where it knows no matrix.
        if np.all(np.isfinite(gains)) and np.all(gains > 0) and (name == "as-shot" or np.ptp(gains) > 0):
            if name == "daylight":
                notes.append("no as-shot white balance: daylight gains taken")
            return np.asarray(gains / gains.min(), dtype=np.float32).reshape(1, 3, 1, 1)
    notes.append("no as-shot white balance: gains of 1 taken")
    return np.ones((1, 3, 1, 1), dtype=np.float32)


def _matrix(raw: Any, notes: list[str]) -> Floats:
    """White-balanced camera RGB to linear sRGB (1, 3, 3): the file's own, else LibRaw's for the camera."""
    own = np.asarray(raw.color_matrix, dtype=np.float64)[:, :3]
    # LibRaw's bound: below it the file holds no matrix.
    if own[0, 0] > 0.125 and np.all(own.sum(axis=1) > 0) and abs(np.linalg.det(own)) > 1e-9:
        return np.asarray(own / own.sum(axis=1, keepdims=True), dtype=np.float32)[None]
    table = np.asarray(raw.rgb_xyz_matrix, dtype=np.float64)[:3]
    if np.any(table):
        try:
            return np.asarray(ccm_from_xyz_to_camera(table), dtype=np.float32)[None]
        except ValueError as error:
            notes.append(f"colour matrix not used: {error}")
    notes.append("no colour matrix: the camera's primaries are taken as sRGB's")
    return np.eye(3, dtype=np.float32)[None]
