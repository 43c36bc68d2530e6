"""Rows in blocks become the rows of a CSV or Parquet file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp.tables.table import DataError
from gpubp.tables.write import Block, is_parquet, write_csv, write_parquet

duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")

ROWS = {
    "id": np.array(["01", "ü, x", 'say "a"'], object),
    "label": np.array([9007199254740993, 2, -3]),
    "p": np.array([0.1, 0.25, 1e-7], np.float32),
    "q": np.array([0.1, 1 / 3, 1e300]),
    "it's": np.array(["a", "bb", ""]),
}


def _blocks(*sizes: int) -> Iterator[Block]:
    start = 0
    for size in sizes:
        yield {name: values[start : start + size] for name, values in ROWS.items()}
        start += size


def _parquet(path: Path) -> tuple[list[Any], list[Any]]:
    found = duckdb.sql(f"SELECT * FROM '{path}'")
    return [(name, str(kind)) for name, kind in zip(found.columns, found.types, strict=True)], (
        found.fetchall()
    )


@pytest.mark.parametrize("sizes", [(3,), (0, 3), (1, 2), (1, 0, 1, 1)])
def test_blocks_are_written_one_below_the_other(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    file = io.StringIO()
    write_csv(file, _blocks(*sizes))
    assert file.getvalue() == (
        "id,label,p,q,it's\n"
        "01,9007199254740993,0.1,0.1,a\n"
        '"ü, x",2,0.25,0.3333333333333333,bb\n'
        '"say ""a""",-3,1e-07,1e+300,\n'
    )
    write_parquet(tmp_path / "out.parquet", _blocks(*sizes))
    types, rows = _parquet(tmp_path / "out.parquet")
    kinds = ["VARCHAR", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR"]
    assert types == list(zip(ROWS, kinds, strict=True))
    assert rows == list(zip(*(values.tolist() for values in ROWS.values()), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_block_without_rows_is_a_header(tmp_path: Path) -> None:
    file = io.StringIO()
    write_csv(file, _blocks(0))
    assert file.getvalue() == "id,label,p,q,it's\n"
    write_parquet(tmp_path / "out.parquet", _blocks(0))
    types, rows = _parquet(tmp_path / "out.parquet")
    assert [name for name, _ in types] == list(ROWS)
    assert rows == []


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    def failing() -> Iterator[Block]:
        yield from _blocks(2)
        raise DataError("row 3")

    path = tmp_path / "out.parquet"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(DataError, match="row 3"):
        write_parquet(path, failing())
    assert path.read_text(encoding="utf-8") == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["out.parquet"]


def test_names_that_differ_in_case_are_refused_for_parquet(tmp_path: Path) -> None:
    block = {"A": np.zeros(1), "a": np.zeros(1)}
    with pytest.raises(DataError, match=r"'A', 'a' differ only in case.* write a \.csv"):
        write_parquet(tmp_path / "out.parquet", iter([block]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_of_one_sentence() -> None:
    with pytest.raises(OSError, match=r"cannot write '/dev/full': No space left on device; check"):
        write_parquet("/dev/full", _blocks(3))


def test_the_suffix_says_what_is_parquet() -> None:
    assert [is_parquet(name) for name in ("a.parquet", "a.PQ", "a.csv", "parquet")] == [
        True,
        True,
        False,
        False,
    ]
