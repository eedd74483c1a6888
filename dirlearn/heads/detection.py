"""Heads that find objects by queries: what their labels and outputs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dirlearn.heads.head import Head
from dirlearn.layers import padded
from dirlearn.targets import Boxes, ScoredBoxes


class DetectionHead(Head):
    """A head that learns from boxes. Crowd regions, which are no single object, are not learnt from."""

    takes = Boxes
    stride: int
    """Pictures are extended to multiples of this, at their right and lower edge."""

    def extended(self, picture: Tensor) -> Tensor:
        return padded(picture, self.stride)


def normalised(targets: Sequence[Boxes], picture: Tensor) -> list[dict[str, Tensor]]:
    """Labels as transformers takes them: middle, width and height of each box as parts of the picture's."""
    (height, width), device = picture.shape[-2:], picture.device
    found = []
    for target in targets:
        single = ~target.crowd
        corners = target.xyxy[single] / torch.tensor([width, height, width, height], dtype=torch.float64)
        middle, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        boxes = torch.cat([middle, sides], dim=1).float()
        found.append({"class_labels": target.classes[single].to(device), "boxes": boxes.to(device)})
    return found


def in_pixels(boxes: Tensor, network: torch.Size | tuple[int, int], picture: torch.Size | tuple[int, int]) -> Tensor:
    """Corners [px] of boxes given by middle and sides, as parts of what the network saw; cut off at the picture."""
    (height, width), (bottom, right) = network, picture
    middle, sides = boxes[..., :2], boxes[..., 2:]
    corners = torch.cat([middle - sides / 2, middle + sides / 2], dim=-1)
    corners = corners * corners.new_tensor([width, height, width, height])
    return corners.clamp(corners.new_zeros(4), corners.new_tensor([right, bottom, right, bottom]))


def surest(scores: Tensor, boxes: Tensor, count: int) -> ScoredBoxes:
    """The surest pairs of a box and a class: `scores` (Q, classes) of `boxes` (Q, 4)."""
    best, flat = scores.flatten().topk(min(count, scores.numel()))
    return ScoredBoxes(boxes[flat // scores.shape[1]], best, flat % scores.shape[1])


def config_of(name: str, **values: Any) -> Any:
    """A configuration of transformers by the name of its class."""
    import transformers

    return getattr(transformers, name)(**values)
