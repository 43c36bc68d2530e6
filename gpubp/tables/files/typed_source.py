"""Parquet, JSON lines, DuckDB files and query results as relations with typed columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gpubp.tables.column import MISSING, marked_numbers
from gpubp.tables.files.input_files import InputFile
from gpubp.tables.files.relation import Relation, SourceColumn, check_width
from gpubp.tables.files.session import RefusedError, Session, first_sentence, identifier, literal
from gpubp.tables.table import DataError, listed

_SMALL = ("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER")
_RESULT = "query_result"


def parquet_relation(
    session: Session, files: Sequence[InputFile], na: Collection[str] | None
) -> Relation:
    """Return the rows of Parquet files, with columns matched by name."""
    paths = _paths(files)
    read = f"read_parquet([{paths}], union_by_name=true, hive_partitioning=false)"
    return typed_relation(session, read, na)


def json_relation(
    session: Session, files: Sequence[InputFile], na: Collection[str] | None
) -> Relation:
    """Return the rows of JSON lines (or of an array of objects), with values as written."""
    read = (
        f"read_json([{_paths(files)}], maximum_depth=1, sample_size=-1, union_by_name=true, "
        "field_appearance_threshold=0, map_inference_threshold=-1, "
        "hive_partitioning=false, maximum_object_size=67108864, records=true)"
    )
    columns = [
        SourceColumn(name, f"({identifier(name)} ->> '$')", "cells")
        for name, _ in _described(session, read)
    ]
    missing = MISSING if na is None else na
    return _relation(session, read, columns, missing)


def typed_relation(
    session: Session, sql: str, na: Collection[str] | None = None, notes: tuple[str, ...] = ()
) -> Relation:
    """Return the rows of a table, query or function with types; text stays text.

    sql: SQL expression for the rows, to be used after FROM.
    """
    columns = [_typed(name, kind) for name, kind in _described(session, sql)]
    return _relation(session, sql, columns, MISSING if na is None else na, notes)


def _relation(
    session: Session,
    sql: str,
    columns: Sequence[SourceColumn],
    missing: Collection[str],
    notes: tuple[str, ...] = (),
) -> Relation:
    if not columns:
        raise DataError(f"{session.source} has no columns; give a table with named columns")
    check_width(len(columns), session.source)
    return Relation(sql, tuple(columns), session.source, missing, notes=notes)


def _typed(name: str, kind: str) -> SourceColumn:
    """Return a column of the DuckDB type ``kind``: numbers, or text as Python and ISO write it."""
    cell = identifier(name)
    if kind in ("DOUBLE", "FLOAT"):
        return SourceColumn(name, cell, "numbers", "decimal")
    if kind in _SMALL or kind == "BIGINT":
        return SourceColumn(name, cell, "numbers", "integer")
    if kind.startswith("DECIMAL") and kind.endswith(",0)"):  # whole, and maybe beyond float64
        return SourceColumn(name, f"CAST({cell} AS VARCHAR)", "cells")
    if kind.startswith("DECIMAL"):
        return SourceColumn(name, f"CAST({cell} AS DOUBLE)", "numbers", "decimal")
    if kind in ("UBIGINT", "HUGEINT", "UHUGEINT"):
        return SourceColumn(name, f"CAST({cell} AS VARCHAR)", "cells")
    if kind == "BOOLEAN":
        return SourceColumn(
            name, f"CASE WHEN {cell} THEN 'True' WHEN NOT {cell} THEN 'False' END", "text"
        )
    if kind == "TIMESTAMP WITH TIME ZONE":  # DuckDB's cast needs the extension icu
        utc = f"CAST(make_timestamp(epoch_us({cell})) AS VARCHAR) || '+00:00'"
        return SourceColumn(name, utc, "text")
    return SourceColumn(name, f"CAST({cell} AS VARCHAR)", "text")


def _described(session: Session, sql: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in session.rows(f"DESCRIBE SELECT * FROM {sql}")]


def _paths(files: Sequence[InputFile]) -> str:
    return ", ".join(literal(str(file.path)) for file in files)


def attach(session: Session, file: InputFile) -> None:
    """Attach a DuckDB file for reading, as the database "source_file"."""
    with file.path.open("rb") as data:
        if data.read(12)[8:12] != b"DUCK":
            raise DataError(f"{file.source} is not a DuckDB database; save the table as CSV")
    session.run(f"ATTACH {literal(str(file.path))} AS source_file (READ_ONLY)")


def only_table(session: Session) -> str:
    """Return the name of the only table in the attached file.

    Raises DataError, with the names of the tables, if there are several or none.
    """
    rows = session.rows(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'source_file' "
        "ORDER BY schema_name, table_name"
    )
    if len(rows) != 1:
        names = f"has tables {listed([name for _, name in rows])}" if rows else "has no table"
        raise DataError(f'{session.source} {names}; choose one with --query "select ... from ..."')
    return ".".join(map(identifier, ("source_file", *rows[0])))


def run_query(session: Session, query: str) -> str:
    """Run a query; return the name of a temporary table with its rows.

    Raises DataError for a query that fails, or that is not exactly one SELECT.
    """
    import duckdb

    try:
        statements = session.connection.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"query: {first_sentence(error)}") from None
    except (TypeError, UnicodeError):  # a lone surrogate
        raise DataError("query: the text is not UTF-8") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = [statement.type.name for statement in statements]
        found = f"has statements {listed(kinds)}" if kinds else "is empty"
        raise DataError(f"query {found}; give one SELECT and nothing else")
    try:
        query = re.sub(r"[;\s]+$", "", query)
        session.run(f"CREATE TEMP TABLE {_RESULT} AS\n{query}\n")
    except RefusedError as error:
        raise DataError(str(error).replace(f"{session.source} cannot be read", "query")) from None
    except DataError:
        raise DataError(
            "query: it needs more memory and disk than allowed (1 GB, and half of the free space "
            "for temporary files); select fewer rows or columns"
        ) from None
    return _RESULT


def create_data_view(session: Session, relation: Relation) -> None:
    """Create the view "data" with the rows of a relation, for queries.

    A column is numeric if all its cells are numbers.
    """
    selected = ", ".join(typed_columns(session, relation))
    session.run(f"CREATE OR REPLACE TEMP VIEW data AS SELECT {selected} FROM {relation.sql}")


def typed_columns(session: Session, relation: Relation, *, drop_empty: bool = False) -> list[str]:
    """Return SQL for the columns of a relation with types and names, each "... AS name".

    Names that differ only in case get numbers, since SQL ignores the case.
    drop_empty: whether to leave out unnamed columns without cells.
    """
    relation = relation.with_kinds(session)
    facts = _facts(session, relation)
    taken: set[str] = set()
    selected = []
    for column, (whole, empty) in zip(relation.columns, facts, strict=True):
        if empty and drop_empty:
            continue
        name, number = column.name, 1
        while name.casefold() in taken:
            name, number = f"{column.name}_{number}", number + 1
        taken.add(name.casefold())
        selected.append(f"{_typed_sql(relation, column, bool(whole))} AS {identifier(name)}")
    return selected


def _facts(session: Session, relation: Relation) -> list[tuple[bool, bool]]:
    """Return for each column whether its numbers are whole, and whether it is unnamed and empty."""
    asked = []
    for column in relation.columns:
        whole, empty = "false", "false"
        if column.may_be_numbers() and column.guess == "integer":
            number = _present(relation, column)
            whole = f"bool_and(coalesce({number} = floor({number}), true))"
        if column.unnamed:
            empty = f"bool_and({relation.gap(column)})"
        asked += [whole, empty]
    if set(asked) == {"false"}:
        return [(False, False)] * len(relation.columns)
    # A table without rows gives NULL, which is false.
    found = session.rows(f"SELECT {', '.join(asked)} FROM {relation.sql}")[0]
    return list(zip(found[::2], found[1::2], strict=True))


def _typed_sql(relation: Relation, column: SourceColumn, whole: bool) -> str:
    if column.kind != "cells":
        return column.sql
    if column.guess == "text":
        return f"CASE WHEN {relation.gap(column)} THEN NULL ELSE trim({column.sql}) END"
    number = _present(relation, column)
    return f"CAST({number} AS BIGINT)" if whole else number


def _present(relation: Relation, column: SourceColumn) -> str:
    """Return SQL for the numbers of a column, with NULL for those that mean "no value"."""
    gaps = ["'nan'", *(f"'{number!r}'" for number in marked_numbers(relation.missing).tolist())]
    number = relation.number(column)
    return f"CASE WHEN {number} NOT IN ({'::DOUBLE, '.join(gaps)}::DOUBLE) THEN {number} END"
