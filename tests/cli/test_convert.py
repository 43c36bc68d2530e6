"""`gpubp convert`: any table to Parquet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.running import FAST, Run, one_line, write_csv

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def table(run: Run) -> str:
    rng = np.random.default_rng(0)
    x = rng.normal(size=300).round(4)
    zips = [f"{k % 7:04}" for k in range(300)]
    days = [f"{k % 28 + 1:02}.{k % 12 + 1:02}.2024" for k in range(300)]
    gaps = ["" if k % 8 == 0 else k % 30 for k in range(300)]
    y = np.where(x > 0, "yes", "no")
    return write_csv("data.csv", x=x, zip=zips, day=days, gap=gaps, y=y)


def test_a_model_of_the_copy_is_that_of_the_table(run: Run, table: str) -> None:
    found = run("convert", table, "copy.parquet")
    size = Path("copy.parquet").stat().st_size
    assert found.out == f"data.csv: 300 rows, 5 columns, 9 kB; copy.parquet: {size / 1e3:.0f} kB\n"
    one = run("train", table, *FAST, "--json", "-o", "one.st")
    two = run("train", "copy.parquet", *FAST, "--json", "-o", "two.st")
    assert one.events[0] == two.events[0]  # the columns
    assert one.events[-1]["test"] == two.events[-1]["test"]
    predictions = [run("predict", model, table, "--proba").out for model in ("one.st", "two.st")]
    assert predictions[0] == predictions[1]


def test_options_of_reading_and_a_query(run: Run, table: str) -> None:
    query = "SELECT x, y FROM data WHERE x > 0"
    found = run("convert", table, "copy.parquet", "--query", query, "--memory", "200MB", "--json")
    result = json.loads(found.out)
    assert result["columns"] == 2
    assert result["bytes"] == Path("copy.parquet").stat().st_size
    assert result["rows"] == duckdb.sql("SELECT count(*) FROM 'copy.parquet'").fetchall()[0][0]


def test_standard_input_arrays_and_data_sets(run: Run) -> None:
    found = run("convert", "-", "in.parquet", "--delimiter", ";", stdin="a;b\n1;x\n2;y\n3;x\n")
    assert found.out.startswith("-: 3 rows, 2 columns; in.parquet: ")
    np.savez("arrays.npz", X=np.eye(4), y=np.array(["a", "b", "a", "b"]))
    assert "4 rows, 5 columns" in run("convert", "arrays.npz", "arrays.parquet").out
    assert "150 rows, 5 columns" in run("convert", "iris", "iris.parquet").out


def test_notes_on_the_reading_are_printed(run: Run) -> None:
    rows = "".join(f"{k},5;{k % 2}\n" for k in range(50))
    Path("data.csv").write_text("a;y\n" + rows)
    found = run("convert", "data.csv", "copy.parquet")
    assert "is read as 0.5, since this table has decimal commas" in found.err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("data.csv", "copy.csv"), "OUT copy.csv has the suffix '.csv', but a Parquet file", 2),
        (("data.csv", "-"), "OUT - is standard output, but a Parquet file is binary", 2),
        (("no.csv", "copy.parquet"), "no.csv: no such file", 1),
        (("data.csv", "no/copy.parquet"), "no' does not exist; create it or choose", 1),
        (("data.csv", "copy.parquet", "--memory", "x"), "'x' is not a size of memory", 2),
        (("data.csv", "copy.parquet", "--query", "DROP TABLE data"), "give one SELECT", 1),
    ],
)
def test_wrong_arguments(
    run: Run, table: str, arguments: tuple[str, ...], message: str, code: int
) -> None:
    assert message in one_line(run("convert", *arguments, code=code))
    assert not Path("copy.parquet").exists()


def test_the_input_is_not_replaced(run: Run, table: str) -> None:
    run("convert", table, "copy.parquet")
    before = Path("copy.parquet").read_bytes()
    text = one_line(run("convert", "copy.parquet", "copy.parquet", code=2))
    assert text == "Error: OUT copy.parquet is also an input file; give another path"
    assert Path("copy.parquet").read_bytes() == before
