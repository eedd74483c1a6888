"""Perceptual measures by pyiqa, each as pyiqa sets it up.

pyiqa is under the PolyForm Noncommercial License 1.0.0, and gets the weights of a measure when it is first made;
nothing of it is part of this package.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dirlearn.metrics.picture_metric import PictureMetric
from dirlearn.targets import TaskFault


class ByPyiqa(PictureMetric):
    """A measure that pyiqa knows by a name."""

    known_as: ClassVar[str]
    install = "dirlearn-pyiqa[pyiqa]"
    needs = ("pyiqa",)

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        try:
            import pyiqa
        except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
            raise TaskFault(
                f"picture metric {self.known_as} can't load pyiqa: {error}. pip install '{self.install}', with a "
                "torchvision that fits torch"
            ) from None
        try:
            self._network = pyiqa.create_metric(self.known_as, device=torch.device("cpu"))
        except Exception as error:  # noqa: BLE001 - of the network, of its weights, or of the way to them
            raise TaskFault(
                f"picture metric {self.known_as} can't be made: {type(error).__name__}: {error}. pyiqa gets its "
                "weights from the hub when it is first made"
            ) from None
        if bool(self._network.lower_better) != (self.better == "lower"):
            raise TaskFault(f"picture metric {self.known_as}: this pyiqa says that {self.better} is not better")

    def measure(self, picture: Tensor, clean: Tensor) -> float:
        given = (picture,) if self.alone else (picture, clean)
        state = torch.get_rng_state()  # which a network may draw patches from
        try:
            torch.manual_seed(0)
            with torch.no_grad():
                found = self._network(*(x.float().clamp(0, 1) for x in given))
        finally:
            torch.set_rng_state(state)
        return float(found)


class NIQE(ByPyiqa):
    """Distance from the statistics of natural pictures, without a clean one; lower is better.

    pyiqa's code: PolyForm Noncommercial 1.0.0; the authors' release: free for any purpose, with notice and citation.
    """

    source = "Mittal et al. 2013 [Mittal2013]"
    known_as, label, digits, better, alone, smallest = "niqe", "NIQE", 3, "lower", True, 192


class NRQM(ByPyiqa):
    """Quality of super-resolution as people rate it (Ma's score), without a clean picture.

    pyiqa's code: PolyForm Noncommercial 1.0.0; the authors' release, whose regression it is, names no licence.
    """

    source = "Ma et al. 2017 [Ma2017]"
    known_as, label, digits, alone, smallest = "nrqm", "NRQM", 3, True, 96


class HyperIQA(ByPyiqa):
    """Quality of photos as people rate it, by a network whose last layers follow the content; without a clean picture.

    pyiqa's code and weights: PolyForm Noncommercial 1.0.0; the authors' own code: MIT.
    """

    source = "Su et al. 2020 [Su2020]"
    known_as, label, alone, smallest = "hyperiqa", "HyperIQA", True, 224


class LPIPS(ByPyiqa):
    """Distance between features of AlexNet, weighted as people judge (version 0.1); lower is better.

    pyiqa's code: PolyForm Noncommercial 1.0.0; the authors' weights: BSD 2-Clause.
    """

    source = "Zhang et al. 2018 [Zhang2018]"
    known_as, label, better, smallest = "lpips", "LPIPS", "lower", 64
