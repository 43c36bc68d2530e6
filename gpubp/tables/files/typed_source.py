"""Parquet, JSON lines, DuckDB files and query results as relations of typed columns."""

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
    """The rows of Parquet files, with columns matched by name."""
    paths = _paths(files)
    read = f"read_parquet([{paths}], union_by_name=true, hive_partitioning=false)"
    return typed_relation(session, read, na)


def json_relation(
    session: Session, files: Sequence[InputFile], na: Collection[str] | None
) -> Relation:
    """The rows of JSON lines (or of an array of objects), each value as it is written."""
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
    """Anything that DuckDB knows the types of; its texts stay texts."""
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
        raise DataError(f"{session.source} has no columns; give a table with names")
    check_width(len(columns), session.source)
    return Relation(sql, tuple(columns), session.source, missing, notes=notes)


def _typed(name: str, kind: str) -> SourceColumn:
    """The column of a DuckDB type: numbers, or text as Python and ISO write it."""
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
    if kind == "TIMESTAMP WITH TIME ZONE":  # its own cast wants the extension icu
        utc = f"CAST(make_timestamp(epoch_us({cell})) AS VARCHAR) || '+00:00'"
        return SourceColumn(name, utc, "text")
    return SourceColumn(name, f"CAST({cell} AS VARCHAR)", "text")


def _described(session: Session, sql: str) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in session.rows(f"DESCRIBE SELECT * FROM {sql}")]


def _paths(files: Sequence[InputFile]) -> str:
    return ", ".join(literal(str(file.path)) for file in files)


def attach(session: Session, file: InputFile) -> None:
    """Open a DuckDB file for reading; its tables are found by their names."""
    with file.path.open("rb") as data:
        if data.read(12)[8:12] != b"DUCK":
            raise DataError(f"{file.source} is not a DuckDB database; save the table as CSV")
    session.run(f"ATTACH {literal(str(file.path))} AS source_file (READ_ONLY)")


def only_table(session: Session) -> str:
    """The one table of the attached file; DataError lists them where there are several."""
    rows = session.rows(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'source_file' "
        "ORDER BY schema_name, table_name"
    )
    if len(rows) != 1:
        names = f"has tables {listed([name for _, name in rows])}" if rows else "has no table"
        raise DataError(f'{session.source} {names}; choose by --query "select ... from ..."')
    return ".".join(map(identifier, ("source_file", *rows[0])))


def run_query(session: Session, query: str) -> str:
    """The name of a temporary table with the rows of a query, which is one SELECT."""
    import duckdb

    try:
        statements = session.connection.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"query: {first_sentence(error)}") from None
    except (TypeError, UnicodeError):  # half of a surrogate pair
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
            "query: it takes more than the memory and the disk that it may have (1 GB, and half of "
            "what is free for temporary files); select fewer rows or columns"
        ) from None
    return _RESULT


def create_data_view(session: Session, relation: Relation) -> None:
    """The rows of a relation as the view "data" for queries, with numbers where all are."""
    taken: set[str] = set()
    selected = []
    relation = relation.with_kinds(session)
    for column in relation.columns:
        name, number = column.name, 1
        while name.casefold() in taken:  # names in SQL have no case
            name, number = f"{column.name}_{number}", number + 1
        taken.add(name.casefold())
        selected.append(f"{_view_sql(session, relation, column)} AS {identifier(name)}")
    session.run(
        f"CREATE OR REPLACE TEMP VIEW data AS SELECT {', '.join(selected)} FROM {relation.sql}"
    )


def _view_sql(session: Session, relation: Relation, column: SourceColumn) -> str:
    if column.kind != "cells":
        return column.sql
    if column.guess == "text":
        return f"CASE WHEN {relation.gap(column)} THEN NULL ELSE trim({column.sql}) END"
    gaps = ["'nan'", *(f"'{number!r}'" for number in marked_numbers(relation.missing).tolist())]
    number = relation.number(column)
    number = f"CASE WHEN {number} NOT IN ({'::DOUBLE, '.join(gaps)}::DOUBLE) THEN {number} END"
    whole = (
        column.guess == "integer"
        and session.rows(
            f"SELECT bool_and(coalesce({number} = floor({number}), true)) FROM {relation.sql}"
        )[0][0]
    )
    return f"CAST({number} AS BIGINT)" if whole else number
