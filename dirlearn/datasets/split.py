"""Training and test pictures are told apart by what is in them, not by what their files are called."""

from __future__ import annotations

from collections.abc import Mapping

from dirlearn.datasets.dataset import Dataset, DatasetFault, digest


def check_split(train: Dataset, tests: Mapping[str, Dataset]) -> None:
    """Refuse a test picture that is also a training picture.

    Raises
    ------
    DatasetFault
        With every picture that lies on both sides. Of an endless training set the first epoch is looked at.
    """
    sizes: set[tuple[int, ...]] = set()
    found: dict[str, list[tuple[str, int]]] = {}  # pictures of one digest, of which there may be several
    for name, test in tests.items():
        for index in range(len(test)):
            pixels = test.pixels(index)
            sizes |= {pixels.shape[:2], pixels.shape[1::-1]}
            found.setdefault(digest(pixels), []).append((name, index))
    faults = []
    for number in range(len(train)):
        if (size := train.size(number)) is None or size in sizes:  # others can't be equal, and need not be decoded
            for name, index in found.get(digest(train.pixels(number)), ()):
                same = f"{tests[name].read(index).key} is {train.read(number).key}"
                faults.append(f"{name}: {same} of the training set")
    if faults:
        shown = faults[:10] + ([f"... and {len(faults) - 10} more"] if len(faults) > 10 else [])
        raise DatasetFault("test pictures must not be trained on; take these from one side:\n" + "\n".join(shown))
