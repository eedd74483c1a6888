"""Pictures with a class for every pixel, in the folders of ADE20K's scene parsing benchmark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import UnidentifiedImageError
from pydantic import Field

from isp_sim.formats.files import png
from isp_sim.formats.images import Images
from isp_sim.formats.limits import opened, regular
from isp_sim.formats.reader import InputFault, Item, Labels, PathParams, Reading, one_line
from isp_sim.frame import Frame, Masks

IMAGES: Final = "images"
ANNOTATIONS: Final = "annotations"
"""Folder of the label maps, beside that of the pictures, and their name as a target."""


class ADE20K(Images):
    """Reads ``images/SPLIT/NAME.jpg`` with the label map ``annotations/SPLIT/NAME.png``.

    The label map goes the picture's way, pixel by nearest pixel, and is written to the same place beside the pictures.
    Exif's Orientation is not applied, because label maps do not follow it.
    """

    class Params(PathParams):
        split: str | None = Field(None, description="folder below images and annotations; all if not given")
        outside: int = Field(0, ge=0, le=255, description="class of what lies beyond the edge, where a lens shows that")

    def items(self) -> list[Item]:
        root = self._root("folder that holds images/ and annotations/")
        folder = root / IMAGES / (self.params.split or "")
        if not folder.is_dir():
            raise InputFault(f"no folder {folder}: this reader takes a folder with {IMAGES}/ and {ANNOTATIONS}/ in it")
        found = []
        for path in folder.rglob("*"):
            key = path.relative_to(root).as_posix()
            if path.suffix.lower() in self.suffixes and "/." not in key and path.is_file():
                found.append(Item(key, str(path), labels=str(root / map_of(key))))
        if not found:
            raise InputFault(f"no pictures in {folder}: this reader looks for {', '.join(self.suffixes)}")
        return sorted(found, key=lambda item: item.key)

    def read(self, item: Item) -> Reading:
        reading = self.decoded(item, orient=False)
        classes = _classes(Path(item.labels))
        if classes.shape != reading.frame.size:
            raise InputFault(
                f"its label map {item.labels} has {classes.shape[1]}x{classes.shape[0]} pixels, the picture "
                f"{reading.frame.size[1]}x{reading.frame.size[0]}"
            )
        masks = Masks(torch.from_numpy(classes.astype(np.int64))[None], self.params.outside)
        return replace(reading, frame=replace(reading.frame, targets={ANNOTATIONS: masks}))

    def labels(self, item: Item, frame: Frame) -> Labels:
        masks = frame.targets[ANNOTATIONS]
        assert isinstance(masks, Masks)
        classes = masks.labels[0].cpu().numpy()
        wide = classes.max(initial=0) > 255
        return Labels(files={ANNOTATIONS: png(np.ascontiguousarray(classes, np.uint16 if wide else np.uint8))})


def map_of(key: str) -> str:
    """Where the label map of a picture lies.

    Examples
    --------
    >>> map_of("images/training/a.jpg")
    'annotations/training/a.png'
    """
    return str(PurePosixPath(ANNOTATIONS, *PurePosixPath(key).parts[1:]).with_suffix(".png"))


def _classes(path: Path) -> NDArray[np.uint16]:
    try:
        with opened(regular(path), ("PNG",)) as image:
            if image.mode not in ("L", "P", "I;16", "I"):
                raise InputFault(f"its label map {path} is no map of classes: it has mode {image.mode}")
            return np.asarray(image).astype(np.uint16)
    except UnidentifiedImageError:
        raise InputFault(f"its label map {path} is no PNG") from None
    except FileNotFoundError:
        raise InputFault(f"its label map {path} is not there") from None
    except InputFault:
        raise
    except Exception as error:  # noqa: BLE001  decoders raise whatever a damaged file leads them to
        raise InputFault(f"its label map {path} can't be read: {one_line(error)}") from None
