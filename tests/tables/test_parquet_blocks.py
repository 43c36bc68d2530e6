"""Parquet files read block by block are the table read whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpubp.tables.concatenated import concatenated
from gpubp.tables.files.parquet_blocks import ParquetTable, open_parquet
from gpubp.tables.frame import as_table
from gpubp.tables.read import DataError, ReadOptions, read_table
from tests.tables.conftest import assert_equal

duckdb = pytest.importorskip("duckdb")

N = 5000
ROOM = 1 << 27
TABLE = """
    SELECT i, i / 7 AS x, CASE WHEN i % 5 > 0 THEN i * 1.5::FLOAT END AS gap,
        'k' || (i % 11) AS kind, 'row number ' || i AS text, (i % 2 = 0) AS flag,
        i::HUGEINT AS big, CASE WHEN i % 3 = 0 THEN NULL WHEN i % 3 = 1 THEN 'no' ELSE 'yes' END y
"""


def write(path: Path, first: int = 0, stop: int = N, group: int = 2048, sql: str = TABLE) -> Path:
    rows = f"COPY ({sql} FROM range({first}, {stop}) AS t(i)) TO '{path}'"
    duckdb.sql(f"{rows} (FORMAT parquet, ROW_GROUP_SIZE {group})")
    return path


def read(parquet: ParquetTable, rows: int, *of: int | None) -> list[int]:
    return [block.rows for block in parquet.blocks(rows, *of)]  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "data.parquet")


def test_blocks_are_the_whole_table(path: Path) -> None:
    with open_parquet(path, ReadOptions(), ROOM) as parquet:
        assert (parquet.n_rows, parquet.names[-1], len(parquet.groups)) == (N, "y", 3)
        tables = [parquet.read(block, as_text=["y"]) for block in parquet.blocks(700)]
    assert all(len(table) <= 700 for table in tables)
    whole = concatenated(tables)
    assert_equal(whole, read_table(path))
    assert whole.row_numbers is not None
    assert whole.row_numbers.tolist() == list(range(1, N + 1))
    assert "data row 3001, column 'x'" in tables[-1].where(3000 - tables[-1].first_row + 1, "x")


def test_files_of_a_pattern(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", 3000)
    write(tmp_path / "a.parquet", 0, 3000)
    write(tmp_path / "c.parquet", 0, 0)
    pattern = tmp_path / "*.parquet"
    with open_parquet(pattern, ReadOptions(), ROOM) as parquet:
        assert parquet.n_rows == N
        tables = [parquet.read(block) for block in parquet.blocks(10_000)]
        assert read(parquet, 1000, 2900, 3100) == [100, 100]
    assert_equal(concatenated(tables), read_table(pattern))


def test_parts_of_the_rows_and_of_the_columns(path: Path) -> None:
    with open_parquet(path, ReadOptions(), ROOM) as parquet:
        assert read(parquet, 1500, 2000, 2100) == [48, 52]  # of two row groups
        assert sum(read(parquet, 1)) == N
        (block,) = parquet.blocks(10, 4095, 4096)
        table = parquet.read(block, ["kind", "x"])
    assert table.names == ("kind", "x")
    assert table.column("x").cell(0) == "585.0"


def test_distinct_cells_with_their_rows(path: Path) -> None:
    with open_parquet(path, ReadOptions(), ROOM) as parquet:
        table, counts = parquet.distinct("y")
        found = dict(zip(table.column("y").texts("gap"), counts.tolist(), strict=True))  # type: ignore[union-attr]
        numbers, of_each = parquet.distinct("big")
    assert found == {"no": 1667, "yes": 1666, "gap": 1667}
    assert len(numbers) == N
    assert set(of_each) == {1}


def test_the_size_in_memory(path: Path) -> None:
    with open_parquet(path, ReadOptions(), ROOM) as parquet:
        # Numbers of 8 bytes, and of the texts only `text` has an object per row.
        assert parquet.nbytes == pytest.approx(N * (4 * 8 + 3 * 4 + 100), rel=0.3)
        assert parquet.row_bytes == parquet.nbytes // N


@pytest.mark.parametrize("name", ["file_row_number", "gpubp file"])
def test_names_that_duckdb_needs_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.parquet", sql=f'SELECT i, i AS "{name}"')
    wanted = f"has a column '{name}'.*; rename it"
    with pytest.raises(DataError, match=wanted), open_parquet(path, ReadOptions(), ROOM):
        pass


def test_a_file_without_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", 0, 0)
    with pytest.raises(DataError, match="has no rows"), open_parquet(path, ReadOptions(), ROOM):
        pass


def test_tables_one_below_the_other() -> None:
    one = as_table({"a": [1, 2], "t": ["x", None]})
    two = as_table({"a": [np.nan, 0.5], "t": ["b", "x"]}).rows(1, 2)
    both = concatenated([one, two])
    assert both.column("a").values.tolist() == [1, 2, 0.5]  # type: ignore[union-attr]
    assert both.column("t").texts("-").tolist() == ["x", "-", "x"]  # type: ignore[union-attr]
    assert both.row_numbers is not None
    assert both.row_numbers.tolist() == [1, 2, 2]
