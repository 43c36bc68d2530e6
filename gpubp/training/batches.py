"""Mini-batches: the data on the device, and the rows that each step of an epoch takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.kernels.gather import GATHER, TAKE
from gpubp.kernels.hashing import PERMUTE, ROUNDS, permutation_keys
from gpubp.training.data import CsrData, Matrix


class HashedOrder(NamedTuple):
    """The order of an epoch's rows, a hash of ``seed`` and ``epoch``: the same on every device."""

    seed: int
    epoch: int


def hashed_rows(order: HashedOrder, n_rows: int) -> np.ndarray:
    """Return the ``order`` of ``n_rows`` rows, computed on the host, (n,) int64."""
    rows = np.empty(n_rows, np.int64)
    PERMUTE.numpy(np, permutation_keys(*order, n_rows), ROUNDS, n_rows, rows)
    return rows


def rows_of_epoch(n_rows: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of rows that an epoch trains on, of ``n_rows``.

    drop_last : whether the rows of a last batch of fewer rows are left out.
    """
    return n_rows - n_rows % min(batch_size, n_rows) if drop_last else n_rows


class StepKind(NamedTuple):
    """A kind of steps, which differ in their rows only.

    rows : the rows that a step computes in each tile. sums : of the sums of an epoch, those to
    which their losses are added: 0 for full batches, 1 for the tail.
    """

    rows: int
    sums: int


class Batches:
    """Rows X (n, d) with targets Y, taken ``batch_size`` at a time in a planned order.

    X : an array (n, d); on the CPU also sparse rows, which each step converts to a dense array.
    Y : (n,) int32 or (n, k). weights : (n,) or None, the weight of each row.
    An epoch has ``full`` steps of batch_size rows, then one of ``tail`` rows if that is not 0. With
    ``drop_last`` there is no tail: an epoch takes only the first ``rows_of_epoch`` rows of its
    order. A single step on all rows takes them in their own order, since the order makes no
    difference.
    ``step`` (1,) int64 on the device is the number of the current step; it indexes all arrays of
    the plan.
    ``room``, ``tail_room`` : the most rows that a full step and the tail compute, in each of
    ``tiles`` tiles, whose gradients are added up in a fixed order.
    ``lead`` : the leading axes of the arrays of a step, for several networks.
    """

    tiles = 1

    @property
    def can_pause(self) -> bool:
        """Whether an epoch can be run in parts, after which the host can read the parameters."""
        return self.backend.name == "cpu"

    def __init__(
        self,
        backend: Backend,
        X: Matrix,
        Y: np.ndarray,
        batch_size: int,
        weights: np.ndarray | None = None,
        *,
        drop_last: bool = False,
    ) -> None:
        sizes = len(X), batch_size, drop_last
        self._begin(backend, sizes, X.dtype, Y, weights is not None)
        self._of_one_step: np.ndarray | None = None  # the result of `plan` for a single step
        self._weights = weights
        self._place(X, Y)

    def _begin(
        self,
        backend: Backend,
        sizes: tuple[int, int, bool],
        dtype: np.dtype,
        Y: np.ndarray,
        weighted: bool,
        lead: tuple[int, ...] = (),
        rooms: tuple[int, int] | None = None,
    ) -> None:
        """Set the sizes, and allocate the arrays of a plan.

        sizes : rows of the data and of a batch, and whether to drop a last batch of fewer rows.
        Y : targets, for shape and dtype. rooms : of a full step and the tail; None for all rows.
        """
        self.backend, self.lead = backend, lead
        self.n_rows, batch_size, _ = sizes
        self.batch_size = min(batch_size, self.n_rows)
        self.rows_of_epoch = rows_of_epoch(*sizes)
        self.full, self.tail = divmod(self.rows_of_epoch, self.batch_size)
        self.room, self.tail_room = rooms or (self.batch_size, self.tail)
        self.steps = self.full + (self.tail > 0)
        self.rows_by_step = np.full(self.steps, self.batch_size, np.float64)
        self.rows_by_step[self.full :] = self.tail
        self.step = backend.zeros((1,), np.int64)
        batch, columns = (*lead, self.tiles * self.room), Y.shape[1:]
        self._Y_batch = backend.empty((*batch, *columns), Y.dtype)
        self.order = backend.zeros((self.steps, *batch), np.int64)
        self.target_order = self.order
        self._shares = self._share = None
        if weighted:
            self._shares = backend.zeros((self.steps, *batch), dtype)
            self._share = backend.zeros(batch, dtype)

    def _place(self, X: Matrix, Y: np.ndarray) -> None:
        """Set ``X`` and ``Y``, from which the steps read their rows."""
        self.X = X if isinstance(X, CsrData) else self.backend.asarray(X)
        self.Y = self.backend.asarray(Y)

    @property
    def planned(self) -> Array:
        """The rows of the data that each step takes, (steps, batch_size) int64 on the device."""
        return self.order

    @property
    def order_matters(self) -> bool:
        """Whether the order of the rows makes a difference: unless one step takes all of them."""
        return self.steps > 1 or self.rows_of_epoch < self.n_rows

    def plan(self, order: np.ndarray | HashedOrder, *, whole: bool = False) -> np.ndarray:
        """Set the order of the rows; return the weight of each step's rows, (steps,) float64.

        order : (n,) on the host, or a hash to compute on the device. Without weights, the weight
        of a step is its number of rows.
        whole : normalise by the weight of the full data set instead of the batch, and return it
        for each step.
        """
        self.step[...] = 0
        if self.order_matters:
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
        # In a batch of weight 0, dividing by 1 leaves the shares at 0.
        sums[sums == 0] = 1
        shares = self.backend.asarray(weights / sums[:, None], self.X.dtype)
        self._shares[...] = shares  # type: ignore[index]  # there are weights
        return sums

    @property
    def kinds(self) -> list[StepKind]:
        """The kinds of steps of an epoch; a step of each is recorded."""
        kinds = [StepKind(self.batch_size, 0), StepKind(self.tail, 1)]
        return kinds if self.tail else kinds[:1]

    def windows(self) -> Iterator[tuple[int, int]]:
        """Yield the index of the kind of the next steps and their number, until all are run."""
        yield 0, self.full
        if self.tail:
            yield 1, 1

    def targets(self, rows: int) -> Array:
        """Return room for the targets of ``rows`` rows of each network."""
        return self._first(self._Y_batch, rows)

    def gather(self, X: Array, Y: Array, first: int = 0) -> tuple[Array, Array]:
        """Copy b rows of the current step and their targets to X and Y; return X and Y.

        X : (…, b, d). Y : (…, b) or (…, b, k). first : number of the first of these rows in the
        step. If a single step takes all rows, the data themselves are returned, without a copy.
        """
        if self._is_whole(X):
            return self.X, self.Y
        n_rows, width = X.shape[-2:]
        n_targets = Y.shape[-1] if Y.ndim == X.ndim else 1
        orders = self.order, self.target_order, self.step, math.prod(self.lead)
        numbers = (*orders, self.order.shape[-1], first, n_rows, width, n_targets)
        self.backend.run(GATHER, self.X, self.Y, *numbers, out=(X, Y))
        return X, Y

    def _is_whole(self, X: Array) -> bool:
        return self.steps == 1 and len(X) == len(self.X) and not isinstance(self.X, CsrData)

    def share(self, rows: int, of: int, first: int = 0) -> Array | float:
        """Return the share of each of ``rows`` rows, from ``first`` on, in the batch loss.

        of : the number of rows of this step. The share is 1 / of; with weights, an array (…, rows).
        """
        if self._shares is None:
            return 1 / of
        share = self._first(self._share, rows)
        numbers = math.prod(self.lead), first, rows, self.order.shape[-1]
        self.backend.run(TAKE, self._shares, self.step, *numbers, out=share)
        return share

    def _first(self, array: Array, rows: int) -> Array:
        """Return a view of the memory of ``array`` (…, room, …) for fewer rows."""
        axis = len(self.lead)
        shape = (*self.lead, rows, *array.shape[axis + 1 :])
        return array.reshape(-1)[: math.prod(shape)].reshape(shape)

    def _plan_order(self, order: np.ndarray | HashedOrder) -> Array:
        """Upload ``order``, or compute the hash on the device; return the rows of the epoch."""
        rows = self.order.reshape(-1)[: self.rows_of_epoch]
        if isinstance(order, HashedOrder):
            self._hash(order, rows)
            return rows
        order = order[: self.rows_of_epoch]
        rows[...] = self.backend.asarray(order)
        return order

    def _hash(self, order: HashedOrder, rows: Array) -> None:
        """Write the hashed order to ``rows`` int64, as many as an epoch takes."""
        keys = self.backend.asarray(permutation_keys(order.seed, order.epoch, self.n_rows))
        self.backend.run(PERMUTE, keys, ROUNDS, self.n_rows, out=rows)

    def _by_step(self, values: np.ndarray) -> np.ndarray:
        """Return ``values`` in the planned order as (steps, batch_size), padded with zeros."""
        padded = np.zeros(self.steps * self.batch_size, values.dtype)
        padded[: len(values)] = values
        return padded.reshape(self.steps, self.batch_size)
