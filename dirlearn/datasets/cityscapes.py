"""Cityscapes in its nineteen classes for evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pydantic import Field

from dirlearn.datasets.labelled import Item, Labelled, Maps, pictures_in, table_of
from dirlearn.targets import IGNORE

EVALUATED: Final[Mapping[int, str]] = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Codes of the label files that have a class of their own."""
CODES: Final = 34
LICENCE_PLATE: Final = 255  # -1 in the tables, which a byte holds as this


class Cityscapes(Maps):
    """Cityscapes, or a set in its layout: ``leftImg8bit/PART/CITY/*_leftImg8bit.png`` beside ``gtFine``'s labelIds."""

    source = "Cordts et al. 2016 [Cordts2016]"
    how = (
        "Register at https://www.cityscapes-dataset.com, get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, "
        "and unpack both into one folder."
    )
    classes = tuple(EVALUATED.values())
    table = table_of(
        dict.fromkeys((*range(CODES), LICENCE_PLATE), IGNORE) | {code: i for i, code in enumerate(EVALUATED)}
    )

    class Params(Labelled.Params):
        path: str = Field("cityscapes", description="folder that holds leftImg8bit and gtFine")
        part: Literal["train", "val"] = Field("train", description="which part")

    def found(self) -> Iterable[Item]:
        part = self.params.part
        pictures = self.folder / "leftImg8bit" / part
        cities = sorted(p.name for p in pictures.iterdir() if p.is_dir()) if pictures.is_dir() else []
        return self.pairs(
            (f"{part}/{city}/{stem}", picture, self.folder / "gtFine" / part / city / f"{stem}_gtFine_labelIds.png")
            for city in cities
            for picture in pictures_in(pictures / city)
            for stem in [picture.stem.removesuffix("_leftImg8bit")]
        )
