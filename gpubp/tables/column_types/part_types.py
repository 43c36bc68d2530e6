"""What a column means where only a part of its rows is learned from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.column_type import ColumnType, Kind
from gpubp.tables.column_types.find_type import find_type


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
    whole = whole if source_order is None else whole.take(source_order)
    found = find_type(name, whole, asked=asked, decimal=decimal, order=order)
    if not found.used:
        return found
    if found.kind == "date" and found.order in ("dmy", "mdy"):
        order = found.order
    # Any two values of a boolean column are categories, too, and those of a part are fewer.
    kind: Kind = "category" if found.kind == "boolean" else found.kind
    if found.kind == "number":
        decimal = found.decimal
    own = find_type(name, _without(part, found.strays), asked=kind, decimal=decimal, order=order)
    if own.kind != kind:  # constant, or empty, in this part, from which nothing can be learned
        return own
    if kind == "category":
        return replace(own, kind=found.kind)
    return replace(own, order=found.order, strays=found.strays, remarks=found.remarks)


def _without(column: Column, strays: tuple[str, ...]) -> Column:
    """The column with gaps in place of some texts."""
    if isinstance(column, NumberColumn) or not strays:
        return column
    is_stray = np.append(np.isin(column.values, strays), [False])
    return TextColumn(np.where(is_stray[column.codes], -1, column.codes), column.values)
