"""Mini-batches of rows in a mapped file, in an order that takes block after block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpubp.backends.protocol import Array
from gpubp.training.batches import Batches, HashedOrder
from gpubp.training.block_rows import BlockRows
from gpubp.training.streamed_batches import OneStepWindows, StreamedBatches


class BlockOrder(Batches):
    """Batches whose computed order is that of `BlockRows`."""

    _sources: Any  # the rows and their targets

    def _hash(self, order: HashedOrder, rows: Array) -> None:
        found = rows if isinstance(rows, np.ndarray) else np.empty(len(rows), np.int64)
        self._sources[0].order(*order, found)
        if found is not rows:
            rows[...] = self.backend.asarray(found)


class BlockBatches(BlockOrder):
    """Batches on the CPU, whose steps read the mapped rows in place."""

    def _place(self, X: Any, Y: np.ndarray) -> None:
        self._sources = X, Y
        self.X, self.Y = X.array, self.backend.asarray(Y)

    def windows(self) -> Iterator[tuple[int, int]]:
        """Yield steps on as many rows as may be in memory, then release these rows."""
        rows: BlockRows = self._sources[0]
        most = max(1, rows.rows_at_once // self.batch_size)
        for first in range(0, self.full, most):
            yield 0, min(most, self.full - first)
            rows.release()
        if self.tail:
            yield 1, 1


class BlockStreamedBatches(BlockOrder, StreamedBatches):
    """Batches on a CUDA device, to which the mapped rows are streamed."""


class BlockOneStepWindows(BlockOrder, OneStepWindows):
    """The same one step at a time."""
