"""Rewrite CSV that DuckDB refuses; the csv module also finds the line with the error."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gpubp.tables.files.csv_dialect import LONGEST_LINE, Dialect, long_fields
from gpubp.tables.files.input_files import not_utf8
from gpubp.tables.table import DataError

# The dialect in which a clean copy is written, and in which DuckDB reads it.
CLEAN = Dialect(",")


def rewrite(
    path: Path, copy: Path, source: str, dialect: Dialect, skip: int, width: int
) -> tuple[Path, int]:
    """Write a clean copy of the rows; return its path, and the length of its longest line.

    Blank lines are left out.

    path: the file. copy: the path to write to. source: name of the file in messages.
    skip: number of lines before the first row. width: number of fields of a row.

    Raises DataError, with the line, for a row with another number of fields, an unclosed quote,
    and bytes that are not UTF-8.
    """
    longest = 0
    with (
        long_fields(),
        path.open(encoding="utf-8-sig", newline="") as file,
        copy.open("w", encoding="utf-8", newline="") as target,
    ):
        writer = csv.writer(target, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        for fields in _rows(file, source, dialect, skip, width):
            longest = max(longest, sum(map(len, fields)) + 3 * width)
            if width == 1:  # without quotes, a single empty field would be a blank line
                target.write('"' + fields[0].replace('"', '""') + '"\n')
            else:
                writer.writerow(fields)
    return copy, longest


def _rows(
    file: IO[str], source: str, dialect: Dialect, skip: int, width: int
) -> Iterator[list[str]]:
    line, behind = skip + 1, skip + 1
    ragged: list[tuple[int, int]] = []
    count = 0
    try:
        for _ in range(skip):
            file.readline()
        reader = dialect.reader(file, strict=True)
        for record in reader:
            fields = record
            line, behind = behind, skip + 1 + reader.line_num
            if len(fields) > width and not "".join(fields[width:]).strip():
                fields = fields[:width]  # ignore extra delimiters at the end of the line
            if len(fields) == width and (width > 1 or fields[0].strip() or fields == [""]):
                yield fields
            elif len(fields) > 1 or (fields and fields[0].strip()):
                count += 1
                if len(ragged) < 3:
                    ragged.append((line, len(fields)))
    except UnicodeDecodeError:
        raise not_utf8(source, _line_not_utf8(Path(file.name))) from None
    except csv.Error as error:
        raise _unreadable(source, behind, error) from None
    if ragged:
        raise _ragged(source, dialect, ragged, count, width)


def _ragged(
    source: str, dialect: Dialect, ragged: list[tuple[int, int]], count: int, width: int
) -> DataError:
    line, fields = ragged[0]
    others = ""
    if count > 1:
        dots = ", ..." if count > len(ragged) else ""
        lines = ", ".join(str(number) for number, _ in ragged)
        others = f" ({count} lines like it: {lines}{dots})"
    commas = ""
    if dialect.delimiter == "," and fields > width:
        commas = ", and put text with commas in quotes"
    noun = "field" if fields == 1 else "fields"
    columns = "column" if width == 1 else "columns"
    return DataError(
        f"{source}, line {line}: got {fields} {noun}, but the table has {width} {columns}{others}; "
        f"give every row one field per column{commas}"
    )


def _unreadable(source: str, line: int, error: csv.Error) -> DataError:
    where = f"{source}, line {line}"
    if "field larger" in str(error):
        return DataError(
            f"{where}: a field has more than {LONGEST_LINE:,} characters; check the quotes"
        )
    if "unexpected end of data" in str(error):
        return DataError(f"{where}: a quote is opened but not closed; check the quotes")
    return DataError(f"{where}: {error}; check the quotes")


def _line_not_utf8(path: Path) -> int | None:
    """Return the number of the first line that is not UTF-8; None if there is none."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None
