"""What `isp-sim render` wrote."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene
from isp_sim import datasets
from isp_sim.formats.reader import InputFault
from isp_sim.parameters import StageParams


class Rendered(Dataset):
    """The pictures of a folder that `isp-sim render` wrote, files or shards, as 8-bit sRGB.

    Labels: ``classes`` of every pixel where the input was in the folders of ADE20K; ``boxes`` and ``box_classes`` where
    it was in COCO's.
    """

    class Params(StageParams):
        path: str = Field(description="the folder, from the working directory or the folder in DIRLEARN_DATA")
        limit: int | None = Field(None, ge=1, description="take only the first so many, by key and view")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        folder = Path(os.environ.get("DIRLEARN_DATA", "")) / params.path
        try:
            self._pictures = datasets.Rendered(folder)
        except InputFault as fault:
            raise DatasetFault(f"rendered: {fault}") from None

    def __len__(self) -> int:
        count = len(self._pictures)
        return count if self.params.limit is None else min(count, self.params.limit)

    def read(self, index: int, epoch: int = 0) -> Scene:
        try:
            sample = self._pictures.read(index)
        except InputFault as fault:
            raise DatasetFault(f"rendered: {fault}") from None
        key = sample.key if not sample.view else f"{sample.key}@{sample.view}"
        if sample.pixels.dtype != np.uint8 or sample.pixels.ndim != 3:
            found = f"{sample.pixels.dtype} of shape {sample.pixels.shape}"
            raise DatasetFault(f"rendered: {key} is no 8-bit RGB picture ({found}): end the recipe in sRGB, bits: 8")
        return Scene(key, sample.pixels, _labels(sample))

    def size(self, index: int) -> tuple[int, int] | None:
        height, width = self._pictures.row(index)["size"]
        return height, width


def _labels(sample: datasets.Sample) -> dict[str, NDArray[Any]]:
    labels: dict[str, NDArray[Any]] = {}
    if "annotations" in sample.labels:
        labels["classes"] = sample.labels["annotations"]
    if "labels" in sample.row:
        objects = sample.row["labels"]["objects"]
        boxes = np.array([one["bbox"] for one in objects], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels["boxes"] = boxes
        labels["box_classes"] = np.array([one["category_id"] for one in objects], np.int64)
    return labels
