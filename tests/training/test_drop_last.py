"""Epochs without a last batch of fewer rows: which rows they train on, and what they report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_allclose, assert_array_equal

from gpubp.backends.numpy_backend import NumpyBackend
from gpubp.backends.protocol import Backend
from gpubp.backprop.losses import LOSSES
from gpubp.backprop.network import Network
from gpubp.training.batches import Batches, HashedOrder, hashed_rows, rows_of_epoch
from gpubp.training.data import CsrData, TrainingData
from gpubp.training.fit import Start, fit
from gpubp.training.history import Epoch
from gpubp.training.recipe import Recipe
from gpubp.training.row_shards import ShardedBatches, shard_of
from gpubp.training.streamed_batches import StreamedBatches
from tests.training.test_row_shards import data_of, steps_of

N, BATCH = 25, 10
RNG = np.random.RandomState(0)
X = RNG.normal(size=(N, 4))
Y = (X[:, 0] > 0).astype(np.int32)
WEIGHTS = RNG.uniform(0.1, 3, N)
NETWORK, LOSS = Network((4, 5, 2), ("tanh",)), LOSSES["softmax_cross_entropy"]
RECIPE = Recipe(
    epochs=3, batch_size=BATCH, alpha=0.1, shuffle=False, precision="float64", drop_last=True
)


class Windows(StreamedBatches):
    """Of one step each."""

    window_bytes = 1


def trained(backend: Backend, recipe: Recipe, rows: int = N, weighted: bool = False) -> Any:
    weights = WEIGHTS[:rows] if weighted else None
    data = TrainingData(X[:rows], Y[:rows], Y[:rows], weights)
    return fit(backend, NETWORK, LOSS, data, recipe)


@pytest.mark.parametrize(
    ("n", "batch", "wanted"), [(25, 10, 20), (20, 10, 20), (9, 10, 9), (19, 10, 10), (1, 1, 1)]
)
def test_an_epoch_has_full_batches_or_one_of_all_rows(n: int, batch: int, wanted: int) -> None:
    assert rows_of_epoch(n, batch, True) == wanted
    assert rows_of_epoch(n, batch, False) == n


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("kind", [Batches, Windows])
@pytest.mark.parametrize("n", [97, 39, 20, 9])
def test_the_batches_are_the_first_of_the_order(
    backend: Backend, n: int, kind: type[Batches], hashed: bool, weighted: bool
) -> None:
    if kind is Windows and backend.name == "cpu":
        pytest.skip("only a device streams")
    data = data_of(n, weighted)
    order: Any = HashedOrder(3, 1) if hashed else np.random.RandomState(0).permutation(n)
    batches = kind(backend, data.X, data.targets, 20, data.weights, drop_last=True)
    planned = batches.planned
    sums = batches.plan(order)
    rows = hashed_rows(order, n) if hashed else order
    full = max(1, n // 20)
    wanted = np.arange(n)[None] if n <= 20 else rows[: 20 * full].reshape(full, 20)
    of_rows = np.ones(n) if data.weights is None else data.weights
    counted = [{int(row) for row in step if of_rows[row]} for step in wanted]
    assert [set(step) for step in steps_of(backend, batches)] == counted
    assert_array_equal(np.sort(backend.to_numpy(planned)), np.sort(wanted))
    assert_allclose(sums, of_rows[wanted].sum(axis=1))
    assert [kind.rows for kind in batches.kinds] == [min(n, 20)]


def test_the_hash_of_the_first_rows_is_that_of_all(backend: Backend) -> None:
    data = data_of(39, False)
    order = HashedOrder(5, 2)
    batches = Batches(backend, data.X, data.targets, 20, drop_last=True)
    batches.plan(order)
    assert_array_equal(backend.to_numpy(batches.order)[0], hashed_rows(order, 39)[:20])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("n", [97, 39, 9])
def test_shards_are_the_batches_of_one_process(
    backend: Backend, n: int, size: int, weighted: bool
) -> None:
    data, order = data_of(n, weighted), np.random.RandomState(0).permutation(n)
    whole = Batches(backend, data.X, data.targets, 20, data.weights, drop_last=True)
    sums = whole.plan(order)
    wanted = steps_of(backend, whole)
    found: list[dict[int, float]] = [{} for _ in wanted]
    for rank in range(size):
        shard = ShardedBatches(backend, shard_of(data, rank, size), 20, drop_last=True)
        assert shard.order_matters == whole.order_matters == (n > 20)
        assert_allclose(shard.plan(order), sums)
        for step, part in zip(found, steps_of(backend, shard), strict=True):
            step.update(part)
    for step, all_rows in zip(found, wanted, strict=True):
        assert step == pytest.approx(all_rows)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dropout", [(), (0.2, 0.5)])
def test_in_their_order_the_last_rows_do_not_count(
    backend: Backend, weighted: bool, dropout: tuple[float, ...]
) -> None:
    recipe = replace(RECIPE, dropout=dropout)
    got = trained(backend, recipe, weighted=weighted)
    wanted = trained(backend, replace(recipe, drop_last=False), 20, weighted)
    assert_array_equal(got.theta, wanted.theta)
    assert got.history.losses == wanted.history.losses
    assert got.history.samples == wanted.history.samples == 60
    assert not np.array_equal(trained(backend, replace(recipe, drop_last=False)).theta, got.theta)


@pytest.mark.parametrize("order", ["scikit-learn", "hash"])
def test_other_rows_are_left_out_in_each_epoch(backend: Backend, order: Any) -> None:
    """By hand, of a network that does not learn: the loss of an epoch is that of its rows."""
    recipe = replace(RECIPE, shuffle=True, row_order=order, learning_rate=1e-300, alpha=0.0)
    start = Start.new(NETWORK, recipe)
    (W, V), (b, c) = NETWORK.unpack(start.theta)
    got = fit(backend, NETWORK, LOSS, TrainingData(X, Y, Y, None), recipe)
    Z = np.tanh(X @ W + b) @ V + c
    losses = np.log(np.exp(Z).sum(axis=1)) - Z[np.arange(N), Y]
    rng, rows = start.rng, np.arange(N)
    seed = int(rng.randint(np.iinfo(np.int64).max, dtype=np.int64)) if order == "hash" else 0
    for epoch, loss in enumerate(got.history.losses):
        if order == "hash":
            rows = hashed_rows(HashedOrder(seed, epoch), N)
        else:
            rng.shuffle(rows)
        assert_allclose(loss, losses[rows[:20]].mean(), rtol=1e-12)
    assert len(set(got.history.losses)) == 3


def test_one_full_batch_of_some_rows_follows_the_order(backend: Backend) -> None:
    recipe = replace(RECIPE, batch_size=20, shuffle=True, learning_rate=1e-300, epochs=5)
    assert len(set(trained(backend, recipe).history.losses)) == 5


def test_too_few_rows_for_a_batch_are_one_batch(backend: Backend) -> None:
    recipe = replace(RECIPE, batch_size=100, shuffle=True)
    got, wanted = trained(backend, recipe), trained(backend, replace(recipe, drop_last=False))
    assert_array_equal(got.theta, wanted.theta)


def test_lbfgs_takes_all_rows(backend: Backend) -> None:
    recipe = replace(RECIPE, solver="lbfgs")
    got, wanted = trained(backend, recipe), trained(backend, replace(recipe, drop_last=False))
    assert_array_equal(got.theta, wanted.theta)


def test_sparse_rows(backend: Backend) -> None:
    dense, rows = trained(backend, RECIPE), CsrData(scipy.sparse.csr_matrix(X))
    sparse = fit(backend, NETWORK, LOSS, TrainingData(rows, Y, Y, None), RECIPE)
    assert_allclose(sparse.theta, dense.theta, rtol=1e-10)


def test_listeners_get_the_rows_of_an_epoch() -> None:
    from gpubp.training.fit import Listeners

    seen: list[Epoch] = []
    data = TrainingData(X, Y, Y, None)
    listeners = Listeners(on_epoch=lambda epoch: bool(seen.append(epoch)))  # type: ignore[func-returns-value]
    fit(NumpyBackend(), NETWORK, LOSS, data, RECIPE, listeners=listeners)
    assert [epoch.rows for epoch in seen] == [20, 20, 20]
