"""ADE20K in the 150 classes of the scene parsing challenge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

from pydantic import Field

from dirlearn.datasets.labelled import Item, Labelled, Maps, in_order, pictures_in

COUNT: Final = 150
OTHER: Final = 0


class ADE20K(Maps):
    """ADE20K as of the challenge of 2016: 20,210 pictures for training, 2,000 for validation.

    Label files hold 1 to 150, and 0 for everything else, which does not count: class 0 is code 1. Names of the classes
    are read from ``objectInfo150.txt``, where it lies beside.
    """

    source = "Zhou et al. 2017 [Zhou2017]"
    how = (
        "Get http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip (about 1 GB) and unpack it: it "
        "holds ADEChallengeData2016/images and ADEChallengeData2016/annotations, each with training and validation."
    )
    table = in_order(COUNT, first=1, ignored=(OTHER,))

    class Params(Labelled.Params):
        path: str = Field("ADEChallengeData2016", description="folder that holds images and annotations")
        part: Literal["training", "validation"] = Field("training", description="which part")

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.classes = self._names()

    def _names(self) -> tuple[str, ...]:
        names = [f"class {number}" for number in range(COUNT)]
        table = self.folder / "objectInfo150.txt"
        if table.is_file():
            for line in table.read_text().splitlines()[1:]:
                number, _, rest = line.partition("\t")
                if number.strip().isdigit() and 1 <= int(number) <= COUNT and rest:
                    names[int(number) - 1] = rest.rpartition("\t")[2].split(",")[0].strip()
        return tuple(names)

    def found(self) -> Iterable[Item]:
        part = self.params.part
        annotations = self.folder / "annotations" / part
        pictures = pictures_in(self.folder / "images" / part)
        return self.pairs((f"{part}/{p.stem}", p, annotations / f"{p.stem}.png") for p in pictures)
