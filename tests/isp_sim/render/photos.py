"""Small photos, and what a folder holds."""

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

RECIPES = Path(__file__).parents[3] / "recipes"


def photo(name: str, size: tuple[int, int], offset: int = 0) -> Image.Image:
    """A crop of one of scikit-image's photos, (height, width)."""
    image = getattr(skimage.data, name)()
    return Image.fromarray(np.ascontiguousarray(image[offset : offset + size[0], offset : offset + size[1]]))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its content."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
