"""Rows to train or validate on; sparse rows are converted to dense ones, a few at a time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from gpubp.backends.foreign_arrays import converted, is_on_device, on_host, rows_at
from gpubp.backends.protocol import Array, Backend
from gpubp.training.block_rows import BlockRows


class CsrData:
    """Rows (n, d) of a CSR matrix, with the methods of an array that batches and chunks use.

    Duplicate entries are summed up first, so that a change of dtype rounds their sum.
    """

    ndim = 2

    def __init__(self, matrix: Any) -> None:
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        self.matrix = matrix
        self.shape: tuple[int, int] = matrix.shape
        self.dtype: np.dtype = matrix.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def row_bytes(self) -> int:
        """The bytes of one dense row."""
        return self.shape[1] * self.dtype.itemsize

    def __getitem__(self, index: np.ndarray) -> CsrData:
        """Return the rows at ``index`` as sparse rows."""
        return CsrData(self.matrix[index])

    def astype(self, dtype: np.dtype) -> CsrData:
        """Return the rows in ``dtype``, without a copy if they have it."""
        return CsrData(self.matrix.astype(dtype, copy=False))

    def take(self, index: np.ndarray, axis: int, out: np.ndarray, mode: str = "clip") -> None:
        """Write the dense rows at ``index`` to ``out`` (len(index), d); called by `numpy.take`."""
        self.matrix[index].toarray(out=out)

    def dense(self, start: int, stop: int) -> np.ndarray:
        """Return the rows from ``start`` up to ``stop`` as a dense array."""
        return self.matrix[start:stop].toarray()  # type: ignore[no-any-return]


class TakenRows:
    """Rows (n, d) of a larger matrix, copied only when `taken` is called.

    A population trains on the rows of ``whole`` in place. Rows of `TakenRows` are rows of its
    ``whole``.
    """

    ndim = 2

    def __init__(self, whole: np.ndarray | CsrData | Array, index: np.ndarray) -> None:
        taken = whole if isinstance(whole, TakenRows) else None
        self.whole: np.ndarray | CsrData | Array = whole if taken is None else taken.whole
        self.index: np.ndarray = index if taken is None else taken.index[index]
        self.shape: tuple[int, int] = (len(index), whole.shape[1])
        self.dtype: np.dtype = whole.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def taken(self) -> np.ndarray | CsrData | Array:
        """Return a copy of the rows."""
        if not is_on_device(self.whole):
            return self.whole[self.index]
        with suppress(MemoryError):
            return rows_at(self.whole, self.index)
        return on_host(self.whole)[self.index]


Matrix = np.ndarray | CsrData | BlockRows


def as_matrix(X: Any, dtype: np.dtype, backend: Backend) -> Matrix | Array:
    """Return ``X``, an array, a CSR matrix or one of the classes of rows, for ``backend``.

    A CuPy array on the device of ``backend`` stays there; one on another device is copied to the
    host.
    """
    if isinstance(X, TakenRows):
        X = X.taken()
    if isinstance(X, CsrData | BlockRows):
        return X.astype(dtype)
    if hasattr(X, "indptr"):
        return CsrData(X).astype(dtype)
    if is_on_device(X) and backend.name == f"cuda:{X.device.id}":
        with suppress(MemoryError):  # a conversion needs memory on the device
            return converted(X, dtype)
    return np.ascontiguousarray(on_host(X), dtype)


class TrainingData(NamedTuple):
    """Validated rows for training or validation.

    X : (n, d); after `part`, `TakenRows`. y : as passed to fit. targets : y as encoded for the
    loss. weights : (n,) or None.
    places : indices of these rows among those passed to fit; None for all.
    """

    X: Matrix | Array
    y: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None
    places: np.ndarray | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return int(self.X.shape[0])

    def digest(self) -> tuple[Any, ...]:
        """Return numbers that identify the rows: sums of X, checksums of targets and weights."""
        X = self.X.matrix if isinstance(self.X, CsrData) else self.X
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.asarray(on_host(X.sum(axis=0)), np.float64)
        arrays = [sums, self.targets] + ([] if self.weights is None else [self.weights])
        return self.n_rows, *(crc32(array.tobytes()) for array in arrays)

    def take(self, index: np.ndarray) -> TrainingData:
        """Return a copy of the rows at ``index``."""
        return self.part(index)._replace(X=TakenRows(self.X, index).taken())

    def part(self, index: np.ndarray) -> TrainingData:
        """Return the rows at ``index``, without a copy of X: as `TakenRows`."""
        weights = None if self.weights is None else self.weights[index]
        X: Array = TakenRows(self.X, index)
        places = index if self.places is None else self.places[index]
        return TrainingData(X, self.y[index], self.targets[index], weights, places)

    def in_dtype(self, dtype: np.dtype, backend: Backend) -> TrainingData:
        """Return the rows for ``backend``, with X and numeric targets in ``dtype``."""
        targets = self.targets_in(dtype)
        return self._replace(X=as_matrix(self.X, dtype, backend), targets=targets)

    def targets_in(self, dtype: np.dtype) -> np.ndarray:
        """Return the targets in ``dtype``; classes stay integers."""
        if self.targets.ndim == 1:
            return self.targets
        # Targets beyond float32 become infinite, and so does the loss, unless they are scaled.
        with np.errstate(over="ignore"):
            return self.targets.astype(dtype, copy=False)
