"""Find the header of a CSV file, if it has one, and the names of the columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gpubp.tables.column import MISSING
from gpubp.tables.files.csv_dialect import Record, Sample
from gpubp.tables.table import DataError, listed

_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9.,]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?%?")
_DATE = re.compile(r"[0-9]{1,4}([-/.])[0-9]{1,2}\1[0-9]{1,4}(?:[T ][0-9:.+Z-]*)?")
_MADE_UP = re.compile(r"x[0-9]+")


@dataclass(frozen=True)
class Header:
    """The names of the columns, and the rows after the header.

    skip: number of lines before the first row.
    names: one name per field of a row.
    unnamed: positions of columns with a generated name.
    doubled: names that several columns have in the file.
    notes: lines for the user.
    rows: rows of the sample with as many fields as ``names``.
    """

    skip: int
    names: tuple[str, ...]
    unnamed: frozenset[int]
    doubled: frozenset[str]
    notes: tuple[str, ...]
    rows: list[list[str]]


def find_header(
    sample: Sample, source: str, header: bool | None, known: Collection[str] = ()
) -> Header:
    """Return the header of a sample.

    header: whether the first line is a header; None: detected.
    known: names of a model's columns; a first line with many of them is a header.

    Raises DataError for an empty file, and for a header that does not fit the rows.
    """
    records = _without_titles(sample)
    if not records:
        raise DataError(f"{source} is empty; give a header line and rows")
    line, behind, first = records[0]
    rows = [fields for _, _, fields in records[1:]]
    if header is None:
        header = _is_header(first, rows, known)
    if not header:
        made_up = tuple(f"x{j}" for j in range(sample.width))
        rows = _of_width([first, *rows], sample.width)
        notes: tuple[str, ...] = (_no_header(sample.width),)
        return Header(line - 1, made_up, frozenset(), frozenset(), notes, rows)
    width = sample.width if rows else len(first)
    rows = _of_width(rows, width)
    cells, notes = _fitted(first, rows, width, f"{source}, line {line}")
    names, unnamed, doubled = _distinct(cells)
    if doubled:
        notes = (*notes, f"{source} has more than one column {listed(sorted(doubled))}")
    return Header(behind - 1, names, unnamed, doubled, notes, rows)


def _without_titles(sample: Sample) -> list[Record]:
    """Return the records from the header on, without comments and titles before it."""
    records = list(sample.records)
    while records and records[0][2][0].lstrip().startswith("#") and _is_comment(records, sample):
        records.pop(0)
    if sample.width == 1:
        return records
    for index, (_, _, fields) in enumerate(records[:20]):
        filled = sum(bool(field.strip()) for field in fields)
        if filled > 1 or (filled == 1 and sample.width == 2 and len(fields) == 2):
            # If this record has numbers, the line before is a header of the wrong length.
            title = index > 0 and not any(_NUMBER.fullmatch(field.strip()) for field in fields)
            blank = index > 0 and records[index][0] > records[index - 1][1]
            return records[index:] if title or blank else records
    return records


def _is_comment(records: list[Record], sample: Sample) -> bool:
    """Return whether the first line, which starts with #, is a comment; "#id,x" may be a header."""
    fields = records[0][2]
    if sample.width > 1:
        return len(fields) != sample.width or "# " in fields[0]
    return len(records) > 1 and fields[0].lstrip().startswith("# ")


def _of_width(rows: list[list[str]], width: int) -> list[list[str]]:
    return [fields[:width] for fields in rows if len(fields) == width]


def _fitted(
    first: list[str], rows: list[list[str]], width: int, place: str
) -> tuple[list[str], tuple[str, ...]]:
    """Return one header cell per field of a row, and notes; raise DataError if they do not fit."""
    cells = [" ".join(cell.split()) for cell in first]
    while len(cells) > width and not cells[-1]:
        cells.pop()
    extra = width - len(cells)
    if extra > 0 and all(not "".join(row[-extra:]).strip() for row in rows[-100:]):
        return cells + [""] * extra, ()
    if extra == 1 and len({row[0] for row in rows}) == len(rows):  # R writes row names like this
        return ["", *cells], ("the header has no name for the first column",)
    if extra:
        raise DataError(
            f"{place}: the header has {len(cells)} fields, but most rows have {width}; give every "
            "row one field per column, or give the right --delimiter"
        )
    return cells, ()


def _distinct(cells: list[str]) -> tuple[tuple[str, ...], frozenset[int], frozenset[str]]:
    """Return distinct names, the positions of generated ones, and names that were repeated."""
    named = [name for name in cells if name]
    doubled = {name for name in named if named.count(name) > 1} if _has_double(named) else set()
    taken, names, unnamed = set(named), [], set()
    seen: set[str] = set()
    for place, cell in enumerate(cells):
        name = cell or f"column {place + 1}"
        if not cell:
            unnamed.add(place)
        if name in seen or (not cell and name in taken):
            number = 1
            while f"{name}.{number}" in taken or f"{name}.{number}" in seen:
                number += 1
            name = f"{name}.{number}"
        seen.add(name)
        names.append(name)
    return tuple(names), frozenset(unnamed), frozenset(doubled)


def _has_double(names: list[str]) -> bool:
    return len(set(names)) < len(names)


def _no_header(width: int) -> str:
    names = ", ".join(f"x{j}" for j in range(min(3, width)))
    dots = ", ..." if width > 3 else ""
    verb = "columns are" if width > 1 else "column is"
    return f"no header was found: the {verb} called {names}{dots}"


def _is_header(first: list[str], rows: list[list[str]], known: Collection[str]) -> bool:
    """Return whether the first record has the names of the columns."""
    cells = [" ".join(cell.split()) for cell in first]
    if known:
        matches = len(set(known).intersection(cells))
        if 2 * matches >= len(known):
            return True
        if not matches and all(_MADE_UP.fullmatch(name) for name in known):
            return False
    kinds = [_kind(cell) for cell in cells]
    body = [row for row in rows if len(row) == len(cells)][:200]
    if "value" not in kinds:
        return not _recurs(cells, body)
    below = [{_kind(row[j]) for row in body} - {"gap"} for j in range(len(cells))]
    if any(kind == "text" and found == {"value"} for kind, found in zip(kinds, below, strict=True)):
        return True
    return _counts_up(cells) and not (body and _counts_up([" ".join(c.split()) for c in body[0]]))


def _kind(cell: str) -> str:
    text = cell.strip()
    if text in MISSING:
        return "gap"
    return "value" if _NUMBER.fullmatch(text) or _DATE.fullmatch(text) else "text"


def _recurs(cells: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Return whether most cells of a record occur again in the rows; names do not."""
    if len(body) < 3 or not all(cells):
        return False
    again = sum(any(row[j].strip() == cell for row in body) for j, cell in enumerate(cells))
    return 2 * again > len(cells)


def _counts_up(cells: Sequence[str]) -> bool:
    """Return whether the numbers of a record may be names, such as 0, 1, 2, ... or 2019, 2020."""
    numbers = [int(cell) for cell in cells if re.fullmatch(r"[0-9]{1,9}", cell)]
    values = sum(_kind(cell) == "value" for cell in cells)
    if len(numbers) != values or len(numbers) < 2:
        return False
    if any(after != before + 1 for before, after in pairwise(numbers)):
        return False
    return len(numbers) > 2 or 1900 <= numbers[0] <= 2100 or (numbers[0] == 0 and len(cells) == 2)
