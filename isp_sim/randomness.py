"""The only place where random generators are made.

Every draw has a generator of its own: NumPy's counter-based Philox, keyed by a hash of what the draw is for. So
a draw does not depend on which other draws were made, in which order, in which batch or by which worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray
from torch import Tensor


def generator(seed: int, key: str, view: int, stage: str, purpose: str) -> np.random.Generator:
    """A generator that is a function of its arguments alone.

    Parameters
    ----------
    seed
        The recipe's seed.
    key
        The sample's identity, such as its POSIX path below the input.
    view
        Which of the sample's renderings; an epoch is a view.
    stage
        The stage's id in the recipe.
    purpose
        What is drawn: ``param:shot``, ``noise``, ...

    Examples
    --------
    >>> a = generator(7, "cat.png", 0, "jpeg", "param:quality").random()
    >>> a == generator(7, "cat.png", 0, "jpeg", "param:quality").random()
    True
    >>> a == generator(7, "cat.png", 1, "jpeg", "param:quality").random()
    False
    """
    digest = hashlib.sha256()
    for part in (str(int(seed)), key, str(int(view)), stage, purpose):
        data = part.encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8, "little") + data)
    words = np.frombuffer(digest.digest()[:16], dtype="<u8").astype(np.uint64)
    return np.random.Generator(np.random.Philox(cast(Any, _Key(words))))


class _Key(ISeedSequence):
    """A Philox key. Given as ``key=``, it would cost a seed sequence of the system's entropy that nothing uses."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        return self._words


@dataclass(frozen=True)
class Randomness:
    """The draws of one stage for one batch: what `Stage.apply` receives as ``rng``.

    Draws are made on the CPU, one generator a sample, so the bits are equal for any batch and any device.
    """

    seed: int
    view: int
    stage: str
    keys: tuple[str, ...]

    def draw(self, purpose: str, sample: Callable[[np.random.Generator], NDArray[Any]]) -> list[NDArray[Any]]:
        """What `sample` returns from each sample's own generator for `purpose`."""
        return [sample(generator(self.seed, key, self.view, self.stage, purpose)) for key in self.keys]

    def normal(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "normal") -> Tensor:
        """Standard normal draws in the dtype and on the device of `like`: (B, *shape), or of its own shape."""
        size = tuple(like.shape[1:] if shape is None else shape)
        draws = np.stack(self.draw(purpose, lambda g: g.standard_normal(size, dtype=np.float32)))
        return torch.from_numpy(draws).to(like)

    def uniform(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "uniform") -> Tensor:
        """Uniform draws from [0, 1) in the dtype and on the device of `like`: (B, *shape), or of its own shape."""
        size = tuple(like.shape[1:] if shape is None else shape)
        draws = np.stack(self.draw(purpose, lambda g: g.random(size, dtype=np.float32)))
        return torch.from_numpy(draws).to(like)

    def quantiles(self, like: Tensor, shape: Sequence[int] | None = None, purpose: str = "quantiles") -> Tensor:
        """Uniform draws from [0, 1) in float64 on the CPU, to be put into a quantile function: (B, *shape), or of the
        shape of `like`. Their 53 bits reach the tails that the 24 bits of `uniform` cut off."""
        size = tuple(like.shape[1:] if shape is None else shape)
        return torch.from_numpy(np.stack(self.draw(purpose, lambda g: g.random(size))))

    def fixed(self, thing: str) -> Randomness:
        """Draws for a batch of 1 that belong to a thing, such as a sensor: the same whatever the sample, the view, the
        recipe's seed and the stage's id."""
        return replace(self, seed=0, view=0, stage="", keys=(f"fixed:{thing}",))
