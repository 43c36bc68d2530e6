"""Write bound columns side by side to the rows of an array or of a CSR matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from gpubp.tables.encoding.encoded import Bound

Array = NDArray[Any]

_DENSE_BYTES = 2**28  # a larger array of mostly zeros is stored as CSR
# Rows are encoded in blocks that fit into the cache, of at least _BLOCK_ROWS rows.
_BLOCK_NUMBERS = 2**18
_BLOCK_ROWS = 2**12


@dataclass(frozen=True, eq=False)
class Layout:
    """The bound columns of a table, and how their encoded rows are stored.

    bound: the columns. dtype: of the encoded rows.
    starts: (k + 1,), the index of the first output of each column; the last is the number of
        outputs.
    sparse: whether the rows are a CSR matrix.
    """

    bound: Sequence[Bound]
    starts: Array
    dtype: str
    sparse: bool

    @classmethod
    def of(
        cls,
        bound: Sequence[Bound],
        widths: Sequence[int],
        rows: int,
        dtype: str,
        sparse: bool | Literal["auto"],
    ) -> Self:
        """Return the layout of a table.

        widths: number of outputs of each column. rows: number of rows, to decide "auto".
        sparse: as in `TableEncoder`.
        """
        starts = np.cumsum([0, *widths])
        if sparse == "auto":
            entries, width = sum(column.entries for column in bound), int(starts[-1])
            itemsize = np.dtype(dtype).itemsize
            too_large = rows * width * itemsize > _DENSE_BYTES
            sparse = too_large and 2 * entries * (itemsize + 4) < width * itemsize
        return cls(bound, starts, dtype, bool(sparse))

    def rows(self, count: int, places: Array | None = None) -> Any:
        """Return encoded rows: the ``count`` rows at ``places``, or all rows for None."""
        return self._csr(count, places) if self.sparse else self._dense(count, places)

    def _dense(self, rows: int, places: Array | None) -> Array:
        X = np.zeros((rows, int(self.starts[-1])), self.dtype)
        for block in _blocks(rows, X.shape[1]):
            taken = block if places is None else places[block]
            for column, (start, stop) in zip(
                self.bound, pairwise(self.starts.tolist()), strict=True
            ):
                column.dense(taken, X[block, start:stop])
        return X

    def _csr(self, rows: int, places: Array | None) -> Any:
        """Return rows as CSR; every row has the same number of entries, some of them zero."""
        entries = np.cumsum([0, *(column.entries for column in self.bound)])
        count = int(entries[-1])
        index = np.int32 if rows * count < 2**31 else np.int64
        values = np.empty((rows, count), self.dtype)
        found = np.empty((rows, count), index)
        for block in _blocks(rows, count):
            taken = block if places is None else places[block]
            for column, start, (first, last) in zip(
                self.bound, self.starts, pairwise(entries), strict=False
            ):
                column.sparse(taken, values[block, first:last], found[block, first:last])
                found[block, first:last] += start
        indptr = np.arange(rows + 1, dtype=index) * count
        X = sp.csr_matrix(
            (values.reshape(-1), found.reshape(-1), indptr),
            (rows, int(self.starts[-1])),
            copy=False,
        )
        X.has_canonical_format = True
        return X


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(_BLOCK_ROWS, _BLOCK_NUMBERS // max(1, width))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
