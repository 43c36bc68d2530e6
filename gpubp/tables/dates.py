"""Dates and times written as text, in the common formats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # of times: (k,) datetime64[us], NaT for a text that is no date

# ymd: 2020-12-31 alone; dmy and mdy: also 31/12/2020 or 12/31/2020; compact: 20201231.
# Dates with the name of the month go with any of them.
Order = Literal["ymd", "dmy", "mdy", "compact"]
ORDERS: tuple[Order, ...] = get_args(Order)
EXAMPLES = {"ymd": "2020-12-31", "dmy": "31/12/2020", "mdy": "12/31/2020", "compact": "20201231"}

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FULL_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)
_MONTH_OF = {name: i + 1 for names in (_MONTHS, _FULL_MONTHS) for i, name in enumerate(names)}
_MONTH_OF["sept"] = 9

_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?(?P<zone>\s*(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?"
)
_THEN_TIME = rf"(?:(?:[T,]|\s)\s*{_TIME})?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_YEAR = r"(?P<year>[0-9]{4}|[0-9]{2})"
_NAME = r"(?P<name>[a-z]{3,9})\.?"
_DAY = r"(?P<day>[0-9]{1,2})"


def _compiled(date: str) -> re.Pattern[str]:
    return re.compile(date + _THEN_TIME, re.IGNORECASE | re.ASCII)


_ISO = _compiled(r"(?P<year>[0-9]{4})([-/.])(?P<month>[0-9]{1,2})\2" + _DAY)
_NUMERIC = _compiled(rf"(?P<a>[0-9]{{1,2}})([-/.]\s?|\s)(?P<b>[0-9]{{1,2}})\2{_YEAR}")
_COMPACT = _compiled(r"(?P<year>(?:1[89]|2[01])[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})")
_OTHERS = (
    _compiled(rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th|\.)?[-/\s]+{_NAME},?[-/\s]+{_YEAR}"),
    _compiled(rf"{_WEEKDAY}{_NAME}[-/\s]+{_DAY}(?:st|nd|rd|th)?,?[-/\s]+{_YEAR}"),
    re.compile(rf"{_NAME},?[-/\s]+(?P<year>[0-9]{{4}})", re.IGNORECASE | re.ASCII),
    re.compile(r"(?P<year>(?:1[89]|2[01])[0-9]{2})[-/](?P<month>[0-9]{1,2})"),
    re.compile(_TIME),
)
_FAST = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?(?=Z?\Z)"
)


@dataclass(frozen=True, eq=False)
class FoundDates:
    """How a column writes its dates.

    times: (k,) datetime64[us] of its texts; NaT where one is no date.
    remark: why the order was taken, if a person should know.
    assumed: whether no value shows the order.
    """

    order: Order
    times: Array
    remark: str | None = None
    assumed: bool = False


def find_dates(values: Sequence[str] | Array, order: str | None = None) -> FoundDates | None:
    """The order of day, month and year that suits most texts; None where none is a date.

    order: "dmy" or "mdy" where the user knows it; None: as the texts show, else day first.
    """
    matches = [match for match in map(_NUMERIC.fullmatch, values) if match]
    if not matches:
        plain: Order = "compact" if any(map(_COMPACT.fullmatch, values)) else "ymd"
        times = parse_dates(values, plain)
        return None if np.isnat(times).all() else FoundDates(plain, times)
    if order in ("dmy", "mdy"):
        return FoundDates(cast(Order, order), parse_dates(values, order))
    found, remark = _order(matches)
    return FoundDates(found, parse_dates(values, found), remark, "assumed" in remark)


def _order(matches: list[re.Match[str]]) -> tuple[Order, str]:
    """Whether the day or the month comes first, and the reason."""
    for match in matches:
        if int(match["a"]) > 12:
            return "dmy", f"day before month, as {match[0]} shows"
        if int(match["b"]) > 12:
            return "mdy", f"month before day, as {match[0]} shows"
    if {int(match["b"]) for match in matches} == {1} and len({match["a"] for match in matches}) > 3:
        return "mdy", f"month before day is assumed, as in {matches[0][0]} all have 1 there"
    return "dmy", f"day before month is assumed in {matches[0][0]}; no value shows it"


def parse_dates(values: Sequence[str] | Array, order: str) -> Array:
    """(k,) datetime64[us] of texts; NaT for one that is no date.

    Time zones are ignored: the hour on the clock is kept. Two-digit years are 1969 to 2068. A
    time without a date is on 1970-01-01.
    """
    matches = [_FAST.match(value) for value in values[:1]]
    if order != "compact" and all(matches):
        matches = [_FAST.match(value) for value in values]
        with suppress(ValueError):  # such as February 30
            if all(matches):
                return np.array([match[0] for match in matches if match], "datetime64[us]")
    return _times(np.array([_fields(value, order) for value in values], np.int64).reshape(-1, 7))


_NO_DATE = (0, 0, 0, 0, 0, 0, 0)


def _fields(value: str, order: str) -> tuple[int, ...]:
    """Year, month, day, hour, minute, second and microsecond; all 0 for no date."""
    match = _ISO.fullmatch(value)
    if match is None and order in ("dmy", "mdy"):
        match = _NUMERIC.fullmatch(value)
    elif match is None and order == "compact":
        match = _COMPACT.fullmatch(value)
    for pattern in _OTHERS if match is None else ():
        match = match or pattern.fullmatch(value)
    if match is None:
        return _NO_DATE
    found = match.groupdict()
    if "a" in found:
        day, month = (found["a"], found["b"]) if order == "dmy" else (found["b"], found["a"])
    else:
        day, month = found.get("day", "1"), found.get("month", "1")
    if "name" in found:
        month = _MONTH_OF.get(found["name"].casefold(), "0")
    return (_year(found.get("year", "1970")), int(month), int(day), *_clock(found))


def _year(text: str) -> int:
    year = int(text)
    return year if len(text) == 4 else year + (1900 if year > 68 else 2000)


def _clock(found: dict[str, Any]) -> tuple[int, ...]:
    """Hour, minute, second and microsecond; hour 99 for an hour that no clock has."""
    if found.get("hour") is None:
        return 0, 0, 0, 0
    hour, half = int(found["hour"]), (found["half"] or "").casefold()
    if half:
        hour = hour % 12 + 12 * (half == "p") if 1 <= hour <= 12 else 99
    part = (found["part"] or "").ljust(6, "0")[:6]
    return hour, int(found["minute"]), int(found["second"] or 0), int(part)


def _times(fields: Array) -> Array:
    """Times of (k, 7) fields; NaT where a field is out of its range."""
    year, month, day, hour, minute, second, part = fields.T
    right = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1)
    right &= (hour < 24) & (minute < 60) & (second < 60)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    right &= days.astype("datetime64[M]") == months  # no February 30
    seconds = (hour * 60 + minute) * 60 + second
    times: Array = days.astype("datetime64[us]") + (seconds * 1_000_000 + part)
    times[~right] = np.datetime64("NaT")
    return times


def several_zones(values: Sequence[str] | Array) -> bool:
    """Whether texts have different time zones, which `parse_dates` ignores."""
    zones = set()
    for value in values:
        zone = re.search(r"(?:Z|UTC|GMT|(?<=[0-9])[+-][0-9]{2}:?[0-9]{2})$", value)
        zones.add(zone[0] if zone else "")
    return len(zones) > 1


def date_parts(times: Array) -> dict[str, Array]:
    """(k,) float64 of year, month, day, weekday (0: Monday), hour, minute, second, and seconds.

    times: without NaT. The last part counts the seconds from 1970 on, with their fraction.
    """
    years, months = times.astype("datetime64[Y]"), times.astype("datetime64[M]")
    days = times.astype("datetime64[D]")
    clock = (times - days).astype(np.int64) // 1_000_000
    parts = {
        "year": years.astype(np.int64) + 1970,
        "month": (months - years).astype(np.int64) + 1,
        "day": (days - months).astype(np.int64) + 1,
        "weekday": (days.astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
        "hour": clock // 3600,
        "minute": clock // 60 % 60,
        "second": clock % 60,
        "seconds": times.astype(np.int64) / 1e6,
    }
    return {name: values.astype(np.float64) for name, values in parts.items()}
