"""A contact sheet: a few inputs by a few draws, with the drawn values under each picture."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from isp_sim.formats.reader import Item
from isp_sim.pipeline import Pipeline, StageStep, Step, Values, walk
from isp_sim.recipe import Recipe
from isp_sim.render.view import viewable

MARGIN: Final = 12
LINE: Final = 15
PAPER, INK, FAINT = (250, 250, 248), (20, 20, 20), (110, 110, 110)


def contact_sheet(
    recipe: Recipe,
    inputs: int = 3,
    draws: int = 3,
    size: int = 320,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Image.Image:
    """Render the first inputs in several views and lay them out.

    Parameters
    ----------
    inputs, draws
        Rows and columns; the first column is the input as it was read.
    size
        The longer side of each picture [px].
    progress
        Called with the number of inputs done and the number of all.

    Raises
    ------
    isp_sim.formats.reader.InputFault
        If an input can't be read.
    """
    items = recipe.reader.items()[:inputs]
    rows: list[list[tuple[Image.Image, list[str]]]] = []
    for item in items:
        progress(len(rows), len(items))
        rows.append(list(_row(recipe, item, draws, size)))
    progress(len(rows), len(items))
    font = ImageFont.load_default(13)
    columns = [max(row[i][0].width for row in rows) for i in range(draws + 1)]
    columns = [max(width, 200) for width in columns]
    texts = [
        [
            [line for entry in text for line in textwrap.wrap(entry, max(width // 7, 16), subsequent_indent="  ")]
            for (_, text), width in zip(row, columns, strict=True)
        ]
        for row in rows
    ]
    heights = [
        max(picture.height for picture, _ in row) + LINE * max(map(len, text)) + 2 * MARGIN
        for row, text in zip(rows, texts, strict=True)
    ]
    top = 2 * MARGIN + LINE
    sheet = Image.new("RGB", (sum(columns) + MARGIN * (len(columns) + 1), top + sum(heights)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), f"{recipe.name}   seed {recipe.seed}   {recipe.hash[:12]}", INK, font)
    for row, text, height in zip(rows, texts, heights, strict=True):
        left = MARGIN
        for (picture, _), lines, width in zip(row, text, columns, strict=True):
            sheet.paste(picture, (left, top))
            for number, line in enumerate(lines):
                place = (left, top + picture.height + 4 + LINE * number)
                draw.text(place, line, INK if number == 0 else FAINT, font)
            left += width + MARGIN
        top += height
    return sheet


def _row(recipe: Recipe, item: Item, draws: int, size: int) -> Iterator[tuple[Image.Image, list[str]]]:
    reading = recipe.reader.read(item)
    height, width = reading.frame.size
    yield _thumbnail(viewable(reading.frame), size), [item.key, f"{width} x {height} px", *reading.notes]
    for view in range(draws):
        outcome = recipe.pipeline.run(reading.frame, view)
        yield (
            _thumbnail(viewable(outcome.frame), size),
            [f"view {view}", *drawn_text(recipe.pipeline, outcome.values[0])],
        )


def _thumbnail(image: Any, size: int) -> Image.Image:
    picture = Image.fromarray(image)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return picture


def drawn_text(pipeline: Pipeline, values: Values) -> list[str]:
    """One line for each step that drew something."""
    lines = []
    for step in walk(pipeline.steps):
        if drawn := _drawn(step, values):
            lines.append(f"{step.id}: " + ", ".join(f"{name} {_short(value)}" for name, value in drawn.items()))
    return lines


def _drawn(step: Step, values: Values) -> dict[str, Any]:
    if step.id not in values:
        return {}
    return step.random(values[step.id]) if isinstance(step, StageStep) else values[step.id]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
