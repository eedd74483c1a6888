"""Make the pictures of the README from the sample photos: ``.venv/bin/python docs/make_pictures.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from isp_sim import recipe as recipes
from isp_sim import registry
from isp_sim.gallery import GROUP, showable
from isp_sim.gallery import contact_sheet as gallery
from isp_sim.preview import contact_sheet
from isp_sim.render.view import viewable

HERE = Path(__file__).parent
RECIPES = HERE.parent / "recipes"
SHOWN = {
    "input": "a photo",
    "unprocess": "back to linear camera RGB",
    "mosaic": "through the colour filters",
    "shot_read_noise": "sensor noise",
    "demosaic": "balanced, demosaiced",
    "jpeg": "developed, compressed",
}
SIDE = 232


def stage_strip() -> Image.Image:
    """One photo at the stages of phone_night.yaml; a small window, so that single pixels can be seen."""
    text = (RECIPES / "phone_night.yaml").read_text().replace("input: {reader: images}", "input: {reader: samples}")
    recipe = recipes.parse(text)
    item = next(item for item in recipe.reader.items() if item.key == "astronaut.png")
    frame = recipe.reader.read(item).frame
    trace = {"input": frame}
    recipe.pipeline.run(frame, 1, lambda step, after: trace.update({step.id: after}))
    font = ImageFont.load_default(14)
    gap, line = 8, 24
    strip = Image.new("RGB", (len(SHOWN) * (SIDE + gap) - gap, SIDE + line), "white")
    draw = ImageDraw.Draw(strip)
    for i, (step, caption) in enumerate(SHOWN.items()):
        window = viewable(trace[step])[30 : 30 + SIDE // 2, 165 : 165 + SIDE // 2]
        picture = Image.fromarray(np.repeat(np.repeat(window, 2, axis=0), 2, axis=1))
        strip.paste(picture, (i * (SIDE + gap), 0))
        draw.text((i * (SIDE + gap), SIDE + 4), caption, "black", font)
    return strip


def main() -> None:
    (HERE / "pictures").mkdir(exist_ok=True)
    stage_strip().save(HERE / "pictures" / "stages.png", optimize=True)
    text = (RECIPES / "phone_night.yaml").read_text().replace("input: {reader: images}", "input: {reader: samples}")
    sheet = contact_sheet(recipes.parse(text, "recipes/phone_night.yaml"), inputs=2, draws=3, size=240)
    sheet.save(HERE / "pictures" / "preview.jpg", quality=85)
    own = [name for name in showable()[0] if registry.origin(name, GROUP) == "isp-sim"]
    gallery(own).save(HERE / "pictures" / "gallery.jpg", quality=85)


if __name__ == "__main__":
    main()
