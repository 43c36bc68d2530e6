"""The decimal sign of a table, by the cells of all its columns together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gpubp.tables.column import Array, NumberColumn, TextColumn
from gpubp.tables.column_types.numbers import Decimal, decimals_of, read_numbers
from gpubp.tables.table import Table

_SAMPLE = 200  # values that are looked at before all are
_COMMA_DELIMITERS = (";", "\t")  # of programs where numbers have a decimal comma


@dataclass(frozen=True)
class Signs:
    """What the numbers in the text of a table show; each is (column, cell) or None.

    comma, point: a cell whose decimal sign can only be that one, such as "20,02" or "0.35".
    either: one that can be both, with a comma, such as "50,916".
    """

    comma: tuple[str, str] | None = None
    point: tuple[str, str] | None = None
    either: tuple[str, str] | None = None

    def decides(self, delimiter: str | None = None) -> Decimal | None:
        """The sign of columns that could have either; None where nothing shows it.

        delimiter: of a CSV file; it decides where no cell does, or two contradict each other.
        """
        if bool(self.comma) != bool(self.point):
            return "," if self.comma else "."
        return "," if (self.comma or self.either) and delimiter in _COMMA_DELIMITERS else None

    def reading(self) -> str:
        """A line for the user on how a table with decimal commas is read."""
        name, cell = self.comma or self.either or ("", "")
        return (
            f"{cell!r} in column {name!r} is read as {read_numbers([cell], ',')[0].item()!r}, as "
            "numbers have a decimal comma here; --decimal . reads a point"
        )

    def contradiction(self) -> str | None:
        """A line for the user where cells have both signs."""
        if not (self.comma and self.point):
            return None
        (one, comma), (other, point) = self.comma, self.point
        return (
            f"{comma!r} in column {one!r} has a decimal comma, {point!r} in column {other!r} a "
            "decimal point: each column is read by its own cells; --decimal decides where these "
            "could be either"
        )


def signs_of(table: Table) -> Signs:
    """What the columns of text show; a column counts if most of its values are numbers."""
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
    """The table with the decimal sign that its cells show, for columns that could have either.

    delimiter: of a CSV file, as `Signs.decides` takes it.
    again: reads the file with a sign, so that 1.234 in a file of decimal commas is text, and 1234.
    """
    if table.decimal is not None:
        return table
    signs = signs_of(table)
    if again is not None and (signs.comma or signs.either) and signs.decides(delimiter) == ",":
        second = again(",")  # where cells with a point are text
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
    """Whether a column of numbers has one that is not whole."""
    for column in table.columns.values():
        if isinstance(column, NumberColumn) and column.values.dtype.kind == "f":
            values = column.values[np.isfinite(column.values)]
            if (values != np.trunc(values)).any():
                return True
    return False


def _texts(table: Table) -> Iterator[tuple[str, Array]]:
    """The values of the columns of text that are mostly numbers, as far as a sample tells."""
    for name, column in table.columns.items():
        if not isinstance(column, TextColumn):
            continue
        values = column.values[column.counts() > 0]
        sample = values[:: max(1, len(values) // _SAMPLE)]
        if len(sample) and 2 * sum(bool(decimals_of(value)) for value in sample) >= len(sample):
            yield name, values


def _sign(value: str) -> str | None:
    """The field of `Signs` that a cell belongs to."""
    if "," not in value and "." not in value:
        return None
    decimals = decimals_of(value)
    if len(decimals) == 2:
        return "either" if "," in value else None
    return {".": "point", ",": "comma"}[decimals] if decimals else None
