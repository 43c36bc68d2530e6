"""`EpochSums`: the losses and penalties of an epoch, summed on the device and read at once."""

from __future__ import annotations

import math

import numpy as np

from gpubp.backends.protocol import Array, Backend
from gpubp.training.batches import Batches

WEIGHTS_PER_SUM = 32  # minimum weights per partial sum of the penalty
PENALTIES, FINITE = 2, 3  # numbers of parts of the sums


class EpochSums:
    """Sums of an epoch, in one array that the host reads at once.

    Their parts are, for each network: the losses of each row of a batch, those of the tail, the
    penalty, and a number that is finite if all parameters are finite.
    size : the number of parameters of a network. array : all sums, to be set to 0 for an epoch.
    """

    def __init__(self, backend: Backend, batches: Batches, size: int) -> None:
        self._backend, self._lead = backend, batches.lead
        n_sums = min(backend.n_partial_sums, -(-size // WEIGHTS_PER_SUM))
        self._tiles = batches.tiles
        rows = batches.tiles * batches.room, batches.tiles * batches.tail_room
        self._sizes = (*rows, n_sums, 1)
        self._networks = math.prod(batches.lead)
        self._ends = np.cumsum(self._sizes) * self._networks
        self.array = backend.zeros((int(self._ends[-1]),), np.float64)
        # Factors of the sums in the loss, the mean over the batches weighted by their rows.
        n = batches.rows_of_epoch
        counts = np.array([batches.batch_size, batches.tail, n, 0]) / n
        self._counts = np.repeat(counts, self._sizes)

    def part(self, k: int) -> Array:
        """Return a view of the ``k``-th part of the sums, (…, size of the part)."""
        begin = self._ends[k - 1] if k else 0
        return self.array[begin : self._ends[k]].reshape(*self._lead, self._sizes[k])

    def of(self, k: int) -> tuple[np.ndarray, ...]:
        """Return a copy of the parts of network ``k``, on the host, without the last."""
        parts = (self.part(j).reshape(self._networks, -1)[k] for j in range(FINITE))
        return tuple(np.array(self._backend.to_numpy(part)) for part in parts)

    def set(self, k: int, parts: tuple[np.ndarray, ...]) -> None:
        """Set the parts of network ``k`` to those that `of` returned, maybe on another device."""
        for j, part in enumerate(parts):
            out = self.part(j).reshape(self._networks, -1)[k]
            if part.shape == out.shape:
                out[...] = self._backend.asarray(part)
            elif len(out):  # another device, or another number of processes
                out[...] = 0
                out[:1] = part.sum()

    def read(self, finite: Array) -> float:
        """Return the loss of one network; NaN if ``finite``, whose factor is 0, is not finite."""
        self.array[-1:] = finite
        return float(self._backend.to_numpy(self.array).dot(self._counts))

    def read_tiles(self) -> tuple[np.ndarray, float]:
        """Return the part of each tile in the loss of one network, (tiles,), and the penalty."""
        sums = self._backend.to_numpy(self.array) * self._counts
        *rows, penalty, _ = np.split(sums, self._ends[:-1])
        losses = sum(part.reshape(self._tiles, -1).sum(axis=1) for part in rows)
        return np.asarray(losses), float(penalty.sum())

    def read_each(self, finite: Array) -> np.ndarray:
        """Return the loss of each network, (networks,); NaN where ``finite`` is not finite."""
        self.part(FINITE)[...] = finite[..., None]
        sums = self._backend.to_numpy(self.array)
        parts = np.split(sums, self._ends[:-1])
        of_each = [part.reshape(self._networks, -1) for part in parts]
        # Row by row: in a product of matrix and vector, a row's bits depend on the number of rows.
        return np.array([row.dot(self._counts) for row in np.hstack(of_each)])
