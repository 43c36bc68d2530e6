"""What a column means where only a part of its rows is learned from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.column_type import ColumnType, Kind
from gpubp.tables.column_types.find_type import find_type, infinite_of

_FIRST_ROWS = 100


def type_of_part(
    name: str,
    part: Column,
    whole: Column,
    *,
    asked: Kind | None = None,
    decimal: str | None = None,
    order: str | None = None,
    source_order: NDArray[Any] | None = None,
) -> ColumnType:
    """The type of a column: its kind by all rows, its numbers by a part of them.

    So the kind does not depend on which rows are kept for a test, and a cell that is no number is
    a gap in the test too. part, whole: the column in the rows to learn from, and in all.
    source_order: (n,) places in ``whole`` of the first row of the source, the second, ...; None
    where it has that order.
    The other arguments, and what is raised, are those of `find_type`.
    """
    as_numbers = asked in (None, "number")
    if isinstance(whole, NumberColumn) and as_numbers and not _may_count_rows(whole, source_order):
        found = find_type(name, part, asked=asked, decimal=decimal, order=order)
        return replace(found, strays=found.strays or tuple(infinite_of(whole.values)))
    whole = whole if source_order is None else whole.take(source_order)
    found = find_type(name, whole, asked=asked, decimal=decimal, order=order)
    if not found.used:
        return found
    if found.kind == "boolean":
        return find_type(name, part)
    if found.kind == "category":
        return find_type(name, part, asked="category")
    if found.kind == "date":
        order = found.order if found.order in ("dmy", "mdy") else order
    else:
        decimal = found.decimal
    own = find_type(
        name, _without(part, found.strays), asked=found.kind, decimal=decimal, order=order
    )
    if own.kind != found.kind:  # constant, or empty, in this part
        return own
    return replace(own, order=found.order, strays=found.strays, remarks=found.remarks)


def _may_count_rows(column: NumberColumn, source_order: NDArray[Any] | None) -> bool:
    """Whether numbers count up by 1 from row to row, as far as the first ones tell."""
    rows = slice(_FIRST_ROWS) if source_order is None else source_order[:_FIRST_ROWS]
    first = column.values[rows]
    return bool((first[1:] - first[:-1] == 1).all())


def _without(column: Column, strays: tuple[str, ...]) -> Column:
    """The column with gaps in place of some texts."""
    if isinstance(column, NumberColumn) or not strays:
        return column
    is_stray = np.append(np.isin(column.values, strays), [False])
    return TextColumn(np.where(is_stray[column.codes], -1, column.codes), column.values)
