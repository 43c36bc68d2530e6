"""Rows to validate on: drawn evenly over the sorted targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.models.table_rows import hold_out


def held(y: Any, part: float, task: Any, seed: int = 0) -> np.ndarray:
    """Return the rows held out; the two parts together must be all rows, each once."""
    kept, out = hold_out(np.asarray(y), part, task, np.random.RandomState(seed))
    assert_array_equal(np.sort(np.append(kept, out)), np.arange(len(y)))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(out) > 0).all()
    return out


@pytest.mark.parametrize("seed", range(5))
def test_each_class_has_its_share(seed: int) -> None:
    y = np.repeat(["a", "b", "c"], [600, 390, 10])
    np.random.default_rng(seed).shuffle(y)
    counts = {
        label: int((y[held(y, 0.1, "classification", seed)] == label).sum()) for label in "abc"
    }
    # A tenth of each, give or take the row that falls between two classes.
    assert abs(counts["a"] - 60) <= 1
    assert abs(counts["b"] - 39) <= 1
    assert counts["c"] <= 2


@pytest.mark.parametrize("seed", range(5))
def test_each_range_of_a_number_has_its_share(seed: int) -> None:
    y = np.random.default_rng(seed).lognormal(size=1000)
    out = held(y, 0.1, "regression", seed)
    assert len(out) == 100
    # One of each ten, by size.
    ranks = np.sort(np.argsort(np.argsort(y))[out])
    assert_array_equal(ranks // 10, np.arange(100))


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_each_class_keeps_a_row(part: float, seed: int) -> None:
    y = np.array([0] * 30 + [1] * 2 + [2])
    out = held(y, part, "classification", seed)
    assert set(np.delete(y, out)) == {0, 1, 2}


def test_several_columns_and_equal_numbers() -> None:
    assert len(held(np.zeros((50, 2)), 0.2, "classification")) == 10
    assert len(held(np.zeros((50, 2)), 0.2, "regression")) == 10
    assert len(held(np.zeros(50), 0.2, "regression")) == 10


def test_the_draw_goes_by_the_seed() -> None:
    y = np.arange(100) % 2
    first, again, other = (held(y, 0.2, "classification", seed) for seed in (0, 0, 1))
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("n", "part"), [(5, 0.1), (10, 0.0), (3, 0.99), (1, 0.5)])
def test_too_few_rows(n: int, part: float) -> None:
    with pytest.raises(ValueError, match="The validation set is too small"):
        held(np.arange(n), part, "classification")
