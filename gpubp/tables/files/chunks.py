"""Read a file of any length as tables of bounded size."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from gpubp.tables.files.fetch import fetch_columns
from gpubp.tables.files.open_relation import open_relation
from gpubp.tables.files.read_options import ReadOptions
from gpubp.tables.files.relation import Relation, SourceColumn
from gpubp.tables.files.session import Session
from gpubp.tables.table import Array, DataError, Table


def chunks(
    path: str | Path,
    rows: int,
    options: ReadOptions,
    known: Collection[str],
    as_text: Collection[str],
) -> Iterator[Table]:
    """Yield tables of at most ``rows`` rows.

    The file is read once, into a table of DuckDB that is moved to disk if memory does not suffice.
    The arguments are those of `read_chunks`.
    """
    with open_relation(path, options, known, bounded=True) as opened:
        stored = opened.run(lambda session, relation: _stored(session, relation, as_text))
        session = opened.session
        n_rows = session.rows(f"SELECT count(*) FROM {stored.sql}")[0][0]
        for start in range(0, max(1, n_rows), rows):
            where = f"WHERE rowid >= {start} AND rowid < {start + rows}"
            table = stored.table(fetch_columns(session, stored, where=where), ())
            yield replace(
                table,
                targets=table.names[-1:],
                first_row=start + 1,
                written=_written(session, stored, as_text, where),
            )


def _written(
    session: Session, stored: Relation, names: Collection[str], where: str
) -> dict[str, Array]:
    """Return the cells (n,) of columns exactly as in the source, by name; "" for NULL."""
    columns = [column for column in stored.columns if column.name in names]
    if not columns:
        return {}
    selected = ", ".join(
        f"coalesce(CAST({c.sql} AS VARCHAR), '') AS w{j}" for j, c in enumerate(columns)
    )
    cells = session.arrays(f"SELECT {selected} FROM {stored.sql} {where}")
    return {c.name: np.ma.getdata(array) for c, array in zip(columns, cells, strict=True)}


def _stored(session: Session, relation: Relation, as_text: Collection[str]) -> Relation:
    """Store the relation as a table of DuckDB, and return it as a relation.

    The kinds of its columns are decided by all rows. Unnamed columns without cells are left out.
    """
    relation = relation.with_text(as_text)
    session.run(_create(relation))
    columns = relation.with_kinds(session, stored=True).columns
    if columns != relation.columns:  # a cell is not a number, so its column has to be text
        relation = replace(relation, columns=columns)
        session.run(_create(relation))
    kept = []
    for j, column in enumerate(columns):
        numeric = column.may_be_numbers()
        stored = replace(column, sql=f"c{j}", kind="numbers" if numeric else column.kind)
        stored = replace(stored, guess="decimal") if numeric else stored
        if not stored.unnamed or _has_cells(session, relation, stored):
            kept.append(stored)
    if not kept:
        raise DataError(f"{relation.source} has no columns with cells; give a header line and rows")
    notes = relation.notes_on([column.name for column in kept])
    kept = [replace(column, unnamed=False) for column in kept]
    return replace(relation, sql="stored", columns=tuple(kept), notes=notes)


def _create(relation: Relation) -> str:
    """Return SQL that stores cells as numbers where possible, with NULL for other cells."""
    selected = ", ".join(
        f"{relation.number(column) if column.may_be_numbers() else column.sql} AS c{j}"
        for j, column in enumerate(relation.columns)
    )
    return f"CREATE OR REPLACE TEMP TABLE stored AS SELECT {selected} FROM {relation.sql}"


def _has_cells(session: Session, relation: Relation, column: SourceColumn) -> bool:
    gap = f"isnan({column.sql})" if column.kind == "numbers" else relation.gap(column)
    return bool(session.rows(f"SELECT count(*) FROM stored WHERE NOT ({gap})")[0][0])
