"""Write blocks of rows to a CSV or Parquet file, in bounded memory."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from numpy.typing import NDArray

from gpubp.storage.atomic_file import atomic_write
from gpubp.storage.scratch_file import temporary_folder
from gpubp.tables.table import DataError, listed

if TYPE_CHECKING:
    import duckdb

Array = NDArray[Any]
Block = Mapping[str, Array]  # columns (n,) of equal length, by name; the same names in each block

PARQUET_SUFFIXES = (".parquet", ".pq")
_SQL_TYPES = {"f2": "FLOAT", "f4": "FLOAT", "f8": "DOUBLE", "b1": "BOOLEAN"}


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Return whether the suffix of path is that of a Parquet file."""
    return Path(path).suffix.lower() in PARQUET_SUFFIXES


def write_csv(file: TextIO, blocks: Iterable[Block]) -> None:
    """Write a header and the rows of the blocks to ``file`` as CSV.

    Numbers have as many digits as their dtype needs. The header is written with the first block,
    which may have no rows.
    """
    rows = csv.writer(file, lineterminator="\n")
    for k, block in enumerate(blocks):
        if k == 0:
            rows.writerow(block)
        rows.writerows(zip(*map(_cells, block.values()), strict=True))


def _cells(values: Array) -> Sequence[Any]:
    # tolist would convert float32 to float64, which is written with more digits.
    return list(map(str, values)) if values.dtype.kind == "f" else values.tolist()


def write_parquet(path: str | os.PathLike[str], blocks: Iterable[Block]) -> None:
    """Write the rows of the blocks to a Parquet file.

    An existing file at ``path`` is replaced only when the new one is complete.

    Raises DataError for names that differ only in case, OSError if path cannot be written.
    """
    with (
        atomic_write(path) as temporary,
        temporary_folder() as folder,
        _database(folder) as database,
        _clear_errors(path),
    ):
        for k, block in enumerate(blocks):
            if k == 0:
                database.execute(f"CREATE TABLE rows ({_sql_columns(block)})")
            database.register("block", dict(block))
            database.execute("INSERT INTO rows SELECT * FROM block")
            database.unregister("block")
        to = str(temporary).replace("'", "''")
        database.execute(f"COPY rows TO '{to}' (FORMAT parquet, USE_TMP_FILE false)")


@contextmanager
def _database(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to a database in ``folder``, where rows are stored beyond 512 MB."""
    import duckdb

    options: dict[str, Any] = {"threads": 1, "memory_limit": "512MB", "temp_directory": str(folder)}
    with duckdb.connect(str(folder / "rows.duckdb"), config=options) as database:
        yield database


def _sql_columns(block: Block) -> str:
    by_case: dict[str, str] = {}
    for name in block:
        other = by_case.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(
                f"columns {listed((other, name))} differ only in case, which DuckDB cannot write "
                "to Parquet; leave one out, or write a .csv"
            )
    return ", ".join(f"{_quoted(name)} {_sql_type(values)}" for name, values in block.items())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sql_type(values: Array) -> str:
    if values.dtype.kind in "iu":
        return "BIGINT"
    return _SQL_TYPES.get(values.dtype.str[1:], "VARCHAR")


@contextmanager
def _clear_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of DuckDB into an OSError of one sentence."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        found = re.search(r'"exception_message":"((?:[^"\\]|\\.)*)"', str(error))
        reason = found[1].rpartition('": ')[2] if found else str(error).split("\n")[0]
        raise OSError(
            f"cannot write {os.fspath(path)!r}: {reason}; check the disk or choose another path"
        ) from None
