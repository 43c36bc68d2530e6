"""The type of a column if only a part of its rows is learned from."""

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
    """Return the type of a column: its kind from all rows, its statistics from a part of them.

    So the kind does not depend on which rows are kept for a test, and a text among numbers counts
    as a gap in the test rows too.

    part, whole: the column in the rows to learn from, and in all rows.
    source_order: (n,), the indices in ``whole`` of the rows in the order of the source; None if
        ``whole`` has that order.

    The other arguments, and the errors, are those of `find_type`.
    """
    whole = whole if source_order is None else whole.take(source_order)
    found = find_type(name, whole, asked=asked, decimal=decimal, order=order)
    if not found.used:
        return found
    if found.kind == "date" and found.order in ("dmy", "mdy"):
        order = found.order
    # A part may have only one of the two values of a boolean column, so it is tried as a category.
    kind: Kind = "category" if found.kind == "boolean" else found.kind
    if found.kind == "number":
        decimal = found.decimal
    own = find_type(name, _without(part, found.strays), asked=kind, decimal=decimal, order=order)
    if own.kind != kind:  # the part is constant or empty: nothing can be learned from it
        return own
    if kind == "category":
        return replace(own, kind=found.kind)
    return replace(own, order=found.order, strays=found.strays, remarks=found.remarks)


def _without(column: Column, strays: tuple[str, ...]) -> Column:
    """Return the column with gaps in place of the texts ``strays``."""
    if isinstance(column, NumberColumn) or not strays:
        return column
    is_stray = np.append(np.isin(column.values, strays), [False])
    return TextColumn(np.where(is_stray[column.codes], -1, column.codes), column.values)
