"""COCO's average precision of boxes and of masks."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from pydantic import Field
from torch import Tensor

from dirlearn.metrics.metric import Metric
from dirlearn.targets import Boxes, Masks, ScoredBoxes, ScoredMasks, Target, TargetFault
from isp_sim.parameters import StageParams

FIGURES: Final = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""The first six of COCO's twelve figures, in its order."""
NONE: Final = -1
"""COCO's value of a figure that the data set does not define."""


class AveragePrecision(Metric):
    """Average precision over IoU 0.5 to 0.95 (AP), at 0.5 and 0.75, and of small, medium and large objects.

    Crowd regions take detections out of the count, as COCO has it. Masks are kept as run lengths.
    """

    takes = (Boxes, Masks)
    needs = ("faster_coco_eval",)
    source = "Lin et al. 2014 [Lin2014]"

    class Params(StageParams):
        detections: int = Field(100, ge=1, le=1000, description="of each picture, the surest so many are counted [1]")

    def __init__(self, params: Params, kind: type[Target], classes: Sequence[str]) -> None:
        super().__init__(params, kind, classes)
        from faster_coco_eval import mask

        self._tools = mask
        self.sizes: list[tuple[int, int]] = []  # of the masks of each picture
        self.labelled: list[dict[str, Any]] = []
        self.predicted: list[dict[str, Any]] = []
        self._known: tuple[tuple[int, int, int], Sequence[float], Any] | None = None

    def update(self, prediction: ScoredBoxes | ScoredMasks, target: Boxes | Masks) -> None:
        if not bool(prediction.scores.isfinite().all()):
            raise TargetFault("a prediction has a score that is no finite number; the head has diverged")
        height, width = target.masks.shape[-2:] if isinstance(target, Masks) else (0, 0)
        self.sizes.append((height, width))
        for shape, number, crowd, area in zip(
            self._shapes(target), target.classes.tolist(), target.crowd.tolist(), target.areas.tolist(), strict=True
        ):
            self.labelled.append(
                {"image_id": self.pictures, "category_id": number + 1, "iscrowd": int(crowd), "area": area, **shape}
            )
        for shape, number, score in zip(
            self._shapes(prediction), prediction.classes.tolist(), prediction.scores.tolist(), strict=True
        ):
            self.predicted.append({"image_id": self.pictures, "category_id": number + 1, "score": score, **shape})

    def _shapes(self, objects: Boxes | Masks | ScoredBoxes | ScoredMasks) -> list[dict[str, Any]]:
        """The outline of each object, as COCO writes it."""
        if isinstance(objects, Boxes | ScoredBoxes):
            corners = objects.xyxy.double().cpu()
            sides = corners[:, 2:] - corners[:, :2]
            return [{"bbox": [*a, *b]} for a, b in zip(corners[:, :2].tolist(), sides.tolist(), strict=True)]
        return [self._runs(mask) for mask in objects.masks]

    def _runs(self, mask: Tensor) -> dict[str, Any]:
        # without a box beside it, of which COCO's tools would take the area
        return {"segmentation": self._tools.encode(np.asfortranarray(mask.cpu().numpy().astype(np.uint8)))}

    def merge(self, other: Self) -> None:
        for mine, theirs in ((self.labelled, other.labelled), (self.predicted, other.predicted)):
            mine += [{**one, "image_id": one["image_id"] + self.pictures} for one in theirs]
        self.sizes += other.sizes

    @property
    def pictures(self) -> int:
        return len(self.sizes)

    def compute(self) -> Mapping[str, float | None]:
        stats, _ = self._evaluated()
        return {name: _or_none(value) for name, value in zip(FIGURES, stats, strict=False)}

    def by_class(self) -> Mapping[str, float | None]:
        _, precision = self._evaluated()
        found: dict[str, float | None] = {}
        for number, name in enumerate(self.classes):
            # (IoU, recall, class, size, detections): all IoUs and recalls, objects of any size
            values = precision[:, :, number, 0, -1] if precision.size else np.empty(0)
            counted = values[values > NONE]
            found[name] = float(counted.mean()) if counted.size else None
        return found

    def _evaluated(self) -> tuple[Sequence[float], Any]:
        """COCO's figures, and its table of precisions."""
        counted = (self.pictures, len(self.labelled), len(self.predicted))
        if self._known is None or self._known[0] != counted:
            self._known = (counted, *self._measured())
        return self._known[1:]

    def _measured(self) -> tuple[Sequence[float], Any]:
        from faster_coco_eval import COCO, COCOeval_faster

        if not self.labelled:
            return [NONE] * len(FIGURES), np.empty(0)
        truth = {
            "images": [{"id": i + 1, "height": h, "width": w} for i, (h, w) in enumerate(self.sizes)],
            "categories": [{"id": number + 1, "name": name} for number, name in enumerate(self.classes)],
            "annotations": [{"id": number + 1, **one} for number, one in enumerate(self.labelled)],
        }
        known = COCO(truth)
        found = (
            known.loadRes([dict(one) for one in self.predicted])
            if self.predicted
            else COCO({**truth, "annotations": []})
        )
        kind = "bbox" if issubclass(self.kind, Boxes) else "segm"
        measured = COCOeval_faster(known, found, iouType=kind, print_function=_nothing)
        measured.params.maxDets = [1, 10, self.params.detections]
        with contextlib.redirect_stdout(io.StringIO()):
            measured.evaluate()
            measured.accumulate()
            measured.summarize()
        return [float(value) for value in measured.stats[: len(FIGURES)]], np.asarray(measured.eval["precision"])


def _nothing(*_: object) -> None:
    """For a library that reports on its progress."""


def _or_none(value: float) -> float | None:
    return None if value == NONE or np.isnan(value) else value
