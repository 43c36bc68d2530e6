"""A column of a table: numbers, or text stored as codes into its sorted distinct values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Cells that mean "no value" by default; see `--na`.
MISSING = frozenset(
    ("", "NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "NaN", "nan", "?", "-", ".")
)


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """A column of numbers, (n,) of any real dtype; NaN is a gap, a missing value."""

    values: Array

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, start: int, stop: int) -> NumberColumn:
        """Return the rows [start, stop) as a view."""
        return NumberColumn(self.values[start:stop])

    def take(self, index: Array) -> NumberColumn:
        """Return a copy of the rows at the indices ``index``."""
        return NumberColumn(self.values[index])

    def reorder(self, index: Array) -> NumberColumn:
        """Return the rows in the order ``index``, in the memory of this column if writable."""
        return NumberColumn(_reordered(self.values, index))

    def is_gap(self) -> Array:
        """Return whether each row is a gap, (n,) bool."""
        if self.values.dtype.kind != "f":
            return np.zeros(len(self), np.bool_)
        return np.isnan(self.values)

    def cell(self, row: int) -> str:
        """Return one cell as text, for messages; "" for a gap."""
        return "" if self.values[row] != self.values[row] else str(self.values[row])


@dataclass(frozen=True, eq=False)
class TextColumn:
    """A column of text, stored as codes.

    codes: (n,) int32, the index in ``values`` of each cell; -1 is a gap, a missing value.
    values: (k,) object, the distinct texts, stripped, in ascending order of their code points.
        After `take` and `rows` some may have no row.
    marked: number of rows of the source per text, such as "NA", that was read as a gap.
    """

    codes: Array
    values: Array
    marked: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, cells: Iterable[Any], missing: Collection[str] = MISSING) -> TextColumn:
        """Return the column of ``cells``; None, NaN and the texts in ``missing`` are gaps."""
        found: dict[Any, int] = {}
        places = np.fromiter((found.setdefault(cell, len(found)) for cell in cells), np.int32)
        return cls.of_places(list(found), places, missing)

    @classmethod
    def of_places(
        cls, cells: Sequence[Any], places: Array, missing: Collection[str] = MISSING
    ) -> TextColumn:
        """Return the column whose row i is ``cells[places[i]]``; gaps as in `of`."""
        texts = [None if cell is None or cell != cell else str(cell).strip() for cell in cells]
        values = sorted({text for text in texts if text is not None and text not in missing})
        known = {text: code for code, text in enumerate(values)}
        codes = np.array([known.get(text, -1) for text in texts], np.int32)  # type: ignore[arg-type]
        marked: Counter[str] = Counter()
        rows = np.bincount(places, minlength=len(texts)).tolist()
        for text, code, count in zip(texts, codes.tolist(), rows, strict=True):
            if text and code < 0:
                marked[text] += count
        return cls(codes[places] if len(places) else places, _objects(values), marked)

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, start: int, stop: int) -> TextColumn:
        """Return the rows [start, stop) as views."""
        return TextColumn(self.codes[start:stop], self.values, self.marked)

    def take(self, index: Array) -> TextColumn:
        """Return a copy of the rows at the indices ``index``."""
        return TextColumn(self.codes[index], self.values, self.marked)

    def reorder(self, index: Array) -> TextColumn:
        """Return the rows in the order ``index``, in the memory of this column if writable."""
        return TextColumn(_reordered(self.codes, index), self.values, self.marked)

    def is_gap(self) -> Array:
        """Return whether each row is a gap, (n,) bool."""
        gaps: Array = self.codes < 0
        return gaps

    def counts(self) -> Array:
        """Return the number of rows of each of ``values``, (k,) int64."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))

    def used(self) -> TextColumn:
        """Return the column without values that have no row."""
        known = self.counts() > 0
        if known.all():
            return self
        places = np.append(np.cumsum(known, dtype=np.int32) - 1, np.int32(-1))
        return TextColumn(places[self.codes], self.values[known])

    def texts(self, gap: str = "") -> Array:
        """Return the cells, (n,) object, with ``gap`` for a missing value."""
        texts: Array = np.append(self.values, np.array([gap], object))[self.codes]
        return texts

    def cell(self, row: int) -> str:
        """Return one cell, for messages; "" for a gap."""
        return "" if self.codes[row] < 0 else str(self.values[self.codes[row]])


Column = NumberColumn | TextColumn


def told_markers(columns: Iterable[Column]) -> str:
    """Return a remark in brackets on texts read as gaps: their rows, and how to keep them.

    It is "" if there are none.
    """
    marked: Counter[str] = Counter()
    for column in columns:
        if isinstance(column, TextColumn):
            marked.update(column.marked)
    if not marked:
        return ""
    counts = [f"{n:,} row{'s'[: n > 1]} with {text!r}" for text, n in sorted(marked.items())]
    advice = "--na '' keeps such cells" if MISSING.issuperset(marked) else "see --na"
    return f" ({', '.join(counts)} taken as missing; {advice})"


def _reordered(array: Array, index: Array) -> Array:
    """Return ``array[index]``, in the memory of ``array`` if it is writable."""
    ordered = array[index]
    if not array.flags.writeable:
        return ordered
    array[:] = ordered
    return array


def without_markers(column: Column, missing: Collection[str]) -> Column:
    """Return the column with gaps for numbers that mean "no value", such as -999.

    missing: texts that mean "no value"; in columns of text they are gaps already.
    """
    if isinstance(column, TextColumn) or column.values.dtype.kind == "b":
        return column
    numbers = marked_numbers(missing)
    if column.values.dtype.kind == "f":  # 0.1 in float32 differs from 0.1 in float64
        with np.errstate(over="ignore"):
            kept = numbers.astype(column.values.dtype)
        numbers = kept[np.isfinite(kept) | np.isinf(numbers)]
    if not len(numbers):
        return column
    hit = np.isin(column.values, numbers)
    return NumberColumn(np.where(hit, np.nan, column.values)) if hit.any() else column


def marked_numbers(missing: Collection[str]) -> Array:
    """Return the numbers among texts that mean "no value", (k,) float64."""
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
