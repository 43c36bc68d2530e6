"""Columns whose rows are ready to be written as numbers, to an array or to a CSR matrix.

Text is encoded by a lookup table of its distinct values; numbers are computed. No row depends on
another one, so blocks of rows give the same bits as the whole table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.encoding.robust_scale import RobustScale

Array = NDArray[Any]
Rows = slice | Array  # a slice or row indices


class Bound(Protocol):
    """A column whose rows can be written as numbers."""

    @property
    def entries(self) -> int:
        """Number of entries per row in a CSR matrix."""

    def dense(self, rows: Rows, out: Array) -> None:
        """Write some rows to ``out`` (rows, width), which contains zeros."""

    def sparse(self, rows: Rows, values: Array, places: Array) -> None:
        """Write some rows to ``values`` (rows, entries), and their column indices to ``places``."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """A column encoded by a lookup ``table``: one row per code, the last one for gaps (-1)."""

    codes: Array
    table: Array

    @property
    def entries(self) -> int:
        return int(self.table.shape[1])

    def dense(self, rows: Rows, out: Array) -> None:
        out[:] = self.table[self.codes[rows]]

    def sparse(self, rows: Rows, values: Array, places: Array) -> None:
        self.dense(rows, values)
        places[:] = np.arange(self.entries)


@dataclass(frozen=True, eq=False)
class OneHot:
    """A one-hot column: ``places`` has the output of each code, or -1 for no output."""

    codes: Array
    places: Array
    entries: int = 1

    def dense(self, rows: Rows, out: Array) -> None:
        places = self.places[self.codes[rows]]
        known = np.flatnonzero(places >= 0)
        out[known, places[known]] = 1

    def sparse(self, rows: Rows, values: Array, places: Array) -> None:
        found = self.places[self.codes[rows]]
        values[:, 0] = found >= 0
        places[:, 0] = np.maximum(found, 0)


@dataclass(frozen=True, eq=False)
class Standardised:
    """A column encoded as (values - mean) / scale.

    fill: the encoded value of gaps. indicator: whether a second output is 1 for gaps, else 0.
    """

    values: Array
    mean: float
    scale: float
    fill: float
    indicator: bool

    @property
    def entries(self) -> int:
        return 1 + self.indicator

    def dense(self, rows: Rows, out: Array) -> None:
        numbers = self.values[rows].astype(np.float64)
        gaps = np.isnan(numbers)
        numbers -= self.mean
        numbers /= self.scale
        numbers[gaps] = self.fill
        out[:, 0] = numbers
        if self.indicator:
            out[:, 1] = gaps

    def sparse(self, rows: Rows, values: Array, places: Array) -> None:
        self.dense(rows, values)
        places[:] = np.arange(self.entries)


@dataclass(frozen=True, eq=False)
class Robust:
    """A column encoded by a `RobustScale`; gaps count as the median.

    indicator: whether a last output is 1 for gaps, else 0.
    """

    values: Array
    scale: RobustScale
    indicator: bool

    @property
    def entries(self) -> int:
        return 1 + self.scale.has_tail + self.indicator

    def dense(self, rows: Rows, out: Array) -> None:
        numbers = self.values[rows].astype(np.float64)
        gaps = np.isnan(numbers)
        numbers[gaps] = self.scale.median
        out[:, 0] = self.scale.scaled(numbers)
        if self.scale.has_tail:
            out[:, 1] = self.scale.tails(numbers)
        if self.indicator:
            out[:, -1] = gaps

    def sparse(self, rows: Rows, values: Array, places: Array) -> None:
        self.dense(rows, values)
        places[:] = np.arange(self.entries)
