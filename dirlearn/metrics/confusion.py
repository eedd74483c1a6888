"""aAcc, mIoU and mAcc of semantic segmentation, from one matrix of integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, distributed

from dirlearn.metrics.metric import Metric
from dirlearn.targets import IGNORE, SemanticMap, Target, TargetFault


class Confusion(Metric):
    """Overall accuracy (aAcc), mean intersection over union (mIoU) and mean accuracy (mAcc) over all pixels that count.

    All are of the whole data set's counts, not means over pictures. A class that is neither labelled nor predicted has
    no IoU, one that is not labelled no accuracy; means are over the others.
    """

    takes = (SemanticMap,)
    source = "Long et al. 2015 [Long2015]"

    def __init__(self, params: Any, kind: type[Target], classes: Sequence[str]) -> None:
        super().__init__(params, kind, classes)
        self.counts = torch.zeros(len(classes), len(classes), dtype=torch.int64)

    def update(self, prediction: SemanticMap, target: SemanticMap) -> None:
        self.counts += confusion(prediction.classes, target.classes, len(self.classes))

    def merge(self, other: Self) -> None:
        self.counts += other.counts

    def reduce(self) -> None:
        """Sum the counts of all processes, if there are several."""
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(self.counts)

    def compute(self) -> Mapping[str, float | None]:
        return {name: _or_none(value) for name, value in figures(self.counts).items()}

    def by_class(self) -> Mapping[str, float | None]:
        return {name: _or_none(value) for name, value in zip(self.classes, iou(self.counts), strict=True)}


def confusion(predicted: Tensor, labelled: Tensor, classes: int) -> Tensor:
    """How many pixels of each labelled class (rows) were predicted as which (columns), int64.

    Raises
    ------
    TargetFault
        If a class is out of range, or the sizes differ.
    """
    if predicted.shape != labelled.shape:
        raise TargetFault(f"a prediction of {tuple(predicted.shape)} pixels for labels of {tuple(labelled.shape)}")
    counted = labelled != IGNORE
    rows, columns = labelled[counted].to(torch.int64), predicted[counted].to(torch.int64)
    for what, values in (("label", rows), ("prediction", columns)):
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < classes:
            raise TargetFault(f"a {what} of class {int(values.min())} or {int(values.max())}; there are {classes}")
    return torch.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes).cpu()


def iou(counts: Tensor) -> Tensor:
    """Intersection over union of every class, float64; nan where there is no union."""
    hits = counts.diagonal().double()
    return hits / (counts.sum(dim=0) + counts.sum(dim=1) - hits)


def figures(counts: Tensor) -> dict[str, Tensor]:
    """aAcc, mIoU and mAcc of a confusion matrix, float64; nan where nothing was counted.

    >>> {name: round(float(value), 3) for name, value in figures(torch.tensor([[3, 1], [0, 4]])).items()}
    {'aAcc': 0.875, 'mIoU': 0.775, 'mAcc': 0.875}
    """
    hits = counts.diagonal().double()
    return {
        "aAcc": hits.sum() / counts.sum(),
        "mIoU": iou(counts).nanmean(),
        "mAcc": (hits / counts.sum(dim=1)).nanmean(),
    }


def _or_none(value: Tensor) -> float | None:
    return None if bool(value.isnan()) else float(value)
