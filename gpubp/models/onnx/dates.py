"""Dates as nodes: int64 seconds since 1970 become the parts that `DateEncoding` uses.

The calendar is computed in int64 from the day of an era of 400 years that begins in March, so that
the day that a leap year adds is the last one of its year. All dividends are 0 or more, because
runtimes differ in how they round a negative quotient.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from gpubp.models.onnx.graph import GraphBuilder
from gpubp.tables.encoding.encode_dates import CIRCLES, DateEncoding, circle

FIRST, LAST = -62_135_596_800, 253_402_300_799  # the first and last second of the years 1 to 9999
MISSING_DATE = np.iinfo(np.int64).min  # NaT as int64
_DAY, _EPOCH = 86_400, 719_468  # seconds of a day; days from 0000-03-01 to 1970-01-01
# Days of 400, 100 and 4 years, less 1, in an era.
_ERA, _CENTURY, _FOUR = 146_097, 36_524, 1460


def date_nodes(graph: GraphBuilder, seconds: str, encoding: DateEncoding) -> Iterator[str]:
    """Yield the outputs of a date column, (rows, width); times outside of the years are gaps."""
    wide = partial(np.asarray, dtype=np.int64)
    known = graph.op(
        "And",
        graph.op("GreaterOrEqual", seconds, wide(FIRST)),
        graph.op("LessOrEqual", seconds, wide(LAST)),
    )
    times = graph.op("Where", known, seconds, wide(0))
    parts = _Parts(graph, times)
    for name, statistics in encoding.parts:
        value = getattr(parts, name)()
        if statistics is not None:
            value = graph.op("Sub", graph.cast(value, np.float64), np.float64(statistics.mean))
            value = graph.unsqueeze(graph.op("Div", value, np.float64(statistics.scale)), 1)
        else:
            place = graph.op("Sub", value, wide(1)) if name == "month" else value
            value = graph.op("Gather", circle(CIRCLES[name]), place, axis=0)
        yield graph.op("Where", graph.unsqueeze(known, 1), value, np.float64(0))
    if encoding.type.gaps:
        yield graph.unsqueeze(graph.op("Not", known), 1)


class _Parts:
    """The parts of times, each (rows,) int64; nodes are added when a part is asked for."""

    def __init__(self, graph: GraphBuilder, times: str) -> None:
        self._graph, self._times = graph, times
        # From the first of March of the year 0 on, in seconds.
        shifted = self._of("Add", times, _EPOCH * _DAY)
        self._days, self._clock = self._of("Div", shifted, _DAY), self._of("Mod", shifted, _DAY)
        self._date: tuple[str, str, str] | None = None

    def _of(self, kind: str, value: str, other: str | int) -> str:
        return self._graph.op(kind, value, other if isinstance(other, str) else np.int64(other))

    def seconds(self) -> str:
        return self._times

    def second(self) -> str:
        return self._of("Mod", self._clock, 60)

    def minute(self) -> str:
        return self._of("Mod", self._of("Div", self._clock, 60), 60)

    def hour(self) -> str:
        return self._of("Div", self._clock, 3600)

    def weekday(self) -> str:
        # 1970-01-01 was a Thursday, 3 of Monday's 0, and 719,468 is 1 more than whole weeks.
        return self._of("Mod", self._of("Add", self._days, 2), 7)

    def year(self) -> str:
        return self._calendar()[0]

    def month(self) -> str:
        return self._calendar()[1]

    def day(self) -> str:
        return self._calendar()[2]

    def _calendar(self) -> tuple[str, str, str]:
        """Return year, month and day of the Gregorian calendar."""
        if self._date is None:
            era, day = self._of("Div", self._days, _ERA), self._of("Mod", self._days, _ERA)
            # Without the leap days before this day of the era, all years have 365 days.
            plain = self._of("Sub", day, self._of("Div", day, _FOUR))
            plain = self._of("Add", plain, self._of("Div", day, _CENTURY))
            plain = self._of("Sub", plain, self._of("Div", day, _ERA - 1))
            year = self._of("Div", plain, 365)
            begin = self._of("Add", self._of("Mul", year, 365), self._of("Div", year, 4))
            begin = self._of("Sub", begin, self._of("Div", year, 100))
            day_of_year = self._of("Sub", day, begin)
            # Five months from March have 153 days, and so do the five from August.
            month = self._of("Add", self._of("Mul", day_of_year, 5), 2)
            month = self._of("Div", month, 153)
            before = self._of("Div", self._of("Add", self._of("Mul", month, 153), 2), 5)
            day_of_month = self._of("Add", self._of("Sub", day_of_year, before), 1)
            # Month 10 is January of the next year.
            whole = self._of("Add", self._of("Mul", era, 400), year)
            whole = self._of("Add", whole, self._of("Div", month, 10))
            month = self._of("Add", self._of("Mod", self._of("Add", month, 2), 12), 1)
            self._date = whole, month, day_of_month
        return self._date
