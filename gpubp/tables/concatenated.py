"""Put the rows of several tables with the same columns one below the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpubp.tables.column import Array, Column, NumberColumn, TextColumn
from gpubp.tables.table import Table


def concatenated(tables: Sequence[Table]) -> Table:
    """Return the rows of ``tables``, at least one, one below the other, with their row numbers.

    A column has numbers in all tables or text in all.
    """
    first = tables[0]
    numbers = [_row_numbers(table) for table in tables]
    columns = {name: _joined([table.columns[name] for table in tables]) for name in first.names}
    return replace(
        first,
        columns=columns,
        n_rows=sum(map(len, tables)),
        row_numbers=np.concatenate(numbers),
        written={},
    )


def _row_numbers(table: Table) -> Array:
    numbers = table.row_numbers
    return np.arange(len(table)) + table.first_row if numbers is None else numbers


def _joined(columns: Sequence[Column]) -> Column:
    texts = [column.used() for column in columns if isinstance(column, TextColumn)]
    if not texts:
        return NumberColumn(np.concatenate([c.values for c in columns]))
    every: list[str] = sorted(set().union(*(column.values.tolist() for column in texts)))
    places = {text: code for code, text in enumerate(every)}
    codes = []
    for column in texts:
        known = np.array([*(places[text] for text in column.values.tolist()), -1], np.int32)
        codes.append(known[column.codes])
    values = np.empty(len(every), object)
    values[:] = every
    marked: Counter[str] = Counter()
    for each in columns:
        marked.update(each.marked if isinstance(each, TextColumn) else ())
    return TextColumn(np.concatenate(codes), values, marked)
