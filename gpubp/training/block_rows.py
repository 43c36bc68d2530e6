"""Rows in a mapped file, of which a training has only some in memory at a time."""

from __future__ import annotations

import hashlib
import mmap

import numpy as np

# Bytes of a block, the consecutive rows that are read together. Smaller blocks mix the rows of a
# batch better; a disk reads larger ones faster.
BLOCK_BYTES = 1 << 18
LEAST_BLOCKS = 16  # blocks in memory at once, at least, unless a block is one row


class BlockRows:
    """Rows (n, d) in a mapped file, in blocks, with the methods of an array that batches use.

    The operating system reads the rows when they are used; `release` gives their memory back. An
    epoch takes the blocks in random order, some at a time, and the rows of these in random order:
    see `order`. So it reads the file once, and only ``rows_at_once`` rows are in memory.

    mapped : the file, with the rows one after the other. room : bytes that its rows may take.
    block_rows : rows of a block; None for about BLOCK_BYTES.
    """

    ndim = 2

    def __init__(
        self,
        mapped: mmap.mmap,
        shape: tuple[int, int],
        dtype: np.dtype,
        room: int,
        block_rows: int | None = None,
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.array = np.frombuffer(mapped, self.dtype, shape[0] * shape[1]).reshape(shape)
        self._mapped, self._taken = mapped, 0
        row_bytes = shape[1] * self.dtype.itemsize
        most = max(1, room // row_bytes)
        rows = block_rows or BLOCK_BYTES // row_bytes
        self.block_rows = max(1, min(rows, most // LEAST_BLOCKS))
        self.blocks_at_once = max(1, most // self.block_rows)
        self.n_blocks = -(-shape[0] // self.block_rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        """Return a copy of the rows at ``index``."""
        return self.array[index].copy()

    @property
    def rows_at_once(self) -> int:
        """The number of rows that are in memory at once, about."""
        return self.blocks_at_once * self.block_rows

    def astype(self, dtype: np.dtype) -> BlockRows:
        """Return these rows, which are in ``dtype`` already; ValueError if they are not."""
        if dtype != self.dtype:
            raise ValueError(f"the rows are stored as {self.dtype}, but training is in {dtype}")
        return self

    def take(self, index: np.ndarray, axis: int, out: np.ndarray, mode: str = "clip") -> None:
        """Write the rows at ``index`` to ``out`` (len(index), d); called by StreamedBatches."""
        np.take(self.array, index, axis=0, out=out, mode="clip")
        self._taken += len(index)
        if self._taken >= self.rows_at_once:
            self.release()

    def sum(self, axis: int) -> np.ndarray:
        """Return the sums of the columns, (d,) float64."""
        total = np.zeros(self.shape[1])
        for start in range(0, len(self), self.rows_at_once):
            part = self.array[start : start + self.rows_at_once]
            total += part.sum(axis=0, dtype=np.float64)
            self.release()
        return total

    def digest(self) -> str:
        """Return a checksum of the rows and of what their order depends on."""
        found = hashlib.sha256(f"{self.shape} {self.block_rows} {self.blocks_at_once}".encode())
        for start in range(0, len(self), self.rows_at_once):
            found.update(self.array[start : start + self.rows_at_once].data)
            self.release()
        return found.hexdigest()

    def release(self) -> None:
        """Give back the memory of the rows; they are read again when they are used again."""
        self._taken = 0
        if hasattr(mmap, "MADV_DONTNEED"):  # elsewhere the system does so when memory is short
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def order(self, seed: int, epoch: int, out: np.ndarray) -> None:
        """Write the order of the rows in an epoch to ``out`` int64; it may be shorter than n.

        Each row is in the order once. The order depends on nothing but ``seed`` and ``epoch``.
        """
        rng = np.random.default_rng([seed, epoch])
        blocks, start = rng.permutation(self.n_blocks), 0
        for first in range(0, self.n_blocks, self.blocks_at_once):
            rows = self._rows_of(blocks[first : first + self.blocks_at_once])
            rng.shuffle(rows)
            part = out[start : start + len(rows)]
            part[...] = rows[: len(part)]
            start += len(rows)

    def _rows_of(self, blocks: np.ndarray) -> np.ndarray:
        """Return the rows of some blocks, (k,) int64; the last block of all may be shorter."""
        rows = (blocks[:, None] * self.block_rows + np.arange(self.block_rows)).ravel()
        return rows[rows < len(self)]
