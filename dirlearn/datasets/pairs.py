"""Pictures that a camera took, beside the mean of many of the same scene: real noise and its reference."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from numpy.typing import NDArray
from pydantic import Field

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene, data_folder
from dirlearn.datasets.images import SUFFIXES, in_rgb
from dirlearn.datasets.labelled import opened
from isp_sim.parameters import StageParams


class Layout(NamedTuple):
    """What the names of a noisy picture and of its reference differ in, and how to get the set."""

    noisy: str
    clean: str
    how: str


LAYOUTS: Final[dict[str, Layout]] = {
    "polyu": Layout(
        "_real",
        "_mean",
        "Get it by `git clone https://github.com/csjunxu/PolyU-Real-World-Noisy-Images-Dataset`; its CroppedImages.",
    ),
    "cc15": Layout("_real", "_mean", "Get it by `git clone https://github.com/csjunxu/MCWNNM-ICCV2017`."),
    "nam": Layout("_noisy", "_mean", "Ask its authors for it: Nam et al. 2016, and cut and name it NAME_noisy.png."),
    "sidd": Layout(
        "NOISY_SRGB",
        "GT_SRGB",
        "Get SIDD-Small or SIDD-Medium, sRGB only, from https://www.eecs.yorku.ca/~kamel/sidd/ and unpack it.",
    ),
}
"""The sets that are known, by name."""


class Pairs(Dataset):
    """Real pairs, wherever below a folder they lie: what a camera gave, and its reference, of one size each.

    Nothing is simulated on them: they are measured as they are, under the name of the degradation ``real``.
    """

    source = (
        "Nam et al. 2016 [Nam2016]; Xu et al. 2018 [Xu2018]; Xu, Zhang, Zhang and Feng 2017 [Xu2017]; "
        "Abdelhamed, Lin and Brown 2018 [Abdelhamed2018]"
    )
    paired = True

    class Params(StageParams):
        path: str = Field(description="the folder, from the working directory or the folder in DIRLEARN_DATA")
        layout: Literal["polyu", "cc15", "nam", "sidd"] = Field(
            "polyu", description="how the files of a pair are named"
        )
        limit: int | None = Field(None, ge=1, description="take only the first so many, by name")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.folder, layout = data_folder(params.path), LAYOUTS[params.layout]
        if not self.folder.is_dir():
            raise DatasetFault(f"pairs: no folder {self.folder}. {layout.how} Or set DIRLEARN_DATA to its parent")
        found = sorted(p for p in self.folder.rglob(f"*{layout.noisy}*") if p.suffix.lower() in SUFFIXES)
        self.found = [(p, p.with_name(p.name.replace(layout.noisy, layout.clean))) for p in found][: params.limit]
        if not self.found:
            raise DatasetFault(
                f"pairs: no picture below {self.folder} has {layout.noisy!r} in its name, as {params.layout} has. "
                f"{layout.how}"
            )
        if alone := next((clean for _, clean in self.found if not clean.is_file()), None):
            raise DatasetFault(f"pairs: {alone} is missing, the reference of its noisy picture")

    def __len__(self) -> int:
        return len(self.found)

    def read(self, index: int, epoch: int = 0) -> Scene:
        noisy, clean = self.found[index]
        degraded, pixels = (in_rgb(opened(path), path) for path in (noisy, clean))
        if degraded.shape != pixels.shape:
            raise DatasetFault(f"pairs: {noisy} has {_size(degraded)} pixels, and its reference {_size(pixels)}")
        return Scene(noisy.relative_to(self.folder).as_posix(), pixels, degraded=degraded)


def _size(picture: NDArray[Any]) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
