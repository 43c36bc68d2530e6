"""Find the types and encodings of the columns of a table; report all problems in one error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gpubp.tables.column import Column, NumberColumn
from gpubp.tables.column_types.column_type import ColumnError, ColumnType, Kind
from gpubp.tables.column_types.find_type import find_type
from gpubp.tables.column_types.part_types import type_of_part
from gpubp.tables.encoding.encode_dates import DateEncoding
from gpubp.tables.encoding.encodings import (
    BooleanEncoding,
    CategoryEncoding,
    Encoding,
    NumberEncoding,
)
from gpubp.tables.encoding.robust_scale import SCALINGS
from gpubp.tables.table import Array, DataError, Table, listed

# Below so many rows, min_frequency="auto" is 2, else 5. Measured with two columns of 60 to 1,000
# categories in 300 to 5,000 rows (R² of an MLP, mean of 3 or 4 seeds). If categories matter much,
# a min_frequency of 1, 2, 5 and 10 gives .526 .509 .533 .492 (300 rows) to .656 .650 .635 .619
# (5,000); if they matter little, .531 .528 .518 .548 (1,000). So 5 loses little in either case, but
# with 40 rows it would keep no value of a column with ten values.
_MANY_ROWS = 200


@dataclass(frozen=True)
class ColumnOptions:
    """The options of the user for columns; the fields are parameters of `TableEncoder`."""

    features: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    date: tuple[str, ...] = ()
    min_frequency: int | Literal["auto"] = "auto"
    # With two columns of 2,000 categories in 20,000 rows, limits of 127, 255, 511 and 2,000 give R²
    # .568 .588 .603 .605 if categories matter much, and .566 .566 .563 .565 if they matter little.
    max_categories: int = 500
    scaling: str = "standard"

    def __post_init__(self) -> None:
        least, most = self.min_frequency, self.max_categories
        if self.scaling not in SCALINGS:
            raise ValueError(f"scaling is {self.scaling!r}; give 'standard' or 'robust'")
        if least != "auto" and not _is_count(least):
            raise ValueError(f"min_frequency is {least!r}; give 'auto' or an integer of 1 or more")
        if not _is_count(most):
            raise ValueError(f"max_categories is {most!r}; give an integer of 1 or more")

    def least(self, rows: int) -> int:
        """Return the smallest number of rows of a category with an output of its own."""
        if self.min_frequency == "auto":
            return 2 if rows < _MANY_ROWS else 5
        return self.min_frequency


def names_given(option: str, value: Any) -> tuple[str, ...]:
    """Return the names that the user gave for an option; () for None.

    Raises ValueError for anything else than a list of names.
    """
    names = () if value is None else value
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"{option} is {value!r}; give a list of column names")
    names = tuple(names)
    if not all(isinstance(name, str | int | np.integer) for name in names):
        raise ValueError(f"{option} is {value!r}; give names as text")
    return tuple(map(str, names))  # frames may number their columns


def _is_count(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) > 0


def fit_columns(
    table: Table, options: ColumnOptions, whole: Table | None = None
) -> tuple[tuple[ColumnType, ...], tuple[Encoding, ...]]:
    """Return the types of the columns that are not excluded, and the encodings of the used ones.

    whole: the rows of ``table`` and others, to detect the kinds of the columns; None: ``table``.

    Raises one DataError for all columns that cannot be of the kind that the user gave, and if no
    column can be used.
    """
    asked, orders = _asked(table, options)
    types, problems = [], {}
    source_order = None if whole is None else _source_order(whole)
    for name, kind in asked.items():
        try:
            types.append(_type(table, name, kind, orders.get(name), whole, source_order))
        except ColumnError as error:
            problems[name] = _located(table if whole is None else whole, error, source_order)
    if problems:
        raise DataError(_all_at_once(table.source, problems))
    if not any(found.used for found in types):
        types = [_rescued(table, found) for found in types]
    pairs = [_encoded(found, table, options) if found.used else (found, None) for found in types]
    encodings = tuple(encoding for _, encoding in pairs if encoding is not None)
    if not encodings:
        raise DataError(_nothing_left(table, types, options))
    return tuple(found for found, _ in pairs), encodings


def _type(
    table: Table,
    name: str,
    kind: Kind | None,
    order: str | None = None,
    whole: Table | None = None,
    source_order: Array | None = None,
) -> ColumnType:
    column, decimal = table.columns[name], table.decimal
    if whole is None:
        found = find_type(name, column, asked=kind, decimal=decimal, order=order)
    else:
        found = type_of_part(
            name,
            column,
            whole.columns[name],
            asked=kind,
            decimal=decimal,
            order=order,
            source_order=source_order,
        )
    is_read = found.kind == "number" and isinstance(column, NumberColumn)
    return replace(found, decimal=table.sign) if is_read else found


def _source_order(table: Table) -> Array | None:
    """Return the indices (n,) of the rows in the order of the source; None if they have it."""
    return None if table.row_numbers is None else np.argsort(table.row_numbers)


def _asked(table: Table, options: ColumnOptions) -> tuple[dict[str, Kind | None], dict[str, str]]:
    """Return the columns to use, each with the kind that the user gave, and the orders of dates.

    A kind is None if the user gave none. The orders are "dmy" or "mdy", by name of the column.
    """
    dates, orders = [], {}
    for text in options.date:
        name, _, order = text.rpartition(":")
        if text not in table.columns and order in ("dmy", "mdy"):
            orders[name] = order
        dates.append(name if name in orders else text)
    kinds: dict[Kind, tuple[str, ...]] = {
        "category": options.categorical,
        "number": options.numeric,
        "date": tuple(dates),
    }
    features = table.names if options.features is None else options.features
    wanted = [*features, *options.drop, *options.categorical, *options.numeric, *dates]
    for name in dates:
        text, colon, order = name.rpartition(":")
        if colon and name not in table.columns and text in table.columns:
            raise DataError(
                f"{name!r} gives the order {order!r} for dates in {text!r}; give dmy or mdy, or "
                "none for dates that begin with the year"
            )
    table.require(tuple(dict.fromkeys(wanted)))
    asked: dict[str, Kind | None] = dict.fromkeys(features)
    for kind, names in kinds.items():
        for name in names:
            if asked.get(name, kind) not in (None, kind):
                raise DataError(
                    f"column {name!r} is given as {asked[name]} and as {kind}; choose one"
                )
            if name in asked:
                asked[name] = kind
    for name in table.categories.intersection(asked):
        asked[name] = asked[name] or "category"
    return {name: kind for name, kind in asked.items() if name not in options.drop}, orders


def _located(table: Table, error: ColumnError, source_order: Array | None) -> str:
    """Return the message of an error, with the number of its row in the source."""
    if error.row is None:
        return str(error)
    row = error.row if source_order is None else int(source_order[error.row])
    return f"{error} in {table.where(row).removeprefix(table.source + ', ')}"


def _rescued(table: Table, found: ColumnType) -> ColumnType:
    """Return an id column as a number, if it can be one; else the type unchanged.

    Used if no other column is left.
    """
    if found.kind != "id":
        return found
    try:
        number = _type(table, found.name, "number")
    except ColumnError:
        return found
    return number.noted("used although it counts rows, as no other column is left")


def _encoded(
    found: ColumnType, table: Table, options: ColumnOptions
) -> tuple[ColumnType, Encoding | None]:
    """Return the type of a used column with remarks, and its encoding; None if it has no output."""
    column = table.columns[found.name]
    encoding = _encoding(found, column, options, len(table))
    if isinstance(encoding, CategoryEncoding):
        least = options.least(len(table))
        if not encoding.values:
            remark = f"left out: none of its {found.distinct:,} values is in {least} rows or more"
            return replace(found, kind="text").noted(remark), None
    return encoding.type, encoding


def _encoding(found: ColumnType, column: Column, options: ColumnOptions, rows: int) -> Encoding:
    if found.kind == "number":
        return NumberEncoding.fit(found, column if options.scaling == "robust" else None)
    if found.kind == "boolean":
        return BooleanEncoding.fit(found, column)
    if found.kind == "date":
        return DateEncoding.fit(found, column)
    return CategoryEncoding.fit(found, column, options.least(rows), options.max_categories)


def summary_of(found: ColumnType, encoding: Encoding | None) -> dict[str, Any]:
    """Return an entry of `TableEncoder.summary`."""
    values = list(encoding.values) if isinstance(encoding, CategoryEncoding) else None
    return {
        "column": found.name,
        "type": found.kind,
        "encoding": None if encoding is None else encoding.description,
        "outputs": 0 if encoding is None else len(encoding.outputs),
        "gaps": found.gaps,
        "fill": None if encoding is None else encoding.fill,
        "categories": values,
        "reason": None if found.used else found.kind,
        "remarks": list(found.remarks),
        "used": found.used,
    }


def _all_at_once(source: str, problems: Mapping[str, str]) -> str:
    """Return one message for all columns that cannot be used.

    problems: a phrase for each column, by name.
    """
    noun, them = "a column", "it"
    if len(problems) > 1:
        noun, them = f"{len(problems)} columns", "them"
    details = "; ".join(f"{name!r} {problem}" for name, problem in problems.items())
    names = ",".join(problems)
    used = f"{source} has {noun} that cannot be used: {details}"
    return f"{used}; leave {them} out with --drop {names!r}"


def _nothing_left(table: Table, types: list[ColumnType], options: ColumnOptions) -> str:
    if not types:
        dropped = listed([name for name in options.features or table.names if name in options.drop])
        return f"{table.source} has no column to learn from: --drop names {dropped}; keep one"
    if len(table) == 1:
        return f"{table.source} has 1 sample (n_samples=1), from which nothing can be learned"
    reasons = [f"{found.name!r} {found.remarks[-1]}" for found in types[:5] if found.remarks]
    more = f" and {len(types) - 5} more" if len(types) > 5 else ""
    columns = "; ".join(reasons) + more if reasons else f"only {listed(table.names)}"
    return f"{table.source} has no column to learn from: {columns}"
