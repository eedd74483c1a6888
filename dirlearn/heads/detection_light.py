"""A small detector that trains on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dirlearn.heads.detection import DetectionHead
from dirlearn.heads.head import Head
from dirlearn.heads.unet import UNet
from dirlearn.targets import Boxes, ScoredBoxes

CELL = 2
"""Side of the places at which objects are looked for [px]."""
RARE = -4.6
"""First logit of every class at every place: one object in a hundred places."""


class DetectionLight(DetectionHead):
    """Objects as points: a map of middles for each class, and the distances to the four edges at each middle.

    The body is that of `segmentation_light`. Doubles are suppressed by taking only the maximum of every 3x3 places.
    """

    source = "Zhou et al. 2019 [Zhou2019]"

    class Params(Head.Params):
        width: int = Field(24, ge=4, le=512, description="channels at half the picture's size; doubled by level [1]")
        levels: int = Field(3, ge=1, le=5, description="times that the size is halved again [1]")
        detections: int = Field(100, ge=1, le=1000, description="surest findings that are given [1]")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.body = UNet(params.width, params.levels)
        self.stride = self.body.stride
        self.middles = nn.Conv2d(params.width, params.classes, 1)
        nn.init.constant_(self.middles.bias, RARE)  # type: ignore[arg-type]  # it has one
        self.edges = nn.Conv2d(params.width, 4, 1)

    def maps(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of middles (B, classes, h, w); distances to left, upper, right and lower edge (B, 4, h, w) [px]."""
        features = self.body(self.extended(picture))
        return self.middles(features), self.edges(features).clamp(max=8).exp() * CELL

    def loss(self, picture: Tensor, targets: Sequence[Boxes]) -> Tensor:
        logits, distances = self.maps(picture)
        height, width = logits.shape[-2:]
        # of a batch without objects too, every parameter has a gradient: several processes wait for each other's
        loss, count = 0 * distances.sum(), 0
        wanted = []
        for target, found in zip(targets, distances, strict=True):
            single = ~target.crowd
            xyxy, classes = target.xyxy[single].float().to(logits.device), target.classes[single].to(logits.device)
            heat, place = middles(xyxy, classes, self.params.classes, height, width)
            wanted.append(heat)
            if len(xyxy):
                column, row = place.unbind(dim=1)
                at = (place + 0.5) * CELL
                asked = torch.cat([at - xyxy[:, :2], xyxy[:, 2:] - at], dim=1)
                given = found[:, row, column].T
                # relative to the object's size, so that small ones count as much as large ones
                size = (xyxy[:, 2:] - xyxy[:, :2]).mean(dim=1, keepdim=True)
                loss = loss + ((given - asked).abs() / size).mean(dim=1).sum()
                count += len(xyxy)
        return (focal(logits, torch.stack(wanted)) + loss) / max(count, 1)

    def predict(self, picture: Tensor) -> Sequence[ScoredBoxes]:
        logits, distances = self.maps(picture)
        scores = logits.float().sigmoid()
        scores = scores * (scores == F.max_pool2d(scores, 3, 1, 1))
        bottom, right = picture.shape[-2:]
        edge = scores.new_tensor([right, bottom, right, bottom])
        height, width = scores.shape[-2:]
        found = []
        for one, reach in zip(scores, distances.float(), strict=True):
            best, flat = one.flatten().topk(min(self.params.detections, one.numel()))
            row, column = flat % (height * width) // width, flat % width
            at = (torch.stack([column, row], dim=1) + 0.5) * CELL
            out = reach[:, row, column].T
            boxes = torch.cat([at - out[:, :2], at + out[:, 2:]], dim=1).clamp(edge.new_zeros(4), edge)
            found.append(ScoredBoxes(boxes, best, flat // (height * width)))
        return found


def middles(xyxy: Tensor, classes: Tensor, count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The map of middles (count, height, width) in [0, 1], and the place (column, row) of each box's middle.

    1 at the middle, falling as a Gaussian whose deviation is a sixth of the box; where boxes meet, the larger value.
    """
    heat = xyxy.new_zeros(count, height, width)
    centre, sides = (xyxy[:, :2] + xyxy[:, 2:]) / (2 * CELL), (xyxy[:, 2:] - xyxy[:, :2]) / CELL
    place = centre.long().clamp(min=0)
    place = torch.minimum(place, place.new_tensor([width - 1, height - 1]))
    x, y = (torch.arange(n, device=xyxy.device) for n in (width, height))
    for (column, row), (across, down), number in zip(
        place.tolist(), (sides / 6).tolist(), classes.tolist(), strict=True
    ):
        bell = ((x - column) / max(across, 0.1)).square()[None] + ((y - row) / max(down, 0.1)).square()[:, None]
        heat[number] = torch.maximum(heat[number], (-bell / 2).exp())
    return heat, place


def focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of places, summed; easy ones count little, and those near a middle, less than other empty ones."""
    logits = logits.float()
    p = logits.sigmoid()
    hit = wanted == 1
    positive = -F.logsigmoid(logits) * (1 - p).square()
    negative = -F.logsigmoid(-logits) * p.square() * (1 - wanted) ** 4
    return torch.where(hit, positive, negative).sum()
