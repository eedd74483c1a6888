"""The first stages of any convolutional network of timm, as an encoder."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dirlearn.encoders.encoder import Encoder
from dirlearn.heads.pretrained import Normalise
from dirlearn.targets import TaskFault
from isp_sim.parameters import StageParams


class Timm(Encoder):
    """A network of timm up to one of its stages, then a convolution to mean and log-variance.

    For networks that take pictures of any size and give features of a regular stride, as residual ones do. Batch
    normalisation keeps the statistics that it came with, so that samples don't see each other and processes agree:
    without `pretrained` it does not normalise, and a network with another normalisation trains better.
    """

    source = "Wightman 2019 [Wightman2019]"

    class Params(StageParams):
        model: str = Field("resnet18", pattern=r"^[\w.\-/:]+$", description="name of the network, as timm lists it")
        stage: int = Field(1, ge=0, le=4, description="which of its feature maps, from the largest [1]")
        channels: int = Field(128, ge=1, le=1024, description="of the representation [1]")
        pretrained: bool = Field(False, description="weights that timm gets from the Hugging Face hub")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        timm = loaded()
        try:
            self.body: nn.Module = timm.create_model(
                params.model, pretrained=params.pretrained, features_only=True, out_indices=(params.stage,)
            )
        except Exception as error:  # noqa: BLE001 - whatever is raised is of the name or of its weights
            raise TaskFault(f"timm: {params.model!r} can't be made: {type(error).__name__}: {error}") from None
        about: Any = self.body.feature_info
        self.stride, self.channels, self.width = about.reduction()[-1], params.channels, about.channels()[-1]
        self.normalise = Normalise()
        self.head = self.make_head(self.width)
        self.train()

    def train(self, mode: bool = True) -> Timm:
        super().train(mode)
        for module in self.body.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def trunk(self, x: Tensor) -> Tensor:
        (features,) = self.body(self.normalise((x + 1) / 2))
        height, width = (n // self.stride for n in x.shape[-2:])
        if features.shape[-3:] != (self.width, height, width):
            raise TaskFault(
                f"timm: {self.params.model} gives features {tuple(features.shape)} of pictures {tuple(x.shape)}; "
                f"needed are (B, {self.width}, {height}, {width}): take a convolutional network, or another stage"
            )
        found: Tensor = features
        return found

    def make_head(self, width: int) -> nn.Module:
        return nn.Conv2d(width, 2 * self.channels, 3, padding=1)


def loaded() -> ModuleType:
    """timm.

    Raises
    ------
    TaskFault
        If it, or what it builds on, is not there or does not load.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
        raise TaskFault(
            f"encoder timm can't load timm: {error}. pip install 'dirlearn-timm[timm]', with a torchvision that fits "
            "torch"
        ) from None
    module: ModuleType = timm
    return module
