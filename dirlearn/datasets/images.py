"""A folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydantic import Field

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene, data_folder
from isp_sim.parameters import StageParams

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


class Images(Dataset):
    """Every PNG, JPEG, BMP, TIFF and WebP file below a folder, as 8-bit sRGB, kept decoded in memory."""

    class Params(StageParams):
        path: str = Field(description="the folder, from the working directory or the folder in DIRLEARN_DATA")
        cache: int = Field(4096, ge=0, le=1 << 20, description="decoded pictures that each process keeps [MiB]")
        limit: int | None = Field(None, ge=1, description="take only the first so many, by name")
        enlarge: float = Field(
            1.0, ge=1, le=8, description="make pictures so much larger: photos at full resolution are as soft [factor]"
        )
        smallest: int = Field(1, ge=1, le=4096, description="leave out pictures with a shorter side [px]")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.folder = data_folder(params.path)
        if not self.folder.is_dir():
            raise DatasetFault(
                f"images: no folder {self.folder}; give `path` a folder of pictures, or set DIRLEARN_DATA to its parent"
            )
        found = (p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        self.paths = sorted(found, key=lambda p: p.relative_to(self.folder).as_posix())
        if params.smallest > 1:
            self.paths = [p for p in self.paths if min(_size(p)) >= params.smallest]
        self.paths = self.paths[: params.limit]
        if not self.paths:
            raise DatasetFault(f"images: no picture in {self.folder}; {', '.join(sorted(SUFFIXES))} are read")
        self._cache: dict[int, Scene] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int, epoch: int = 0) -> Scene:
        if index in self._cache:
            return self._cache[index]
        path = self.paths[index]
        try:
            with Image.open(path) as picture:
                upright = ImageOps.exif_transpose(picture)
                if self.params.enlarge > 1:
                    upright = upright.convert("RGB").resize(self._larger(upright.size), Image.Resampling.BICUBIC)
                scene = Scene(path.relative_to(self.folder).as_posix(), in_rgb(upright, path))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DatasetFault(f"images: can't read {path}: {error}") from None
        if sum(kept.pixels.nbytes for kept in self._cache.values()) + scene.pixels.nbytes <= self.params.cache << 20:
            self._cache[index] = scene
        return scene

    def size(self, index: int) -> tuple[int, int] | None:
        return self._larger(_size(self.paths[index]))

    def _larger(self, size: tuple[int, int]) -> tuple[int, int]:
        return round(size[0] * self.params.enlarge), round(size[1] * self.params.enlarge)


def in_rgb(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of a decoded file; grey ones three times.

    Raises
    ------
    DatasetFault
        If its samples have more than 8 bits and Pillow would clip them.
    """
    if picture.mode.startswith(("I", "F")):
        raise DatasetFault(
            f"{path} has samples of more than 8 bits (mode {picture.mode}), which would be clipped; write it in 8 bits"
        )
    return np.asarray(picture.convert("RGB"), np.uint8)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError as error:
        raise DatasetFault(f"images: can't read {path}: {error}") from None
