"""Parse dates and times written as text in the common formats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # times are (k,) datetime64[us], NaT for a text that is not a date

# ymd: only 2020-12-31; dmy and mdy: also 31/12/2020 or 12/31/2020; compact: also 20201231.
# Dates with the name of the month are allowed with all of them.
Order = Literal["ymd", "dmy", "mdy", "compact"]
ORDERS: tuple[Order, ...] = get_args(Order)

# A row of fields: form of the date (one of the constants below), year, month, day, hour, minute,
# second, microsecond. For _EITHER, month and day are the first and the second number as written.
_NONE, _CLEAR, _EITHER, _DIGITS = range(4)

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
_NUMERIC = _compiled(rf"(?P<month>[0-9]{{1,2}})([-/.]\s?|\s)(?P<day>[0-9]{{1,2}})\2{_YEAR}")
_COMPACT = _compiled(r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})")
_OTHERS = (
    _compiled(rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th|\.)?[-/\s]+{_NAME},?[-/\s]+{_YEAR}"),
    _compiled(rf"{_WEEKDAY}{_NAME}[-/\s]+{_DAY}(?:st|nd|rd|th)?,?[-/\s]+{_YEAR}"),
    re.compile(rf"{_NAME},?[-/\s]+(?P<year>[0-9]{{4}})", re.IGNORECASE | re.ASCII),
    re.compile(r"(?P<year>(?:1[89]|2[01])[0-9]{2})[-/](?P<month>[0-9]{1,2})"),
    re.compile(_TIME),
)
_PATTERNS = (
    (_ISO, _CLEAR),
    (_NUMERIC, _EITHER),
    (_COMPACT, _DIGITS),
    *((pattern, _CLEAR) for pattern in _OTHERS),
)
_KINDS = {
    "ymd": (_CLEAR,),
    "dmy": (_CLEAR, _EITHER),
    "mdy": (_CLEAR, _EITHER),
    "compact": (_CLEAR, _DIGITS),
}
_ZONE = re.compile(r"(?:Z|UTC|GMT|(?<=:[0-9]{2})[+-][0-9]{2}:?[0-9]{2})\Z")

_NO_DATE = (_NONE, 0, 0, 0, 0, 0, 0, 0)
_BLOCK = 2**16  # values that are parsed together


@dataclass(frozen=True, eq=False)
class FoundDates:
    """The dates of a column, and the order of their fields.

    order: order of day, month and year.
    times: (k,) datetime64[us]; NaT for a text that is not a date.
    remark: the reason for the order, for the user; None if it is unambiguous.
    assumed: whether the order is a guess, because no value shows it.
    zones: whether the values have different time zones, which are ignored.
    """

    order: Order
    times: Array
    remark: str | None = None
    assumed: bool = False
    zones: bool = False


def parse_dates(values: Sequence[str] | Array, order: str) -> Array:
    """Return texts as times, (k,) datetime64[us]; NaT for a text that is not a date.

    Time zones are ignored: the local time is kept as written. Two-digit years are 1969 to 2068. A
    time without a date is on 1970-01-01.

    order: one of ORDERS.
    """
    fields = _fixed_width(values)
    return _times(_slow(values) if fields is None else fields, order)


def find_dates(values: Sequence[str] | Array, order: str | None = None) -> FoundDates | None:
    """Return the dates with the order of day, month and year that fits most texts.

    The result is None if no text is a date.

    order: "dmy" or "mdy" if the user gave it; None: detected from the texts, else day first.
    """
    fixed = _fixed_width(values)
    fields = _slow(values) if fixed is None else fixed
    zones = fixed is None and _several_zones(values)
    kinds = set(fields[:, 0].tolist())
    if kinds == {_NONE}:
        return None
    if _EITHER not in kinds:
        plain: Order = "compact" if _DIGITS in kinds else "ymd"
        return FoundDates(plain, _times(fields, plain), zones=zones)
    if order in ("dmy", "mdy"):
        return FoundDates(cast(Order, order), _times(fields, order), zones=zones)
    return replace(_order(values, fields), zones=zones)


def _order(values: Sequence[str] | Array, fields: Array) -> FoundDates:
    """Return the dates with the detected order of day and month, and the reason for it."""
    day_first, month_first = _times(fields, "dmy"), _times(fields, "mdy")
    no_day, no_month = np.isnat(day_first), np.isnat(month_first)
    if no_day.sum() < no_month.sum():
        shows = values[int(np.argmax(no_month & ~no_day))]
        return FoundDates("dmy", day_first, f"day before month, as {shows} shows")
    if no_month.sum() < no_day.sum():
        shows = values[int(np.argmax(no_day & ~no_month))]
        return FoundDates("mdy", month_first, f"month before day, as {shows} shows")
    either = fields[fields[:, 0] == _EITHER]
    example = values[int(np.argmax(fields[:, 0] == _EITHER))]
    # For example 1/1/2020, 2/1/2020, 3/1/2020, ...: the first day of each month.
    if (either[:, 3] == 1).all() and len(np.unique(either[:, 2])) > 3:
        remark = f"month before day is assumed in {example}, as the second number is always 1"
        return FoundDates("mdy", month_first, remark, assumed=True)
    remark = f"day before month is assumed in {example}, as no value shows the order"
    return FoundDates("dmy", day_first, remark, assumed=True)


def _slow(values: Sequence[str] | Array) -> Array:
    """Return the fields of texts in any format, (k, 8), parsed one by one."""
    return np.array([_fields(value) for value in values], np.int64).reshape(-1, 8)


def _match(value: str) -> tuple[int, re.Match[str]] | None:
    for pattern, kind in _PATTERNS:
        match = pattern.fullmatch(value)
        if match is not None:
            return kind, match
    return None


def _fields(value: str) -> tuple[int, ...]:
    """Return the fields of a text; all 0 if it is not a date."""
    kind_and_match = _match(value)
    if kind_and_match is None:
        return _NO_DATE
    kind, match = kind_and_match
    found = match.groupdict()
    month, day = found.get("month", "1"), found.get("day", "1")
    if "name" in found:
        month = _MONTH_OF.get(found["name"].casefold(), "0")
    year = found.get("year", "1970")
    return (kind, _century(int(year), len(year)), int(month), int(day), *_clock(found))


def _century(year: int, digits: int) -> int:
    return year if digits == 4 else year + (1900 if year > 68 else 2000)


def _clock(found: dict[str, Any]) -> tuple[int, ...]:
    """Return hour, minute, second and microsecond; hour 99 for an invalid 12-hour time."""
    if found.get("hour") is None:
        return 0, 0, 0, 0
    hour, half = int(found["hour"]), (found["half"] or "").casefold()
    if half:
        hour = hour % 12 + 12 * (half == "p") if 1 <= hour <= 12 else 99
    part = (found["part"] or "").ljust(6, "0")[:6]
    return hour, int(found["minute"]), int(found["second"] or 0), int(part)


def _fixed_width(values: Sequence[str] | Array) -> Array | None:
    """Return the fields, (k, 8), of texts with digits at the same positions; None for others.

    A million timestamps take 0.3 s this way, and 5 s one by one.
    """
    first = _match(values[0]) if len(values) else None
    if first is None or set(map(len, values)) != {len(values[0])}:
        return None
    kind, match = first
    spans = {name: match.span(name) for name, text in match.groupdict().items() if text}
    if "name" in spans or "half" in spans:
        return None
    fields = np.empty((len(values), 8), np.int64)
    fields[:] = (kind, 1970, 1, 1, 0, 0, 0, 0)
    for start in range(0, len(values), _BLOCK):
        block = np.array(list(values[start : start + _BLOCK]), f"U{len(values[0])}")
        characters = block.view(np.uint32).reshape(len(block), -1)
        if not _read_spans(characters, spans, fields[start : start + _BLOCK]):
            return None
    if "year" in spans and spans["year"][1] - spans["year"][0] == 2:
        fields[:, 1] += np.where(fields[:, 1] > 68, 1900, 2000)
    return fields


_FIELDS = ("kind", "year", "month", "day", "hour", "minute", "second", "part")


def _read_spans(characters: Array, spans: dict[str, tuple[int, int]], fields: Array) -> bool:
    """Write the digits of the spans to ``fields``; return whether the texts have one format.

    They have not if a character in a span is not a digit, or if other characters differ by row.
    """
    others = np.ones(characters.shape[1], np.bool_)
    for name, (start, stop) in spans.items():
        if name == "zone":
            continue
        others[start:stop] = False
        digits = characters[:, start:stop].astype(np.int64) - ord("0")
        if ((digits < 0) | (digits > 9)).any():
            return False
        used = digits[:, :6]  # a fraction is cut to microseconds
        place = 10 ** np.arange(used.shape[1])[::-1]
        scale = 10 ** (6 - used.shape[1]) if name == "part" else 1
        fields[:, _FIELDS.index(name)] = (used * place).sum(axis=1) * scale
    return bool((characters[:, others] == characters[0, others]).all())


def _times(fields: Array, order: str) -> Array:
    """Return the times of fields (k, 8); NaT if a field is out of range or not in this order."""
    kind, year, month, day, hour, minute, second, part = fields.T
    if order == "dmy":
        either = kind == _EITHER
        month, day = np.where(either, day, month), np.where(either, month, day)
    right = np.isin(kind, _KINDS[order])
    right &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1)
    right &= (kind != _DIGITS) | ((year >= 1800) & (year < 2200))
    right &= (hour < 24) & (minute < 60) & (second < 60)
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    right &= days.astype("datetime64[M]") == months  # no February 30
    seconds = (hour * 60 + minute) * 60 + second
    times: Array = days.astype("datetime64[us]") + (seconds * 1_000_000 + part)
    times[~right] = np.datetime64("NaT")
    return times


def _zone(value: str) -> str:
    found = _ZONE.search(value)
    return found[0] if found else ""


def _several_zones(values: Sequence[str] | Array) -> bool:
    first = _zone(values[0])
    return any(_zone(value) != first for value in values)


def date_parts(times: Array) -> dict[str, Array]:
    """Return the parts of times by name, each (k,) float64.

    The parts are year, month, day, weekday (0: Monday), hour, minute, second, and "seconds": the
    time in seconds since 1970-01-01, with its fraction.

    times: (k,) datetime64[us] without NaT.
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
