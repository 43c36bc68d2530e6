"""Mini-batches that are uploaded from the host while the device trains on earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpubp.backends.protocol import Array
from gpubp.training.batches import Batches, HashedOrder
from gpubp.training.data import CsrData, Matrix

WINDOW_BYTES = 1 << 26  # size of one window; there are two
MOST_STEPS = 64  # maximum steps of a window; a recording runs them in one launch


class StreamedBatches(Batches):
    """Batches in two windows on the device: one is filled while the steps read the other.

    The host gathers the rows of the next window in pinned memory, in the planned order; sparse
    rows become dense there. So the rows of a step are contiguous, and ``order``, which has indices
    into the windows, never changes.
    """

    window_bytes = WINDOW_BYTES

    _planned: Array | None = None

    @property
    def planned(self) -> Array:
        """The rows of the data that each step takes; allocated when first used."""
        if self._planned is None:
            self._planned = self.backend.zeros((self.steps, self.batch_size), np.int64)
        return self._planned

    def _place(self, X: Matrix, Y: np.ndarray) -> None:
        backend = self.backend
        row_bytes = X.row_bytes if isinstance(X, CsrData) else X[0].nbytes
        row_bytes += Y[0].nbytes
        steps = min(MOST_STEPS, self.steps, self.window_bytes // (row_bytes * self.batch_size))
        self.window = max(1, steps)  # number of steps
        rows = self.window * self.batch_size
        # Zeros are valid targets for any loss: recording runs a step once on these arrays.
        self.X = backend.zeros((2 * rows, *X.shape[1:]), X.dtype)
        self.Y = backend.zeros((2 * rows, *Y.shape[1:]), Y.dtype)
        windows = np.arange(self.steps) // self.window % 2 * self.window
        places = (windows + np.arange(self.steps) % self.window) * self.batch_size
        self.order[...] = backend.asarray(places[:, None] + np.arange(self.batch_size))
        self._sources = X, Y
        self._pinned = [
            tuple(backend.pinned((rows, *source.shape[1:]), source.dtype) for source in (X, Y))
            for _ in range(2)
        ]
        self._filled: list[Any] = [None, None]  # mark of the last upload to each window
        self._used: list[Any] = [None, None]  # mark of the last step that reads each window

    def windows(self) -> Iterator[tuple[int, int]]:
        """Yield the full steps of each window as soon as its upload has begun, then the tail."""
        for first in range(0, self.steps, self.window):
            half = first // self.window % 2
            self._fill(half, first * self.batch_size)
            yield 0, max(0, min(self.window, self.full - first))
            self._used[half] = self.backend.mark()
        if self.tail:
            yield 1, 1

    def _fill(self, half: int, first: int) -> None:
        """Upload the rows of the epoch from ``first`` on to window ``half`` (0 or 1)."""
        rows = self._rows[first : first + self.window * self.batch_size]
        if self._filled[half] is not None:
            self.backend.wait_on_host(self._filled[half])
        start = half * self.window * self.batch_size
        for source, pinned, window in zip(
            self._sources, self._pinned[half], (self.X, self.Y), strict=True
        ):
            source.take(rows, axis=0, out=pinned[: len(rows)], mode="clip")
            part = window[start : start + len(rows)]
            after = self._used[half]
            self._filled[half] = self.backend.upload(pinned[: len(rows)], part, after)
        self.backend.wait(self._filled[half])

    def _plan_order(self, order: np.ndarray | HashedOrder) -> Array:
        """Store the order of the rows on the host; return the rows of the epoch."""
        if isinstance(order, HashedOrder):
            rows = self.backend.empty((self.rows_of_epoch,), np.int64)
            self._hash(order, rows)
            order = self.backend.to_numpy(rows)
        self._rows = order = order[: self.rows_of_epoch]
        if self._planned is not None:
            self._planned.reshape(-1)[: len(order)] = self.backend.asarray(order)
        return order


class OneStepWindows(StreamedBatches):
    """Batches that are streamed one step at a time."""

    window_bytes = 1
