"""A small network for semantic segmentation that trains on a CPU."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from dirlearn.heads.head import Head
from dirlearn.heads.semantic import SemanticHead, resized
from dirlearn.heads.unet import UNet
from dirlearn.layers import padded


class SegmentationLight(SemanticHead):
    """A U-Net at half the picture's size: residual blocks, four scales, a summary of the picture at the lowest."""

    source = "Ronneberger et al. 2015 [Ronneberger2015]"

    class Params(Head.Params):
        width: int = Field(24, ge=4, le=512, description="channels at half the picture's size; doubled by level [1]")
        levels: int = Field(3, ge=1, le=5, description="times that the size is halved again [1]")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.body = UNet(params.width, params.levels)
        self.classify = nn.Conv2d(params.width, params.classes, 1)

    def logits(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[-2:]
        whole = padded(picture, self.body.stride)
        return resized(self.classify(self.body(whole)), whole.shape[-2:])[..., :height, :width]
