"""Encode a column as numbers: one class per kind of column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp.tables.column import Column, NumberColumn, TextColumn
from gpubp.tables.column_types.column_type import ColumnType
from gpubp.tables.column_types.find_type import as_text
from gpubp.tables.column_types.numbers import LARGEST_INTEGER, decimals_of, read_numbers
from gpubp.tables.column_types.statistics import SortedNumbers, Statistics
from gpubp.tables.column_types.text_types import BOOLEANS, boolean_pair
from gpubp.tables.encoding.encoded import Bound, Lookup, OneHot, Robust, Standardised
from gpubp.tables.encoding.robust_scale import RobustScale
from gpubp.tables.encoding.strays import Where, gaps_for, without_infinite
from gpubp.tables.table import DataError

Array = NDArray[Any]


IF_EMPTY = ", + 1 if empty"  # describes the indicator of gaps


class Encoding(Protocol):
    """The encoding of one column."""

    @property
    def type(self) -> ColumnType:
        """The type of the column."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the encoded columns."""

    @property
    def description(self) -> str:
        """The encoding in words, for the user."""

    @property
    def fill(self) -> float | str | None:
        """The value that replaces gaps; None if gaps become the mean, or have their own output."""

    def renamed(self, name: str) -> Encoding:
        """Return the same encoding for a column of another name."""

    def bind(self, column: Column, where: Where, dtype: DTypeLike) -> Bound:
        """Check a column of new rows and prepare it for encoding.

        Cells that do not fit the kind of the column count as gaps, with a StrayCellWarning.

        Raises DataError if they are many, or if a number is too large.
        """


@dataclass(frozen=True)
class NumberEncoding:
    """Scale numbers; gaps become the median, with an indicator if training had gaps.

    robust: the scale and the tails; None to standardise.
    """

    type: ColumnType
    robust: RobustScale | None = None

    @classmethod
    def fit(cls, found: ColumnType, column: Column | None = None) -> NumberEncoding:
        """Return the encoding; add a remark on the value that replaces gaps, if there are any.

        column: the training rows, for robust scaling; None to standardise.
        """
        if found.gaps and found.statistics is not None:
            found = found.noted(f"empty cells count as {found.statistics.median:.6g}, the median")
        if column is None:
            return cls(found)
        return cls(found, RobustScale.of(SortedNumbers.of(numbers_in(column, found))))

    @property
    def outputs(self) -> tuple[str, ...]:
        name = self.type.name
        tails = [f"{name} tails"] * self._has_tail
        return (name, *tails, *[f"{name} is missing"] * (self.type.gaps > 0))

    @property
    def description(self) -> str:
        scaled = "standardised" if self.robust is None else "robust, clipped"
        return scaled + ", + tails" * self._has_tail + IF_EMPTY * (self.type.gaps > 0)

    @property
    def fill(self) -> float:
        return self.statistics.median

    @property
    def statistics(self) -> Statistics:
        assert self.type.statistics is not None  # of every number column in use
        return self.type.statistics

    @property
    def is_binary(self) -> bool:
        """Whether the training column had at most two values."""
        return self.statistics.has_two_values

    @property
    def _has_tail(self) -> bool:
        return self.robust is not None and self.robust.has_tail

    def renamed(self, name: str) -> NumberEncoding:
        return replace(self, type=replace(self.type, name=name))

    def bind(self, column: Column, where: Where, dtype: DTypeLike) -> Bound:
        if isinstance(column, NumberColumn):
            values = without_infinite(column, self.type.strays, where)
            return self._bound(values, where, dtype)
        numbers = _numbers_of_texts(column, self.type)
        wrong = np.isnan(numbers) & ~np.isin(column.values, self.type.strays)
        gaps_for(column, wrong, where, self._reason(column.values[wrong]))
        used = np.append(np.where(column.counts() > 0, numbers, np.nan), np.nan)
        bound = self._bound(used, lambda place: where(_row_of(column, place)), dtype)
        table = np.empty((len(used), bound.entries), dtype)
        bound.dense(slice(None), table)
        return Lookup(column.codes, table)

    def _reason(self, values: Array) -> str:
        """Return why texts are not numbers, with advice if the other decimal sign would fit."""
        other = "." if self.type.decimal == "," else ","
        if len(values) and other in decimals_of(values[0]):
            sign = {",": "comma", ".": "point"}[self.type.decimal]
            return f"is not a number with a decimal {sign} (--decimal {other} reads it)"
        return "is not a number"

    def _bound(self, values: Array, where: Where, dtype: DTypeLike) -> Bound:
        if self.robust is not None:
            return Robust(values, self.robust, self.type.gaps > 0)
        return self._standardised(values, where, dtype)

    def _standardised(self, values: Array, where: Where, dtype: DTypeLike) -> Standardised:
        found = self.statistics
        if len(values):
            for number in (np.fmin.reduce(values), np.fmax.reduce(values)):
                with np.errstate(over="ignore", invalid="ignore"):
                    scaled = (np.float64(number) - found.mean) / found.scale
                    fits = np.isnan(number) or np.isfinite(scaled.astype(dtype))
                if not fits:
                    row = int(np.argmax(values == number))
                    raise DataError(
                        f"{where(row)}: {float(number)!r} is too large; training had "
                        f"{found.low:g} to {found.high:g}; correct the cell or remove the row"
                    )
        fill = (found.median - found.mean) / found.scale
        return Standardised(values, found.mean, found.scale, fill, self.type.gaps > 0)


