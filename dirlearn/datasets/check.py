"""Whether the data of a recipe are there, and what to do where they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dirlearn.datasets.dataset import DatasetFault, build_dataset
from dirlearn.targets import TaskFault


def nodes(data: Any, evaluation: Any) -> Iterator[tuple[str, Any]]:
    """Every data set of a recipe, by the place where it stands."""
    yield "data.train", data.train
    yield "data.validation", data.validation
    for name, node in evaluation.sets.items():
        yield f"evaluation.sets.{name}", node


def check_data(data: Any, evaluation: Any, read: bool, say: Callable[[str], None]) -> int:
    """Open every data set, say what is in it, and return how many can't be used.

    Parameters
    ----------
    read
        Also decode every picture and check every label.
    """
    faults = 0
    for place, node in nodes(data, evaluation):
        for part in node if isinstance(node, list | tuple) else [node]:
            name = part if isinstance(part, str) else next(iter(part))
            try:
                dataset = build_dataset(part)
                if read:
                    for index in range(len(dataset)):
                        scene = dataset.read(index)
                        for kind in dataset.gives:
                            kind.of(scene.labels).check(len(dataset.classes))
            except (DatasetFault, TaskFault) as error:
                say(f"{place}: {error}")
                faults += 1
                continue
            kinds = ", ".join(sorted(kind.__name__ for kind in dataset.gives))
            labels = f"; {kinds} of {len(dataset.classes)} classes" if kinds else "; no labels"
            left = "".join(f"; left out: {count} {reason}" for reason, count in dataset.skipped.items())
            say(f"{place}: {name}: {len(dataset)} pictures{labels}{left}")
    return faults
