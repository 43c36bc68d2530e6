"""Detect the kinds of columns: numbers, categories, dates, and columns to leave out."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.column_type import (
    FEWEST_IDS,
    ColumnError,
    ColumnType,
    Kind,
    differ,
    rows_of,
)
from gpubp.tables.column_types.dates import parse_dates
from gpubp.tables.column_types.numbers import written
from gpubp.tables.column_types.statistics import SortedNumbers
from gpubp.tables.column_types.text_types import type_of_text, with_statistics

__all__ = ["ColumnError", "ColumnType", "Kind", "as_text", "find_type"]

Array = NDArray[Any]

FEWEST_DATES = 5  # distinct numbers such as 20201231; fewer are not taken as dates

# Up to so many distinct whole numbers, in at least so many rows, may be codes such as zip codes.
MOST_CODES, FEWEST_ROWS_OF_CODES = 20, 101

_ID_NAME = re.compile(r"(?:^|.*[_\W])(?:id|uuid|guid|index|rowid|row|nr)|unnamed.*", re.IGNORECASE)
_CAMEL_ID = re.compile(r".*[a-z]I[dD]")


def find_type(
    name: str,
    column: Column,
    *,
    asked: Kind | None = None,
    decimal: str | None = None,
    order: str | None = None,
) -> ColumnType:
    """Return the type of a column, detected from its values and its name.

    A column without values is empty. A column with a single value and no gaps is constant.

    A numeric column is a number, however few distinct values it has. With 30 rows or more, it is
    an id if its whole numbers increase by 1 from row to row, or if they are all distinct and the
    name is "id" or similar. Infinite numbers count as gaps.

    A column of text is the first of these that fits:
    - boolean: true/false, yes/no, t/f or y/n;
    - number: also with decimal commas or thousands separators;
    - date;
    - id: at least 95 % of 30 or more values are distinct and short;
    - text: more than half of the rows have a value that no other row has, or the cells have 50
      characters on average and more than a tenth of them are distinct;
    - category: all other text. For example, 5,000 zip codes in 100,000 rows are a category; 900
      names of 1,000 people are text.

    A column of numbers or dates may have other texts: up to 3 distinct ones, in up to 30 % of the
    rows. They count as gaps.

    name: of the column. column: its cells.
    asked: "number", "category" or "date" if the user gave the kind; None: detect it.
    decimal: "." or ",": decimal sign of numbers in text that could have either.
    order: "dmy" or "mdy": order of dates that could have either.

    Raises ColumnError if the column cannot be of the kind that the user gave.
    """
    if isinstance(column, TextColumn):
        return type_of_text(name, column, asked, decimal, order)
    if asked in ("category", "date"):
        return type_of_text(name, as_text(column), asked, decimal, order)
    return _type_of_numbers(name, column, asked)


def as_text(column: Column) -> TextColumn:
    """Return the column as text; whole numbers are written 1, not 1.0."""
    if isinstance(column, TextColumn):
        return column
    gaps = column.is_gap()
    numbers, places = np.unique(column.values[~gaps], return_inverse=True)
    texts = written(numbers)
    order = np.array(sorted(range(len(texts)), key=texts.__getitem__), np.intp)
    rank = np.empty(len(texts), np.int32)
    rank[order] = np.arange(len(texts), dtype=np.int32)
    codes = np.full(len(column), -1, np.int32)
    codes[~gaps] = rank[places]
    values = np.empty(len(texts), object)
    values[:] = [texts[place] for place in order]
    return TextColumn(codes, values)


def _type_of_numbers(name: str, column: NumberColumn, asked: Kind | None) -> ColumnType:
    infinite = infinite_of(column.values)
    if infinite:
        column = NumberColumn(np.where(np.isinf(column.values), np.nan, column.values))
        return _with_infinite(_type_of_numbers(name, column, asked), infinite)
    numbers = SortedNumbers.of(column.values)
    is_boolean = column.values.dtype.kind == "b" and asked != "number"
    kind: Kind = "boolean" if is_boolean else "number"
    found = ColumnType(name, kind, numbers.gaps, numbers.distinct())
    if not found.distinct:
        return replace(found, kind="empty").noted("left out: no cell has a value")
    if found.distinct == 1 and not found.gaps:
        value = written(numbers.values[:1])[0]
        return replace(found, kind="constant").noted(f"left out: {value} in every row")
    if asked is None and kind == "number" and _counts_rows(name, column.values, numbers):
        take = f"; use --numeric {shlex.quote(name)} if they are numbers"
        return replace(found, kind="id").noted(differ(found.distinct) + take)
    if asked is None and kind == "number" and _like_dates(numbers):
        found = type_of_text(name, as_text(column), "date")
        return found.noted(f"{written(numbers.values[:1])[0]} is read as a date; see --numeric")
    if kind == "boolean":
        return found
    if asked is None and _like_codes(numbers, found.distinct):
        codes = f"--categorical {shlex.quote(name)} if they are codes"
        found = found.noted(f"{found.distinct} distinct whole numbers; {codes}")
    return with_statistics(found, numbers)


def infinite_of(values: Array) -> dict[str, int]:
    """Return the number of rows with -inf and with inf, by text; without those that are 0."""
    if values.dtype.kind != "f" or not np.isinf(values).any():
        return {}
    counts = {str(number): int((values == number).sum()) for number in (-np.inf, np.inf)}
    return {text: count for text, count in counts.items() if count}


def _with_infinite(found: ColumnType, infinite: dict[str, int]) -> ColumnType:
    """Return the type with remarks on its infinite numbers, which count as gaps."""
    remarks = [
        f"{text} in {rows_of(count)} is not a finite number and counts as a gap"
        for text, count in infinite.items()
    ]
    return replace(found, strays=(*found.strays, *infinite)).noted(*remarks)


def _counts_rows(name: str, values: Array, numbers: SortedNumbers) -> bool:
    """Return whether numbers are ids: whole, distinct, and consecutive or named like an id."""
    count = len(numbers.values)
    if count < FEWEST_IDS or numbers.gaps or not numbers.is_whole():
        return False
    if numbers.distinct() < count:
        return False
    if _is_id_name(name):
        return True
    # Years may increase by 1 too, but are not ids.
    years = numbers.values[0] >= 1500 and numbers.values[-1] <= 2200
    return not years and bool((values[1:] - values[:-1] == 1).all())


def _like_dates(numbers: SortedNumbers) -> bool:
    """Return whether all numbers are dates such as 20201231."""
    if not (numbers.values[0] >= 18000101 and numbers.values[-1] <= 21991231):
        return False
    if not numbers.is_whole():
        return False
    distinct = np.unique(numbers.values)
    return (
        len(distinct) >= FEWEST_DATES
        and not np.isnat(parse_dates(written(distinct), "compact")).any()
    )


def _like_codes(numbers: SortedNumbers, distinct: int) -> bool:
    """Return whether numbers may be codes of five digits, such as zip codes.

    A code such as 01067 has four digits as a number.
    """
    values = numbers.values
    few = distinct <= MOST_CODES and len(values) >= FEWEST_ROWS_OF_CODES
    if not (few and values[0] >= 1000 and 10_000 <= values[-1] < 100_000 and numbers.is_whole()):
        return False
    return bool((values % 100 != 0).any())  # only round numbers are rather prices or wages


def _is_id_name(name: str) -> bool:
    return bool(_ID_NAME.fullmatch(name) or _CAMEL_ID.fullmatch(name))
