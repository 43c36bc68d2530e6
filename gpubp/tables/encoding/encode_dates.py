"""Encode dates as numbers: their parts, with periodic parts as sine and cosine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gpubp.tables.column import Column
from gpubp.tables.column_types.column_type import ColumnType
from gpubp.tables.column_types.dates import date_parts, parse_dates
from gpubp.tables.column_types.find_type import as_text
from gpubp.tables.column_types.statistics import SortedNumbers, Statistics
from gpubp.tables.encoding.encoded import Bound, Lookup
from gpubp.tables.encoding.encodings import IF_EMPTY
from gpubp.tables.encoding.strays import Where, gaps_for

Array = NDArray[Any]

# Periodic parts with their number of values; the other parts are standardised.
CIRCLES = {"month": 12, "weekday": 7, "hour": 24}
PARTS = ("year", "month", "day", "weekday", "hour", "minute", "second", "seconds")


@dataclass(frozen=True)
class DateEncoding:
    """Encode the parts of a date that vary in the training rows.

    Parts are standardised; month, weekday and hour become sine and cosine. A gap becomes 0 in each
    part, with an indicator output if the training rows have gaps.

    parts: name and statistics of each part; None instead of the statistics of a periodic part.
    example: the latest date of the training rows, as written, for messages.
    """

    type: ColumnType
    parts: tuple[tuple[str, Statistics | None], ...]
    example: str

    @classmethod
    def fit(cls, found: ColumnType, column: Column) -> DateEncoding:
        """Return the encoding for the parts that vary in ``column``."""
        text = as_text(column)
        times, counts = parse_dates(text.values, found.order), text.counts()
        known = ~np.isnat(times) & (counts > 0)
        parts: list[tuple[str, Statistics | None]] = []
        for name, values in date_parts(times[known]).items():
            if (values != values[0]).any():
                numbers = SortedNumbers.of(np.repeat(values, counts[known]))
                parts.append((name, None if name in CIRCLES else numbers.statistics()))
        example = str(text.values[known][np.argmax(times[known])])
        return cls(found, tuple(parts), example)

    @property
    def outputs(self) -> tuple[str, ...]:
        name = self.type.name
        outputs = []
        for part, _ in self.parts:
            ends = (" sine", " cosine") if part in CIRCLES else ("",)
            outputs += [f"{name} {part}{end}" for end in ends]
        return (*outputs, *[f"{name} is missing"] * (self.type.gaps > 0))

    @property
    def description(self) -> str:
        words = {"seconds": "seconds since the first"}
        parts = [words.get(part, part) for part, _ in self.parts]
        return (", ".join(parts) + IF_EMPTY * (self.type.gaps > 0)).removeprefix(", ")

    @property
    def fill(self) -> None:
        return None

    def bind(self, column: Column, where: Where, dtype: DTypeLike) -> Bound:
        text = as_text(column).used()  # these rows may have only a few of a million dates
        times = parse_dates(text.values, self.type.order)
        unknown = np.isnat(times)
        wrong = unknown & ~np.isin(text.values, self.type.strays)
        gaps_for(text, wrong, where, f"is not a date such as {self.example}")
        times[unknown] = 0
        table = np.zeros((len(times) + 1, len(self.outputs)), dtype)
        place = 0
        found = date_parts(times)
        for part, statistics in self.parts:
            if statistics is not None:
                table[:-1, place] = (found[part] - statistics.mean) / statistics.scale
            else:
                table[:-1, place : place + 2] = circle(CIRCLES[part])[_turn(part, found[part])]
            place += 1 if statistics is not None else 2
        table[:-1][unknown] = 0
        table[np.append(unknown, [True]), place:] = 1
        return Lookup(text.codes, table)

    def renamed(self, name: str) -> DateEncoding:
        return replace(self, type=replace(self.type, name=name))


def _turn(part: str, values: Array) -> Array:
    """Return the values of a periodic part as integers from 0."""
    return values.astype(np.int64) - (part == "month")


def circle(count: int) -> Array:
    """Return sine and cosine of ``count`` evenly spaced points on a circle, (count, 2) float64."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.sin(angles), np.cos(angles)], axis=1)
