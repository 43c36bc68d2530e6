"""CSV files as a relation with columns of text cells."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpubp.tables.column import MISSING
from gpubp.tables.files.csv_dialect import Dialect, find_dialect
from gpubp.tables.files.csv_header import Header, find_header
from gpubp.tables.files.csv_rewrite import CLEAN, rewrite
from gpubp.tables.files.input_files import InputFile
from gpubp.tables.files.read_options import ReadOptions
from gpubp.tables.files.relation import Guess, Relation, SourceColumn, check_width, guess_of
from gpubp.tables.files.session import Session, literal
from gpubp.tables.table import DataError, listed

# DuckDB's own limit; its buffer has 16 times as many bytes per thread.
_LINE_SIZE = 2_000_000


@dataclass(frozen=True)
class CsvFile:
    """One CSV file, with its dialect and its header.

    path: the file to read, perhaps a clean copy, in the dialect ``dialect``.
    skip: number of lines before the first row. longest: characters of the longest line.
    plain: whether DuckDB can read the file as it is.
    delimiter: of the original file.
    """

    file: InputFile
    path: Path
    dialect: Dialect
    header: Header
    skip: int
    longest: int
    plain: bool
    delimiter: str = ""

    def sql(self) -> str:
        """Return SQL for the rows, with columns c0, c1, ... of text as written."""
        columns = ", ".join(f"'c{j}': 'VARCHAR'" for j in range(len(self.header.names)))
        size = max(_LINE_SIZE, 4 * self.longest)
        return (
            f"read_csv({literal(str(self.path))}, auto_detect=false, header=false, "
            f"skip={self.skip}, delim={literal(self.dialect.delimiter)}, "
            f"quote={literal(self.dialect.quote)}, escape={literal(self.dialect.escape)}, "
            f"comment='', compression='none', max_line_size={size}, strict_mode=true, "
            f"null_padding=false, hive_partitioning=false, columns={{{columns}}})"
        )

    def rewritten(self, copy: Path) -> CsvFile:
        """Return the file as a clean copy; raise DataError if it is not a table."""
        header = self.header
        path, longest = rewrite(
            self.path, copy, self.file.source, self.dialect, header.skip, len(header.names)
        )
        return replace(self, path=path, dialect=CLEAN, skip=0, longest=longest, plain=True)


def find_csv(file: InputFile, options: ReadOptions, known: Collection[str]) -> CsvFile:
    """Return a file with its dialect and header.

    known: names of a model's columns, to detect the header.
    """
    suffix_mark = "\t" if file.source.lower().endswith((".tsv", ".tab")) else None
    delimiter = _delimiter(options.delimiter)
    sample = find_dialect(file.path, file.source, delimiter, options.decimal)
    if delimiter is None and suffix_mark and sample.width == 1 and sample.records:
        sample = find_dialect(file.path, file.source, suffix_mark, options.decimal)
    check_width(sample.width, file.source)
    header = find_header(sample, file.source, options.header, known)
    # DuckDB skips records instead of lines, cannot split at several blanks, and reads a blank line
    # of a one-column file as a row.
    quoted = any(number < header.skip for number in sample.quoted)
    plain = not (quoted or sample.dialect.spaces or len(header.names) == 1)
    plain = plain and not _has_long_end(file.path)
    return CsvFile(
        file,
        file.path,
        sample.dialect,
        header,
        header.skip,
        sample.longest,
        plain,
        sample.dialect.delimiter,
    )


def _delimiter(given: str | None) -> str | None:
    if given is None:
        return None
    mark = {"\\t": "\t", "tab": "\t", "space": " "}.get(given, given)
    if len(mark) != 1 or mark in '"\r\n\0':
        raise DataError(f"delimiter is {given!r}; give one character, or \\t")
    return mark


def csv_relation(files: Sequence[CsvFile], options: ReadOptions, source: str) -> Relation:
    """Return the rows of the files, one file after the other, with columns matched by name."""
    missing = MISSING if options.na is None else options.na
    names = list(dict.fromkeys(name for file in files for name in file.header.names))
    places = [{name: j for j, name in enumerate(file.header.names)} for file in files]
    pairs = list(zip(files, places, strict=True))
    columns = [_column(name, j, pairs, missing, options) for j, name in enumerate(names)]
    notes = list(dict.fromkeys(note for file in files for note in file.header.notes))
    for file, place in pairs:
        if absent := [name for name in names if name not in place]:
            notes.append(f"{file.file.source} has no column {listed(absent)}: its cells are gaps")
    return Relation(
        _union(files, names),
        tuple(columns),
        source,
        missing,
        options.decimal,
        any(_has_underscore(file) for file in files),
        frozenset().union(*(file.header.doubled for file in files)),
        tuple(notes),
    )


def _column(
    name: str,
    place: int,
    files: Sequence[tuple[CsvFile, dict[str, int]]],
    missing: Collection[str],
    options: ReadOptions,
) -> SourceColumn:
    """Return a column of text cells, with its content guessed from the first rows of each file."""
    guesses, unnamed = set(), True
    for file, places in files:
        if name not in places:
            continue
        j = places[name]
        unnamed = unnamed and j in file.header.unnamed
        cells = [row[j] for row in file.header.rows]
        guesses.add(guess_of(cells, {*missing, ""}, options.decimal))
    # The strictest guess, since codes such as 01 may be in only one of the files.
    order: tuple[Guess, ...] = ("text", "integer", "decimal")
    guess = next(kind for kind in order if kind in guesses)
    return SourceColumn(name, f"c{place}", "cells", guess, unnamed)


def _union(files: Sequence[CsvFile], names: Sequence[str]) -> str:
    if len(files) == 1:
        return files[0].sql()
    parts = []
    for file in files:
        places = {name: f"c{j}" for j, name in enumerate(file.header.names)}
        cells = [f"{places.get(name, 'NULL::VARCHAR')} AS c{j}" for j, name in enumerate(names)]
        parts.append(f"SELECT {', '.join(cells)} FROM {file.sql()}")
    return f"({' UNION ALL '.join(parts)})"


def _has_long_end(path: Path) -> bool:
    """Return whether the last line is very long; DuckDB silently drops one of 32 MB."""
    with path.open("rb") as data:
        size = data.seek(0, os.SEEK_END)
        if size <= _LINE_SIZE:
            return False
        data.seek(size - _LINE_SIZE)
        end = data.read().rstrip(b"\r\n")
    return b"\n" not in end and b"\r" not in end


def _has_underscore(file: CsvFile) -> bool:
    """Return whether any row has a "_", which DuckDB ignores within numbers."""
    with file.path.open("rb") as data:
        for _ in range(file.skip):
            if not data.readline(1 << 24).endswith(b"\n"):  # "\r" ends lines, or lines are huge
                return True
        while part := data.read(1 << 20):
            if b"_" in part:
                return True
    return False


def clean_copies(session: Session, files: Sequence[CsvFile]) -> list[CsvFile]:
    """Return the files as clean copies; raise DataError with the line that cannot be read."""
    return [
        file.rewritten(session.folder / f"clean{index}.csv") for index, file in enumerate(files)
    ]
