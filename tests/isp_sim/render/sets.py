"""Small inputs, and recipes that cost little."""

from pathlib import Path

import numpy as np
from PIL import Image

from isp_sim import recipe as recipes

STAGES = "[{gaussian_noise: {sigma: {uniform: [0.02, 0.2]}}}, {quantise: {bits: 8}}]"


def recipe(
    photos: Path, output: Path, *, writer: str = "files", reader: str = "images", stages: str = STAGES, seed: int = 7
) -> recipes.Recipe:
    """A recipe of little work."""
    text = f"version: 1\ninput: {{reader: {reader}}}\nstages: {stages}\noutput: {{writer: {writer}}}\n"
    return recipes.parse(text, "cheap.yaml").with_places(str(photos), str(output), seed)


def shards(photos: Path, output: Path, samples: int = 2, **options: object) -> recipes.Recipe:
    return recipe(photos, output, writer=f"shards, samples: {samples}", **options)  # type: ignore[arg-type]


def random_pictures(folder: Path, count: int, size: tuple[int, int] = (12, 14)) -> Path:
    """So many pictures of independent pixels."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{number:04d}.png")
    return folder