@dataclass(frozen=True)
class BooleanEncoding:
    """Encode a boolean as 0 or 1; gaps get an indicator if training had gaps.

    words: the words for false and true, casefolded.
    common: the more frequent value, which replaces gaps.
    """

    type: ColumnType
    words: tuple[str, str]
    common: bool

    @classmethod
    def fit(cls, found: ColumnType, column: Column) -> BooleanEncoding:
        """Return the encoding with the words and the more frequent value of ``column``."""
        text = as_text(column)
        counts = text.counts()
        words = boolean_pair(text.values[counts > 0]) or BOOLEANS[0]
        true = [value.casefold() == words[1] for value in text.values]
        return cls(found, words, 2 * int(counts[true].sum()) > int(counts.sum()))

    @property
    def outputs(self) -> tuple[str, ...]:
        name = self.type.name
        return (name, f"{name} is missing") if self.type.gaps else (name,)

    @property
    def description(self) -> str:
        return f"1 for {self.words[1]}" + IF_EMPTY * (self.type.gaps > 0)

    @property
    def fill(self) -> str:
        return self.words[self.common]

    def renamed(self, name: str) -> BooleanEncoding:
        return replace(self, type=replace(self.type, name=name))

    def bind(self, column: Column, where: Where, dtype: DTypeLike) -> Bound:
        text = as_text(column)
        meanings = {"0": 0, "1": 1, "false": 0, "true": 1, self.words[0]: 0, self.words[1]: 1}
        bits = np.array([meanings.get(value.casefold(), -1) for value in text.values], np.int64)
        numbers = read_numbers(text.values, ".", strict=True)  # other files may write 1 as "1.0"
        bits = np.where((bits < 0) & np.isin(numbers, (0, 1)), numbers == 1, bits)
        gaps_for(text, bits < 0, where, f"is neither {self.words[0]!r} nor {self.words[1]!r}")
        bits = np.append(bits, -1)
        table = np.zeros((len(bits), len(self.outputs)), dtype)
        table[:, 0] = np.where(bits < 0, self.common, bits)
        table[bits < 0, 1:] = 1
        return Lookup(text.codes, table)


