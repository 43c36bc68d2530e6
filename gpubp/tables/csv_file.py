"""Tables from CSV files: numbers by the fast parser, the rest by the csv module."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gpubp.tables.table import Array, DataError, Table, check_names, parse_floats

# 1,000,000 x 22 cells, one column text, took 6.7 s in blocks of 4,096 rows and 9.4 s in blocks of
# 65,536 (one x86 core): what the caches hold is read fastest.
_BLOCK_ROWS = 4_096


@dataclass(frozen=True)
class _CsvFile:
    """An open CSV file behind its header; line is the number of the next line."""

    file: TextIO
    source: str
    names: tuple[str, ...]
    delimiter: str
    line: int

    def tables(self, rows: int, text: frozenset[str]) -> Iterator[Table]:
        """Tables of at most rows rows each; the columns in text, and those found, stay text."""
        line = self.line
        while block := list(islice(self.file, rows)):
            if any('"' in row for row in block):
                # A quoted field may span lines, so from here on only the parser knows where
                # records end.
                yield from self._parsed(chain(block, self.file), line, rows, text)
                return
            table = self._loaded(block, line, text)
            parts = self._parsed(block, line, rows, text) if table is None else [table]
            for part in parts:
                text |= part.others.keys()
                yield part
            line += len(block)

    def _loaded(self, block: list[str], line: int, text: frozenset[str]) -> Table | None:
        """The table of a block by NumPy's fast parser, or None where that cannot read it."""
        # The parser skips blank lines, and then no longer knows the line of a row.
        if not all(row.strip() for row in block):
            return None
        fields = [("", object if name in text else np.float64) for name in self.names]
        try:
            cells: Any = np.loadtxt(
                block,
                np.dtype(fields) if text else np.float64,
                comments=None,
                delimiter=self.delimiter,
                ndmin=1 if text else 2,
            )
        except ValueError:
            return None
        others: dict[str, Array] = {}
        if text:
            columns = {name: cells[f"f{j}"] for j, name in enumerate(self.names)}
            others = {name: self._text(columns.pop(name)) for name in self.names if name in text}
            cells = _stacked(list(columns.values()), len(block))
        elif cells.shape[1] != len(self.names):
            return None
        return self._table(cells, others, np.arange(line, line + len(block)))

    def _parsed(
        self, lines: Iterable[str], first: int, rows: int, text: frozenset[str]
    ) -> Iterator[Table]:
        """Tables by way of the csv module, which finds the line of anything that is wrong."""
        records = self._records(lines, first)
        while part := list(islice(records, rows)):
            numbers: list[Array] = []
            others: dict[str, Array] = {}
            columns = zip(*(fields for _, fields in part), strict=True)
            for name, cells in zip(self.names, columns, strict=True):
                parsed = None if name in text else parse_floats(cells)
                if parsed is None:
                    others[name] = self._text(cells)
                else:
                    numbers.append(parsed)
            lines = np.array([line for line, _ in part])
            yield self._table(_stacked(numbers, len(part)), others, lines)

    def _records(self, lines: Iterable[str], first: int) -> Iterator[tuple[int, list[str]]]:
        """Each record with the line on which it starts; blank lines are skipped."""
        reader = _csv_reader(lines, self.delimiter)
        line = first
        try:
            for fields in reader:
                if len(fields) > 1 or (fields and fields[0].strip()):
                    if len(fields) != len(self.names):
                        raise self._ragged(line, len(fields))
                    yield line, fields
                line = first + reader.line_num
        except csv.Error as error:
            raise _unreadable(self.source, line, error) from None

    def _ragged(self, line: int, fields: int) -> DataError:
        """What to raise for a row that has not one field a column."""
        commas = ""
        if self.delimiter == "," and fields > len(self.names):
            commas = ", write numbers as 1.5 and not as 1,5, and put text with commas in quotes"
        return DataError(
            f"{self.source}, line {line}: got {fields} fields, but the header has "
            f"{len(self.names)}; give every row one field a column{commas}"
        )

    def _text(self, cells: Iterable[str]) -> Array:
        if any("\0" in cell for cell in cells):
            raise _not_text(self.source)
        return np.array([cell.strip() for cell in cells], dtype=object)

    def _table(self, numbers: Array, others: dict[str, Array], lines: Array) -> Table:
        names = self.names
        return Table(names, numbers, others, self.source, names, names[-1:], lines)


