"""Cells of new rows that do not fit their column: they count as gaps, but too many are an error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gpubp.tables.column import Array, NumberColumn, TextColumn
from gpubp.tables.column_types.column_type import short
from gpubp.tables.column_types.text_types import STRAY_SHARE
from gpubp.tables.table import DataError

Where = Callable[[int], str]  # returns the place of a row of the column, for messages


@dataclass(frozen=True)
class Strays:
    """Cells of a column that count as empty.

    place, cell: place and text of the first one. reason: a phrase. count: their number.
    """

    place: str
    cell: str
    reason: str
    count: int

    def line(self, count: int) -> str:
        """Return a line for the user; ``count`` is the number of all such cells."""
        more = f" ({count:,} such cells)" if count > 1 else ""
        return f"{self.place}: {self.cell} {self.reason} and counts as empty{more}"


class StrayCellWarning(UserWarning):
    """Some cells do not fit the kind of their column and count as gaps."""

    def __init__(self, strays: Strays) -> None:
        super().__init__(strays.line(strays.count))
        self.strays = strays


def gaps_for(column: TextColumn, wrong: Array, where: Where, reason: str) -> None:
    """Warn of cells with a value that is ``wrong``, which then count as gaps.

    wrong: (k,) bool, by value of the column. where: returns the place of a row.
    reason: a phrase, such as "is not a number".

    Raises DataError if more than STRAY_SHARE of the cells are wrong.
    """
    rows = np.flatnonzero(np.append(wrong, [False])[column.codes])
    if len(rows):
        _tell(rows, len(column), short(column.cell(int(rows[0]))), where, reason)


def without_infinite(column: NumberColumn, known: tuple[str, ...], where: Where) -> Array:
    """Return the numbers (n,) with NaN for infinite ones; warn, or raise, as `gaps_for` does.

    known: infinite numbers of the training rows, as text, which do not cause a warning.
    """
    values = column.values
    if values.dtype.kind != "f" or not np.isinf(values).any():
        return values
    told = [float(text) for text in known if text in ("inf", "-inf")]
    rows = np.flatnonzero(np.isinf(values) & ~np.isin(values, told))
    if len(rows):
        _tell(rows, len(column), column.cell(int(rows[0])), where, "is not a finite number")
    gaps: Array = np.where(np.isinf(values), values.dtype.type(np.nan), values)
    return gaps


def _tell(rows: Array, of: int, cell: str, where: Where, reason: str) -> None:
    place, count = where(int(rows[0])), len(rows)
    if count > STRAY_SHARE * of:
        raise DataError(f"{place}: {cell} {reason} ({count:,} of {of:,} cells)")
    warnings.warn(StrayCellWarning(Strays(place, cell, reason, count)), stacklevel=2)
