"""Training and test pictures are told apart by what is in them, not by what their files are called."""

from __future__ import annotations

from collections.abc import Mapping

from dirlearn.datasets.dataset import Dataset, DatasetFault


def check_split(train: Dataset, tests: Mapping[str, Dataset]) -> None:
    """Refuse a test picture that is also a training picture.

    Raises
    ------
    DatasetFault
        With every picture that lies on both sides. Of an endless training set the first epoch is looked at.
    """
    found = [(name, test.read(index)) for name, test in tests.items() for index in range(len(test))]
    sizes = {size for _, scene in found for size in (scene.pixels.shape[:2], scene.pixels.shape[1::-1])}
    seen = {}
    for index in range(len(train)):
        if (size := train.size(index)) is None or size in sizes:  # others can't be equal, and need not be decoded
            scene = train.read(index)
            seen[scene.digest] = scene.key
    faults = [
        f"{name}: {scene.key} is {seen[scene.digest]} of the training set"
        for name, scene in found
        if scene.digest in seen
    ]
    if faults:
        shown = faults[:10] + ([f"... and {len(faults) - 10} more"] if len(faults) > 10 else [])
        raise DatasetFault("test pictures must not be trained on; take these from one side:\n" + "\n".join(shown))
