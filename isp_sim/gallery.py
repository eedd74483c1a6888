"""A contact sheet of degradations: one a row, severities from left to right, on a sample photo."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from isp_sim import registry
from isp_sim.frame import Frame
from isp_sim.parameters import ParameterFaults
from isp_sim.pipeline import StageStep
from isp_sim.render.view import viewable
from isp_sim.stage import SEVERITIES, Degradation
from isp_sim.surroundings import NoSurroundings, Surroundings, at_severity, psnr, sample_photo

GROUP: Final = "isp_sim.degradations"
MARGIN: Final = 10
LINE: Final = 15
LABEL: Final = 190
PAPER, INK, FAINT = (250, 250, 248), (20, 20, 20), (110, 110, 110)
WINDOW: Final = (80, 70, 176, 176)
"""Top, left, height and width of the part of the photo that is shown [px]: small, so that single pixels are seen."""


class GalleryFault(ValueError):
    """A degradation that can't be shown."""


@dataclass(frozen=True)
class Row:
    """One degradation: its pictures, and lines of text under each."""

    name: str
    about: str
    pictures: tuple[tuple[Image.Image, tuple[str, ...]], ...]


def showable(wanted: Sequence[str] = ()) -> tuple[list[str], dict[str, str]]:
    """The degradations that can be shown, and of the others why not.

    Parameters
    ----------
    wanted
        Names; all that are installed, plugins included, if there are none.

    Raises
    ------
    GalleryFault
        If one that is wanted can't be shown.
    """
    shown, left = [], dict[str, str]()
    photo = sample_photo(side=16)
    for name in wanted or registry.names(GROUP):
        try:
            Surroundings.of(_steps(name)[0], photo)
            shown.append(name)
        except (LookupError, ParameterFaults, GalleryFault, NoSurroundings) as error:
            left[name] = str(error)
    if wanted and left:
        raise GalleryFault("; ".join(left.values()))
    return shown, left


def contact_sheet(
    names: Sequence[str], size: int = 176, progress: Callable[[int, int], None] = lambda done, total: None
) -> Image.Image:
    """Render each degradation at its five severities.

    Parameters
    ----------
    names
        Of degradations that `showable` has found.
    size
        Side of each picture [px].
    progress
        Called with the number of degradations done and the number of all.

    Raises
    ------
    NoSurroundings
        If a degradation needs a signal that no chain from a photo leads to.
    """
    photo = sample_photo().crop(*WINDOW)
    rows: list[Row] = []
    for name in names:
        progress(len(rows), len(names))
        rows.append(_row(name, photo, size))
    progress(len(rows), len(names))
    return _sheet(rows, size)


def _row(name: str, photo: Frame, size: int) -> Row:
    plugin = registry.load(name, GROUP)
    steps = _steps(name)
    around = Surroundings.of(steps[0], photo)
    clean = around.render(photo, None)
    pictures: list[tuple[Image.Image, tuple[str, ...]]] = [(_picture(clean, size), ("undegraded",))]
    for level, step in enumerate(steps):
        frame = around.render(photo, step)
        first, *others = (_value(plugin, name, column[level]) for name, column in plugin.severities.items())
        lines = (f"{level + 1}: {first}", *others, f"{psnr(frame.pixels, clean.pixels):.1f} dB")
        pictures.append((_picture(frame, size), lines))
    where = ", ".join(step.name for step in around.before) or "the photo"
    return Row(name, f"after {where}", tuple(pictures))


def _steps(name: str) -> list[StageStep]:
    plugin = registry.load(name, GROUP)
    if not (isinstance(plugin, type) and issubclass(plugin, Degradation)):
        raise GalleryFault(f"{name} is no degradation")
    if not plugin.severities:
        raise GalleryFault(f"{name} declares no severities")
    return [at_severity(name, plugin, level) for level in range(1, SEVERITIES + 1)]


def _picture(frame: Frame, size: int) -> Image.Image:
    return Image.fromarray(viewable(frame)).resize((size, size), Image.Resampling.NEAREST)


def _value(plugin: type[Degradation], name: str, value: Any) -> str:
    """A parameter with its value, and the unit that its description ends with."""
    unit = re.search(r"\[([^\[\]]+)\]$", plugin.Params.model_fields[name].description or "")
    if isinstance(value, tuple) and isinstance(value[0], tuple):
        return f"{name} of {len(value)}x{len(value[0])}"
    text = f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
    return f"{text} {unit[1]}" if unit and unit[1] not in ("1", "factor", name) else text


def _sheet(rows: Sequence[Row], size: int) -> Image.Image:
    title, font = ImageFont.load_default(15), ImageFont.load_default(12)
    texts = [
        [[part for line in lines for part in textwrap.wrap(line, max(size // 6, 12))] for _, lines in row.pictures]
        for row in rows
    ]
    heights = [size + LINE * max(map(len, text)) + 2 * MARGIN for text in texts]
    width = LABEL + (SEVERITIES + 1) * (size + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, sum(heights) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, lines, height in zip(rows, texts, heights, strict=True):
        draw.text((MARGIN, top), row.name, INK, title)
        for number, line in enumerate(textwrap.wrap(row.about, LABEL // 7)):
            draw.text((MARGIN, top + 22 + LINE * number), line, FAINT, font)
        for i, (picture, _) in enumerate(row.pictures):
            left = LABEL + i * (size + MARGIN)
            sheet.paste(picture, (left, top))
            for number, line in enumerate(lines[i]):
                draw.text((left, top + size + 3 + LINE * number), line, INK if number == 0 else FAINT, font)
        top += height
    return sheet
