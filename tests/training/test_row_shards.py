"""The shards of several processes together are the batches of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.backends.protocol import Backend
from gpubp.training.batches import Batches, HashedOrder
from gpubp.training.data import CsrData, TrainingData
from gpubp.training.row_shards import TILES, ShardedBatches, shard_of

WIDTH = 3


def data_of(n: int, weighted: bool, sparse: bool = False) -> TrainingData:
    """Rows whose first column and target are their number."""
    X = np.full((n, WIDTH), np.arange(n)[:, None], float)
    X[:, 1:] *= [2, 0.5]
    weights = np.linspace(0, 3, n) if weighted else None
    targets = np.arange(n, dtype=np.int32)
    rows: Any = CsrData(scipy.sparse.csr_matrix(X)) if sparse else X
    return TrainingData(rows, targets, targets, weights)


def steps_of(backend: Backend, batches: Batches) -> list[dict[int, float]]:
    """For each step, the rows with a share above 0, and their shares."""
    found: list[dict[int, float]] = []
    for kind, times in batches.windows():
        rows = batches.kinds[kind].rows
        for _ in range(times):
            X = backend.empty((rows, WIDTH), float)
            gathered = batches.gather(X, batches.targets(rows))
            X, Y = (backend.to_numpy(each) for each in gathered)
            of = int(batches.rows_by_step[len(found)])
            shares = np.broadcast_to(_share(backend, batches, rows, of), rows)
            assert_array_equal(X[:, 0], Y)
            assert_array_equal(X[:, 2], 0.5 * X[:, 0])
            found.append({int(y): float(s) for y, s in zip(Y, shares, strict=True) if s})
            batches.step += 1
    return found


def _share(backend: Backend, batches: Batches, rows: int, of: int) -> Any:
    share = batches.share(rows, of)
    return share if isinstance(share, float) else np.array(backend.to_numpy(share))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("order", ["shuffled", "hashed", "given"])
@pytest.mark.parametrize(("n", "batch"), [(97, 20), (50, 50), (23, 1), (9, 4)])
@pytest.mark.parametrize("size", [1, 3])
def test_shards_are_the_batches_of_one_process(
    backend: Backend, size: int, n: int, batch: int, order: str, weighted: bool
) -> None:
    orders: dict[str, Any] = {
        "shuffled": np.random.RandomState(0).permutation(n),
        "hashed": HashedOrder(3, 1),
        "given": np.arange(n),
    }
    data = data_of(n, weighted)
    whole = Batches(backend, data.X, data.targets, batch, data.weights)
    sums = whole.plan(orders[order])
    wanted = steps_of(backend, whole)
    found: list[dict[int, float]] = [{} for _ in wanted]
    for rank in range(size):
        shard = ShardedBatches(backend, shard_of(data, rank, size), batch)
        assert_allclose(shard.plan(orders[order]), sums)
        for step, part in zip(found, steps_of(backend, shard), strict=True):
            assert all(row % size == rank for row in part)
            assert not step.keys() & part.keys()
            step.update(part)
    for step, all_rows in zip(found, wanted, strict=True):
        assert step == pytest.approx(all_rows)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_tiles_have_the_same_rows_in_all_processes(backend: Backend, size: int) -> None:
    n, batch = 41, 12
    order = np.random.RandomState(0).permutation(n)
    data, tiles_of_steps = data_of(n, weighted=False), [set[tuple[int, ...]]() for _ in range(4)]
    for rank in range(size):
        batches = ShardedBatches(backend, shard_of(data, rank, size), batch, in_tiles=True)
        assert batches.tiles == TILES // size
        on_device = batches.planned
        batches.plan(order)
        planned = backend.to_numpy(on_device).reshape(4, batches.tiles, batches.room)
        shares = backend.to_numpy(batches._shares).reshape(planned.shape)
        for step, tiles in enumerate(tiles_of_steps):
            for rows, share in zip(planned[step], shares[step], strict=True):
                tiles.add(tuple(rows[share > 0].tolist()))
    for step, tiles in enumerate(tiles_of_steps):
        rows = order[step * batch :][:batch]
        assert tiles == {tuple(rows[rows % TILES == tile].tolist()) for tile in range(TILES)}


def test_sparse_rows(backend: Backend) -> None:
    data = data_of(30, False, sparse=True)
    batches = ShardedBatches(backend, shard_of(data, 1, 2), 8)
    batches.plan(np.arange(30)[::-1].copy())
    rows = [row for step in steps_of(backend, batches) for row in step]
    assert rows == list(range(29, 0, -2))


def test_a_step_computes_few_rows_more_than_it_has(backend: Backend) -> None:
    data = data_of(20_000, False)
    batches = ShardedBatches(backend, shard_of(data, 0, 4), 1024)
    batches.plan(np.random.RandomState(0).permutation(20_000))
    computed = [batches.kinds[kind].rows for kind, times in batches.windows() for _ in range(times)]
    assert 5000 <= sum(computed) < 1.05 * 5000
    assert len(batches.kinds) <= 6


def test_an_order_that_gives_a_process_too_many_rows_is_refused(backend: Backend) -> None:
    batches = ShardedBatches(backend, shard_of(data_of(20_000, False), 0, 4), 1024)
    order = np.arange(20_000)
    with pytest.raises(RuntimeError, match="a batch has 1024 rows in one process"):
        batches.plan(np.concatenate([order[::4], order[order % 4 > 0]]))
