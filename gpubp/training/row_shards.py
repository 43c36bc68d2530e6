"""The rows of one of several processes that train one network together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import numpy as np

from gpubp.backends.foreign_arrays import on_host
from gpubp.backends.protocol import Array, Backend
from gpubp.training.batches import Batches, HashedOrder, StepKind, hashed_rows, rows_of_epoch
from gpubp.training.data import CsrData, Matrix, TrainingData

# A step computes as many rows as one of a few sizes, since each size is recorded. They are this
# many standard deviations above the mean; the last is exceeded once in 10^15 steps.
DEVIATIONS = (0.0, 0.7, 1.4, 2.5, 8.0)
UNIT = 8  # sizes are multiples of it
TILES = 4  # of a batch; 1, 2 or 4 processes compute them and add up their gradients in one order


class RowShard(NamedTuple):
    """The rows of one process: row i of all belongs to the process i modulo their number.

    X : (m, d). targets : (m,) or (m, k). weights : of the rows of all processes, (n,); or None.
    first, stride : row j of the shard is row first + j * stride of all. n_rows : n.
    """

    X: Matrix
    targets: np.ndarray
    weights: np.ndarray | None
    first: int
    stride: int
    n_rows: int


def shard_of(data: TrainingData, rank: int, size: int) -> RowShard:
    """Return the rows of the process ``rank`` among ``size``, copied."""
    rows = np.arange(rank, data.n_rows, size)
    if isinstance(data.X, CsrData):
        X: Matrix = data.X[rows]
    else:
        X = np.ascontiguousarray(on_host(data.X)[rank::size])
    targets = np.ascontiguousarray(data.targets[rank::size])
    return RowShard(X, targets, data.weights, rank, size, data.n_rows)


class ShardedBatches(Batches):
    """The part of each batch that lies in one shard.

    ``n_rows``, ``batch_size``, ``rows_of_epoch``, ``full``, ``tail`` and ``rows_by_step`` are those
    of all processes.
    The number of local rows differs from step to step, so a step computes up to ``room`` rows, of
    which the last may be padding: they have a share of 0 in the loss.
    """

    def __init__(
        self,
        backend: Backend,
        shard: RowShard,
        batch_size: int,
        *,
        drop_last: bool = False,
        in_tiles: bool = False,
    ) -> None:
        """Set the sizes, and copy the rows of ``shard`` to the device.

        batch_size : the rows of a batch in all processes. drop_last : see `Batches`.
        in_tiles : whether each batch is cut into `TILES` tiles, which the processes share: row i is
        in tile i modulo `TILES`. False: the rows of each process are one tile.
        """
        self._shard, n = shard, shard.n_rows
        self._all_tiles = TILES if in_tiles else shard.stride
        self.tiles = self._all_tiles // shard.stride
        self._is_in_tiles = in_tiles
        largest = -(-n // self._all_tiles)  # rows of a tile
        batch_size = min(batch_size, n)
        tail = rows_of_epoch(n, batch_size, drop_last) % batch_size
        self._sizes = _sizes(batch_size, largest, n)
        rooms = self._sizes[-1], _sizes(tail, largest, n)[-1] if tail else 0
        sizes = n, batch_size, drop_last
        self._begin(backend, sizes, shard.X.dtype, shard.targets, weighted=True, rooms=rooms)
        X = shard.X
        if isinstance(X, CsrData) and backend.name != "cpu":
            X = X.dense(0, len(X))
        self._of_one_step, self._weights = None, shard.weights
        self._kind_of_step = np.zeros(self.steps, np.int64)
        self._planned: Array | None = None
        self._place(X, shard.targets)

    @property
    def can_pause(self) -> bool:
        """Whether an epoch can be run in parts: not here, as all processes would have to agree."""
        return False

    @property
    def planned(self) -> Array:
        """The rows that each step takes, numbered among those of all processes.

        (steps, tiles * room) int64 on the device; `plan` fills it from its first use on.
        """
        if self._planned is None:
            self._planned = self.backend.zeros(self.order.shape, np.int64)
        return self._planned

    @property
    def kinds(self) -> list[StepKind]:
        """Steps of each size, and the tail."""
        kinds = [StepKind(size, 0) for size in self._sizes]
        return [*kinds, StepKind(self.tail_room, 1)] if self.tail else kinds

    def windows(self) -> Iterator[tuple[int, int]]:
        """Yield the kind of the next steps and their number, until all are run."""
        for kind, steps in groupby(self._kind_of_step.tolist()):
            yield kind, sum(1 for _ in steps)

    def _plan(self, order: np.ndarray | HashedOrder, whole: bool) -> np.ndarray:
        # ``whole`` is for L-BFGS, which does not train on shards.
        order = hashed_rows(order, self.n_rows) if isinstance(order, HashedOrder) else order
        order = order[: self.rows_of_epoch]
        shard, steps_of_all = self._shard, np.arange(len(order)) // self.batch_size
        # The local rows in the order of training, those of a tile of a step one after the other.
        at = np.flatnonzero(order % shard.stride == shard.first)
        # The tile of each row, numbered over all steps.
        tiles = steps_of_all[at] * self.tiles + order[at] % self._all_tiles // shard.stride
        if self.tiles > 1:
            by_tile = np.argsort(tiles, kind="stable")
            at, tiles = at[by_tile], tiles[by_tile]
        counts = np.bincount(tiles, minlength=self.steps * self.tiles)
        places = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
        places += tiles % self.tiles * self.room
        if self._is_in_tiles:  # the same sizes in all processes
            of_all = steps_of_all * self._all_tiles + order % self._all_tiles
            counts = np.bincount(of_all, minlength=self.steps * self._all_tiles)
        self._choose_kinds(counts.reshape(self.steps, -1).max(axis=1))
        rows, steps = order[at], steps_of_all[at]
        sums, shares = self._weigh(order)
        share = shares[steps] if self._weights is None else shares[at]
        for out, values in (
            (self.order, rows // shard.stride),
            (self._shares, share),
            (self._planned, rows),
        ):
            if out is not None:
                host = np.zeros(out.shape, out.dtype)
                host[steps, places] = values
                out[...] = self.backend.asarray(host)
        return sums

    def _weigh(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weight of each step, and the shares: of a row of each step, or of each row."""
        if self._weights is None:
            return self.rows_by_step, 1 / self.rows_by_step
        weights = self._by_step(self._weights[order].astype(np.float64))
        sums: np.ndarray = weights.sum(axis=1)
        sums[sums == 0] = 1  # in a batch of weight 0, dividing by 1 leaves the shares at 0
        return sums, (weights / sums[:, None]).reshape(-1)

    def _choose_kinds(self, counts: np.ndarray) -> None:
        """Set the kind of each step, whose largest tile has ``counts`` rows."""
        full = counts[: self.full]
        self._kind_of_step[: self.full] = np.searchsorted(self._sizes, full)
        self._kind_of_step[self.full :] = len(self._sizes)
        if full.max(initial=0) > self.room or counts[self.full :].max(initial=0) > self.tail_room:
            raise RuntimeError(
                f"a batch has {counts.max()} rows in one process, more than the {self.room} that a "
                "step can take; use a larger batch_size"
            )


def _sizes(batch: int, local: int, n: int) -> list[int]:
    """Return the numbers of rows that a step on a batch of ``batch`` of ``n`` rows may compute.

    local : the rows of a tile in all batches; those in one batch are hypergeometric.
    """
    most = min(batch, local)
    if batch == n:
        return [local]
    part = local / n
    deviation = math.sqrt(batch * part * (1 - part) * (n - batch) / (n - 1))
    ideal = [batch * part + factor * deviation for factor in DEVIATIONS]
    return sorted({max(1, min(most, math.ceil(rows / UNIT) * UNIT)) for rows in ideal})
