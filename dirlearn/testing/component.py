"""What is tested, and the laws that every part of a training obeys."""

from __future__ import annotations

import copy
import io
import pickle
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from isp_sim.parameters import Parameters, StageParams
from isp_sim.randomness import generator
from isp_sim.testing import laws_declared
from isp_sim.testing.law import Broken, Law, law


class Subject:
    """A part of a training under test.

    Parameters
    ----------
    name
        For the report.
    plugin
        The class.
    given
        Parameters to try beyond the defaults, as a recipe would write them.
    """

    def __init__(self, name: str, plugin: type[Any], given: Sequence[Mapping[str, Any]] = ()) -> None:
        self.name, self.plugin = name, plugin
        self.settings = [{}, *map(dict, given)]

    @property
    def model(self) -> type[StageParams]:
        found: type[StageParams] = self.plugin.Params
        return found

    def make(self, setting: Mapping[str, Any], seed: int = 0, **context: Any) -> Any:
        """A new instance, of the same weights every time."""
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        try:
            return self.plugin(Parameters.bind(self.model, setting).constants, **context)
        finally:
            torch.set_rng_state(state)


def normal(*shape: int, key: str = "", dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers, a function of shape and key alone."""
    rng = generator(0, f"{key}:{shape}", 0, "kit", "normal")
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


@law(
    "docstring",
    "the class says in its docstring what it does, in one line of which the first sentence is the idea",
    "a missing docstring; the one of the base class does not count",
)
def docstring(s: Subject) -> str | None:
    if not (vars(s.plugin).get("__doc__") or "").strip():
        raise Broken(f"{s.plugin.__name__} has none")
    return None


@law("source", "`source` names the paper, with its BibTeX key in brackets", "a source without [Key], or none")
def source(s: Subject) -> str | None:
    if not re.search(r"\[\w+\]", s.plugin.source):
        raise Broken(f"source is {s.plugin.source!r}")
    return None


DECLARED: Final[tuple[Law, ...]] = (docstring, source, laws_declared.documented, laws_declared.bounded)
"""What a class says of itself; a group puts its own law ``class facts`` in front."""


def global_states() -> dict[str, Any]:
    """The global generators of torch, NumPy and Python, comparable."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - to see that it is not used
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy.random": repr(numpy),
        "random": random.getstate(),
    }


def seed_globals(seed: int) -> None:
    """Move the global generators, to see what follows them. The caller puts them back."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - as above
    random.seed(seed)


def check_generators(run: Callable[[], Tensor], where: str) -> None:
    """Broken, if a run reads or advances a global generator."""
    outs = []
    for seed in (1, 2):
        seed_globals(seed)
        before = global_states()
        outs.append(run())
        after = global_states()
        if advanced := [name for name in before if before[name] != after[name]]:
            raise Broken(f"{where}: the generator of {' and '.join(advanced)} was advanced")
    if not torch.equal(outs[0], outs[1]):
        raise Broken(f"{where}: under another global seed it gives something else")


def check_copies(module: nn.Module, other: nn.Module, run: Callable[[Any], Tensor], where: str) -> None:
    """Broken, if a copy, a pickle or another instance with its state_dict gives something else."""
    expected = run(copy.deepcopy(module))
    stream = io.BytesIO()
    torch.save(module.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    ways = {"unpickled": pickle.loads(pickle.dumps(module)), "from its state_dict": other}
    for way, twin in ways.items():
        if not torch.equal(run(twin), expected):
            raise Broken(f"{where}: {way}, it gives something else")
