from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import shuffle

from gpubp.backend import Backend
from gpubp.batches import Batches, shuffled

BATCH = 4
ROWS = [8, 9, 11, 4, 3, 1]  # n % batch = 0, 1 and batch - 1; and one batch or less


def _data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that tell their own index."""
    return np.arange(3.0 * n).reshape(n, 3), np.arange(n, dtype=np.int32)


def _epoch(backend: Backend, batches: Batches) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    """X, Y and shares of each step of the planned epoch, full ones and the tail."""
    steps = []
    for rows in [batches.batch_size] * batches.full + [batches.tail] * (batches.tail > 0):
        X = backend.empty((rows, batches.X.shape[1]), batches.X.dtype)
        Y = batches.Y_batch[:rows]
        batches.gather(X, Y)
        share = batches.share(rows)
        share = share if isinstance(share, float) else backend.to_numpy(share).copy()
        steps.append((backend.to_numpy(X).copy(), backend.to_numpy(Y).copy(), share))
        batches.step[...] += 1
    return steps


@pytest.mark.parametrize("n", ROWS)
def test_an_epoch_takes_every_row_once_in_the_planned_order(backend: Backend, n: int) -> None:
    X, y = _data(n)
    batches = Batches(backend, X, y, BATCH)
    for seed in (0, 1):  # the second epoch starts from the first row of its own plan
        order = np.random.RandomState(seed).permutation(n)
        rows = batches.plan(order)
        steps = _epoch(backend, batches)
        assert [len(step_X) for step_X, _, _ in steps] == list(rows)
        assert_array_equal(np.concatenate([step_X for step_X, _, _ in steps]), X[order])
        assert_array_equal(np.concatenate([step_y for _, step_y, _ in steps]), y[order])
        assert all(share == 1 / len(step_y) for _, step_y, share in steps)
    assert batches.steps == len(steps) == -(-n // BATCH)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", ROWS)
def test_targets_of_several_outputs_keep_dtype_and_rows(
    backend: Backend, n: int, dtype: Any
) -> None:
    X = np.arange(n, dtype=dtype)[:, None]
    Y = np.hstack([X, -X, 2 * X])
    batches = Batches(backend, X, Y, BATCH)
    batches.plan(np.arange(n)[::-1])
    steps = _epoch(backend, batches)
    got = np.concatenate([step_Y for _, step_Y, _ in steps])
    assert_array_equal(got, Y[::-1], strict=True)


@pytest.mark.parametrize("n", ROWS)
def test_shares_follow_the_weights_and_sum_to_one(backend: Backend, n: int) -> None:
    X, y = _data(n)
    rng = np.random.RandomState(0)
    weights, order = rng.uniform(0.1, 5, n), rng.permutation(n)
    batches = Batches(backend, X, y, BATCH, weights)
    sums = batches.plan(order)
    for (_, rows, share), total in zip(_epoch(backend, batches), sums, strict=True):
        assert_allclose(total, weights[rows].sum(), rtol=1e-15)
        assert_allclose(share, weights[rows] / weights[rows].sum(), rtol=1e-15)
        assert_allclose(share.sum(), 1, rtol=1e-15)


def test_a_batch_of_weight_zero_has_shares_of_zero(backend: Backend) -> None:
    X, y = _data(6)
    batches = Batches(backend, X, y, BATCH, np.array([0.0, 0, 0, 0, 1, 3]))
    sums = batches.plan(np.arange(6))
    shares = [share for _, _, share in _epoch(backend, batches)]
    assert_array_equal(sums, [1, 4])
    assert_array_equal(shares[0], np.zeros(BATCH))
    assert_array_equal(shares[1], [0.25, 0.75])


def test_shuffled_draws_what_scikit_learn_draws() -> None:
    ours, theirs = np.random.RandomState(5), np.random.RandomState(5)
    order = wanted = np.arange(100)
    for _ in range(3):  # each epoch shuffles the order of the one before
        order, wanted = shuffled(order, ours), shuffle(wanted, random_state=theirs)
        assert_array_equal(order, wanted)
    assert ours.randint(1 << 30) == theirs.randint(1 << 30)
