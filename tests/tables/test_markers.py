"""Numbers that the user calls missing are gaps, whatever they are read from."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from gpubp.tables.read import ReadOptions, Table, load_dataset, read_chunks, read_table

NA = ReadOptions(na=("-999", "0.1"))
A = np.array([1.0, -999, 2.5, 4])
I = np.array([1, -999, 2, 4])  # noqa: E741
EXPECTED = {"a": [False, True, False, False], "i": [False, True, False, False]}


def _gaps(table: Table) -> dict[str, list[bool]]:
    return {name: table.column(name).is_gap().tolist() for name in EXPECTED}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rows = ", ".join(f"({a}::DOUBLE, {i}, {i}::FLOAT, 0)" for a, i in zip(A, I, strict=True))
    source = f"(VALUES {rows}) t(a, i, f, y)"
    paths = {kind: tmp_path / f"d.{kind}" for kind in ("csv", "parquet", "npz", "json")}
    duckdb.sql(f"COPY (FROM {source}) TO '{paths['csv']}'")
    duckdb.sql(f"COPY (FROM {source}) TO '{paths['parquet']}'")
    duckdb.sql(f"COPY (FROM {source}) TO '{paths['json']}'")
    names = np.array(["a", "i"])
    np.savez(paths["npz"], X=np.stack([A, I], axis=1), y=I, feature_names=names)
    return paths


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "json"])
def test_a_number_is_a_gap_however_it_is_written(files: dict[str, Path], kind: str) -> None:
    path = files[kind]
    assert _gaps(read_table(path, NA)) == EXPECTED
    first, second = read_chunks(path, 2, NA)
    assert {name: _gaps(first)[name] + _gaps(second)[name] for name in EXPECTED} == EXPECTED
    if kind == "npz":
        assert read_table(path, NA).column("y").is_gap().tolist() == EXPECTED["a"]
        return
    query = ReadOptions(na=NA.na, query="SELECT * FROM data")
    assert _gaps(read_table(path, query)) == EXPECTED


def test_a_query_of_text_sees_gaps(files: dict[str, Path]) -> None:
    query = ReadOptions(na=NA.na, query="SELECT avg(a) AS a, sum(i) AS i, 1 AS y FROM data")
    table = read_table(files["csv"], query)
    assert table.column("a").values.tolist() == [2.5]
    assert table.column("i").values.tolist() == [7]


def test_single_precision_has_the_nearest_number(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    duckdb.sql(f"COPY (SELECT unnest([0.1, 0.2])::FLOAT AS f, 1 AS y) TO '{path}'")
    assert read_table(path, NA).column("f").is_gap().tolist() == [True, False]


def test_built_in_data_have_gaps_too() -> None:
    gaps = load_dataset("iris", {"5.1"}).column("sepal length (cm)").is_gap()
    assert gaps.sum() == 9
