"""Rows in a mapped file are trained on block by block, as the same rows in memory."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.training.block_batches import BlockBatches
from gpubp.training.block_rows import LEAST_BLOCKS, BlockRows
from gpubp.training.data import TrainingData
from gpubp.training.fit import Fitted, fit
from gpubp.training.population import Member, groups
from gpubp.training.recipe import Recipe

N, WIDTH, BLOCK = 1000, 4, 10
X = np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int32)
ROOM = 200 * X[0].nbytes  # of 20 blocks
NETWORK = Network((WIDTH, 8, 2), ("relu",))


@pytest.fixture
def rows(tmp_path: Path) -> BlockRows:
    path = tmp_path / "rows"
    X.tofile(path)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return BlockRows(mapped, X.shape, X.dtype, ROOM, BLOCK)


def order(rows: BlockRows, epoch: int, seed: int = 7, n: int = N) -> np.ndarray:
    out = np.full(n, -1)
    rows.order(seed, epoch, out)
    return out


def trained(backend: Backend, X: Any, **recipe: Any) -> Fitted:
    data = TrainingData(X, Y, Y, None)
    how = {"epochs": 3, "batch_size": 32, "row_order": "hash", "tol": 0, "seed": 3} | recipe
    return fit(backend, NETWORK, LOSSES["softmax_cross_entropy"], data, Recipe(**how))


def test_an_epoch_has_each_row_once_and_its_own_order(rows: BlockRows) -> None:
    first, second = order(rows, 0), order(rows, 1)
    assert_array_equal(np.sort(first), np.arange(N))
    assert_array_equal(np.sort(second), np.arange(N))
    assert (first != second).mean() > 0.9
    assert (first != order(rows, 0, seed=8)).mean() > 0.9
    assert_array_equal(first, order(rows, 0))
    assert_array_equal(first[:992], order(rows, 0, n=992))  # drop_last


def test_rows_of_few_random_blocks_are_mixed_at_a_time(rows: BlockRows) -> None:
    assert rows.rows_at_once == 200
    blocks = order(rows, 0).reshape(5, 200) // BLOCK
    assert [len(np.unique(group)) for group in blocks] == [20] * 5
    assert all(len(np.unique(group[:32])) > 12 for group in blocks)  # of the first batch
    assert np.ptp(np.unique(blocks[0])) > 60  # from all over the file


@pytest.mark.parametrize("room", [1, 100, 10**9])
def test_sizes_of_blocks(rows: BlockRows, room: int) -> None:
    of = BlockRows(rows._mapped, rows.shape, rows.dtype, room)
    assert_array_equal(np.sort(order(of, 0)), np.arange(N))
    assert of.block_rows == 1 or of.blocks_at_once >= LEAST_BLOCKS


@pytest.mark.parametrize("batch_size", [32, 250, N])
def test_training_is_that_of_the_rows_in_this_order(
    backend: Backend, rows: BlockRows, batch_size: int
) -> None:
    orders, write = [np.arange(N)], rows.order  # the order of a single step makes no difference

    def noted(seed: int, epoch: int, out: np.ndarray) -> None:
        write(seed, epoch, out)
        orders.append(out.copy())

    rows.order = noted  # type: ignore[method-assign]
    how: dict[str, Any] = {"epochs": 1, "batch_size": batch_size}
    got = trained(backend, rows, **how)
    assert (len(orders) == 1) == (batch_size == N)
    of_epoch = orders[-1]
    wanted = fit(
        backend,
        NETWORK,
        LOSSES["softmax_cross_entropy"],
        TrainingData(X[of_epoch], Y[of_epoch], Y[of_epoch], None),
        Recipe(**how, shuffle=False, seed=3),
    )
    assert_array_equal(got.theta, wanted.theta)
    assert got.history.losses == wanted.history.losses


def test_dropout_is_drawn_by_row_on_every_device(backend: Backend, rows: BlockRows) -> None:
    one, other = (trained(backend, rows, dropout=(0.0, rate)) for rate in (0.3, 0.0))
    assert one.history.losses[-1] < one.history.losses[0]
    assert one.history.losses != other.history.losses


def test_training_repeats_and_learns_as_in_memory(backend: Backend, rows: BlockRows) -> None:
    got, again, whole = (trained(backend, each, epochs=10) for each in (rows, rows, X))
    assert_array_equal(got.theta, again.theta)
    assert got.history.losses[-1] == pytest.approx(whole.history.losses[-1], rel=0.05)
    assert got.history.losses[-1] < 0.8 * got.history.losses[0]


def test_no_more_rows_stay_in_memory_than_allowed(
    rows: BlockRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpubp.backends.numpy_backend import NumpyBackend

    batches = BlockBatches(NumpyBackend(), rows, Y, 32)
    released = []
    monkeypatch.setattr(rows, "release", lambda: released.append(True))
    windows = list(batches.windows())
    assert windows == [(0, 6)] * 5 + [(0, 1), (1, 1)]  # 6 batches of 32 rows fit in 200
    assert len(released) == 6


def test_released_rows_are_read_again(rows: BlockRows) -> None:
    assert_array_equal(rows.array, X)
    rows.release()
    assert_array_equal(rows[np.array([3, 1])], X[[3, 1]])


def test_taken_rows_are_released(rows: BlockRows, monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    monkeypatch.setattr(rows, "release", lambda: released.append(True))
    out = np.empty((150, WIDTH), np.float32)
    for _ in range(2):
        rows.take(np.arange(150), axis=0, out=out)
        assert_array_equal(out, X[:150])
    assert released == [True]


def test_another_dtype_is_refused(rows: BlockRows) -> None:
    with pytest.raises(ValueError, match="stored as float32, but training is in float64"):
        rows.astype(np.dtype(np.float64))


def test_networks_on_such_rows_train_alone(rows: BlockRows) -> None:
    data = TrainingData(rows, Y, Y, None)
    one = Member(NETWORK, LOSSES["softmax_cross_entropy"], data, Recipe())
    assert groups([one, one]) == [[0], [1]]