def _stacked(columns: list[Array], rows: int) -> Array:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0))


def _csv_reader(lines: Iterable[str], delimiter: str) -> Any:
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)


def _unreadable(source: str, line: int, error: csv.Error) -> DataError:
    """What to raise for a record that the csv module does not read."""
    where = f"{source}, line {line}"
    if "field limit" in str(error):
        return DataError(
            f"{where}: a field has more than {csv.field_size_limit():,} characters; check the "
            "quotes, or leave the column out"
        )
    return DataError(f"{where}: {error}; check the quotes")


def _not_text(source: str) -> DataError:
    return DataError(f"{source} is not a UTF-8 text file; save the table as CSV in UTF-8")


@contextmanager
def _open_text(path: str | Path) -> Iterator[TextIO]:
    """A file, or standard input for "-", as text without translation of its line ends."""
    if str(path) != "-":
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            yield file
        return
    file = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
    try:
        yield file
    finally:
        file.detach()


def _count_fields(header: str, delimiter: str) -> int:
    """How many fields the delimiter splits a header line into; 0 where the csv module refuses."""
    try:
        return len(next(csv.reader([header], delimiter=delimiter)))
    except csv.Error:  # not split, the header of a wide table is longer than a field may be
        return 0


def _read_header(file: TextIO, source: str) -> _CsvFile:
    """Reads up to the end of the header; the delimiter is the one that splits it most."""
    line, header = 1, file.readline()
    while header and not header.strip():
        line, header = line + 1, file.readline()
    if not header:
        raise DataError(f"{source} is empty; give a header line and rows")
    if "\0" in header:
        raise _not_text(source)
    # max() keeps the first of equals: a comma where nothing splits the line.
    delimiter = max(",;\t", key=partial(_count_fields, header))
    reader = _csv_reader(chain([header], file), delimiter)
    try:
        names = tuple(name.strip() for name in next(reader))
    except csv.Error as error:
        raise _unreadable(source, line, error) from None
    if len(names) == 1 and "|" in names[0]:
        raise DataError(
            f"{source}, line {line}: '|' stands between the columns of {names[0]!r}; put commas, "
            "semicolons or tabs between them"
        )
    if parse_floats(names) is not None:
        raise DataError(
            f"{source}, line {line} holds only numbers; put a header line with the names of the "
            "columns before it"
        )
    check_names(names, f"{source}, line {line}")
    return _CsvFile(file, source, names, delimiter, line + reader.line_num)


def csv_tables(path: str | Path, rows: int, text: frozenset[str] = frozenset()) -> Iterator[Table]:
    """A CSV file in tables of at most rows rows; at least one."""
    source = "standard input" if str(path) == "-" else str(path)
    empty = True
    try:
        with _open_text(path) as file:
            for table in _read_header(file, source).tables(rows, text):
                empty = False
                yield table
    except UnicodeDecodeError:
        raise _not_text(source) from None
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from None
    if empty:
        raise DataError(f"{source} has a header but no rows; give at least one row")


def read_csv(path: Path) -> Table:
    """A whole CSV file; DataError where it cannot be used."""
    parts = list(csv_tables(path, _BLOCK_ROWS))
    # A column that is text in one block is text in all; what the others held as text is gone.
    text = frozenset[str]().union(*(part.others for part in parts))
    if any(part.others.keys() != text for part in parts):
        parts = list(csv_tables(path, _BLOCK_ROWS, text))
    return replace(
        parts[0],
        numbers=np.concatenate([part.numbers for part in parts]),
        others={name: np.concatenate([part.others[name] for part in parts]) for name in text},
        lines=np.concatenate([part.lines for part in parts if part.lines is not None]),
    )
