"""The type of a column, and the words that messages share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from gpubp.tables.column_types.statistics import Statistics
from gpubp.tables.table import DataError

Kind = Literal["number", "boolean", "category", "date", "text", "constant", "id", "empty"]
KINDS: tuple[Kind, ...] = get_args(Kind)
USED: tuple[Kind, ...] = ("number", "boolean", "category", "date")

FEWEST_IDS = 30  # in fewer rows, different values are no sign of an id


class ColumnError(DataError):
    """A column that cannot be used as asked; the message goes on behind the column's name.

    row: the position of the cell that the message ends with; None for no cell.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class ColumnType:
    """What a column means.

    gaps, distinct: rows without a value, and different values.
    remarks: what a person should know about the column, each a short phrase.
    decimal: how its numbers are written in text.
    strays: texts in a column of numbers or dates that are none, and so are gaps.
    order: how its dates are written, for `dates.parse_dates`; "" for other columns.
    statistics: of a number column in use.
    """

    name: str
    kind: Kind
    gaps: int
    distinct: int
    remarks: tuple[str, ...] = ()
    decimal: str = "."
    strays: tuple[str, ...] = ()
    order: str = ""
    statistics: Statistics | None = None

    @property
    def used(self) -> bool:
        """Whether the column is encoded; the others are left out."""
        return self.kind in USED

    def noted(self, *remarks: str) -> ColumnType:
        """The same with more remarks."""
        return replace(self, remarks=(*self.remarks, *remarks))


def short(text: str, limit: int = 30) -> str:
    """A cell in quotes, cut to ``limit`` characters, for messages."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "\u2026")


def differ(distinct: int, rows: int | None = None) -> str:
    """The remark on an id."""
    if rows is None or rows == distinct:
        return f"left out: all {distinct:,} values differ, as ids do"
    return f"left out: {distinct:,} of {rows:,} values differ, as ids do"


def rows_of(count: int) -> str:
    """A count of rows."""
    return f"{count:,} row{'' if count == 1 else 's'}"
