"""Read tables from files of any kind, whole or in chunks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from gpubp.tables.datasets import DATASETS
from gpubp.tables.decimal_sign import settled
from gpubp.tables.files.array_file import load_dataset, read_array_file
from gpubp.tables.files.chunks import chunks
from gpubp.tables.files.fetch import fetch_columns
from gpubp.tables.files.input_files import ARRAY_SUFFIXES, find_paths, suffix_of
from gpubp.tables.files.open_relation import open_relation
from gpubp.tables.files.read_options import ReadOptions
from gpubp.tables.files.relation import Relation
from gpubp.tables.files.session import Session
from gpubp.tables.table import DataError, Table

__all__ = [
    "DATASETS",
    "DataError",
    "ReadOptions",
    "Table",
    "load_dataset",
    "read_chunks",
    "read_table",
]


def read_table(
    path: str | Path,
    options: ReadOptions = ReadOptions(),  # noqa: B008  frozen
    *,
    target_file: str | Path | None = None,
    targets: Sequence[str] | None = None,
    known: Collection[str] = (),
    as_text: Collection[str] = (),
) -> Table:
    """Return the table in a file, in files of a pattern, or on standard input.

    Parameters
    ----------
    path
        A path, a pattern such as ``data/*.csv``, or "-" for standard input.
    options
        How to read the file.
    target_file
        An .npy file with y, (n,) or (n, k), for a path that is an .npy file.
    targets
        Names of the target columns, whose cells are kept as written. None: the last column, or y of
        an array file.
    known
        Names of a model's columns, to detect whether the first line of CSV is a header.
    as_text
        Names of columns whose cells are kept as written, even if all are numbers.

    Raises
    ------
    DataError
        For a file that cannot be used, a file without rows, and an unknown target.
    """
    array = _array_path(path)
    if target_file is not None and (array is None or array.suffix.lower() != ".npy"):
        raise DataError(f"{path}: a target file is only for an .npy file; leave it out")
    if array is not None:
        table = settled(_read_arrays(array, options, target_file))
    else:
        table = _read_rows(path, options, targets, known, as_text)
        if not len(table) and options.query is not None:
            raise DataError(f"{table.source}: the query gives no rows; give one that does")
        if not len(table):
            raise DataError(f"{table.source} has a header but no rows; give at least one row")
    if targets is None:
        return table
    table.require(targets)
    return replace(table, targets=tuple(targets))


def read_chunks(
    path: str | Path,
    rows: int,
    options: ReadOptions = ReadOptions(),  # noqa: B008  frozen
    *,
    known: Collection[str] = (),
    as_text: Collection[str] = (),
) -> Iterator[Table]:
    """Yield tables of at most ``rows`` rows, in bounded memory.

    There is at least one table; it has 0 rows if the file has only a header. The other arguments
    are those of read_table.

    Raises DataError as read_table does, during the iteration.
    """
    if rows < 1:
        raise ValueError(f"rows is {rows!r}; give at least 1")
    array = _array_path(path)
    if array is None:
        return chunks(path, rows, options, known, as_text)
    table = _read_arrays(array, options, None)
    return (table.rows(start, start + rows) for start in range(0, len(table), rows))


def _array_path(path: str | Path) -> Path | None:
    """Return the path of an array file; None for other files."""
    if str(path) == "-" or suffix_of(path) not in ARRAY_SUFFIXES:
        return None
    paths = find_paths(path)
    if len(paths) > 1:
        raise DataError(f"{path} matches {len(paths)} array files; give one of them")
    return paths[0]


def _read_arrays(path: Path, options: ReadOptions, target_file: str | Path | None) -> Table:
    if options.query is not None:
        raise DataError(f"{path}: a query is only for text, Parquet, JSON and DuckDB files")
    if target_file is not None and suffix_of(target_file) != ".npy":
        raise DataError(f"{target_file} has suffix {Path(target_file).suffix!r}; give an .npy file")
    if target_file is not None:
        find_paths(target_file)
    return read_array_file(path, target_file, options.missing)


def _read_rows(
    path: str | Path,
    options: ReadOptions,
    targets: Sequence[str] | None,
    known: Collection[str],
    as_text: Collection[str],
) -> Table:
    """Return the table in a file that DuckDB reads, with the decimal sign found in its cells."""
    with open_relation(path, options, known) as opened:

        def fetched(session: Session, relation: Relation) -> Table:
            return _fetched(session, relation.with_text(as_text), targets)

        def again(decimal: str) -> Table:
            return opened.with_decimal(decimal).run(fetched)

        return settled(opened.run(fetched), opened.delimiter, again if opened.files else None)


def _fetched(session: Session, relation: Relation, targets: Sequence[str] | None) -> Table:
    labels = targets or _last_columns(relation)
    columns = fetch_columns(session, relation, labels)
    if not columns:
        raise DataError(f"{relation.source} has no columns with cells; give a header line and rows")
    return relation.table(columns, tuple(columns)[-1:])


def _last_columns(relation: Relation) -> list[str]:
    """Return the names of the last named column and of the unnamed ones after it.

    The default target is the last of these columns that has cells.
    """
    names = [column.name for column in relation.columns]
    named = [place for place, column in enumerate(relation.columns) if not column.unnamed]
    return names[named[-1] if named else -1 :]
