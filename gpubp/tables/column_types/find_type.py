"""What the columns of a table mean: numbers, categories, dates, and columns of no use."""

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

FEWEST_DATES = 5  # different numbers such as 20201231, from which they are dates

MOST_CODES, FEWEST_ROWS_OF_CODES = 20, 101  # whole numbers that may be zip codes

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
    """What the values of a column mean, by rules that look at nothing else.

    A column without values is empty, one with a single value and no gaps is constant.
    Numbers are numbers however many values they have, but for ids: whole numbers that count up
    by 1 from row to row, or that all differ under a name such as "id" (30 rows or more).
    Text is boolean (true/false, yes/no, t/f, y/n), numbers (with decimal commas or thousands
    separators), dates, or else one of these:
    - id, where at least 95 % of 30 or more values differ, and text where these are long;
    - text, where more than half of the rows have a value that no other row has, or a tenth of
      the cells differ and have 50 characters on average;
    - a category. So 5,000 zip codes in 100,000 rows are a category, and 900 names of 1,000
      people are not.
    Up to 3 other texts in 30 % of the rows of a column of numbers or dates are gaps.

    asked: number, category or date: what the user takes the column for.
    decimal: "." or ",", for numbers in text that could be either.
    order: "dmy" or "mdy", for dates that could be either.
    Infinite numbers are gaps. Raises ColumnError where the column cannot be what was asked.
    """
    if isinstance(column, TextColumn):
        return type_of_text(name, column, asked, decimal, order)
    if asked in ("category", "date"):
        return type_of_text(name, as_text(column), asked, decimal, order)
    return _type_of_numbers(name, column, asked)


def as_text(column: Column) -> TextColumn:
    """The column as text, numbers as a person writes them: 1 and not 1.0."""
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
        take = f"; --numeric {shlex.quote(name)} takes them as numbers"
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
    """How many rows have inf and -inf, where any has."""
    if values.dtype.kind != "f" or not np.isinf(values).any():
        return {}
    counts = {str(number): int((values == number).sum()) for number in (-np.inf, np.inf)}
    return {text: count for text, count in counts.items() if count}


def _with_infinite(found: ColumnType, infinite: dict[str, int]) -> ColumnType:
    """The type of the finite numbers, with a remark on the others, which are gaps."""
    remarks = [
        f"{text} in {rows_of(count)} is no finite number and counts as a gap"
        for text, count in infinite.items()
    ]
    return replace(found, strays=(*found.strays, *infinite)).noted(*remarks)


def _counts_rows(name: str, values: Array, numbers: SortedNumbers) -> bool:
    """Whether numbers are ids: whole, all different, and counting rows or named like an id."""
    count = len(numbers.values)
    if count < FEWEST_IDS or numbers.gaps or not numbers.is_whole():
        return False
    if numbers.distinct() < count:
        return False
    if _is_id_name(name):
        return True
    # Years count up too.
    years = numbers.values[0] >= 1500 and numbers.values[-1] <= 2200
    return not years and bool((values[1:] - values[:-1] == 1).all())


def _like_dates(numbers: SortedNumbers) -> bool:
    """Whether numbers such as 20201231 are all dates."""
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
    """Whether numbers may be codes of five digits, such as zip codes (01067 is 1067 in a frame)."""
    values = numbers.values
    few = distinct <= MOST_CODES and len(values) >= FEWEST_ROWS_OF_CODES
    if not (few and values[0] >= 1000 and 10_000 <= values[-1] < 100_000 and numbers.is_whole()):
        return False
    return bool((values % 100 != 0).any())  # prices and wages are round


def _is_id_name(name: str) -> bool:
    return bool(_ID_NAME.fullmatch(name) or _CAMEL_ID.fullmatch(name))
