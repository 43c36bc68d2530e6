"""Mini-batches: the data on the device, and an epoch's plan of which rows each step takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpubp.backend import Array, Backend
from gpubp.kernels.gather import GATHER
from gpubp.kernels.hashing import PERMUTE, ROUNDS, permutation_keys


class HashedOrder(NamedTuple):
    """The order of an epoch's rows as a hash of ``seed`` and ``epoch``: alike on every device."""

    seed: int
    epoch: int


class Batches:
    """Rows X (n, d) with targets Y, taken ``batch_size`` at a time in a planned order.

    Y : (n,) int32 or (n, k). weights : (n,) or None, the weight of each row.
    An epoch has ``full`` steps of batch_size rows, then one of ``tail`` rows if that is not 0.
    ``step`` (1,) int64 on the device counts the steps of the epoch; all that is planned is read
    by it.
    """

    def __init__(
        self,
        backend: Backend,
        X: np.ndarray,
        Y: np.ndarray,
        batch_size: int,
        weights: np.ndarray | None = None,
    ) -> None:
        self.backend = backend
        self.rows = len(X)
        self.batch_size = min(batch_size, self.rows)
        self.full, self.tail = divmod(self.rows, self.batch_size)
        self.steps = self.full + (self.tail > 0)
        self.rows_by_step = np.full(self.steps, self.batch_size, np.float64)
        self.rows_by_step[self.full :] = self.tail
        self.X, self.Y = backend.asarray(X), backend.asarray(Y)
        self.Y_batch = backend.empty((self.batch_size, *Y.shape[1:]), Y.dtype)
        self.step = backend.zeros((1,), np.int64)
        self.order = backend.zeros((self.steps, self.batch_size), np.int64)
        self._weights = weights
        if weights is not None:
            self._shares = backend.zeros((self.steps, self.batch_size), X.dtype)
            self._share = backend.zeros((1, self.batch_size), X.dtype)
            self._each_step = backend.asarray(np.arange(self.steps)[:, None])

    def plan(self, order: np.ndarray | HashedOrder) -> np.ndarray:
        """Take the rows in this ``order`` from now on: (n,) on the host, or hashed on the device.

        Return the sum of the weights of each step's rows, (steps,) float64; without weights,
        their number.
        """
        if isinstance(order, HashedOrder):
            order = self._hash(order)
        else:
            self.order[...] = self.backend.asarray(self._by_step(order))
        self.step[...] = 0
        if self._weights is None:
            return self.rows_by_step
        weights = self._by_step(self._weights[self.backend.to_numpy(order)].astype(np.float64))
        sums: np.ndarray = weights.sum(axis=1)
        # A batch of weight 0 teaches nothing; dividing by 1 leaves its shares at 0.
        sums[sums == 0] = 1
        self._shares[...] = self.backend.asarray(weights / sums[:, None], self.X.dtype)
        return sums

    def _hash(self, order: HashedOrder) -> Array:
        """Write the order of an epoch, made where the data lies; return it, (n,)."""
        keys = self.backend.asarray(permutation_keys(order.seed, order.epoch, self.rows))
        rows = self.order.reshape(-1)[: self.rows]
        self.backend.run(PERMUTE, keys, ROUNDS, self.rows, out=rows)
        return rows

    def gather(self, X: Array, Y: Array) -> None:
        """Copy this step's rows into ``X`` and their targets into ``Y``."""
        for source, rows in ((self.X, X), (self.Y, Y)):
            width = source.shape[1] if source.ndim == 2 else 1
            planned = (self.order, self.step, self.batch_size, width)
            self.backend.run(GATHER, source, *planned, out=rows)

    def share(self, rows: int) -> Array | float:
        """Return each row's part of this step's batch loss: 1/rows, or by weight (rows,)."""
        if self._weights is None:
            return 1 / rows
        planned = (self._each_step, self.step, 1, self.batch_size)
        self.backend.run(GATHER, self._shares, *planned, out=self._share)
        return self._share[0, :rows]

    def _by_step(self, values: np.ndarray) -> np.ndarray:
        """Return ``values`` (n,) in the order of use as (steps, batch_size), padded with zeros."""
        padded = np.zeros(self.steps * self.batch_size, values.dtype)
        padded[: self.rows] = values
        return padded.reshape(self.steps, self.batch_size)


def shuffled(order: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return ``order`` permuted by the numbers that scikit-learn draws from ``rng`` for it."""
    permutation = np.arange(len(order))
    rng.shuffle(permutation)
    return order[permutation]
