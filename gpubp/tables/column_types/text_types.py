"""Detect the type of a column of text from its distinct values and their numbers of rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpubp.tables.column import MISSING, TextColumn
from gpubp.tables.column_types.column_type import (
    FEWEST_IDS,
    ColumnError,
    ColumnType,
    Kind,
    differ,
    rows_of,
    short,
)
from gpubp.tables.column_types.dates import find_dates, parse_dates
from gpubp.tables.column_types.numbers import (
    doubt,
    find_decimal,
    is_ambiguous,
    read_numbers,
    written,
)
from gpubp.tables.column_types.statistics import SortedNumbers, is_sentinel

Array = NDArray[Any]

# The word for false comes first. A column is boolean if its values are those of one pair, in upper
# or lower case.
BOOLEANS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"))

ID_SHARE = 0.95  # from so many distinct values per row on, text is an id
TEXT_SHARE = 0.5  # if more than this part of the rows have a unique value, text is not a category
LONG_CELL = 50  # average number of characters from which on cells are long
LONG_TEXT_SHARE = 0.1  # with more distinct values per row, long cells are free text
STRAY_SHARE = 0.3  # largest part of the rows of a number column with cells that are not numbers
MOST_STRAYS = 3  # distinct cells that are not numbers; ten times as many must be numbers

_MARKERS = {text.casefold() for text in MISSING} | {"n.a.", "k.a.", "--"}
_MOST_WORDS = 2**5 + 2**4  # all spellings of false and true in upper and lower case
_FEWEST_DATES = 10  # distinct dates; with fewer, no date is called an outlier
_PLAIN = re.compile(r"[-+.0-9eE]*")
_SAMPLE = 200  # values of a column that are tried before all are


@dataclass(frozen=True, eq=False)
class _Texts:
    """The distinct values of the rows of a column, and the number of rows of each."""

    column: TextColumn
    values: Array
    counts: Array

    @classmethod
    def of(cls, column: TextColumn) -> _Texts:
        counts = column.counts()
        return cls(column, column.values[counts > 0], counts[counts > 0])

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    def mostly(self, right: Callable[[Array], Array]) -> bool:
        """Return whether at least half of a sample is ``right``: if not, skip all values."""
        sample = self.values[:: max(1, len(self.values) // _SAMPLE)]
        return bool(np.mean(right(sample)) >= 0.5)

    def strays(self, wrong: Array) -> tuple[str, ...] | None:
        """Return the values that are ``wrong`` if they are few; None if they are many."""
        count = int(wrong.sum())
        few = count <= MOST_STRAYS and 10 * count <= len(wrong) - count
        if few and self.counts[wrong].sum() <= STRAY_SHARE * self.rows:
            return tuple(self.values[wrong])
        return None

    def complaint(self, wrong: Array, noun: str) -> ColumnError:
        """Return the error for cells that are ``wrong``, with their number and the first one.

        noun: what the cells should be, such as "number".
        """
        is_wrong = np.zeros(len(self.column.values) + 1, np.bool_)
        is_wrong[:-1][self.column.counts() > 0] = wrong
        rows = np.flatnonzero(is_wrong[self.column.codes])
        cell = short(self.column.cell(int(rows[0])))
        count = f"{len(rows):,} of {self.rows:,} cells"
        return ColumnError(f"has no {noun} in {count}, such as {cell}", int(rows[0]))

    def notes(self, strays: tuple[str, ...], noun: str) -> list[str]:
        """Return remarks on values that count as gaps, except usual words for missing values."""
        rows = [int(self.counts[np.flatnonzero(self.values == stray)[0]]) for stray in strays]
        return [
            f"{short(stray)} in {rows_of(count)} is not a {noun} and counts as a gap"
            for stray, count in zip(strays, rows, strict=True)
            if stray.casefold() not in _MARKERS
        ]


def type_of_text(
    name: str,
    column: TextColumn,
    asked: Kind | None = None,
    decimal: str | None = None,
    order: str | None = None,
) -> ColumnType:
    """Return the type of a column of text; the arguments are those of `find_type`."""
    texts = _Texts.of(column)
    found = ColumnType(name, "category", len(column) - texts.rows, len(texts.values))
    if not texts.rows:
        return replace(found, kind="empty").noted("left out: no cell has a value")
    if found.distinct == 1 and not found.gaps:
        value = short(texts.values[0])
        return replace(found, kind="constant").noted(f"left out: {value} in every row")
    if asked == "category":
        return found
    if asked is None and found.distinct > 1 and boolean_pair(texts.values) is not None:
        return replace(found, kind="boolean")
    number = None if asked == "date" else _number(found, texts, asked, decimal)
    date = None if asked == "number" or number else _date(found, texts, asked, order)
    return number or date or _other(found, texts)


def boolean_pair(values: Array) -> tuple[str, str] | None:
    """Return the words for false and true if all texts are one of the two; otherwise None."""
    if len(values) > _MOST_WORDS:
        return None
    words = {value.casefold() for value in values}
    return next((pair for pair in BOOLEANS if words <= set(pair)), None)


def with_statistics(found: ColumnType, numbers: SortedNumbers) -> ColumnType:
    """Return the type of a number column with its statistics, and remarks on outliers like 999."""
    try:
        found = replace(found, statistics=numbers.statistics())
    except ValueError as error:
        raise ColumnError(f"cannot be scaled: {error}") from None
    for number, rows in numbers.far_ends():
        if is_sentinel(number):
            found = found.noted(_far(written(np.array([number]))[0], rows))
    return found


def _number(
    found: ColumnType, texts: _Texts, asked: Kind | None, decimal: str | None
) -> ColumnType | None:
    """Return the type of text in which all values, or nearly all, are numbers; None for others."""
    strict = asked is None
    if strict and not texts.mostly(lambda some: ~np.isnan(_numbers(some))):
        return None
    mark: str | None = find_decimal(texts.values, decimal)
    both = (",", ".") if decimal == "," else (".", ",")
    marks: tuple[str, ...] = both if mark is None else (mark,)
    wrong = {mark: np.isnan(read_numbers(texts.values, mark, strict=strict)) for mark in marks}
    are_numbers, mark = mark is not None, min(marks, key=lambda mark: int(wrong[mark].sum()))
    # Even if all values look like numbers, some may be codes such as 01, or beyond float64.
    beyond = are_numbers and bool(np.isnan(read_numbers(texts.values, mark)).any())
    noun = "number that float64 holds" if beyond else "number"
    strays = texts.strays(wrong[mark])
    if strays is None or (strict and _are_codes(texts.values, strays)):
        if asked == "number":
            raise texts.complaint(wrong[mark], noun)
        return None
    values = np.append(read_numbers(texts.column.values, mark), np.nan)
    values[:-1][np.isin(texts.column.values, strays)] = np.nan
    numbers = SortedNumbers.of(values[texts.column.codes])
    found = replace(found, kind="number", decimal=mark, strays=strays, gaps=numbers.gaps)
    remarks = _reading(texts.values[~np.isin(texts.values, strays)], mark, decimal)
    return with_statistics(found.noted(*remarks, *texts.notes(strays, noun)), numbers)


def _are_codes(values: Array, strays: Sequence[str]) -> bool:
    """Return whether strays such as 01 have as many digits as other values: all are codes then."""
    lengths = {len(value) for value in set(values) - set(strays) if value.isdecimal()}
    return any(stray.isdecimal() and len(stray) in lengths for stray in strays)


def _reading(values: Array, mark: str, decimal: str | None) -> list[str]:
    """Return a remark on how commas and units in numbers are read; [] if there are none."""
    example = next((value for value in values if not _PLAIN.fullmatch(value)), None)
    doubtful = is_ambiguous(values) if decimal is None else None
    if doubtful is None and example is None:
        return []
    if doubtful is not None:
        return [doubt(doubtful, mark)]
    return [f"{example!r} is read as {written(read_numbers([str(example)], mark))[0]}"]


def _date(
    found: ColumnType, texts: _Texts, asked: Kind | None, order: str | None
) -> ColumnType | None:
    """Return the type of text in which all values, or nearly all, are dates; None for others."""
    if asked is None and not texts.mostly(lambda some: ~np.isnat(_times(some, order))):
        return None
    dates = find_dates(texts.values, order)
    wrong = np.ones(found.distinct, np.bool_) if dates is None else np.isnat(dates.times)
    strays = texts.strays(wrong)
    if dates is None or strays is None:
        if asked == "date":
            raise texts.complaint(wrong, "date")
        return None
    gaps = found.gaps + int(texts.counts[wrong].sum())
    if not gaps and (dates.times == dates.times[0]).all():
        return replace(found, kind="constant").noted(f"left out: {texts.values[0]} in every row")
    found = replace(found, kind="date", order=dates.order, strays=strays, gaps=gaps)
    if dates.remark is not None:
        other = "mdy" if dates.order == "dmy" else "dmy"
        hint = f"; otherwise give --date '{found.name}:{other}'" if dates.assumed else ""
        found = found.noted(dates.remark + hint)
    if dates.zones:
        found = found.noted("time zones are ignored")
    if found.distinct >= _FEWEST_DATES:
        found = found.noted(*_far_dates(texts, dates.times, ~wrong))
    return found.noted(*texts.notes(strays, "date"))


def _far_dates(texts: _Texts, times: Array, known: Array) -> list[str]:
    """Return remarks on the first and the last date if they are outliers, such as 9999-12-31."""
    numbers = SortedNumbers.of(times[known].astype(np.int64))
    ends = [
        times[known].min() if number == numbers.values[0] else times[known].max()
        for number, _ in numbers.far_ends()
    ]
    places = [int(np.argmax(times == end)) for end in ends]
    return [_far(texts.values[place], int(texts.counts[place])) for place in places]


def _numbers(values: Array) -> Array:
    """Return the values as numbers with the decimal sign that fits more of them; NaN for others."""
    both = [read_numbers(values, mark) for mark in (".", ",")]
    return min(both, key=lambda numbers: int(np.isnan(numbers).sum()))


def _times(values: Array, order: str | None) -> Array:
    dates = find_dates(values, order)
    return parse_dates(values, "ymd") if dates is None else dates.times


def _other(found: ColumnType, texts: _Texts) -> ColumnType:
    """Return the type of text that is not numbers, dates or booleans: id, text or category."""
    rows, count = texts.rows, found.distinct
    share = count / rows
    length = sum(map(len, texts.values)) / count
    spaced = sum(" " in value for value in texts.values) > count / 2
    if rows < FEWEST_IDS:
        return found
    if share >= ID_SHARE and length < LONG_CELL and not spaced:
        return replace(found, kind="id").noted(differ(count, rows))
    alone = int((texts.counts == 1).sum())
    if alone > TEXT_SHARE * rows or (length >= LONG_CELL and share > LONG_TEXT_SHARE):
        example = short(texts.values[0])
        remark = f"left out: {count:,} different texts in {rows_of(rows)}, such as {example}"
        return replace(found, kind="text").noted(remark)
    return found


def _far(text: str, rows: int) -> str:
    return f"{text} in {rows_of(rows)} is an outlier: give it as na (--na) if it means missing"
