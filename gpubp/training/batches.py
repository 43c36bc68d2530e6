"""Mini-batches: the data on the device, and an epoch's plan of which rows each step takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.kernels.gather import GATHER, TAKE
from gpubp.kernels.hashing import PERMUTE, ROUNDS, permutation_keys
from gpubp.training.data import CsrData, Matrix


class HashedOrder(NamedTuple):
    """The order of an epoch's rows as a hash of ``seed`` and ``epoch``: alike on every device."""

    seed: int
    epoch: int


class Batches:
    """Rows X (n, d) with targets Y, taken ``batch_size`` at a time in a planned order.

    X : an array; or, on the CPU, sparse rows, of which each step densifies its own.
    Y : (n,) int32 or (n, k). weights : (n,) or None, the weight of each row.
    An epoch has ``full`` steps of batch_size rows, then one of ``tail`` rows if that is not 0. A
    single step takes the rows as they lie, since their order makes no difference to it.
    ``step`` (1,) int64 on the device counts the steps of the epoch; all that is planned is read
    by it.
    """

    def __init__(
        self,
        backend: Backend,
        X: Matrix,
        Y: np.ndarray,
        batch_size: int,
        weights: np.ndarray | None = None,
    ) -> None:
        self.backend = backend
        self.n_rows = len(X)
        self.batch_size = min(batch_size, self.n_rows)
        self.full, self.tail = divmod(self.n_rows, self.batch_size)
        self.steps = self.full + (self.tail > 0)
        self.rows_by_step = np.full(self.steps, self.batch_size, np.float64)
        self.rows_by_step[self.full :] = self.tail
        self.Y_batch = backend.empty((self.batch_size, *Y.shape[1:]), Y.dtype)
        self.step = backend.zeros((1,), np.int64)
        self.order = backend.zeros((self.steps, self.batch_size), np.int64)
        self._of_one_step: np.ndarray | None = None  # what `plan` has returned for it
        self._weights = weights
        if weights is not None:
            self._shares = backend.zeros((self.steps, self.batch_size), X.dtype)
            self._share = backend.zeros((self.batch_size,), X.dtype)
        self._place(X, Y)

    def _place(self, X: Matrix, Y: np.ndarray) -> None:
        """Bring the data to where the steps read it, as ``X`` and ``Y``."""
        self.X = X if isinstance(X, CsrData) else self.backend.asarray(X)
        self.Y = self.backend.asarray(Y)

    @property
    def planned(self) -> Array:
        """The rows of the data that each step takes, (steps, batch_size) int64 on the device."""
        return self.order

    def plan(self, order: np.ndarray | HashedOrder, *, whole: bool = False) -> np.ndarray:
        """Take the rows in this ``order`` from now on: (n,) on the host, or hashed on the device.

        Return the sum of the weights of each step's rows, (steps,) float64; without weights,
        their number. whole : of all rows instead, of whose loss each row then has a share.
        """
        self.step[...] = 0
        if self.steps > 1:
            return self._plan(order, whole)
        if self._of_one_step is None:
            self._of_one_step = self._plan(np.arange(self.n_rows), whole)
        return self._of_one_step

    def _plan(self, order: np.ndarray | HashedOrder, whole: bool) -> np.ndarray:
        rows = self._plan_order(order)
        if self._weights is None:
            return np.full(self.steps, float(self.n_rows)) if whole else self.rows_by_step
        weights = self._by_step(self._weights[self.backend.to_numpy(rows)].astype(np.float64))
        sums: np.ndarray = weights.sum(axis=1)
        if whole:
            sums[:] = sums.sum()
        # A batch of weight 0 teaches nothing; dividing by 1 leaves its shares at 0.
        sums[sums == 0] = 1
        self._shares[...] = self.backend.asarray(weights / sums[:, None], self.X.dtype)
        return sums

    def windows(self) -> Iterator[int]:
        """Yield how many full steps can be run now, until the epoch's are; the tail comes last."""
        yield self.full

    def gather(self, X: Array, Y: Array, first: int = 0) -> tuple[Array, Array]:
        """Return rows of this step, from its ``first`` on, and their targets.

        X : (b, d); Y : (b,) or (b, k): room into which they are copied where they do not lie side
        by side, as those of a single step do.
        """
        if self.steps == 1 and len(X) == len(self.X) and not isinstance(self.X, CsrData):
            return self.X, self.Y
        width, n_targets = X.shape[1], Y.shape[1] if Y.ndim == 2 else 1
        planned = (self.order, self.step, self.batch_size, first, width, n_targets)
        self.backend.run(GATHER, self.X, self.Y, *planned, out=(X, Y))
        return X, Y

    def share(self, rows: int, of: int, first: int = 0) -> Array | float:
        """Return the part of the batch loss of each of ``rows`` rows, from ``first`` on.

        of : rows of this step. 1 / of, or by weight (rows,).
        """
        if self._weights is None:
            return 1 / of
        share = self._share[:rows]
        self.backend.run(TAKE, self._shares, self.step, first, self.batch_size, out=share)
        return share

    def _plan_order(self, order: np.ndarray | HashedOrder) -> Array:
        """Upload ``order``, or make it where the data lies; return it, (n,)."""
        rows = self.order.reshape(-1)[: self.n_rows]
        if isinstance(order, HashedOrder):
            self._hash(order, rows)
            return rows
        rows[...] = self.backend.asarray(order)
        return order

    def _hash(self, order: HashedOrder, rows: Array) -> None:
        """Write the order into ``rows`` (n,) int64."""
        keys = self.backend.asarray(permutation_keys(order.seed, order.epoch, self.n_rows))
        self.backend.run(PERMUTE, keys, ROUNDS, self.n_rows, out=rows)

    def _by_step(self, values: np.ndarray) -> np.ndarray:
        """Return ``values`` (n,) in the order of use as (steps, batch_size), padded with zeros."""
        padded = np.zeros(self.steps * self.batch_size, values.dtype)
        padded[: self.n_rows] = values
        return padded.reshape(self.steps, self.batch_size)
