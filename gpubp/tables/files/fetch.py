"""Fetch the columns of a relation as arrays."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.files.relation import FIRST_INEXACT, NUMBER, Relation, SourceColumn
from gpubp.tables.files.session import Session
from gpubp.tables.table import Array, DataError

# Text cells fetched by one query: each takes about 70 bytes until it is replaced by its code.
_TEXT_CELLS = 4_000_000
# A target kept as text becomes numbers if it has more distinct values, and all are numbers.
MOST_LABELS = 10_000


def fetch_columns(
    session: Session, relation: Relation, as_text: Collection[str] = (), where: str = ""
) -> dict[str, Column]:
    """Return the columns by name, in the order of the relation.

    Unnamed columns without cells are left out.

    as_text: names of columns whose cells are kept as written, even if all are numbers.
    where: SQL condition on the rows, with the keyword WHERE; "" for all rows.
    """
    columns = relation.columns
    numeric = {j for j, column in enumerate(columns) if _is_numeric(column, as_text)}
    # One column of text, often the target, is fetched with the numbers, to save a second query.
    first = sorted(numeric) + [j for j in range(len(columns)) if j not in numeric][:1]
    selected = [
        _number_sql(relation, columns[j]) if j in numeric else _text_sql(columns[j]) for j in first
    ]
    arrays = session.arrays(_select(selected, relation, where))
    n_rows = len(arrays[0])
    found: dict[int, Column] = {}
    for j in first:
        array = arrays.pop(0)  # pop, so that each array is freed before the next is converted
        if j not in numeric:
            found[j] = _text(relation, columns[j], array)
        elif (numbers := _numbers(array, columns[j])) is not None:
            found[j] = numbers
    texts = [j for j in range(len(columns)) if j not in found]
    for j, cells in _text_cells(session, relation, texts, n_rows, where):
        found[j] = _text(relation, columns[j], cells)
    return {
        relation.columns[j].name: found[j]
        for j in sorted(found)
        if not (relation.columns[j].unnamed and found[j].is_gap().all())
    }


def _is_numeric(column: SourceColumn, as_text: Collection[str]) -> bool:
    return column.kind == "numbers" or (column.may_be_numbers() and column.name not in as_text)


def _select(selected: Sequence[str], relation: Relation, where: str) -> str:
    columns = ", ".join(f"{sql} AS c{j}" for j, sql in enumerate(selected))
    return f"SELECT {columns} FROM {relation.sql} {where}"


def _number_sql(relation: Relation, column: SourceColumn) -> str:
    return relation.number(column) if column.kind == "cells" else column.sql


def _numbers(array: Array, column: SourceColumn) -> NumberColumn | None:
    """Return a column of numbers; None if a cell has to stay text."""
    masked = np.ma.is_masked(array)
    if column.kind == "cells":
        values = np.ma.getdata(array)
        if masked or not _exact(values, column.guess == "integer"):
            return None
        return NumberColumn(values)
    if masked:
        array = np.ma.filled(array.astype(np.float64), np.nan)
    values = np.ma.getdata(array)
    whole = column.guess == "integer"
    return None if whole and not _exact(values, whole) else NumberColumn(values)


def _exact(values: Array, whole: bool) -> bool:
    """Return whether all values are finite and, if whole, exact in float64; NaN is a gap."""
    if not len(values):
        return True
    largest = max(float(np.fmax.reduce(values)), -float(np.fmin.reduce(values)))
    return not largest >= (FIRST_INEXACT if whole else np.inf)


def _text_cells(
    session: Session, relation: Relation, columns: Sequence[int], n_rows: int, where: str
) -> Iterator[tuple[int, Array]]:
    """Yield the cells (n,) of each column as str objects, fetching a few columns per query."""
    several = max(1, _TEXT_CELLS // max(1, n_rows))
    for start in range(0, len(columns), several):
        part = columns[start : start + several]
        selected = [_text_sql(relation.columns[j]) for j in part]
        arrays = session.arrays(_select(selected, relation, where))
        for j in part:
            yield j, arrays.pop(0)


def _text_sql(column: SourceColumn) -> str:
    cell = f"CAST({column.sql} AS VARCHAR)" if column.kind == "numbers" else column.sql
    return f"coalesce({cell}, '')"


def _text(relation: Relation, column: SourceColumn, cells: Array) -> Column:
    coded = _coded(cells, {*relation.missing, ""})
    if any("\0" in text for text in coded.values):
        raise DataError(
            f"{relation.source}, column {column.name!r}: a cell has a zero byte, so it is not "
            "text; save the table as CSV in UTF-8"
        )
    if column.kind == "cells" and len(coded.values) > MOST_LABELS:
        return _as_numbers(coded, relation.decimal) or coded
    return coded


def _coded(cells: Array, missing: Collection[str]) -> TextColumn:
    """Return `TextColumn.of` the cells, but loop over them in C: 0.08 s per million, not 0.15."""
    places = {text: place for place, text in enumerate(dict.fromkeys(cells))}
    found = np.fromiter(map(places.__getitem__, cells), np.intp, len(cells))
    return TextColumn.of_places(list(places), found, missing)


def _as_numbers(column: TextColumn, decimal: str | None) -> NumberColumn | None:
    """Return a column of text as numbers; None unless all texts are numbers."""
    texts = column.values.tolist()
    if decimal == ",":
        texts = ["x" if "." in text else text.replace(",", ".") for text in texts]
    if not all(re.fullmatch(NUMBER, text) for text in texts):
        return None
    values = np.array([*map(float, texts), np.nan])
    whole = [bool(re.fullmatch(r"[-+]?[0-9]+", text)) for text in texts]
    exact = _exact(values[:-1][whole], True) and _exact(values, False)
    return NumberColumn(values[column.codes]) if exact else None
