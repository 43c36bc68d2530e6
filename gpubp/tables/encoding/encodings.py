"""How a column becomes numbers: one class per kind of column."""

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
from gpubp.tables.column_types.statistics import Statistics
from gpubp.tables.column_types.text_types import BOOLEANS, boolean_pair
from gpubp.tables.encoding.encoded import Bound, Lookup, OneHot, Standardised
from gpubp.tables.encoding.strays import Where, gaps_for, without_infinite
from gpubp.tables.table import DataError

Array = NDArray[Any]


IF_EMPTY = ", + 1 if empty"  # the indicator of gaps


class Encoding(Protocol):
    """How one column is encoded."""

    @property
    def type(self) -> ColumnType:
        """What the column means."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the numbers per row."""

    @property
    def description(self) -> str:
        """For people."""

    @property
    def fill(self) -> float | str | None:
        """What a gap counts as; None where it is the mean of each output, or a value of its own."""

    def renamed(self, name: str) -> Encoding:
        """The same for a column of another name."""

    def bind(self, column: Column, where: Where, dtype: DTypeLike) -> Bound:
        """Check a column of new rows: cells that do not fit are gaps, with a StrayCellWarning.

        Raises DataError where they are many, or a number is too large.
        """


@dataclass(frozen=True)
class NumberEncoding:
    """Standardised; gaps become the median, with an indicator if training had any."""

    type: ColumnType

    @classmethod
    def fit(cls, found: ColumnType) -> NumberEncoding:
        """Say what gaps become; all else is in the statistics of the type."""
        if found.gaps and found.statistics is not None:
            found = found.noted(f"empty cells count as {found.statistics.median:.6g}, the median")
        return cls(found)

    @property
    def outputs(self) -> tuple[str, ...]:
        name = self.type.name
        return (name, f"{name} is missing") if self.type.gaps else (name,)

    @property
    def description(self) -> str:
        return "standardised" + IF_EMPTY * (self.type.gaps > 0)

    @property
    def fill(self) -> float:
        return self.statistics.median

    @property
    def statistics(self) -> Statistics:
        assert self.type.statistics is not None  # of every number column in use
        return self.type.statistics

    def renamed(self, name: str) -> NumberEncoding:
        return replace(self, type=replace(self.type, name=name))

    def bind(self, column: Column, where: Where, dtype: DTypeLike) -> Bound:
        if isinstance(column, NumberColumn):
            values = without_infinite(column, self.type.strays, where)
            return self._standardised(values, where, dtype)
        numbers = read_numbers(column.values, self.type.decimal)
        is_stray = np.isin(column.values, self.type.strays)
        numbers[is_stray] = np.nan  # also a code such as 007, which would be 7
        wrong = np.isnan(numbers) & ~is_stray
        gaps_for(column, wrong, where, self._reason(column.values[wrong]))
        used = np.append(np.where(column.counts() > 0, numbers, np.nan), np.nan)
        bound = self._standardised(used, lambda place: where(_row_of(column, place)), dtype)
        table = np.empty((len(used), bound.entries), dtype)
        bound.dense(slice(None), table)
        return Lookup(column.codes, table)

    def _reason(self, values: Array) -> str:
        """Why texts do not fit, with the option that reads the first if another sign does."""
        other = "." if self.type.decimal == "," else ","
        if len(values) and other in decimals_of(values[0]):
            sign = {",": "comma", ".": "point"}[self.type.decimal]
            return f"is no number with a decimal {sign} (--decimal {other} reads it)"
        return "is no number"

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
                        f"{where(row)}: {float(number)!r} is too large; "
                        f"training had {found.low:g} to {found.high:g}"
                    )
        fill = (found.median - found.mean) / found.scale
        return Standardised(values, found.mean, found.scale, fill, self.type.gaps > 0)


@dataclass(frozen=True)
class BooleanEncoding:
    """0 or 1; gaps become ``common``, the more frequent one, with an indicator if training had any.

    words: for false and true, casefolded.
    """

    type: ColumnType
    words: tuple[str, str]
    common: bool

    @classmethod
    def fit(cls, found: ColumnType, column: Column) -> BooleanEncoding:
        """Learn the words and the more frequent value."""
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
        numbers = read_numbers(text.values, ".", strict=True)  # "1.0", as other files write 1
        bits = np.where((bits < 0) & np.isin(numbers, (0, 1)), numbers == 1, bits)
        gaps_for(text, bits < 0, where, f"is neither {self.words[0]!r} nor {self.words[1]!r}")
        bits = np.append(bits, -1)
        table = np.zeros((len(bits), len(self.outputs)), dtype)
        table[:, 0] = np.where(bits < 0, self.common, bits)
        table[bits < 0, 1:] = 1
        return Lookup(text.codes, table)


@dataclass(frozen=True)
class CategoryEncoding:
    """One-hot: the kept values, then the others, then gaps, the last two if training had any.

    values: as written, in ascending order.
    from_numbers: whether training had a column of numbers, so that "1.0" is 1.
    """

    type: ColumnType
    values: tuple[str, ...]
    other: bool
    from_numbers: bool

    @classmethod
    def fit(
        cls, found: ColumnType, column: Column, min_frequency: int, max_categories: int
    ) -> CategoryEncoding:
        """Keep the most frequent values that ``min_frequency`` rows have; ties go by the value."""
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
        """Find the values that are equal as numbers, such as 1 and "1.0", where one alone is."""
        by_number: dict[float, list[int]] = {}
        for place, value in enumerate(self.values):
            for number in _exact_number(value):
                by_number.setdefault(number, []).append(place)
        for i, text in enumerate(texts):
            for number in _exact_number(text) if places[i] < 0 else ():
                equal = by_number.get(number, [])
                places[i] = equal[0] if len(equal) == 1 else -1


def _rare(rare: int, distinct: int, min_frequency: int) -> str:
    """The remark on values that are too rare for inputs of their own."""
    verbs = "occurs", "is input 'other'"
    if rare > 1:
        verbs = "occur", "share one input, 'other'"
    often = "once" if min_frequency == 2 else f"in fewer than {min_frequency} rows"
    return f"{rare:,} of {distinct:,} values {verbs[0]} {often} and {verbs[1]}"


def _exact_number(text: str) -> Iterator[float]:
    """The number that a text is, if float64 tells it from its neighbours."""
    for number in read_numbers([text], "."):
        if abs(number) < LARGEST_INTEGER:
            yield float(number)


def _row_of(column: TextColumn, code: int) -> int:
    return int(np.argmax(column.codes == code))
