"""The type of a column, and phrases shared by messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from gpubp.tables.column_types.statistics import Statistics
from gpubp.tables.table import DataError

Kind = Literal["number", "boolean", "category", "date", "text", "constant", "id", "empty"]
KINDS: tuple[Kind, ...] = get_args(Kind)
USED: tuple[Kind, ...] = ("number", "boolean", "category", "date")

FEWEST_IDS = 30  # rows; in fewer, distinct values do not indicate an id


class ColumnError(DataError):
    """A column cannot be used as the kind that the user asked for.

    The message is a phrase that follows the column's name.

    row: index of the row of the cell quoted in the message; None if no cell is quoted.
    """

    def __init__(self, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class ColumnType:
    """The kind of a column, and details of it.

    name: of the column. kind: one of KINDS.
    gaps, distinct: number of rows without a value, and of distinct values.
    remarks: short phrases for the user.
    decimal: decimal sign of numbers in text.
    strays: texts in a column of numbers or dates that are neither, so they count as gaps.
    order: order of the fields of dates, for `dates.parse_dates`; "" for other columns.
    statistics: of a number column that is used; None for other columns.
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
        """Whether the column is encoded; unused columns are left out."""
        return self.kind in USED

    def noted(self, *remarks: str) -> ColumnType:
        """Return a copy with more remarks."""
        return replace(self, remarks=(*self.remarks, *remarks))


def short(text: str, limit: int = 30) -> str:
    """Return a cell in quotes, shortened to ``limit`` characters, for messages."""
    return repr(text if len(text) <= limit else text[: limit - 1] + "\u2026")


def differ(distinct: int, rows: int | None = None) -> str:
    """Return the remark on an id column.

    distinct: number of distinct values. rows: number of rows with a value; None: as many as
    distinct values.
    """
    if rows is None or rows == distinct:
        return f"left out: all {distinct:,} values differ, as ids do"
    return f"left out: {distinct:,} of {rows:,} values differ, as ids do"


def rows_of(count: int) -> str:
    """Return a number of rows as text, such as "1 row" or "2,000 rows"."""
    return f"{count:,} row{'' if count == 1 else 's'}"
