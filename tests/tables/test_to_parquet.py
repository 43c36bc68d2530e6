"""A table converted to Parquet is read, encoded and learned from as its source."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpubp.tables.encoder import TableEncoder
from gpubp.tables.files import to_parquet as module
from gpubp.tables.files.session import RefusedError
from gpubp.tables.files.to_parquet import to_parquet
from gpubp.tables.read import DataError, ReadOptions, read_table
from gpubp.tables.table import Table
from gpubp.tables.target import labels_of
from tests.tables.conftest import cells

duckdb = pytest.importorskip("duckdb")

ROOM = 1 << 28
N = 400
RNG = np.random.default_rng(0)
# Columns with which a reader could go wrong, by name: the cells of N rows.
COLUMNS: dict[str, list[str]] = {
    "x": [f"{value:.3f}" for value in RNG.normal(size=N)],
    "whole": [str(k % 50 * 7) for k in range(N)],
    "gaps": ["" if k % 9 == 0 else "NA" if k % 9 == 1 else str(k % 40) for k in range(N)],
    "zip": [f"{k % 30:05}" for k in range(N)],
    "kind": [("red", "blue", "", "green ")[k % 4] for k in range(N)],
    "day": [f"2024-{k % 12 + 1:02}-{k % 28 + 1:02}" for k in range(N)],
    "german": [f"{k % 28 + 1:02}.{k % 12 + 1:02}.2024" for k in range(N)],
    "price": [f"${k * 100:,}" for k in range(N)],
    "late": ["1"] * (N - 1) + ["x"],
    "flag": [("True", "False")[k % 3 == 0] for k in range(N)],
    "id": [f"C{k:04}" for k in range(N)],
    "y": [("no", "yes")[k % 2] for k in range(N)],
}
Write = Callable[..., Path]


def lines(columns: dict[str, list[str]], delimiter: str = ",") -> str:
    quoted = {
        name: [f'"{cell}"' if delimiter in cell else cell for cell in of]
        for name, of in columns.items()
    }
    rows = zip(*quoted.values(), strict=True)
    return "".join(delimiter.join(row) + "\n" for row in [tuple(columns), *rows])


def converted(path: Path, **options: Any) -> tuple[Path, module.Written]:
    out = path.with_suffix(".parquet")
    return out, to_parquet(path, out, ReadOptions(**options), ROOM)


def encoded(table: Table, **options: Any) -> tuple[Any, np.ndarray]:
    features = Table(
        {n: table.columns[n] for n in table.names[:-1]},
        len(table),
        "t",
        decimal=table.decimal,
        sign=table.sign,
    )
    encoder = TableEncoder(sparse=False, scaling="robust", **options)
    Z = encoder.fit_transform(features)
    return encoder, Z


def assert_same(path: Path, out: Path, **options: Any) -> None:
    """The same kinds of columns, encoded numbers and labels."""
    one, two = read_table(path, ReadOptions(**options)), read_table(out, ReadOptions(**options))
    assert one.names == two.names
    (first, Z), (second, Z2) = encoded(one), encoded(two)
    assert [(t.name, t.kind) for t in first.types_] == [(t.name, t.kind) for t in second.types_]
    np.testing.assert_array_equal(Z, Z2)
    labels = [labels_of(table.column(table.names[-1])) for table in (one, two)]
    assert labels[0].dtype.kind == labels[1].dtype.kind
    np.testing.assert_array_equal(*labels)


@pytest.mark.parametrize("packed", [False, True])
def test_csv_of_all_kinds_of_columns(write: Write, packed: bool) -> None:
    text = lines(COLUMNS)
    path = write(text)
    if packed:
        path = write(gzip.compress(text.encode()), "data.csv.gz")
    out, found = converted(path)
    assert (found.rows, found.columns) == (N, len(COLUMNS))
    assert_same(path, out)
    table = read_table(out)
    assert cells(table, "zip")[:2] == ["00000", "00001"]
    assert cells(table, "gaps")[:3] == [None, None, 2]
    assert cells(table, "kind")[2:4] == [None, "green"]
    types = duckdb.sql(f"DESCRIBE SELECT * FROM '{out}'").fetchall()
    assert [kind for _, kind, *_ in types[:4]] == ["DOUBLE", "BIGINT", "BIGINT", "VARCHAR"]


@pytest.mark.parametrize("label", [("0", "1"), ("1.5", "2.5"), ("01", "02"), ("yes", "no")])
def test_labels_keep_their_type(write: Write, label: tuple[str, str]) -> None:
    path = write(lines({"x": COLUMNS["x"], "y": [label[k % 2] for k in range(N)]}))
    out, _ = converted(path)
    assert_same(path, out)


def test_decimal_commas(write: Write) -> None:
    columns = {name: COLUMNS[name] for name in ("whole", "kind", "y")}
    columns = {"eur": [x.replace(".", ",") for x in COLUMNS["x"]]} | columns
    columns = {"thousands": [f"{k}.000,5" for k in range(N)]} | columns
    path = write(lines(columns, ";"))
    out, found = converted(path)
    assert found.decimal == ","
    assert any("decimal commas" in note for note in found.notes)
    assert_same(path, out)
    assert cells(read_table(out), "eur") == [float(x) for x in COLUMNS["x"]]


def test_a_given_marker_is_missing(write: Write) -> None:
    path = write(lines({"a": ["-999" if k % 3 else str(k) for k in range(N)], **COLUMNS}))
    out, _ = converted(path, na=("-999",))
    assert_same(path, out, na=("-999",))
    assert cells(read_table(out), "a")[:4] == [0, None, None, 3]


def test_json_lines(write: Write) -> None:
    rows = [
        {"a": k / 4, "b": None if k % 5 else k, "c": COLUMNS["kind"][k], "y": k % 2}
        for k in range(N)
    ]
    path = write("\n".join(map(json.dumps, rows)), "data.jsonl")
    out, _ = converted(path)
    assert_same(path, out)


def test_parquet_and_queries_keep_their_types(write: Write, tmp_path: Path) -> None:
    path = write(lines(COLUMNS))
    out, found = converted(
        path, query="SELECT x, CAST(day AS DATE) AS day FROM data WHERE whole > 7"
    )
    assert (found.columns, found.rows) == (2, len(read_table(out)))
    again = tmp_path / "again.parquet"
    to_parquet(tmp_path / "data.p*", again, ReadOptions(), ROOM)
    for file in (out, again):
        types = duckdb.sql(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        assert [kind for _, kind, *_ in types] == ["DOUBLE", "DATE"]


def test_files_of_a_pattern_in_order(write: Write, tmp_path: Path) -> None:
    write("a,y\n3,x\n", "two.csv")
    write("a,y\n1,x\n2,z\n", "one.csv")
    to_parquet(tmp_path / "*.csv", tmp_path / "all.parquet", ReadOptions(), ROOM)
    assert cells(read_table(tmp_path / "all.parquet"), "a") == [1, 2, 3]


def test_unnamed_empty_columns_are_left_out(write: Write) -> None:
    out, found = converted(write("a,,y,\n1,,x,\n2,,z,\n3,,x,\n"))
    assert (found.columns, read_table(out).names) == (2, ("a", "y"))


def test_csv_that_has_to_be_rewritten(write: Write) -> None:
    rows = "".join(f"{k},b{k},c\n" for k in range(3000))
    path = write("a,b,c\n" + rows + "1,x,z,\n")  # DuckDB refuses the fourth field
    out, found = converted(path)
    assert found.rows == 3001
    assert cells(read_table(out), "a") == cells(read_table(path), "a")


def test_order_of_rows_is_kept(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS", 2048)
    path = write("a,y\n" + "".join(f"{k},{k % 2}\n" for k in range(30_000)))
    out, _ = converted(path)
    assert cells(read_table(out), "a") == list(range(30_000))


def test_names_that_differ_in_case(write: Write) -> None:
    out, _ = converted(write("a,A,y\n1,2,x\n3,4,z\n"))
    assert read_table(out).names == ("a", "A_1", "y")


@pytest.mark.parametrize("text", ["a,b\n", "a,b\n" + 50 * "1,2\n" + "1,2,3\n"])
def test_a_file_that_cannot_be_read_leaves_the_old_one(write: Write, text: str) -> None:
    path, out = write(text), write(b"old", "data.parquet")
    with pytest.raises(DataError, match=r"data\.csv"):
        converted(path)
    assert out.read_bytes() == b"old"
    assert sorted(each.name for each in out.parent.iterdir()) == ["data.csv", "data.parquet"]


def test_a_full_disk(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **keywords: Any) -> int:
        raise RefusedError("data.csv cannot be read: could not write: No space left on device")

    monkeypatch.setattr(module, "_copied", refuse)
    with pytest.raises(OSError, match=r"cannot write '.*': the disk is full; free some"):
        converted(write(lines(COLUMNS)))
