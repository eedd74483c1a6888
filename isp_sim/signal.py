"""What the numbers of a picture mean: layout, CFA, levels, colour, transfer.

Read this first. Every stage says which `Signal` it needs and which it gives, so a chain of stages is checked
from end to end before a pixel is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Final, cast

OPEN: Final = "?"
"""Value of a field that is not known before a file is read. It meets every requirement until then."""

FILTERS: Final[Mapping[str, str]] = MappingProxyType(
    {"R": "R", "G": "G", "B": "B", "C": "GB", "M": "RB", "Y": "RG", "W": "RGB"}
)
"""The colours that the filter of each letter lets through: a sample is their mean, so that grey stays grey.

``C`` is cyan, ``M`` magenta, ``Y`` yellow and ``W`` clear. That a clear site gathers more light is a matter of exposure
and not said here.
"""

CFA_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "quad_bayer": "RRGGRRGGGGBBGGBB",
        "xtrans": "GBGGRGRGRBGBGBGGRGGRGGBGBGBRGRGRGGBG",
        **{
            name: name.replace("C", "W")
            for name in (
                *("RCCB", "CRBC", "CBRC", "BCCR"),
                *("RCCG", "CRGC", "CGRC", "GCCR"),
                *("RCCC", "CRCC", "CCRC", "CCCR"),
            )
        },
    }
)
"""Names of patterns, and the patterns. Beside red alone the industry's C is clear and not cyan, hence ``RCCB``, in any
phase, is ``RWWB``; what has M or Y beside C, such as ``CYGM``, is read as it stands."""


def cfa_rows(cfa: str) -> tuple[str, ...]:
    """Rows of a colour filter array, read at the top-left pixel.

    Parameters
    ----------
    cfa
        One period of the array: the rows joined by ``/``, or, where the period is square, simply joined:
        ``"RGGB"`` is (0,0), (0,1), (1,0), (1,1). One capital letter a site. Or a name out of `CFA_NAMES`.

    Raises
    ------
    ValueError
        If the letters do not fill a rectangle.

    Examples
    --------
    >>> cfa_rows("RGGB")
    ('RG', 'GB')
    >>> cfa_rows("RG/GB/RG")
    ('RG', 'GB', 'RG')
    >>> cfa_rows("RCCB")
    ('RW', 'WB')
    """
    cfa = CFA_NAMES.get(cfa, cfa)
    if "/" in cfa:
        rows = tuple(cfa.split("/"))
    else:
        side = round(len(cfa) ** 0.5)
        if side * side != len(cfa):
            raise ValueError(
                f"CFA {cfa!r} has {len(cfa)} sites, which is no square; join its rows by '/', as in 'RG/GB'"
            )
        rows = tuple(cfa[i * side : (i + 1) * side] for i in range(side))
    if not rows or not rows[0]:
        raise ValueError(f"CFA {cfa!r} is empty; it needs one capital letter a site, as in 'RGGB'")
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"CFA {cfa!r} has rows of different lengths")
    if not all(letter.isalpha() and letter.isupper() for row in rows for letter in row):
        raise ValueError(f"CFA {cfa!r} holds more than capital letters, one a site, as in 'RGGB'")
    return rows


def cfa_name(rows: tuple[str, ...]) -> str:
    """The inverse of `cfa_rows`: the shortest way to write one period.

    Examples
    --------
    >>> cfa_name(("RG", "GB"))
    'RGGB'
    >>> cfa_name(("RGB",))   # a single row has no '/' to be told by, so it is written twice
    'RGB/RGB'
    """
    if len(rows) == 1 and len(rows[0]) > 1:
        rows = rows * 2
    return ("" if len(rows) == len(rows[0]) else "/").join(rows)


def cfa_moved(cfa: str, rows: list[int], columns: list[int]) -> str:
    """The pattern seen after pixels have moved: row y now shows what was row ``rows[y]`` of the picture.

    `rows` and `columns` give the source of each row and column of one period of the moved picture.

    Examples
    --------
    >>> cfa_moved("RGGB", [0, 1], [1, 2])   # cut off the leftmost column
    'GRBG'
    """
    old = cfa_rows(cfa)
    return cfa_name(tuple("".join(old[y % len(old)][x % len(old[0])] for x in columns) for y in rows))


def mixed_sites(cfa: str) -> str:
    """The letters of a pattern that are not R, G or B: sites that no gain of one colour fits.

    Examples
    --------
    >>> mixed_sites("RCCB")
    'W'
    """
    return "".join(sorted(set("".join(cfa_rows(cfa))) - set("RGB")))


def is_bayer(cfa: str) -> bool:
    """Whether a pattern is one of the four Bayer phases RGGB, BGGR, GRBG and GBRG."""
    return cfa in ("RGGB", "BGGR", "GRBG", "GBRG")


@dataclass(frozen=True)
class Requirement:
    """The values of a Signal's fields that a stage accepts; a field it does not name may hold anything."""

    accepted: Mapping[str, tuple[object, ...]]

    def faults(self, signal: Signal) -> list[tuple[str, object, tuple[object, ...]]]:
        """The fields of `signal` that are not as needed: (field, found, accepted)."""
        found = ((name, getattr(signal, name), accepted) for name, accepted in self.accepted.items())
        return [(name, value, accepted) for name, value, accepted in found if value != OPEN and value not in accepted]


