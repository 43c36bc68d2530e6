"""Named columns of equal length, and the error for data that cannot be used."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from gpubp.tables.column import Column

Array = NDArray[Any]


class DataError(ValueError):
    """A data file or array cannot be used; the message names file, row and column if known."""


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length, and information on their source.

    columns: the columns by name, in the order of the source.
    n_rows: the length of each column.
    source: path or name of the data set, for messages.
    targets: names of the default target columns; () if there are none.
    only_targets: whether ``targets`` cannot be features, as y of array files.
    decimal: "," if numbers in text are written 1,5; "." for 1.5; None: to be detected.
    sign: the decimal sign that columns of numbers had in the file.
    doubled: names that several columns had; the later ones are called a.1, a.2, ...
    categories: columns with a categorical type in the source, even if they hold numbers.
    notes: lines for the user on how the source was read, such as "no header was found".
    first_row: number of the first row in the source, from 1; used without ``row_numbers``.
    row_numbers: (n,), the number of each row in the source, from 1; None: first_row, first_row + 1
        and so on.
    written: cells (n,) exactly as in the source, with blanks, of the columns read as text.
    """

    columns: Mapping[str, Column]
    n_rows: int
    source: str
    targets: tuple[str, ...] = ()
    only_targets: bool = False
    decimal: str | None = None
    sign: str = "."
    doubled: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    first_row: int = 1
    row_numbers: Array | None = None
    categories: frozenset[str] = frozenset()
    written: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.n_rows

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the source."""
        return tuple(self.columns)

    def rows(self, start: int, stop: int) -> Table:
        """Return the rows [start, stop) as views."""
        start, stop, _ = slice(start, stop).indices(len(self))
        return replace(
            self,
            columns={name: column.rows(start, stop) for name, column in self.columns.items()},
            n_rows=max(0, stop - start),
            first_row=self.first_row + start,
            row_numbers=None if self.row_numbers is None else self.row_numbers[start:stop],
            written={name: cells[start:stop] for name, cells in self.written.items()},
        )

    def take(self, index: Array) -> Table:
        """Return a copy of the rows at the indices ``index``."""
        return replace(
            self,
            columns={name: column.take(index) for name, column in self.columns.items()},
            n_rows=len(index),
            row_numbers=self._numbers(index),
            written={name: cells[index] for name, cells in self.written.items()},
        )

    def reorder(self, index: Array) -> Table:
        """Return all rows in the order ``index``, written to the memory of this table.

        This takes half the memory of `take`, but this table must not be used afterwards.
        """
        columns = {name: column.reorder(index) for name, column in self.columns.items()}
        written = {name: cells[index] for name, cells in self.written.items()}
        numbers = self._numbers(index)
        return replace(self, columns=columns, row_numbers=numbers, written=written)

    def _numbers(self, index: Array) -> Array:
        return index + self.first_row if self.row_numbers is None else self.row_numbers[index]

    def column(self, name: str) -> Column:
        """Return one column; raise DataError, with similar names, for an unknown name."""
        self.require((name,))
        return self.columns[name]

    def select(self, names: Sequence[str]) -> Table:
        """Return the columns ``names``, in that order; raise DataError for an unknown name."""
        self.require(names)
        return replace(self, columns={name: self.columns[name] for name in names})

    def where(self, row: int, name: str | None = None) -> str:
        """Return the place of a cell for messages; data rows count from 1, after the header."""
        number = self.first_row + row if self.row_numbers is None else int(self.row_numbers[row])
        place = f"{self.source}, data row {number}"
        return place if name is None else f"{place}, column {name!r}"

    def require(self, names: Sequence[str]) -> None:
        """Raise DataError, with similar names, if columns are missing."""
        missing = [name for name in names if name not in self.columns]
        if not missing:
            return
        by_case = {name.casefold(): name for name in self.columns}
        near: list[str] = []
        for name in missing[:3]:
            near += difflib.get_close_matches(name.casefold(), by_case, n=3)
        hint = f"it has {listed(self.names)}"
        if near:
            hint = f"did you mean {listed([by_case[name] for name in dict.fromkeys(near)])}?"
        lacks = "has no column" if len(missing) == 1 else f"lacks {len(missing)} columns"
        raise DataError(f"{self.source} {lacks} {listed(missing)}; {hint}")


@dataclass(frozen=True, eq=False)
class TakenColumns(Mapping[str, Column]):
    """A selection of rows of some columns; a column is copied only when it is accessed."""

    columns: Mapping[str, Column]
    index: Array

    def __getitem__(self, name: str) -> Column:
        return self.columns[name].take(self.index)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


def listed(names: Sequence[str], limit: int = 10) -> str:
    """Return the first names in quotes, and the number of further ones."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more
