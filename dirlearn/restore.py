"""Picture files in, restored picture files out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dirlearn.datasets.dataset import DatasetFault
from dirlearn.datasets.images import SUFFIXES
from dirlearn.recipe import Recipe
from dirlearn.run import load_restorer, restore_pictures
from dirlearn.tiles import tiled


def restore_files(
    recipe: Recipe,
    pictures: Sequence[Path],
    output: Path,
    method: str | None,
    tile: int,
    halo: int,
    say: Callable[[str], None],
) -> int:
    """Restore files, and all pictures in folders, as PNG of the same names; returns how many.

    Raises
    ------
    dirlearn.datasets.dataset.DatasetFault
        If a picture can't be read, or two would be written to one place.
    """
    job = load_restorer(recipe, method or recipe.methods[-1].name)
    device = torch.device("cuda" if torch.cuda.is_available() and recipe.run.device != "cpu" else "cpu")
    if job is not None:
        job.to(device)
    places: dict[Path, Path] = {}
    for path, name in picture_files(pictures):
        place = (output / name).with_suffix(".png")
        if place in places:
            raise DatasetFault(f"{places[place]} and {path} would both be written to {place}; restore them apart")
        places[place] = path
    for place, path in places.items():
        x = read_picture(path).to(device)
        restored = tiled(lambda part: restore_pictures(job, part), x, tile, halo).clamp(0, 1)
        made = torch.floor(restored[0].permute(1, 2, 0) * 255 + 0.5).to("cpu", torch.uint8).numpy()
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made).save(place)
        say(str(place))
    return len(places)


def read_picture(path: Path) -> Tensor:
    """A picture file as (1, 3, H, W) in [0, 1], upright."""
    try:
        with Image.open(path) as picture:
            codes = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetFault(f"can't read {path}: {error}") from None
    return torch.from_numpy(codes.transpose(2, 0, 1).copy())[None].float() / 255


def picture_files(pictures: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Each file with its place below the output folder."""
    for path in pictures:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not found:
                raise DatasetFault(f"no picture in {path}; {', '.join(sorted(SUFFIXES))} are read")
            yield from ((p, p.relative_to(path)) for p in found)
        elif path.is_file():
            yield path, Path(path.name)
        else:
            raise DatasetFault(f"no file or folder {path}")
