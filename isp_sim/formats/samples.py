"""The photos that come with scikit-image: an input that needs no file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field

from isp_sim.formats.images import as_frame, decode
from isp_sim.formats.reader import InputFault, Item, Reader, Reading
from isp_sim.parameters import StageParams
from isp_sim.signal import IMAGE

PHOTOS: Final = {
    "astronaut.png": "astronaut.png",
    "chelsea.png": "chelsea.png",
    "coffee.png": "coffee.png",
    "motorcycle.png": "motorcycle_left.png",
    "rocket.jpg": "rocket.jpg",
}
"""Names of the photos, and of their files in scikit-image."""


class Samples(Reader):
    """Five photos of 400x600 to 512x512 pixels, in sRGB."""

    signal = IMAGE

    class Params(StageParams):
        path: None = Field(None, description="not used: the photos come with the program")
        names: tuple[str, ...] = Field(tuple(PHOTOS), min_length=1, description="which of the photos")

    def items(self) -> list[Item]:
        if unknown := [name for name in self.params.names if name not in PHOTOS]:
            raise InputFault(f"no sample photo {', '.join(unknown)}; there are {', '.join(PHOTOS)}")
        import skimage.data

        folder = Path(skimage.data.__file__).parent
        return [Item(name, str(folder / PHOTOS[name])) for name in sorted(set(self.params.names))]

    def read(self, item: Item) -> Reading:
        try:
            data = Path(item.path).read_bytes()
        except OSError as error:
            raise InputFault(f"scikit-image comes without it: {error.strerror}") from None
        pixels, notes = decode(data)
        return Reading(as_frame(pixels, item.key), tuple(notes))