@dataclass(frozen=True)
class Signal:
    """What the numbers of a batch of pictures mean. Frozen, comparable; `OPEN` where a file will tell.

    Attributes
    ----------
    layout
        ``mosaic`` (one channel, one colour a site), ``rgb`` or ``ycbcr``.
    cfa
        One period of the colour filter array at the top-left pixel, in the letters of `FILTERS` (see `cfa_rows`); None
        unless a mosaic.
    levels
        ``dn``: digital numbers as the sensor wrote them, with black and white level in the capture.
        ``unit``: black is 0, white is 1.
    colour
        ``camera`` (the sensor's own primaries), the name of an RGB space, such as ``srgb``, or ``xyz`` (see
        `isp_sim.colorimetry.SPACES`).
    white_balanced
        Whether a neutral surface has equal channels.
    transfer
        ``linear`` (proportional to light) or the name of the curve, such as ``srgb``. ``gamma`` is a power law of any
        exponent.
    reference
        ``scene`` (proportional to the scene's light) or ``display`` (rendered for a screen).
    bit_depth
        The pixels lie on the codes of this many bits; None if they are not quantised.
    """

    layout: str = "rgb"
    cfa: str | None = None
    levels: str = "unit"
    colour: str = "srgb"
    white_balanced: bool | str = True
    transfer: str = "srgb"
    reference: str = "display"
    bit_depth: int | str | None = None

    def __post_init__(self) -> None:
        if self.layout == "mosaic" and self.cfa is None:
            raise ValueError("a mosaic needs a CFA pattern, such as cfa='RGGB'")
        if self.layout in ("rgb", "ycbcr") and self.cfa not in (None, OPEN):
            raise ValueError(f"a picture with layout {self.layout!r} has no CFA pattern; found {self.cfa!r}")
        if self.cfa not in (None, OPEN):  # one spelling for each pattern, so that equal signals compare equal
            object.__setattr__(self, "cfa", cfa_name(cfa_rows(str(self.cfa))))

    @staticmethod
    def where(**accepted: object) -> Requirement:
        """A requirement on a signal: one value, or a tuple of values, for each field that matters.

        Examples
        --------
        >>> Signal.where(transfer="linear").faults(Signal())
        [('transfer', 'srgb', ('linear',))]
        """
        _check_names(accepted)
        return Requirement(MappingProxyType({k: v if isinstance(v, tuple) else (v,) for k, v in accepted.items()}))

    @staticmethod
    def change(**values: object) -> Mapping[str, object]:
        """The fields that a stage sets; the others pass unchanged."""
        _check_names(values)
        return MappingProxyType(dict(values))

    def changed(self, values: Mapping[str, object]) -> Signal:
        """A copy with some fields set."""
        return replace(self, **cast(dict[str, Any], dict(values)))

    @property
    def no_spread(self) -> str | None:
        """Why one value for each of R, G and B, such as a gain, can't be brought to the sites; None if it can."""
        if self.layout != "mosaic" or self.cfa == OPEN or not (mixed := mixed_sites(str(self.cfa))):
            return None
        return (
            f"has one value for each of R, G and B, and none for the {' and '.join(mixed)} sites of the CFA "
            f"{self.cfa}, which mix them: demosaic first"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        layout = f"mosaic {self.cfa}" if self.layout == "mosaic" else self.layout
        balanced = {"True": "balanced", "False": "unbalanced"}.get(str(self.white_balanced), "balance ?")
        depth = "" if self.bit_depth is None else f", {self.bit_depth} bit"
        return f"{layout}, {self.colour}, {self.transfer}, {balanced}, {self.reference}-referred, {self.levels}{depth}"


def _check_names(values: Mapping[str, object]) -> None:
    known = {field.name for field in fields(Signal)}
    if unknown := sorted(set(values) - known):
        raise TypeError(f"Signal has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}")


IMAGE: Final = Signal(bit_depth=OPEN)
"""An ordinary picture file: sRGB, display-referred, [0, 1]."""

RAW: Final = Signal(
    layout="mosaic",
    cfa=OPEN,
    levels="dn",
    colour="camera",
    white_balanced=False,
    transfer="linear",
    reference="scene",
    bit_depth=OPEN,
)
"""A RAW file: a mosaic of digital numbers, its CFA known once it is read."""
