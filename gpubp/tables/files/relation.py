"""Rows that DuckDB can read, with SQL for their columns and for numbers written as text."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpubp.tables.column import MISSING, Column, without_markers
from gpubp.tables.files.session import Session, literal
from gpubp.tables.table import DataError, Table

# Plain decimal numbers, without leading zeros (01 is a code), 0x10, 1_000, inf and nan.
NUMBER = r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?"
# From here on, float64 does not hold every integer.
FIRST_INEXACT = 2**53

# DuckDB's query time grows with the square of the number of columns: 2,000 columns take 2 s.
MOST_COLUMNS = 10_000
# The characters that `str.strip` removes.
_BLANKS = literal("".join(c for c in map(chr, range(0x3001)) if c.isspace()))
Guess = Literal["integer", "decimal", "text"]


@dataclass(frozen=True)
class SourceColumn:
    """A column of a relation.

    sql: SQL expression for its cells.
    kind: "cells" for text that may be numbers, "numbers" for a numeric type, or "text".
    guess: for "cells": whether the first cells are all "integer", all "decimal", or some "text".
    unnamed: whether the name is generated; such a column is dropped if it has no cells.
    """

    name: str
    sql: str
    kind: Literal["cells", "numbers", "text"]
    guess: Guess = "integer"
    unnamed: bool = False

    def may_be_numbers(self) -> bool:
        """Return whether its cells are text that may all be numbers."""
        return self.kind == "cells" and self.guess != "text"


@dataclass(frozen=True)
class Relation:
    """Rows that can be read several times in the same order.

    sql: SQL expression for the rows, to be used after FROM.
    columns: the columns. source: name of the rows in messages.
    missing: texts that mean "no value"; the empty text always does.
    decimal: "," if numbers are written 1,5.
    underscores: whether a cell may have a "_", as in 1_000, which DuckDB reads as 1000.
    doubled: names that several columns had. notes: lines for the user.
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
        """Return the same relation with the cells of the columns ``names`` kept as written.

        Columns of a numeric type stay numbers, since they were never written as text.
        """
        columns = tuple(
            replace(column, kind="text")
            if column.kind == "cells" and column.name in names
            else column
            for column in self.columns
        )
        return replace(self, columns=columns)

    def number(self, column: SourceColumn) -> str:
        """Return SQL for a column's numbers: NaN for a gap, NULL for other text.

        Numbers that mean "no value", such as -999, become gaps only in `table`.
        """
        cell = column.sql
        if self.decimal == ",":
            cell = f"CASE WHEN contains({cell}, '.') THEN 'x' ELSE replace({cell}, ',', '.') END"
        number = f"TRY_CAST({cell} AS DOUBLE)"
        gap = self.gap(column)
        # The pattern takes 0.1 us per cell, most of the time of reading numbers. For decimals it is
        # enough to compare the first characters, which finds codes such as 01.
        nan_is_data = not {"nan", "NaN"} <= set(self.missing)
        if column.guess != "decimal" or nan_is_data:
            number = f"CASE WHEN regexp_full_match({cell}, '\\s*{NUMBER}\\s*') THEN {number} END"
        else:
            wrong = [_is_code(cell), *[f"contains({cell}, '_')"] * self.underscores]
            number = f"CASE WHEN NOT ({' OR '.join(wrong)}) THEN {number} END"
        return f"coalesce({number}, CASE WHEN {gap} THEN 'nan'::DOUBLE END)"

    def gap(self, column: SourceColumn) -> str:
        """Return an SQL condition that is true for a gap."""
        return f"{column.sql} IS NULL OR trim({column.sql}, {_BLANKS}) IN ({_texts(self.missing)})"

    def notes_on(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the notes, with one for each of the columns ``names`` with a generated name."""
        notes = [
            f"a column has no name: it is called {column.name!r}"
            for column in self.columns
            if column.unnamed and column.name in names
        ]
        return (*self.notes, *notes)

    def table(self, columns: Mapping[str, Column], targets: tuple[str, ...]) -> Table:
        """Return the table of the fetched columns, by name."""
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
        """Return the relation, with guess "text" for columns in which a cell is not a number.

        stored: whether the numbers are in the columns c0, c1, ... of the table "stored".
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
    """Return SQL for whether a cell is a code such as 01."""
    # ":" follows "9" in Unicode. Comparing takes 3 ns per cell, a pattern 45 ns (one Xeon core).
    return f"({cell} >= '00' AND {cell} < '0:')"


def _all_exact(number: str, column: SourceColumn) -> str:
    """Return SQL for whether all cells are gaps or finite numbers, and exact if whole."""
    limit = f"{float(FIRST_INEXACT)}" if column.guess == "integer" else "'inf'"
    # NaN, a gap, is above infinity.
    return f"bool_and(coalesce(abs({number}) NOT BETWEEN {limit}::DOUBLE AND 'inf', false))"


def _texts(texts: Collection[str]) -> str:
    return ", ".join(literal(text) for text in sorted({*texts, ""}))


def guess_of(cells: Sequence[str], missing: Collection[str], decimal: str | None) -> Guess:
    """Return what the first cells of a column are: all "integer", all "decimal", or some "text"."""
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
