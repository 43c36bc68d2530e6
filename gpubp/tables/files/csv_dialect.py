"""Detect the dialect of a CSV file from its first lines."""

from __future__ import annotations

import csv
import io
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubp.tables.files.input_files import not_utf8
from gpubp.tables.table import DataError

DELIMITERS = (",", ";", "\t", "|")
# Longer fields and lines are probably due to an unclosed quote.
LONGEST_LINE = 64 << 20
_SAMPLE_BYTES, _SAMPLE_RECORDS, _FEWEST_LINES = 1 << 18, 1_000, 20
_NUMBER = re.compile(r"\s*[-+]?[0-9][0-9.,]*(?:[eE][-+]?[0-9]+)?%?\s*")
_FIELD_LIMIT = threading.Lock()

# The number of the record's first line, from 1, that of the line after the record, and its fields.
Record = tuple[int, int, list[str]]


@dataclass(frozen=True)
class Dialect:
    """How the lines of a file are split into fields.

    delimiter: character between fields; "\\x1f", which text does not contain, for one column.
    quote, escape: the quote, and the character before a quote within a field.
    spaces: whether fields are separated by any number of blanks, which DuckDB cannot read.
    """

    delimiter: str
    quote: str = '"'
    escape: str = '"'
    spaces: bool = False

    def reader(self, lines: Any, *, strict: bool = False) -> Any:
        """Return a csv.reader of the lines."""
        doubled = self.escape == self.quote
        return csv.reader(
            (line.strip().replace("\t", " ") for line in lines) if self.spaces else lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            doublequote=doubled,
            escapechar=None if doubled else self.escape,
            skipinitialspace=True,
            strict=strict,
        )


@dataclass(frozen=True)
class Sample:
    """The first records of a file.

    width: the most common number of fields.
    whole: whether these are all records of the file.
    longest: number of characters of the longest line.
    quoted: numbers of the lines that contain a quote.
    """

    dialect: Dialect
    records: list[Record]
    width: int
    whole: bool
    longest: int
    quoted: frozenset[int]


@contextmanager
def long_fields() -> Iterator[None]:
    """Raise the field limit of the csv module from 131,072 to LONGEST_LINE characters."""
    with _FIELD_LIMIT:
        before = csv.field_size_limit(LONGEST_LINE)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def first_lines(path: Path, source: str) -> tuple[list[str], bool]:
    """Return the first lines with their line ends, and whether the file has no others.

    Raises DataError for a file that is not UTF-8 text.
    """
    with path.open("rb") as file:
        data = file.read(_SAMPLE_BYTES)
        while len(data) < LONGEST_LINE and _count_lines(data) < _FEWEST_LINES:
            more = file.read(len(data))
            if not more:
                break
            data += more
        whole = not file.read(1)
    if not whole:  # drop the incomplete last line
        end = max(data.rfind(b"\n"), -1 if b"\n" in data else data.rfind(b"\r"))
        if end < 0:
            raise DataError(
                f"{source}, line 1: the line has more than {LONGEST_LINE:,} characters; check "
                "that the file is a table"
            )
        data = data[: end + 1]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(source, 1 + _count_lines(data[: error.start])) from None
    if "\0" in text:
        raise DataError(
            f"{source} has zero bytes, so it is not a text file; save the table as CSV in UTF-8"
        )
    return list(io.StringIO(text, newline="")), whole


def _count_lines(data: bytes) -> int:
    return data.count(b"\n") or data.count(b"\r")


