"""Rows that DuckDB can give, and the SQL of their columns; cells of text that are numbers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpubp.tables.column import MISSING, Column, without_markers
from gpubp.tables.files.session import Session, literal
from gpubp.tables.table import DataError, Table

# Numbers as everybody writes them: no leading zeros (01 is a code), no 0x10, 1_000, inf or nan.
NUMBER = r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?"
# From here on a float64 does not hold every integer.
FIRST_INEXACT = 2**53

# The time of DuckDB's queries grows with the square of the columns: 2,000 take 2 s.
MOST_COLUMNS = 10_000
# What `str.strip` takes off.
_BLANKS = literal("".join(c for c in map(chr, range(0x3001)) if c.isspace()))
Guess = Literal["integer", "decimal", "text"]


@dataclass(frozen=True)
class SourceColumn:
    """A column of a relation.

    sql: expression that gives its cells.
    kind: "cells" of text that may all be numbers, "numbers" of a numeric type, or "text".
    guess: of cells: the first ones are all "integer", all "decimal", or some are "text".
    unnamed: whether the name is made up, so that the column is dropped where it has no cell.
    """

    name: str
    sql: str
    kind: Literal["cells", "numbers", "text"]
    guess: Guess = "integer"
    unnamed: bool = False

    def may_be_numbers(self) -> bool:
        """Whether its cells are text that may all be numbers."""
        return self.kind == "cells" and self.guess != "text"


@dataclass(frozen=True)
class Relation:
    """Rows that can be read again and again in the same order.

    sql: what stands behind FROM.
    missing: texts that mean "no value"; the empty one always does.
    decimal: "," where numbers are written 1,5.
    underscores: whether any cell may have a "_", as in 1_000, which DuckDB takes as 1000.
    """

    sql: str
    columns: tuple[SourceColumn, ...]
    source: str
    missing: Collection[str] = MISSING
    decimal: str | None = None
    underscores: bool = True
    doubled: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def with_text(self, names: Collection[str]) -> Relation:
        """The same with the cells of the columns ``names`` as they are written.

        Columns of a numeric type stay numbers: nobody wrote their text.
        """
        columns = tuple(
            replace(column, kind="text")
            if column.kind == "cells" and column.name in names
            else column
            for column in self.columns
        )
        return replace(self, columns=columns)

    def number(self, column: SourceColumn) -> str:
        """SQL of a column's numbers: NaN for a gap, NULL for a cell that is no number.

        Numbers that the user calls missing, such as -999, are gaps in `table` only.
        """
        cell = column.sql
        if self.decimal == ",":
            cell = f"CASE WHEN contains({cell}, '.') THEN 'x' ELSE replace({cell}, ',', '.') END"
        number = f"TRY_CAST({cell} AS DOUBLE)"
        gap = self.gap(column)
        # The pattern takes 0.1 us a cell, most of the time of reading numbers. Decimals do with a
        # look at their first characters, which finds codes such as 01.
        nan_is_data = not {"nan", "NaN"} <= set(self.missing)
        if column.guess != "decimal" or nan_is_data:
            number = f"CASE WHEN regexp_full_match({cell}, '\\s*{NUMBER}\\s*') THEN {number} END"
        else:
            wrong = [_is_code(cell), *[f"contains({cell}, '_')"] * self.underscores]
            number = f"CASE WHEN NOT ({' OR '.join(wrong)}) THEN {number} END"
        return f"coalesce({number}, CASE WHEN {gap} THEN 'nan'::DOUBLE END)"

    def gap(self, column: SourceColumn) -> str:
        """SQL of whether a cell has no value."""
        return f"{column.sql} IS NULL OR trim({column.sql}, {_BLANKS}) IN ({_texts(self.missing)})"

    def notes_on(self, names: Collection[str]) -> tuple[str, ...]:
        """The notes, and one for each of the columns ``names`` whose name is made up."""
        notes = [
            f"a column has no name: it is called {column.name!r}"
            for column in self.columns
            if column.unnamed and column.name in names
        ]
        return (*self.notes, *notes)

    def table(self, columns: Mapping[str, Column], targets: tuple[str, ...]) -> Table:
        """The table of the columns that were fetched."""
        return Table(
            {name: without_markers(found, self.missing) for name, found in columns.items()},
            max(map(len, columns.values()), default=0),
            self.source,
            targets,
            decimal=self.decimal,
            sign=self.decimal or ".",
            doubled=self.doubled,
            notes=self.notes_on(columns),
        )

    def with_kinds(self, session: Session, *, stored: bool = False) -> Relation:
        """The same with guess "text" for each column of cells that has one that is no number.

        stored: whether the table "stored" has the numbers as c0, c1, ...
        """
        asked = [j for j, column in enumerate(self.columns) if column.may_be_numbers()]
        if not asked:
            return self
        columns = list(self.columns)
        checks = [
            _all_exact(f"c{j}" if stored else self.number(columns[j]), columns[j]) for j in asked
        ]
        source = "stored" if stored else self.sql
        answers = session.rows(f"SELECT {', '.join(checks)} FROM {source}")[0]
        for j, numeric in zip(asked, answers, strict=True):
            if numeric is False:
                columns[j] = replace(columns[j], guess="text")
        return replace(self, columns=tuple(columns))


def check_width(columns: int, source: str) -> None:
    """Raise DataError for more columns than can be read in reasonable time."""
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{source} has {columns:,} columns, but a table of text, Parquet or JSON may have "
            f"{MOST_COLUMNS:,}; choose fewer, or save arrays X and y as .npz"
        )


def _is_code(cell: str) -> str:
    """SQL of whether a cell is a code such as 01, which is no number."""
    # ":" is the character behind "9"; comparing takes 3 ns a cell, a pattern 45 ns (one Xeon core).
    return f"({cell} >= '00' AND {cell} < '0:')"


def _all_exact(number: str, column: SourceColumn) -> str:
    """SQL of whether all are numbers or gaps, finite, and exact where they are whole."""
    limit = f"{float(FIRST_INEXACT)}" if column.guess == "integer" else "'inf'"
    # NaN, a gap, is above infinity.
    return f"bool_and(coalesce(abs({number}) NOT BETWEEN {limit}::DOUBLE AND 'inf', false))"


def _texts(texts: Collection[str]) -> str:
    return ", ".join(literal(text) for text in sorted({*texts, ""}))


def guess_of(cells: Sequence[str], missing: Collection[str], decimal: str | None) -> Guess:
    """What the first cells of a column look like: "integer", "decimal" or "text"."""
    guess: Guess = "integer"
    for cell in cells:
        text = cell.strip()
        if text in missing or not text:
            continue
        if decimal == ",":
            text = "x" if "." in text else text.replace(",", ".")
        if not re.fullmatch(NUMBER, text):
            return "text"
        if not re.fullmatch(r"[-+]?[0-9]+", text):
            guess = "decimal"
    return guess
