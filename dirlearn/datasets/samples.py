"""The photos that come with scikit-image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene
from isp_sim.parameters import StageParams

Name = Literal["astronaut", "chelsea", "coffee", "motorcycle", "rocket"]
FILES: Final[Mapping[Name, str]] = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}


class Samples(Dataset):
    """Five photos of 400x600 to 512x741 pixels: no download."""

    class Params(StageParams):
        names: tuple[Name, ...] = Field(tuple(FILES), min_length=1, description="which of the photos")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self._cache: dict[str, Scene] = {}

    def __len__(self) -> int:
        return len(self.params.names)

    def read(self, index: int, epoch: int = 0) -> Scene:
        name = self.params.names[index]
        if name not in self._cache:
            import skimage.data

            path = Path(skimage.data.__file__).parent / FILES[name]
            try:
                with Image.open(path) as picture:
                    self._cache[name] = Scene(name, np.asarray(picture.convert("RGB")))
            except OSError as error:
                raise DatasetFault(f"scikit-image comes without {FILES[name]}: {error}") from None
        return self._cache[name]
