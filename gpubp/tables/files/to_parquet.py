"""Write the rows of any file that DuckDB reads to a Parquet file, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gpubp.storage.atomic_file import atomic_write
from gpubp.tables.decimal_sign import settled
from gpubp.tables.files.fetch import fetch_columns
from gpubp.tables.files.open_relation import Opened, open_relation
from gpubp.tables.files.read_options import ReadOptions
from gpubp.tables.files.relation import Relation
from gpubp.tables.files.session import Session, literal
from gpubp.tables.files.typed_source import typed_columns
from gpubp.tables.table import DataError, Table

GROUP_ROWS = 100_000  # of a row group; DuckDB rounds up to a multiple of 2,048
SAMPLE_ROWS = 50_000  # by which the decimal sign is found
LEAST_ROOM = 1 << 27  # of DuckDB, which compresses a row group per thread


class Written(NamedTuple):
    """A Parquet file that was written.

    decimal: the decimal sign of the source; None if it was not shown. notes: lines for the user.
    """

    rows: int
    columns: int
    decimal: str | None
    notes: tuple[str, ...]


def to_parquet(path: str | Path, out: Path, options: ReadOptions, room: int) -> Written:
    """Write the rows of a path, a pattern or "-" to ``out``, which is replaced when all are there.

    A column has the type that `read_table` would find; text that means "no value" becomes NULL.
    Files with types of their own, and the results of queries, keep these.
    room: bytes that DuckDB may take, at least LEAST_ROOM.

    Raises DataError for rows that cannot be read, and OSError if ``out`` cannot be written.
    """
    settings = {"memory_limit": f"{max(room, LEAST_ROOM) // 2**20}MiB"}
    with (
        atomic_write(out) as temporary,
        open_relation(
            path, options, (), bounded=True, settings=settings, written=[temporary]
        ) as opened,
        _clear_errors(out),
    ):
        if opened.kind in ("parquet", "database", "query"):  # with types of their own
            rows, columns, decimal = opened, ["*"], None
            notes, width = opened.relation.notes, len(opened.relation.columns)
        else:
            sample = _sampled(opened)
            decimal, notes = options.decimal or sample.decimal, sample.notes
            rows = opened.with_decimal(",") if decimal == "," and opened.files else opened
            columns = rows.run(partial(typed_columns, drop_empty=True))
            width = len(columns)
        copy = partial(_copied, columns=columns, to=temporary)
        return Written(rows.run(copy), width, decimal, notes)


def _sampled(opened: Opened) -> Table:
    """Return rows from all over the file, with the decimal sign that they show."""

    def read(session: Session, relation: Relation) -> Table:
        sampled = f"(SELECT * FROM {relation.sql} USING SAMPLE reservoir({SAMPLE_ROWS} ROWS))"
        rows = replace(relation, sql=sampled)
        # As in a table read whole, the last column is the target, whose cells stay as written.
        return relation.table(fetch_columns(session, rows, [rows.columns[-1].name]), ())

    def again(decimal: str) -> Table:
        return opened.with_decimal(decimal).run(read)

    table = settled(opened.run(read), opened.delimiter, again if opened.files else None)
    if not len(table):
        raise DataError(f"{table.source} has a header but no rows; give at least one row")
    return table


def _copied(session: Session, relation: Relation, columns: Sequence[str], to: Path) -> int:
    """Write the rows to the Parquet file ``to``; return their number."""
    if not columns:
        raise DataError(f"{relation.source} has no columns with cells; give a header line and rows")
    found = session.rows(
        f"COPY (SELECT {', '.join(columns)} FROM {relation.sql}) TO {literal(str(to))} "
        f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_ROWS}, USE_TMP_FILE false)"
    )
    return int(found[0][0])


@contextmanager
def _clear_errors(out: Path) -> Iterator[None]:
    """Turn DuckDB's error for a full disk into an OSError that names ``out``."""
    try:
        yield
    except DataError as error:
        if re.search(r"no space left|disk quota", str(error), re.IGNORECASE):
            raise OSError(
                f"cannot write {str(out)!r}: the disk is full; free some or choose another path"
            ) from None
        raise
