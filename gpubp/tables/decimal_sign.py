"""Detect the decimal sign of a table from the cells of all its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gpubp.tables.column import Array, NumberColumn, TextColumn
from gpubp.tables.column_types.numbers import Decimal, decimals_of, read_numbers
from gpubp.tables.table import Table

_SAMPLE = 200  # values of a column that are tried before all are
_COMMA_DELIMITERS = (";", "\t")  # usual delimiters of CSV files with decimal commas


@dataclass(frozen=True)
class Signs:
    """Cells of text that show the decimal sign of a table, each as (column, cell) or None.

    comma, point: a cell whose decimal sign can only be a comma or a point, as "20,02" or "0.35".
    either: a cell with a comma that may be a decimal or a thousands separator, as "50,916".
    """

    comma: tuple[str, str] | None = None
    point: tuple[str, str] | None = None
    either: tuple[str, str] | None = None

    def decides(self, delimiter: str | None = None) -> Decimal | None:
        """Return the decimal sign of ambiguous columns; None if nothing shows it.

        delimiter: of a CSV file; it decides if no cell does, or if cells contradict each other.
        """
        if bool(self.comma) != bool(self.point):
            return "," if self.comma else "."
        return "," if (self.comma or self.either) and delimiter in _COMMA_DELIMITERS else None

    def reading(self) -> str:
        """Return a line for the user on how a table with decimal commas is read."""
        name, cell = self.comma or self.either or ("", "")
        return (
            f"{cell!r} in column {name!r} is read as {read_numbers([cell], ',')[0].item()!r}, "
            "since this table has decimal commas; use --decimal . for decimal points"
        )

    def contradiction(self) -> str | None:
        """Return a line for the user if cells have both signs; None otherwise."""
        if not (self.comma and self.point):
            return None
        (one, comma), (other, point) = self.comma, self.point
        return (
            f"{comma!r} in column {one!r} has a decimal comma, {point!r} in column {other!r} a "
            "decimal point; each column is read by its own cells, and --decimal sets the sign of "
            "ambiguous columns"
        )


def signs_of(table: Table) -> Signs:
    """Return the signs shown by columns of text in which most values are numbers."""
    found: dict[str, tuple[str, str]] = {}
    for name, values in _texts(table):
        for value in values:
            kind = _sign(value)
            if kind is not None and kind not in found:
                found[kind] = (name, value)
    return Signs(**found)


def settled(
    table: Table,
    delimiter: str | None = None,
    again: Callable[[Decimal], Table] | None = None,
) -> Table:
    """Return the table with its decimal sign set, as detected from its cells.

    A table whose sign is set already is returned unchanged.

    delimiter: of a CSV file; see `Signs.decides`.
    again: function that reads the file again with a given sign. It is called for decimal commas,
        since 1.234 then means 1234 and has to be read as text.
    """
    if table.decimal is not None:
        return table
    signs = signs_of(table)
    if again is not None and (signs.comma or signs.either) and signs.decides(delimiter) == ",":
        second = again(",")  # cells with a point are text in it
        shown = signs_of(second)
        signs = replace(signs, point=shown.point, either=signs.either or shown.either)
        if signs.decides(delimiter) == ",":
            table = second
            table = replace(table, notes=(*table.notes, signs.reading()))
    elif signs.either and not signs.comma and _has_fractions(table):
        signs = replace(signs, point=("", ""))
    note = signs.contradiction()
    notes = table.notes if note is None else (*table.notes, note)
    return replace(table, decimal=signs.decides(delimiter), notes=notes)


def _has_fractions(table: Table) -> bool:
    """Return whether a column of numbers has a value that is not whole."""
    for column in table.columns.values():
        if isinstance(column, NumberColumn) and column.values.dtype.kind == "f":
            values = column.values[np.isfinite(column.values)]
            if (values != np.trunc(values)).any():
                return True
    return False


def _texts(table: Table) -> Iterator[tuple[str, Array]]:
    """Yield name and values of each column of text that is mostly numbers, judged by a sample."""
    for name, column in table.columns.items():
        if not isinstance(column, TextColumn):
            continue
        values = column.values[column.counts() > 0]
        sample = values[:: max(1, len(values) // _SAMPLE)]
        if len(sample) and 2 * sum(bool(decimals_of(value)) for value in sample) >= len(sample):
            yield name, values


def _sign(value: str) -> str | None:
    """Return the field of `Signs` for a cell; None if the cell does not show a sign."""
    if "," not in value and "." not in value:
        return None
    decimals = decimals_of(value)
    if len(decimals) == 2:
        return "either" if "," in value else None
    return {".": "point", ",": "comma"}[decimals] if decimals else None
