"""A column of a table: numbers, or text as codes into its sorted distinct values."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Cells that mean "no value" unless the user names others (`--na`).
MISSING = frozenset(
    ("", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "NaN", "nan", "?", "-", ".")
)


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """Numbers (n,) of any real dtype; NaN is a gap."""

    values: Array

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, start: int, stop: int) -> NumberColumn:
        """The rows [start, stop), as a view."""
        return NumberColumn(self.values[start:stop])

    def take(self, index: Array) -> NumberColumn:
        """The rows of an array of positions, copied."""
        return NumberColumn(self.values[index])

    def is_gap(self) -> Array:
        """(n,) bool: the rows without a value."""
        if self.values.dtype.kind != "f":
            return np.zeros(len(self), np.bool_)
        return np.isnan(self.values)

    def cell(self, row: int) -> str:
        """One cell as text, for messages; "" for a gap."""
        return "" if self.values[row] != self.values[row] else str(self.values[row])


@dataclass(frozen=True, eq=False)
class TextColumn:
    """Text: ``codes`` (n,) int32 point into ``values``; -1 is a gap.

    values: (k,) object, the distinct texts, stripped, in ascending order of their code points.
        After `take` and `rows` some may have no row.
    """

    codes: Array
    values: Array

    @classmethod
    def of(cls, cells: Iterable[Any], missing: Collection[str] = MISSING) -> TextColumn:
        """The column of ``cells``; None, NaN and the texts in ``missing`` are gaps."""
        found: dict[Any, int] = {}
        first = np.fromiter((found.setdefault(cell, len(found)) for cell in cells), np.int32)
        texts = [None if cell is None or cell != cell else str(cell).strip() for cell in found]
        values = sorted({text for text in texts if text is not None and text not in missing})
        places = {text: code for code, text in enumerate(values)}
        codes = np.array([places.get(text, -1) for text in texts], np.int32)  # type: ignore[arg-type]
        return cls(codes[first] if len(first) else first, _objects(values))

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, start: int, stop: int) -> TextColumn:
        """The rows [start, stop), as views."""
        return TextColumn(self.codes[start:stop], self.values)

    def take(self, index: Array) -> TextColumn:
        """The rows of an array of positions, copied."""
        return TextColumn(self.codes[index], self.values)

    def is_gap(self) -> Array:
        """(n,) bool: the rows without a value."""
        gaps: Array = self.codes < 0
        return gaps

    def counts(self) -> Array:
        """(k,) int64: how many rows have each of ``values``."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    def texts(self, gap: str = "") -> Array:
        """The cells (n,) object, ``gap`` where there is no value."""
        texts: Array = np.append(self.values, np.array([gap], object))[self.codes]
        return texts

    def cell(self, row: int) -> str:
        """One cell, for messages; "" for a gap."""
        return "" if self.codes[row] < 0 else str(self.values[self.codes[row]])


Column = NumberColumn | TextColumn


def without_markers(column: Column, missing: Collection[str]) -> Column:
    """The column with gaps for the numbers that the user calls missing, such as -999.

    missing: texts that mean "no value"; in text these are gaps already, as they are written.
    """
    if isinstance(column, TextColumn) or column.values.dtype.kind == "b":
        return column
    numbers = marked_numbers(missing)
    if column.values.dtype.kind == "f":  # 0.1 is another number in float32
        with np.errstate(over="ignore"):
            kept = numbers.astype(column.values.dtype)
        numbers = kept[np.isfinite(kept) | np.isinf(numbers)]
    if not len(numbers):
        return column
    hit = np.isin(column.values, numbers)
    return NumberColumn(np.where(hit, np.nan, column.values)) if hit.any() else column


def marked_numbers(missing: Collection[str]) -> Array:
    """(k,) float64: the numbers among texts that mean "no value"."""
    numbers = []
    for marker in sorted(set(missing) - MISSING):
        try:
            numbers.append(float(marker))
        except ValueError:
            continue
    return np.array(numbers)


def _objects(texts: list[str]) -> Array:
    values = np.empty(len(texts), object)
    values[:] = texts
    return values
