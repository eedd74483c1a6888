"""aAcc, mIoU and mAcc against their definitions, written out pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dirlearn.metrics.confusion import Confusion, confusion, figures
from dirlearn.metrics.metric import build_metric
from dirlearn.targets import IGNORE, Boxes, SemanticMap, TargetFault, TaskFault


def by_definition(predicted, labelled, classes: int) -> dict[str, float]:
    """Counts of one class after the other; classes without a denominator are left out of the mean."""
    pairs = [(int(p), int(t)) for p, t in zip(predicted.ravel(), labelled.ravel(), strict=True) if t != IGNORE]
    ious, accuracies = [], []
    for c in range(classes):
        both = sum(p == c and t == c for p, t in pairs)
        either = sum(c in (p, t) for p, t in pairs)
        labels = sum(t == c for _, t in pairs)
        if either:
            ious.append(both / either)
        if labels:
            accuracies.append(both / labels)
    return {
        "aAcc": sum(p == t for p, t in pairs) / len(pairs),
        "mIoU": sum(ious) / len(ious),
        "mAcc": sum(accuracies) / len(accuracies),
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 6), st.integers(0, 6))
def test_figures_are_those_of_the_definition(seed: int, classes: int, absent: int) -> None:
    rng = np.random.default_rng(seed)
    metric = Confusion(Confusion.Params(), SemanticMap, [str(c) for c in range(classes + absent)])
    maps = []
    for _ in range(3):
        size = tuple(rng.integers(1, 8, 2))
        predicted = rng.integers(0, classes + (absent > 0), size)  # one class that is predicted and never labelled
        labelled = np.where(rng.random(size) < 0.3, IGNORE, rng.integers(0, classes, size))
        metric.update(SemanticMap(torch.from_numpy(predicted)), SemanticMap(torch.from_numpy(labelled)))
        maps.append((predicted.ravel(), labelled.ravel()))
    predicted, labelled = (np.concatenate(parts) for parts in zip(*maps, strict=True))
    if (labelled == IGNORE).all():
        assert set(metric.compute().values()) == {None}
    else:
        assert metric.compute() == pytest.approx(by_definition(predicted, labelled, classes + absent), rel=1e-12)


def test_what_two_counted_is_what_one_counts() -> None:
    rng = np.random.default_rng(0)
    pairs = [(SemanticMap(torch.from_numpy(rng.integers(0, 4, (5, 7)))) for _ in range(2)) for _ in range(4)]
    whole, first, second = (Confusion(Confusion.Params(), SemanticMap, "abcd") for _ in range(3))
    for number, (predicted, labelled) in enumerate(pairs):
        whole.update(predicted, labelled)
        (first if number % 2 else second).update(predicted, labelled)
    first.merge(second)
    first.reduce()  # one process: nothing to sum
    assert torch.equal(first.counts, whole.counts)
    assert first.compute() == whole.compute()
    assert list(first.by_class()) == list("abcd")


def test_counts_are_integers_however_many() -> None:
    """A million equal pixels a thousand times: float32 would have stopped counting."""
    counts = torch.tensor([[10**9, 1], [0, 1]])
    assert figures(counts)["aAcc"].item() == (10**9 + 1) / (10**9 + 2)
    assert figures(counts)["aAcc"].dtype == torch.float64


@pytest.mark.parametrize(
    ("predicted", "labelled", "said"),
    [
        ([[3]], [[0]], "a prediction of class 3"),
        ([[0]], [[3]], "a label of class 3"),
        ([[0]], [[-1]], "a label of class -1"),
        ([[0, 0]], [[0]], "a prediction of"),
    ],
)
def test_what_is_out_of_range_is_refused(predicted, labelled, said: str) -> None:
    with pytest.raises(TargetFault, match=said):
        confusion(torch.tensor(predicted), torch.tensor(labelled), 3)


def test_a_metric_that_does_not_fit_the_head_is_refused() -> None:
    with pytest.raises(TaskFault, match="metric confusion measures SemanticMap; the head predicts Boxes"):
        build_metric("confusion", Boxes, ["a"])
