"""Columns whose rows are ready to be written as numbers, dense or as entries of CSR.

Text is encoded by a table of its distinct values, of which each row takes its own; numbers are
computed. So no row depends on another, and blocks of rows give the bits of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Rows = slice | Array  # their places


class Bound(Protocol):
    """A column whose rows can be written as numbers."""

    @property
    def entries(self) -> int:
        """Numbers per row that are stored in CSR."""

    def dense(self, rows: Rows, out: Array) -> None:
        """Write some rows into ``out`` (rows, width), which holds zeros."""

    def sparse(self, rows: Rows, values: Array, places: Array) -> None:
        """Write some rows as ``values`` (rows, entries) and their ``places`` among the outputs."""


@dataclass(frozen=True, eq=False)
class Lookup:
    """Rows of a table, by code; the last one is for gaps (-1)."""

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
    """A 1 at the place of each code; nowhere for the place -1."""

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
    """(values - mean) / scale; ``fill`` for gaps, and 1 in the second place where ``indicator``."""

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
