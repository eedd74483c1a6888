"""A planted parameter is found, a scene is not mistaken for one, and nothing is read of rows that were seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from dirlearn import probes
from isp_sim.randomness import generator

SCENES, COPIES, CHANNELS = 24, 8, 12


def drawn(purpose: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return generator(seed, "probes", 0, "test", purpose).standard_normal(shape)


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Content (N, C), the same for all copies of a scene; a parameter (N, 1); the scene of each row."""
    content = np.repeat(drawn("content", (SCENES, CHANNELS), seed), COPIES, axis=0)
    groups = [f"scene {i}" for i in range(SCENES) for _ in range(COPIES)]
    return content, drawn("parameter", (len(content), 1), seed), groups


def read(x: np.ndarray, y: np.ndarray, groups: list[str], scenes: list[str] | None = None) -> float | None:
    return probes.read_targets(x, {"y": y[:, 0]}, groups, scenes)["y"]


@given(st.integers(0, 100), st.floats(0.1, 20))
@settings(max_examples=10, deadline=None)
def test_a_planted_parameter_is_read(seed: int, scale: float) -> None:
    content, y, groups = world(seed)
    told = np.hstack([content, content[:, :1] + scale * y])
    assert read(told, y, groups) > 0.999
    # hidden among content in the same channels it is still read of how the copies of a scene differ
    hidden = content + scale * y * drawn("direction", (1, CHANNELS), seed)
    assert read(hidden, y, groups, groups) > 0.999


@given(st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_content_alone_tells_nothing_of_a_parameter(seed: int) -> None:
    content, y, groups = world(seed)
    assert probes.r_squared(content, y, groups)[0] <= 0.1
    assert read(content + 1e-12 * drawn("dust", content.shape, seed), y, groups, groups) <= 0
    assert probes.r_squared(np.zeros_like(content), y, groups)[0] <= 0


def test_what_depends_on_the_scene_alone_is_not_read_of_scenes_that_were_seen() -> None:
    """Copies of one scene are alike: with a fold across a scene, a target of the scene could be looked up."""
    content, _, groups = world()
    looked_up = np.repeat(drawn("of the scene", (SCENES, 1)), COPIES, axis=0)
    many = np.hstack([content] + [np.tanh(content @ drawn(f"more {i}", (CHANNELS, CHANNELS))) for i in range(3)])
    assert probes.r_squared(many, looked_up, groups)[0] < 0.3
    rows = [str(i) for i in range(len(many))]
    assert probes.r_squared(many, looked_up, rows)[0] > 0.9, "the same probe with leaking folds"


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.integers(2, 6))
@settings(max_examples=50, deadline=None)
def test_no_group_is_in_two_folds(groups: list[int], count: int) -> None:
    if len(set(groups)) < 2:
        with pytest.raises(ValueError, match="nothing can be held back"):
            probes.folds_by_group(groups, count)
        return
    folds = probes.folds_by_group(groups, count)
    pairs = set(zip(groups, folds.tolist(), strict=True))
    assert len(pairs) == len(set(groups))
    assert len(set(folds.tolist())) == min(count, len(set(groups)))


def test_the_regression_is_that_of_scikit_learn() -> None:
    content, y, groups = world()
    x = content + y * drawn("direction", (1, CHANNELS))
    folds = probes.folds_by_group(groups, 5)
    for train, test in GroupKFold(5).split(x, y, groups):
        found = probes._ridge(x[train], y[train], x[test])
        scaler = StandardScaler().fit(x[train])
        for penalty, ours in zip(probes.PENALTIES, found, strict=True):
            other = Ridge(penalty * len(train)).fit(scaler.transform(x[train]), y[train])
            assert np.allclose(ours[:, 0], np.ravel(other.predict(scaler.transform(x[test]))), atol=1e-8)
    assert len(set(folds.tolist())) == 5


def test_more_features_than_rows_and_still_channels_do_no_harm() -> None:
    content, y, groups = world()
    wide = np.hstack([np.tile(content, (1, 30)), np.full((len(y), 3), 0.1), 1e3 + 1e-9 * drawn("dust", (len(y), 2)), y])
    assert wide.shape[1] > wide.shape[0]
    found = probes.r_squared(wide.astype(np.float32), y, groups)
    assert np.isfinite(found).all()
    assert found[0] > 0.5


def test_scenes_are_found_again() -> None:
    content, _, _ = world()
    truth = np.repeat(np.arange(SCENES), COPIES)
    assert probes.retrieval(content, content[::COPIES], truth) == 1.0
    assert probes.retrieval(3 * content + 7, content[::COPIES] * 3 + 7, truth) == 1.0, "offset and scale are shared"
    other = drawn("other", (len(content), CHANNELS))
    assert probes.retrieval(other, content[::COPIES], truth) < 0.2
    constant = np.ones_like(content)
    assert probes.retrieval(constant, constant[::COPIES], truth) == pytest.approx(1 / SCENES)


def test_a_collapsed_representation_is_flagged() -> None:
    posterior = np.ones(CHANNELS)
    rows = drawn("rows", (4000, CHANNELS))
    good = probes.activity(np.cov(rows.T), posterior)
    assert good.active == 1.0
    assert good.rank == pytest.approx(CHANNELS, rel=0.02)
    assert not good.collapsed
    assert probes.activity(np.cov(0.05 * rows.T), posterior).collapsed, "less than the posterior's own noise"
    assert not probes.activity(np.cov(0.05 * rows.T), 0.01 * posterior).collapsed
    assert probes.activity(np.zeros((CHANNELS, CHANNELS)), posterior).collapsed
    assert probes.activity(np.zeros((CHANNELS, CHANNELS)), None).collapsed
    assert probes.activity(np.cov((rows[:, :1] * np.ones(CHANNELS)).T), posterior).collapsed, "one direction only"
    assert not probes.activity(np.cov(1e-3 * rows.T), None).collapsed, "an auto-encoder has no scale of its own"


def test_targets_are_numbers_that_vary() -> None:
    rows = [
        {"sigma": 0.1, "fixed": 1.0, "method": "a", "branch": "0"},
        {"sigma": 0.2, "fixed": 1.0, "method": "b", "branch": "1", "quality": 10.0},
        {"sigma": 0.3, "fixed": 1.0, "method": "c", "branch": "1", "quality": 20.0},
    ]
    found = probes.targets(rows)
    assert list(found) == ["sigma", "method = a", "method = b", "method = c", "branch = 1", "quality"]
    assert found["branch = 1"].tolist() == [0, 1, 1]
    assert np.isnan(found["quality"][0])


def test_a_parameter_that_was_not_drawn_everywhere_is_read_where_it_was() -> None:
    content, y, groups = world()
    only = np.where(np.arange(len(y)) % 3 == 0, np.nan, y[:, 0])
    never = np.full(len(y), np.nan)
    never[:COPIES] = y[:COPIES, 0]
    found = probes.read_targets(np.hstack([content, y]), {"all": y[:, 0], "some": only, "one scene": never}, groups)
    assert found["all"] > 0.99
    assert found["some"] > 0.99
    assert found["one scene"] is None