@dataclass(frozen=True)
class CategoryEncoding:
    """One-hot encode a category.

    The outputs are one per kept value, one for other values and one for gaps, the last two only if
    training had any.

    values: the kept values, as written, in ascending order.
    other: whether there is an output for other values.
    from_numbers: whether the training column was numeric, so that "1.0" equals 1.
    """

    type: ColumnType
    values: tuple[str, ...]
    other: bool
    from_numbers: bool

    @classmethod
    def fit(
        cls, found: ColumnType, column: Column, min_frequency: int, max_categories: int
    ) -> CategoryEncoding:
        """Return the encoding that keeps the most frequent values of ``column``.

        A kept value has at least ``min_frequency`` rows; at most ``max_categories`` are kept, in
        case of ties the smaller ones.
        """
        text = as_text(column)
        counts = text.counts()
        frequent = np.flatnonzero(counts >= min_frequency)
        order = frequent[np.argsort(-counts[frequent], kind="stable")][:max_categories]
        values = tuple(text.values[np.sort(order)])
        other = len(values) < int(np.count_nonzero(counts))
        if len(order) < len(frequent):
            found = found.noted(
                f"{found.distinct:,} values, the {len(order):,} most frequent are kept"
            )
        elif other and values:
            found = found.noted(_rare(found.distinct - len(values), found.distinct, min_frequency))
        return cls(found, values, other, isinstance(column, NumberColumn))

    @property
    def outputs(self) -> tuple[str, ...]:
        name = self.type.name
        others = [f"{name} is another"] * self.other
        gaps = [f"{name} is missing"] * (self.type.gaps > 0)
        return (*(f"{name}={value}" for value in self.values), *others, *gaps)

    @property
    def description(self) -> str:
        count = len(self.values)
        text = f"one-hot, {count:,} value{'' if count == 1 else 's'}"
        return text + " + other" * self.other + " + missing" * (self.type.gaps > 0)

    @property
    def fill(self) -> None:
        return None

    def renamed(self, name: str) -> CategoryEncoding:
        return replace(self, type=replace(self.type, name=name))

    def bind(self, column: Column, where: Where, dtype: DTypeLike) -> Bound:
        text, count = as_text(column), len(self.values)
        unseen = count if self.other else -1
        gap = count + self.other if self.type.gaps else unseen
        known = {value: place for place, value in enumerate(self.values)}
        places = [known.get(value, -1) for value in text.values]
        if self.from_numbers or isinstance(column, NumberColumn):
            self._match_numbers(text.values, places)
        found = np.array([*(unseen if place < 0 else place for place in places), gap], np.int32)
        return OneHot(text.codes, found)

    def _match_numbers(self, texts: Array, places: list[int]) -> None:
        """Set the places of unknown texts that equal exactly one value as numbers: "1.0" and 1."""
        by_number: dict[float, list[int]] = {}
        for place, value in enumerate(self.values):
            for number in _exact_number(value):
                by_number.setdefault(number, []).append(place)
        for i, text in enumerate(texts):
            for number in _exact_number(text) if places[i] < 0 else ():
                equal = by_number.get(number, [])
                places[i] = equal[0] if len(equal) == 1 else -1


def _rare(rare: int, distinct: int, min_frequency: int) -> str:
    """Return the remark on values that are too rare for inputs of their own."""
    verbs = "occurs", "is input 'other'"
    if rare > 1:
        verbs = "occur", "share one input, 'other'"
    often = "once" if min_frequency == 2 else f"in fewer than {min_frequency} rows"
    return f"{rare:,} of {distinct:,} values {verbs[0]} {often} and {verbs[1]}"


def _exact_number(text: str) -> Iterator[float]:
    """Yield a text as a number, if it is one and exact in float64."""
    for number in read_numbers([text], "."):
        if abs(number) < LARGEST_INTEGER:
            yield float(number)


def numbers_in(column: Column, found: ColumnType) -> Array:
    """Return the numbers (n,) of a column; NaN for gaps and for cells that count as gaps."""
    if isinstance(column, TextColumn):
        numbers: Array = np.append(_numbers_of_texts(column, found), np.nan)[column.codes]
        return numbers
    values = column.values
    if values.dtype.kind == "f" and np.isinf(values).any():
        return np.where(np.isinf(values), values.dtype.type(np.nan), values)
    return values


def _numbers_of_texts(column: TextColumn, found: ColumnType) -> Array:
    """Return the distinct texts of a column as numbers; NaN for strays and for other texts."""
    numbers = read_numbers(column.values, found.decimal)
    # Strays may be readable, such as the code 007 as 7.
    numbers[np.isin(column.values, found.strays)] = np.nan
    return numbers


def _row_of(column: TextColumn, code: int) -> int:
    return int(np.argmax(column.codes == code))
