"""Read the rows of Parquet files block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gpubp.tables.files.fetch import fetch_columns
from gpubp.tables.files.open_relation import Opened, open_relation
from gpubp.tables.files.read_options import ReadOptions
from gpubp.tables.files.relation import Relation
from gpubp.tables.files.session import Session, identifier, literal
from gpubp.tables.table import Array, DataError, Table

# Columns that DuckDB adds, to find the rows of a row group.
_FILE, _ROW = "gpubp file", "file_row_number"
# Bytes of a number, and of the code of a text, in a table; of a text as a Python object.
_NUMBER, _CODE, _TEXT = 8, 4, 60


@dataclass(frozen=True)
class RowGroup:
    """Consecutive rows of a file that are compressed together.

    path: the file. first: the number of the first row in the file. start: in all files.
    """

    path: str
    first: int
    start: int
    rows: int


@dataclass(frozen=True)
class Block:
    """The rows [start, start + rows), counted over all files, of one row group."""

    group: RowGroup
    start: int
    rows: int


@dataclass(frozen=True)
class ParquetTable:
    """The rows of Parquet files, in the order of the files.

    names: of the columns. groups: the row groups, in order. n_rows: of all files.
    nbytes: about the memory that the table would take.
    source: name of the data in messages.
    """

    session: Session
    relation: Relation
    groups: tuple[RowGroup, ...]
    nbytes: int

    @property
    def source(self) -> str:
        """The name of the data in messages."""
        return self.relation.source

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.relation.columns)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return sum(group.rows for group in self.groups)

    @property
    def row_bytes(self) -> int:
        """About the memory of one row."""
        return max(1, self.nbytes // max(1, self.n_rows))

    def blocks(self, rows: int, first: int = 0, stop: int | None = None) -> list[Block]:
        """Return the rows [first, stop) in order, in blocks of at most ``rows`` rows.

        stop: None for all rows from ``first`` on.
        """
        found, end = [], self.n_rows if stop is None else stop
        for group in self.groups:
            start, last = max(first, group.start), min(end, group.start + group.rows)
            parts = -(-(last - start) // rows)  # of about equal size
            for k in range(parts):
                at, to = (start + (last - start) * i // parts for i in (k, k + 1))
                found.append(Block(group, at, to - at))
        return found

    def read(
        self, block: Block, names: Sequence[str] | None = None, as_text: Sequence[str] = ()
    ) -> Table:
        """Return the rows of a block.

        names: the columns to read; None for all. as_text: columns whose cells are kept as written.
        """
        first = block.group.first + block.start - block.group.start
        where = (
            f"WHERE {identifier(_FILE)} = {literal(block.group.path)} AND {_ROW} >= {first} "
            f"AND {_ROW} < {first + block.rows}"
        )
        relation = self._selected(names)
        table = relation.table(fetch_columns(self.session, relation, as_text, where), ())
        return replace(table, targets=self.names[-1:], first_row=block.start + 1)

    def distinct(self, name: str) -> tuple[Table, Array]:
        """Return the distinct cells of a column as a table, and the rows of each, (k,) int64."""
        relation = self._selected([name])
        (column,) = relation.columns
        counted = f"SELECT {column.sql} AS v, count(*) AS n FROM {relation.sql} GROUP BY ALL"
        own = replace(column, sql="v")
        # In the same order for both queries: each runs the aggregation again.
        sql = f"({counted} ORDER BY v NULLS LAST)"
        columns = fetch_columns(self.session, replace(relation, sql=sql, columns=(own,)), [name])
        table = relation.table(columns, (name,))
        counts = np.ma.getdata(self.session.arrays(f"SELECT n FROM {sql}")[0])
        return table, counts.astype(np.int64)

    def _selected(self, names: Sequence[str] | None) -> Relation:
        if names is None:
            return self.relation
        columns = {column.name: column for column in self.relation.columns}
        return replace(self.relation, columns=tuple(columns[name] for name in names))


@contextmanager
def open_parquet(path: str | Path, options: ReadOptions, room: int) -> Iterator[ParquetTable]:
    """Yield the rows of a Parquet file, or of the files of a pattern.

    room: bytes that DuckDB may take.

    Raises DataError for a file that cannot be read, and for a column with a name that is needed.
    """
    # One thread: a row group is read by one, and each has memory of its own.
    settings = {"threads": "1", "memory_limit": f"{max(64, room // 2**20)}MiB"}
    with open_relation(path, options, (), settings=settings) as opened:
        yield _table_of(opened)


def _table_of(opened: Opened) -> ParquetTable:
    session, paths = opened.session, [str(path) for path in opened.paths]
    relation = opened.relation.with_kinds(session)
    if taken := {_FILE, _ROW}.intersection(column.name for column in relation.columns):
        raise DataError(
            f"{relation.source} has a column {taken.pop()!r}, which DuckDB adds itself to read the "
            "rows block by block; rename it"
        )
    read = (
        f"read_parquet([{', '.join(map(literal, paths))}], union_by_name=true, "
        f"hive_partitioning=false, filename={literal(_FILE)}, {_ROW}=true)"
    )
    groups = _row_groups(session, paths)
    if not groups:
        raise DataError(f"{relation.source} has no rows; give at least one row")
    nbytes = _table_bytes(session, relation, paths, sum(group.rows for group in groups))
    return ParquetTable(session, replace(relation, sql=read), groups, nbytes)


def _row_groups(session: Session, paths: Sequence[str]) -> tuple[RowGroup, ...]:
    found, start = [], 0
    for path in paths:
        first = 0
        for (rows,) in session.rows(
            "SELECT any_value(row_group_num_rows) FROM "
            f"parquet_metadata({literal(path)}) GROUP BY row_group_id ORDER BY row_group_id"
        ):
            if rows:
                found.append(RowGroup(path, first, start, rows))
            first, start = first + rows, start + rows
    return tuple(found)


def _table_bytes(session: Session, relation: Relation, paths: Sequence[str], n_rows: int) -> int:
    """Return about the memory of a table: its numbers, the codes of its texts, and their values."""
    files = ", ".join(map(literal, paths))
    uncompressed = session.rows(
        "SELECT path_in_schema, sum(total_uncompressed_size) "
        f"FROM parquet_metadata([{files}]) GROUP BY ALL"
    )
    sizes = {str(name): int(size) for name, size in uncompressed}
    total = 0
    for column in relation.columns:
        if column.kind == "numbers":
            total += _NUMBER * n_rows
            continue
        own = sizes.get(column.name, 0)
        # Dictionaries of repeated texts hardly take space in the file. Other texts are objects.
        distinct = n_rows if own > 6 * n_rows else 0
        total += _CODE * n_rows + own + _TEXT * distinct
    return total
