"""Networks of torchvision by name."""

from __future__ import annotations

from typing import Any, Final

from torch import nn

from dirlearn.targets import TaskFault

INSTALL: Final = "dirlearn-torchvision[torchvision]"
BACKBONE: Final = "torchvision's name of weights, such as IMAGENET1K_V1, from its site or cache; random if not given"
"""What the parameter `backbone_weights` of a head means.

It is no `weights`, which are left out where a trained head is built to be loaded: torchvision's detectors have other
normalisations, and other layers that are frozen, when their backbone comes trained.
"""


def network(name: str, weights: str | None, **options: Any) -> nn.Module:
    """A network that torchvision lists under a name.

    Raises
    ------
    TaskFault
        If torchvision is not there, does not load, or does not know the network or its weights.
    """
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # a build for another torch raises RuntimeError
        raise TaskFault(
            f"head {name} can't load torchvision: {error}. pip install '{INSTALL}', of a version that fits torch"
        ) from None
    try:
        made: nn.Module = models.get_model(name, weights=None, weights_backbone=weights, **options)
    except (ValueError, KeyError, OSError) as error:
        raise TaskFault(f"torchvision can't make {name} with weights {weights!r}: {error}") from None
    return made
