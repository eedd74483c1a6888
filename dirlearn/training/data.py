"""Batches as functions of (seed, step): order, crops, flips, views and noise. There is no state to restore."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dirlearn.datasets.dataset import Dataset, DatasetFault, Scene
from dirlearn.datasets.geometry import turned, window
from dirlearn.views import Views
from isp_sim.randomness import generator

STAGE = "dirlearn"
"""The name under which training draws its random numbers."""


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes
    ----------
    clean
        Pictures without degradation (B, 3, H, W) in [0, 1].
    views
        Degraded views of them, each (B, 3, H, W).
    keys, epochs
        Which picture, and in which epoch, every sample is.
    identities
        (B,), int64: equal for samples of one picture, whichever process holds them.
    noise
        Standard normal draws that the job asked for, (B, ...) each.
    labels
        Of every sample, what its data set knows of it, cut and turned like the picture.
    """

    clean: Tensor
    views: tuple[Tensor, ...]
    keys: tuple[str, ...]
    epochs: tuple[int, ...]
    identities: Tensor
    noise: tuple[Tensor, ...]
    labels: tuple[dict[str, NDArray[Any]], ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        return replace(
            self,
            clean=self.clean.to(device),
            views=tuple(v.to(device) for v in self.views),
            identities=self.identities.to(device),
            noise=tuple(n.to(device) for n in self.noise),
        )


@dataclass(frozen=True)
class Needs:
    """What a job wants to see of every step.

    Attributes
    ----------
    views
        Degraded views of each sample.
    noise
        Shapes of standard normal draws for each sample.
    labels
        Whether labels are wanted.
    """

    views: int = 1
    noise: tuple[tuple[int, ...], ...] = ()
    labels: bool = False


def order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of an epoch: a permutation that is a function of the seed and the epoch alone."""
    return generator(seed, "order", epoch, STAGE, "permutation").permutation(count)


@dataclass
class Stream(TorchDataset[Batch]):
    """The batches of a training, by number. One process of several sees its own part of each.

    Attributes
    ----------
    batch
        Samples of a batch over all processes.
    rank, world
        Which process this is, and of how many.
    render
        Whether views are rendered here; otherwise by `complete`, on the training device.
    """

    dataset: Dataset
    views: Views
    needs: Needs
    seed: int
    batch: int
    patch: int
    flips: bool | Literal["horizontal"] = True
    rank: int = 0
    world: int = 1
    render: bool = True

    def __getitem__(self, number: int) -> Batch:
        count, share = len(self.dataset), self.batch // self.world
        first = number * self.batch + self.rank * share
        positions = range(first, first + share)
        scenes, epochs, identities = [], [], []
        for position in positions:
            epoch, place = divmod(position, count)
            index = int(self._order(epoch)[place])
            scenes.append(self._patch(self.dataset.read(index, epoch), epoch))
            epochs.append(epoch)
            identities.append(index + count * epoch if self.dataset.endless else index)
        keys = tuple(scene.key for scene in scenes)
        pixels = np.stack([scene.pixels for scene in scenes]).transpose(0, 3, 1, 2)
        found = Batch(
            clean=torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255,
            views=(),
            keys=keys,
            epochs=tuple(epochs),
            identities=torch.tensor(identities),
            noise=tuple(self._noise(i, shape, keys, epochs) for i, shape in enumerate(self.needs.noise)),
            labels=tuple(dict(scene.labels) for scene in scenes) if self.needs.labels else (),
        )
        return self.complete(found) if self.render else found

    def complete(self, batch: Batch) -> Batch:
        """The batch with its views, rendered where its pictures are."""
        made = tuple(
            self.views.render(batch.clean, batch.keys, batch.epochs, which, self.needs.views)
            for which in range(self.needs.views)
        )
        return replace(batch, views=made)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        known: tuple[int, NDArray[np.int64]] | None = self.__dict__.get("_known")
        if known is None or known[0] != epoch:
            known = self.__dict__["_known"] = (epoch, order(self.seed, epoch, len(self.dataset)))
        return known[1]

    def _patch(self, scene: Scene, epoch: int) -> Scene:
        height, width = scene.pixels.shape[:2]
        if min(height, width) < self.patch:
            raise DatasetFault(f"{scene.key} has {width}x{height} pixels; patches of {self.patch} don't fit into it")
        rng = generator(self.seed, scene.key, epoch, STAGE, "patch")
        top, left = (int(rng.integers(0, n - self.patch + 1)) for n in (height, width))
        cut = window(scene, top, left, self.patch, self.patch)
        vertical, horizontal, diagonal = (bool(t) for t in rng.integers(0, 2, 3))
        if self.flips == "horizontal":
            return turned(cut, False, horizontal, False)
        return turned(cut, vertical, horizontal, diagonal) if self.flips else cut

    def _noise(self, number: int, shape: tuple[int, ...], keys: Sequence[str], epochs: Sequence[int]) -> Tensor:
        pairs = zip(keys, epochs, strict=True)
        return torch.from_numpy(np.stack([self._normal(key, epoch, f"noise {number}", shape) for key, epoch in pairs]))

    def _normal(self, key: str, view: int, purpose: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        return generator(self.seed, key, view, STAGE, purpose).standard_normal(shape, dtype=np.float32)


def batches(stream: Stream, numbers: range, workers: int, device: torch.device) -> Iterator[Batch]:
    """Batches on a device, in order, from worker processes if there are any.

    Without workers the views are rendered on the training device; with workers, by them.
    """
    # the sampler is the range itself; batches come whole, so there is nothing to collate
    loader: DataLoader[Batch] = DataLoader(
        replace(stream, render=workers > 0),
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=False,
        # of its own: torch's is saved with a checkpoint, and a resumed run must not draw from it once more
        generator=torch.Generator(),
    )
    for batch in loader:
        moved = batch.to(device)
        yield moved if workers else stream.complete(moved)
