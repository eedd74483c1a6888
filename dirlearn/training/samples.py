"""A few fixed pictures, looked at and measured while training runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dirlearn.datasets.dataset import Dataset
from dirlearn.metrics.psnr import psnr
from dirlearn.training.job import Job
from dirlearn.views import Views

VIEW = 1_000_000_007
"""A rendering that no epoch reaches, so validation never shows what was trained on."""


class Watcher:
    """Makes a grid of the same pictures every time, and their mean PSNR [dB]."""

    def __init__(self, dataset: Dataset, views: Views, side: int, pictures: int = 6, smallest: int = 128) -> None:
        self.dataset, self.views, self.side, self.count = dataset, views, max(side, smallest), pictures

    @cached_property
    def fixed(self) -> tuple[Tensor, list[str]]:
        """The middle of the first pictures, and their keys."""
        scenes = [self.dataset.read(i) for i in range(min(self.count, len(self.dataset)))]
        side = min(self.side, *(min(s.pixels.shape[:2]) for s in scenes))
        return torch.stack([middle(s.pixels, side) for s in scenes]), [scene.key for scene in scenes]

    @cached_property
    def degraded(self) -> Tensor:
        """The pictures as the views have them."""
        return self._rendered(self.views)

    def _rendered(self, views: Views) -> Tensor:
        clean, keys = self.fixed
        return views.render(clean, keys, [VIEW] * len(keys), 0, 1)

    def __call__(self, job: Job, step: int, folder: Path) -> Mapping[str, float]:
        device = next(job.parameters()).device
        clean, own = self.fixed[0], job.views(self.views)
        degraded = self.degraded if own is self.views else self._rendered(own).cpu()
        made = {n: p.float().cpu().clamp(0, 1) for n, p in job.pictures(degraded.to(device), clean.to(device)).items()}
        rows = [degraded, *made.values(), clean]
        folder.mkdir(parents=True, exist_ok=True)
        save_grid(rows, folder / f"step-{step:09d}.png")
        return {f"psnr/{name}": float(psnr(picture, clean).mean()) for name, picture in made.items()}


def middle(pixels: NDArray[np.uint8], side: int) -> Tensor:
    """The middle of a picture (H, W, 3), as (3, side, side) in [0, 1]."""
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    window = pixels[top : top + side, left : left + side]
    return as_tensor(window)


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """A picture (H, W, 3) of codes, as (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255


def grid(rows: list[Tensor]) -> Image.Image:
    """Pictures in rows: each of `rows` is (N, 3, H, W) in [0, 1]."""
    tiles = torch.stack(rows)  # (rows, N, 3, H, W)
    count, across, _, height, width = tiles.shape
    whole = tiles.permute(0, 3, 1, 4, 2).reshape(count * height, across * width, 3)
    return Image.fromarray(torch.floor(whole.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy())


def save_grid(rows: list[Tensor], path: Path) -> None:
    """Write `grid` as PNG."""
    grid(rows).save(path)