def find_dialect(
    path: Path, source: str, delimiter: str | None = None, decimal: str | None = None
) -> Sample:
    """Return the first records of a file, in the dialect that makes them most regular.

    delimiter, decimal: as in `ReadOptions`; None: detected.
    """
    lines, whole = first_lines(path, source)
    longest = max(map(len, lines), default=0)
    start = 0
    if lines and (stated := re.fullmatch(r'"?sep=(.)"?\s*', lines[0])):  # as Excel writes
        delimiter, start = delimiter or stated[1], 1
    with long_fields():
        candidates = list(_candidates(lines, delimiter, decimal))
        found = [_parse(dialect, lines, start, whole) for dialect in candidates]
        scored = [(_score(records), records, dialect) for records, dialect in found]
        best = max(scored, key=lambda entry: entry[0][:2], default=None)
        if best is not None and best[0][0] > 0:
            (_, width), records, dialect = best
        elif delimiter is None and (spaced := _spaces(lines, start, whole)):
            records, dialect = spaced
            width = _width(records)
        else:
            records, dialect = _parse(Dialect(delimiter or "\x1f"), lines, start, whole)
            width = 1
    quoted = frozenset(n for n, line in enumerate(lines, 1) if dialect.quote in line)
    return Sample(dialect, records, width, whole, longest, quoted)


def _candidates(
    lines: Sequence[str], delimiter: str | None, decimal: str | None
) -> Iterator[Dialect]:
    text = "".join(lines)
    marks = (delimiter,) if delimiter else DELIMITERS
    if decimal == "," and not delimiter:  # a comma is the delimiter only if no other splits
        marks = (*DELIMITERS[1:], ",")
    for mark in marks:
        if mark in text:
            yield Dialect(mark)
            if '\\"' in text:
                yield Dialect(mark, '"', "\\")
            if '"' not in text and re.search(f"(?:^|{re.escape(mark)})\\s*'", text, re.MULTILINE):
                yield Dialect(mark, "'", "'")


def _parse(
    dialect: Dialect, lines: Sequence[str], start: int, whole: bool
) -> tuple[list[Record], Dialect]:
    """Return the records that are not blank, and the dialect.

    The last record is left out if the file has more lines, since it may be incomplete.
    """
    records = []
    reader = dialect.reader(iter(lines[start:]))
    line = start + 1
    try:
        for fields in reader:
            after = start + 1 + reader.line_num
            if any(field.strip() for field in fields) or len(fields) > 1:
                records.append((line, after, fields))
            line = after
            if len(records) >= _SAMPLE_RECORDS:
                break
    except csv.Error:  # raised again later, when the whole file is read strictly
        pass
    if not whole and len(records) > 1 and line > len(lines):
        records.pop()
    return records, dialect


def _width(records: Sequence[Record]) -> int:
    """Return the most common number of fields above 1; 1 if there is none."""
    widths = Counter(len(fields) for _, _, fields in records)
    return max((count, width) for width, count in {**widths, 1: 0}.items())[1]


def _score(records: Sequence[Record]) -> tuple[float, int]:
    """Return a score of how regular the records are, 0 for no table, and their number of fields."""
    width = _width(records)
    widths = [len(fields) for _, _, fields in records]
    if width == 1:
        return 0.0, 1
    first = widths.index(width)  # the records before are titles
    share = widths.count(width) / (len(widths) - first)
    if share < (0.7 if first else 0.5) or (first and widths.count(width) < 2):
        return 0.0, width
    cells = [cell for _, _, fields in records[:200] for cell in fields[:200] if len(fields) > 1]
    clean = sum(map(_is_clean, cells)) / max(1, len(cells))
    return share * (1 + clean), width


def _is_clean(cell: str) -> bool:
    """Return whether a cell is probably complete: neither two cells nor a part of one."""
    text = cell.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return False
    if _NUMBER.fullmatch(text):
        return True
    return not any(mark in text for mark in (*DELIMITERS, '"'))


def _spaces(lines: Sequence[str], start: int, whole: bool) -> tuple[list[Record], Dialect] | None:
    """Return the records of columns separated by blanks; None unless one column is numbers."""
    records, dialect = _parse(Dialect(" ", spaces=True), lines, start, whole)
    width = _width(records)
    body = [fields for _, _, fields in records[1:] if len(fields) == width]
    if width == 1 or len(body) < 0.9 * (len(records) - 1):  # R's header has one field less
        return None
    numeric = any(all(_NUMBER.fullmatch(fields[j]) for fields in body) for j in range(width))
    return (records, dialect) if numeric and body else None
