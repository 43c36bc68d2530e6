"""The batches of a population: each network takes rows of its own, in its own order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.training.batches import Batches, HashedOrder, hashed_rows
from gpubp.training.data import TakenRows, TrainingData, as_matrix


class NetworkRows(NamedTuple):
    """The rows of one network in the arrays of `Sources`.

    X : (n,) int64, their indices in X. targets : the index of the first target; the others follow.
    weights : (n,) or None.
    """

    X: np.ndarray
    targets: int
    weights: np.ndarray | None


class Sources:
    """The data of several networks in two arrays, in which nothing is stored twice.

    X : (…, d). targets : (…,) or (…, k). rows : those of each network. same_rows : whether each
    network has its targets at the indices of its rows.
    """

    def __init__(self, backend: Backend, data: Sequence[TrainingData], dtype: np.dtype) -> None:
        wholes, indices = zip(*(_whole(each.X) for each in data), strict=True)
        self.X, first_X = _stacked([id(X) for X in wholes], wholes, dtype, backend)
        targets = [np.ascontiguousarray(each.targets_in(dtype)) for each in data]
        keys = [sha256(target.data).digest() for target in targets]
        self.targets, first_target = _stacked(keys, targets, targets[0].dtype, backend)
        self.rows: list[NetworkRows] = []
        self.same_rows = True
        for first, own, target, each in zip(first_X, indices, first_target, data, strict=True):
            places = first + (np.arange(each.n_rows) if own is None else own)
            self.rows.append(NetworkRows(places, target, each.weights))
            self.same_rows &= np.array_equal(places, np.arange(target, target + each.n_rows))


def _whole(X: Array) -> tuple[Array, np.ndarray | None]:
    """Return the matrix that holds the rows ``X``, and their indices in it; None for all."""
    return (X.whole, X.index) if isinstance(X, TakenRows) else (X, None)


def _stacked(
    keys: Sequence[Hashable], arrays: Sequence[Array], dtype: np.dtype, backend: Backend
) -> tuple[Array, list[int]]:
    """Return the arrays with different keys, one after the other, and where each begins."""
    first: dict[Hashable, int] = {}
    parts: list[Array] = []
    size = 0
    for key, array in zip(keys, arrays, strict=True):
        if key not in first:
            first[key], size = size, size + len(array)
            parts.append(as_matrix(array, dtype, backend))
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return backend.asarray(whole), [first[key] for key in keys]


class PopulationBatches(Batches):
    """Batches of P networks with equally many rows; see `Batches`.

    A step gathers rows X (P, b, d) and targets (P, b) or (P, b, k). ``order`` (steps, P,
    batch_size) has the rows of each network.
    """

    def __init__(
        self,
        backend: Backend,
        sources: Sources,
        of: Sequence[int],
        batch_size: int,
        *,
        drop_last: bool = False,
    ) -> None:
        """``of`` : the numbers of the networks in ``sources``. The others are as in `Batches`."""
        rows = [sources.rows[k] for k in of]
        first, Y, dtype = rows[0], sources.targets, sources.X.dtype
        weighted, lead = first.weights is not None, (len(rows),)
        self._begin(backend, (len(first.X), batch_size, drop_last), dtype, Y, weighted, lead)
        self._X_rows = np.stack([each.X for each in rows])
        # The first row of networks that take consecutive rows; None if others do.
        firsts, consecutive = self._X_rows[:, :1], np.arange(len(first.X))
        self._firsts = firsts if (self._X_rows == firsts + consecutive).all() else None
        self._first_targets = np.array([each.targets for each in rows])
        # Networks with and without weights are not together.
        weights = [each.weights for each in rows if each.weights is not None]
        self._weights = np.stack(weights).astype(np.float64) if weights else None
        if not sources.same_rows:
            self.target_order = backend.zeros(self.order.shape, np.int64)
        self.X, self.Y = sources.X, sources.targets
        self._is_planned = False
        self._sums = self.rows_by_step
        self._planned: Array | None = None

    @property
    def planned(self) -> Array:
        """The rows that each step takes, counted among those of the network (steps, P, batch_size).

        Allocated when first used.
        """
        if self._planned is None:
            self._planned = self.backend.zeros(self.order.shape, np.int64)
        return self._planned

    def _is_whole(self, X: Array) -> bool:
        return False  # each network has its own rows

    def plan_each(self, orders: Sequence[np.ndarray | HashedOrder]) -> np.ndarray:
        """Set the order of each network's rows; return the weight of each step's rows, (P, steps).

        The same array is returned as long as the weights do not change.
        """
        self.step[...] = 0
        if not self.order_matters:  # that of the first time stays
            if self._is_planned:
                return self._sums
            orders = [np.arange(self.n_rows)] * len(self._X_rows)
        self._is_planned = True
        permutations = self._permutations(orders)
        if self._firsts is None:
            self._plan_rows(self.order, np.take_along_axis(self._X_rows, permutations, axis=1))
        else:
            self._plan_rows(self.order, permutations + self._firsts)
        if self.target_order is not self.order:
            self._plan_rows(self.target_order, permutations + self._first_targets[:, None])
        if self._planned is not None:
            self._plan_rows(self._planned, permutations)
        self._sums = self._plan_weights(permutations)
        return self._sums

    def _permutations(self, orders: Sequence[np.ndarray | HashedOrder]) -> np.ndarray:
        """Return the rows of an epoch, (P, rows_of_epoch); equal hashes are computed once."""
        known: dict[HashedOrder, np.ndarray] = {}
        found = np.empty((len(orders), self.rows_of_epoch), np.int64)
        for row, order in zip(found, orders, strict=True):
            if isinstance(order, HashedOrder) and order not in known:
                known[order] = hashed_rows(order, self.n_rows)
            row[:] = (known[order] if isinstance(order, HashedOrder) else order)[: len(row)]
        return found

    def _plan_rows(self, out: Array, rows: np.ndarray) -> None:
        """Write ``rows`` (P, rows_of_epoch), in the order of training, to ``out`` step by step."""
        on_host = isinstance(out, np.ndarray)
        host = out if on_host else np.zeros(out.shape, np.int64)
        self._set(host, rows)
        if not on_host:
            out[...] = self.backend.asarray(host)

    def _set(self, out: np.ndarray, values: np.ndarray) -> None:
        """Write ``values`` (P, rows_of_epoch) to ``out`` (steps, P, batch_size)."""
        whole = self.full * self.batch_size
        by_step = values[:, :whole].reshape(len(values), self.full, self.batch_size)
        out[: self.full] = by_step.swapaxes(0, 1)
        if self.tail:
            out[self.full, :, : self.tail] = values[:, whole:]

    def _plan_weights(self, permutations: np.ndarray) -> np.ndarray:
        if self._shares is None or self._weights is None:
            return self.rows_by_step
        shares = np.zeros((self.steps, *self.lead, self.batch_size))
        self._set(shares, np.take_along_axis(self._weights, permutations, axis=1))
        sums: np.ndarray = shares.sum(axis=-1)
        sums[sums == 0] = 1  # in a batch of weight 0, dividing by 1 leaves the shares at 0
        self._shares[...] = self.backend.asarray(shares / sums[..., None], self.X.dtype)
        return np.ascontiguousarray(sums.T)
